// Dark or light: the system's, until the button is pressed; the choice stays for the next visit.
const key = 'mmpanseg-theme', kept = localStorage.getItem(key);
const set = dark => document.body.classList.toggle('dark', dark);
if (kept) set(kept === 'dark');
element.querySelector('.switch').addEventListener('click', () => {
  const dark = set(!document.body.classList.contains('dark'));
  localStorage.setItem(key, dark ? 'dark' : 'light');
});
