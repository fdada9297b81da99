// The viewer: draws segments from a map of their numbers, without asking the server.
const find = name => element.querySelector(name);
const root = find('.viewer'), stage = find('.stage'), pane = find('.pane'), tip = find('.tip');
const photo = find('.photo'), tint = find('.tint'), lines = find('.lines'), lit = find('.lit');
const hiddenClasses = new Map();  // name of a model -> names of its classes that are off
let view = null, map = null, width = 0, height = 0, places = [];
let hovered = 0, isolated = 0, clock = 0, playing = 0, drawn = 0;

const show = (name, on) => { find(name).hidden = !on; };
const off = () => {
  if (!hiddenClasses.has(view.model)) hiddenClasses.set(view.model, new Set());
  return hiddenClasses.get(view.model);
};
const className = segment => view.classes[segment.label].name;
const isOn = number => number > 0 && !off().has(className(view.segments[number - 1]));
const isShown = number => isOn(number) && (!isolated || number === isolated);
const bytes = color => [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));
const segmentCount = () => `${view.segments.length} segment${
  view.segments.length === 1 ? '' : 's'}`;
const percent = share => (100 * share).toFixed(share < 0.0995 ? 1 : 0) + ' %';

// drawing -------------------------------------------------------------------------------------

function resize(canvas) {
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext('2d');
}

function draw() {
  const context = resize(tint), image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const table = new Uint32Array(view.segments.length + 1);
  view.segments.forEach((segment, k) => {
    const [red, green, blue] = bytes(segment.color);
    if (isShown(k + 1)) table[k + 1] = (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
  });
  for (let k = 0; k < pixels.length; k++) pixels[k] = table[map[k]];
  context.putImageData(image, 0, 0);
  drawLines();
  pane.classList.toggle('isolating', isolated > 0);
  hovered = -1;
  hover(0);
  drawn += 1;
  root.dataset.drawn = drawn;
}

// lines on the borders of the segments whose numbers have a 1 in the table
function edges(context, table, light, dark) {
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer), border = [];
  for (let y = 0, k = 0; y < height; y++) {
    for (let x = 0; x < width; x++, k++) {
      const own = map[k], right = x < width - 1 ? map[k + 1] : own;
      const below = y < height - 1 ? map[k + width] : own;
      if ((own !== right && (table[own] || table[right]))
          || (own !== below && (table[own] || table[below]))) border.push(k);
    }
  }
  for (const k of border) {
    const x = k % width, right = x < width - 1, left = x > 0;
    for (let row = k - width; row <= k + width; row += width) {
      if (row < 0 || row >= map.length) continue;
      pixels[row] = dark;
      if (left) pixels[row - 1] = dark;
      if (right) pixels[row + 1] = dark;
    }
  }
  for (const k of border) pixels[k] = light;
  context.putImageData(image, 0, 0);
}

const tableOf = test => Uint8Array.from({length: view.segments.length + 1}, (_, k) => test(k));

function drawLines() {
  const context = resize(lines);
  if (find('.outlines').checked) edges(context, tableOf(isShown), 0xe6ffffff, 0x59101010);
  if (find('.names').checked) drawNames(context);
}

function drawNames(context) {
  const shown = pane.clientWidth || width, unit = width / shown, size = 13 * unit;
  const taken = [];
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  context.textAlign = 'center';
  const order = view.segments.map((segment, k) => k + 1).filter(isShown).sort(
    (a, b) => places[b][2] - places[a][2]);
  for (const number of order) {
    const segment = view.segments[number - 1], [x, y, room] = places[number];
    const text = className(segment).replace(/-(merged|other|stuff)$/, '');
    const w = context.measureText(text).width + 1.75 * size, h = 1.5 * size;
    if (room < 0.55 * size) continue;
    const left = Math.min(Math.max(x - w / 2, 2), width - w - 2);
    const top = Math.min(Math.max(y - h / 2, 2), height - h - 2);
    if (taken.some(([l, t, r, b]) => left < r && left + w > l && top < b && top + h > t)) continue;
    taken.push([left, top, left + w, top + h]);
    context.fillStyle = 'rgba(12, 14, 18, .72)';
    context.beginPath();
    context.roundRect(left, top, w, h, 0.4 * size);
    context.fill();
    context.fillStyle = segment.color;
    context.fillRect(left + 0.4 * size, top + 0.45 * size, 0.6 * size, 0.6 * size);
    context.lineWidth = unit;
    context.strokeStyle = 'rgba(255, 255, 255, .55)';  // dark colors would be lost
    context.strokeRect(left + 0.4 * size, top + 0.45 * size, 0.6 * size, 0.6 * size);
    context.fillStyle = '#fff';
    context.fillText(text, left + w / 2 + 0.45 * size, top + 0.53 * h);
  }
}

// hover and click ------------------------------------------------------------------------------

function numberAt(event) {
  const box = pane.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * width);
  const y = Math.floor((event.clientY - box.top) / box.height * height);
  return x < 0 || y < 0 || x >= width || y >= height ? 0 : map[y * width + x];
}

function describe(number) {
  const segment = view.segments[number - 1], share = segment.area / (view.size[0] * view.size[1]);
  const score = segment.score === null ? '' : ` · score ${segment.score.toFixed(2)}`;
  return `${className(segment)}${score} · ${segment.area.toLocaleString('en')} px (${
    percent(share)})`;
}

function hover(number) {
  if (number === hovered) return;
  hovered = number;
  const context = resize(lit);  // empty
  element.querySelectorAll('.row').forEach(
    row => row.classList.toggle('lit', Number(row.dataset.number) === number));
  if (number) edges(context, tableOf(one => one === number), 0xffffffff, 0xff101010);
}

function point(event, text) {
  const box = stage.getBoundingClientRect();
  tip.textContent = text;
  tip.hidden = false;
  const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 6);
  const top = event.clientY - box.top + 18;
  tip.style.left = `${Math.max(6, left)}px`;
  tip.style.top = `${top + tip.offsetHeight > box.height ? top - 34 - tip.offsetHeight : top}px`;
}

function leave() {
  tip.hidden = true;
  if (view) hover(0);
}

function isolate(number) {
  isolated = isolated === number ? 0 : number;
  draw();
  writeFacts();
}

pane.addEventListener('pointermove', event => {
  if (!view) return;
  const number = numberAt(event), on = isShown(number);
  hover(on ? number : 0);
  if (on) point(event, describe(number));
  else if (number && !isOn(number)) point(event, `${className(view.segments[number - 1])} · off`);
  else tip.hidden = true;
});
pane.addEventListener('pointerleave', leave);
pane.addEventListener('click', event => {
  if (!view) return;
  const number = numberAt(event);
  if (isOn(number)) isolate(number);
  else if (isolated) isolate(isolated);
});
stage.addEventListener('keydown', event => {
  if (event.key === 'Escape' && isolated) isolate(isolated);
});

// classes and segments -------------------------------------------------------------------------

function make(name, text, parent, kind) {
  const made = document.createElement(name);
  made.className = kind || '';
  made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function writeLegend() {
  const chips = find('.chips'), rows = find('.rows'), counts = new Map();
  for (const segment of view.segments) counts.set(segment.label,
                                                 (counts.get(segment.label) || 0) + 1);
  chips.replaceChildren();
  const labels = view.classes.map((one, label) => label).filter(label => counts.has(label));
  for (const label of labels) {
    const one = view.classes[label], chip = make('label', '', chips, 'chip');
    const box = make('input', '', chip);
    box.type = 'checkbox';
    box.checked = !off().has(one.name);
    box.dataset.label = label;
    make('span', '', chip, 'swatch').style.background = one.color;
    make('span', one.name, chip, 'text');
    if (one.thing && counts.get(label) > 1) make('span', counts.get(label), chip, 'count');
    box.addEventListener('change', () => {
      if (box.checked) off().delete(one.name);
      else off().add(one.name);
      refresh();
    });
  }
  rows.replaceChildren();
  find('.list summary').textContent = segmentCount();
  const order = view.segments.map((one, k) => k + 1).sort(
    (a, b) => view.segments[b - 1].area - view.segments[a - 1].area);
  for (const number of order) {
    const segment = view.segments[number - 1], row = make('button', '', rows, 'row');
    row.type = 'button';
    row.dataset.number = number;
    make('span', '', row, 'swatch').style.background = segment.color;
    make('span', className(segment), row, 'text');
    make('span', segment.score === null ? '' : segment.score.toFixed(2), row, 'number');
    make('span', percent(segment.area / (view.size[0] * view.size[1])), row, 'number');
    row.addEventListener('pointerenter', () => hover(isShown(number) ? number : 0));
    row.addEventListener('pointerleave', () => hover(0));
    row.addEventListener('click', () => { if (isOn(number)) isolate(number); });
  }
}

function refresh() {
  if (isolated && !isOn(isolated)) isolated = 0;
  element.querySelectorAll('.chip input').forEach(box => {
    box.checked = !off().has(view.classes[box.dataset.label].name);
  });
  element.querySelectorAll('.row').forEach(
    row => row.classList.toggle('off', !isOn(Number(row.dataset.number))));
  draw();
  writeFacts();
  linkFiles();
}

for (const [name, on] of [['.all', true], ['.none', false]]) {
  find(name).addEventListener('click', () => {
    const present = new Set(view.segments.map(className));
    for (const one of present) if (on) off().delete(one); else off().add(one);
    refresh();
  });
}

// facts and files ------------------------------------------------------------------------------

const seconds = value => value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(1)} s`;

function writeFacts() {
  const words = {load: 'model loaded in', predict: 'predicted in', fuse: 'fused in'};
  const times = Object.entries(view.times || {}).map(([key, value]) => `${words[key]} ${
    seconds(value)}`);
  const size = `${view.size[1]} × ${view.size[0]}`;
  find('.facts').textContent = isolated
    ? `Only ${describe(isolated)}. Click again, or press Esc, for all.`
    : [view.name, size, segmentCount(), ...times].filter(Boolean).join(' · ');
}

function linkFiles() {
  const labels = view.classes.map((one, label) => label).filter(
    label => off().has(view.classes[label].name));
  const options = new URLSearchParams({
    frame: view.frame, hidden: labels.join('-'), alpha: find('.opacity').value / 100,
    names: Number(find('.names').checked)});
  element.querySelectorAll('.file').forEach(link => {
    link.href = `${view.files}/${link.dataset.kind}?${options}`;
    if (link.dataset.kind === 'video.mp4') link.hidden = view.frames < 2;
  });
}

find('.opacity').addEventListener('input', () => {
  const value = find('.opacity').value;
  tint.style.opacity = value / 100;
  pane.classList.toggle('plain', value < 5);
  find('.percent').textContent = `${value} %`;
  if (view) linkFiles();
});
find('.outlines').addEventListener('change', () => drawLines());
find('.names').addEventListener('change', () => { drawLines(); linkFiles(); });
new ResizeObserver(() => { if (view && !pane.hidden) drawLines(); }).observe(stage);

// video ----------------------------------------------------------------------------------------

function stop() {
  clearTimeout(playing);
  playing = 0;
  find('.play').textContent = '▶';
}

async function goTo(number) {
  const answer = await fetch(`${view.views}/${number}`);
  if (!answer.ok) return stop();
  await setView({...await answer.json(), model: view.model, times: view.times});
}

find('.position').addEventListener('input', event => {
  stop();
  goTo(Number(event.target.value));
});
find('.play').addEventListener('click', () => {
  if (playing) return stop();
  find('.play').textContent = '❚❚';
  const step = async () => {
    const start = performance.now();
    await goTo((view.frame + 1) % view.frames);
    if (playing) playing = setTimeout(step, Math.max(0, 1000 / view.rate - performance.now()
                                                     + start));
  };
  playing = setTimeout(step);
});

// what the server says -------------------------------------------------------------------------

async function setView(next) {
  const [numbers, w, h] = await readMap(next.map);
  if (!view || view.image !== next.image) {
    photo.src = next.image;
    await photo.decode().catch(() => {});
    isolated = 0;
  } else if (isolated) {
    const name = className(view.segments[isolated - 1]);
    isolated = findAgain(isolated, map, numbers,
                         found => next.classes[next.segments[found - 1].label].name === name);
  }
  [view, map, width, height] = [next, numbers, w, h];
  show('.pane', true);
  show('.welcome', false);
  for (const name of ['.tools', '.facts', '.legend']) show(name, true);
  show('.film', view.frames > 1);
  find('.position').max = view.frames - 1;
  find('.position').value = view.frame;
  find('.moment').textContent = `${view.frame + 1} / ${view.frames}`;
  pane.style.aspectRatio = `${view.size[1]} / ${view.size[0]}`;
  pane.style.setProperty('--ratio', view.size[1] / view.size[0]);
  hovered = 0;
  places = findPlaces(map, width, height, view.segments.length);
  writeLegend();
  refresh();
}

function say(update) {
  clearInterval(clock);
  show('.busy', update.state === 'working');
  show('.trouble', update.state === 'error' || update.state === 'note');
  root.dataset.state = update.state;
  if (update.state === 'working') {
    find('.what').textContent = update.text;
    const start = performance.now();
    const tick = () => {
      const spent = (performance.now() - start) / 1000;
      find('.clock').textContent = spent < 1 ? '' : `${spent.toFixed(0)} s`;
    };
    tick();
    clock = setInterval(tick, 500);
  } else if (update.text) {
    find('.trouble strong').hidden = update.state === 'note';
    find('.trouble span').textContent = update.text;
  }
}

find('.dismiss').addEventListener('click', () => show('.trouble', false));

async function receive() {
  const update = props.value;
  if (!update || !update.state) return;
  if (update.state === 'done') {
    stop();
    if (!update.map) return;
    await setView(update);
  }
  say(update);
}

for (let number = 0; number < props.examples; number++) {
  const button = make('button', '', find('.examples'), 'example');
  button.type = 'button';
  const image = make('img', '', button);
  image.src = `app/example/${number}.jpg`;
  image.alt = `Example ${number + 1}`;
  button.addEventListener('click', () => trigger('example', {number}));
}
tint.style.opacity = find('.opacity').value / 100;
watch('value', receive);
receive();
