'use strict';
(() => {
  const root = document.documentElement;
  root.classList.add('js');
  const gallery = document.querySelector('.gallery');
  const cards = [...gallery.querySelectorAll('.card')];
  const byId = new Map(cards.map(card => [card.id, card]));
  const element = name => document.getElementById(name);
  const filter = element('filter'), sort = element('sort'), search = element('search');
  const plain = element('plain'), count = element('count'), empty = element('empty');
  const viewer = element('viewer'), large = element('large');
  let current = null, place = 0;

  const shown = () => [...gallery.children].filter(card => card.matches('.card:not([hidden])'));
  const pictures = card => [...card.querySelectorAll('figure > a')];

  function update() {
    const wanted = filter.value, text = search.value.trim().toLowerCase();
    for (const card of cards) {
      const groups = card.dataset.groups.split(' ');
      card.hidden = !((wanted === '' || groups.includes(wanted))
        && (text === '' || card.dataset.name.toLowerCase().includes(text)));
    }
    const [key, direction] = sort.value.split(':');
    const value = card => card.hasAttribute(`data-${key}`)
      ? Number(card.getAttribute(`data-${key}`)) : Infinity;
    const factor = direction === 'down' ? -1 : 1;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x !== y && Number.isFinite(x) && Number.isFinite(y)) return factor * (x - y);
      if (x !== y) return Number.isFinite(x) ? -1 : 1;
      return Number(a.dataset.order) - Number(b.dataset.order);
    };
    gallery.append(...[...cards].sort(compare));
    const visible = shown().length;
    const unit = cards.length === 1 ? 'image' : 'images';
    count.textContent = visible === cards.length
      ? `${visible} ${unit}` : `${visible} of ${cards.length} ${unit}`;
    empty.hidden = visible > 0;
    for (const button of document.querySelectorAll('button[data-group]'))
      button.setAttribute('aria-pressed', String(button.dataset.group === wanted));
  }

  function showPlain() {
    for (const link of gallery.querySelectorAll('a[data-plain]'))
      link.firstElementChild.src = plain.checked ? link.dataset.plain : link.dataset.small;
    if (viewer.open) showLarge();
  }

  function showLarge() {
    const all = pictures(current);
    place = Math.min(Math.max(place, 0), all.length - 1);
    const link = all[place], list = shown();
    large.src = plain.checked && link.dataset.plain ? link.dataset.plain : link.getAttribute('href');
    large.alt = link.firstElementChild.alt;
    element('position').textContent = `${list.indexOf(current) + 1} / ${list.length}  `
      + `${current.dataset.name}`;
    element('caption').replaceChildren(
      ...[...link.parentElement.querySelector('figcaption').cloneNode(true).childNodes]);
    element('overlay').setAttribute('aria-pressed', String(!plain.checked));
    history.replaceState(null, '', `#${current.id}/${link.dataset.panel}`);
  }

  function open(card, number) {
    if (!pictures(card).length) return;
    current = card;
    place = number;
    mark(card);
    if (!viewer.open) viewer.showModal();
    showLarge();
  }

  function mark(card) {
    for (const other of gallery.querySelectorAll('.card.current')) other.classList.remove('current');
    card.classList.add('current');
  }

  function step(by) {
    const list = shown(), withPictures = viewer.open ? list.filter(card => pictures(card).length) : list;
    if (!withPictures.length) return;
    const at = withPictures.indexOf(current ?? gallery.querySelector('.card.current'));
    const next = withPictures[Math.min(Math.max(at + by, 0), withPictures.length - 1)];
    if (viewer.open) return open(next, place);
    current = next;
    mark(next);
    next.scrollIntoView({block: 'start'});
  }

  function follow() {
    const [id, panel] = location.hash.slice(1).split('/');
    const card = byId.get(id);
    if (!card) return;
    if (card.hidden) {
      filter.value = search.value = '';
      update();
    }
    current = card;
    mark(card);
    card.scrollIntoView({block: 'start'});
    const number = pictures(card).findIndex(link => link.dataset.panel === panel);
    if (number >= 0) open(card, number);
  }

  for (const control of [filter, sort]) control.addEventListener('change', update);
  search.addEventListener('input', update);
  plain.addEventListener('change', showPlain);
  document.addEventListener('click', event => {
    const button = event.target.closest('button[data-group]');
    if (button) {
      filter.value = filter.value === button.dataset.group ? '' : button.dataset.group;
      update();
      document.querySelector('.controls').scrollIntoView({block: 'start'});
      return;
    }
    const link = event.target.closest('figure > a');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    const card = link.closest('.card');
    open(card, pictures(card).indexOf(link));
  });
  const togglePlain = () => { plain.checked = !plain.checked; showPlain(); };
  element('overlay').addEventListener('click', togglePlain);
  element('before').addEventListener('click', () => step(-1));
  element('after').addEventListener('click', () => step(1));
  element('turn').addEventListener('click', () => {
    place = (place + 1) % pictures(current).length;
    showLarge();
  });
  element('close').addEventListener('click', () => viewer.close());
  large.addEventListener('click', () => viewer.close());
  viewer.addEventListener('close', () => {
    history.replaceState(null, '', `#${current.id}`);
    current.scrollIntoView({block: 'nearest'});
  });
  let touch = null;
  viewer.addEventListener('touchstart', event => { touch = event.changedTouches[0].clientX; },
    {passive: true});
  viewer.addEventListener('touchend', event => {
    const moved = event.changedTouches[0].clientX - touch;
    if (Math.abs(moved) > 60) step(moved > 0 ? -1 : 1);
  });
  document.addEventListener('keydown', event => {
    if (event.target.matches('input[type=search], select')
        || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key;
    if (key === 'o') togglePlain();
    else if (key === 'j' || (viewer.open && key === 'ArrowRight')) step(1);
    else if (key === 'k' || (viewer.open && key === 'ArrowLeft')) step(-1);
    else if (viewer.open && key === 'ArrowDown') { place += 1; showLarge(); }
    else if (viewer.open && key === 'ArrowUp') { place -= 1; showLarge(); }
    else if (!viewer.open && key === 'Enter' && current && event.target === document.body)
      open(current, 0);
    else return;
    event.preventDefault();
  });
  element('theme').addEventListener('click', () => {
    const dark = getComputedStyle(root).colorScheme === 'dark'
      || (root.dataset.theme === undefined && matchMedia('(prefers-color-scheme: dark)').matches);
    root.dataset.theme = dark ? 'light' : 'dark';
  });
  window.addEventListener('hashchange', follow);
  update();
  follow();
})();
