// Files that are dropped on the picture or pasted, and those that are too large for the server.
const videoOrImage = file => file.type.startsWith('video/') ? 'dropped_video' : 'dropped_image';

// as readable_size of the server writes it
function readableSize(size) {
  let unit = 0;
  for (; size >= 1000 && unit < 3; unit++) size /= 1000;
  return `${size.toFixed(unit ? 1 : 0)} ${['bytes', 'kB', 'MB', 'GB'][unit]}`;
}

// whether a file is refused, with a message; it would be sent only to be refused by the server
function isTooLarge(file) {
  if (file.size <= props.max_bytes) return false;
  say({state: 'error', text: `${file.name} has ${readableSize(file.size)}, more than the limit of ${
    readableSize(props.max_bytes)} (option --max-mb of the server). Choose a smaller file.`});
  return true;
}

async function send(file) {
  if (isTooLarge(file)) return;
  say({state: 'working', text: `Sending ${file.name}`});
  try {
    const {path} = await upload(file);
    trigger(videoOrImage(file), {path});
  } catch (error) {
    say({state: 'error', text: `${file.name} could not be sent: ${error.message || error}`});
  }
}

// drops on the picture; a child that is left for another one is no end
let inside = 0;
const mark = on => { inside = on ? inside : 0; stage.classList.toggle('dropping', on); };
const hasFiles = event => [...event.dataTransfer.types].includes('Files');
stage.addEventListener('dragenter', event => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  inside += 1;
  mark(true);
});
stage.addEventListener('dragleave', () => mark(--inside > 0));
stage.addEventListener('dragover', event => { if (hasFiles(event)) event.preventDefault(); });
stage.addEventListener('drop', event => {
  mark(false);
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  send(event.dataTransfer.files[0]);
});

// listeners of the whole page end with the component
const ofPage = (name, act) => document.addEventListener(name, function listen(event) {
  if (element.isConnected) act(event);
  else document.removeEventListener(name, listen, true);
}, true);

ofPage('paste', event => {
  const file = event.clipboardData?.files[0];
  if (!file || !root.getClientRects().length) return;
  event.preventDefault();
  send(file);
});

// gradio's inputs send what they get: they get nothing that is too large
const inputs = '#source, #video';
ofPage('change', event => {
  const input = event.target;
  if (input.type !== 'file' || !input.closest(inputs)) return;
  if (![...input.files].some(isTooLarge)) return;
  event.stopImmediatePropagation();
  input.value = '';
});
ofPage('drop', event => {
  if (!event.target.closest(inputs) || ![...event.dataTransfer.files].some(isTooLarge)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
});
