/* The viewer: four panels of an image in large, zoomed together, with its segments in words. */
const viewer = element('viewer'), stage = element('stage'), listed = element('listed');
const view = {panel: 'all', scale: 1, x: 0, y: 0, segment: null};

const panes = () => [...stage.querySelectorAll('.pane')];

/* Zoom and shift of all panes; x and y are shares of a pane. */
const applyZoom = () => {
  const limit = view.scale - 1;
  view.x = Math.min(0, Math.max(-limit, view.x));
  view.y = Math.min(0, Math.max(-limit, view.y));
  for (const inner of stage.querySelectorAll('.inner'))
    inner.style.transform = `translate(${100 * view.x}%, ${100 * view.y}%) scale(${view.scale})`;
  // outlines keep their width
  stage.style.setProperty('--scale', view.scale);
  stage.classList.toggle('zoomed', view.scale > 1);
};

/* Zoom by a factor around a point, in shares of a pane. */
const zoomAt = (factor, u, v) => {
  const scale = Math.min(16, Math.max(1, view.scale * factor)), change = scale / view.scale;
  view.x = u - (u - view.x) * change;
  view.y = v - (v - view.y) * change;
  view.scale = scale;
  applyZoom();
};

const resetZoom = () => {
  Object.assign(view, {scale: 1, x: 0, y: 0});
  applyZoom();
};

/* Zoom so that a box of the image, with space around it, fills the panes. */
const zoomTo = ([x1, y1, x2, y2], image) => {
  const pane = panes()[0].getBoundingClientRect();
  const fit = Math.min(pane.width / image.width, pane.height / image.height);
  const size = [fit * image.width / pane.width, fit * image.height / pane.height];
  const share = [(x2 - x1) / image.width * size[0], (y2 - y1) / image.height * size[1]];
  const scale = Math.min(8, Math.max(1, 0.45 / Math.max(...share, 1e-3)));
  const center = [0.5 + size[0] * ((x1 + x2) / 2 / image.width - 0.5),
    0.5 + size[1] * ((y1 + y2) / 2 / image.height - 0.5)];
  Object.assign(view, {scale, x: 0.5 - center[0] * scale, y: 0.5 - center[1] * scale});
  applyZoom();
};

/* Outline the box of a segment in all panes. */
const outline = segment => {
  for (const svg of stage.querySelectorAll('svg')) {
    svg.replaceChildren();
    if (!segment) continue;
    const [x1, y1, x2, y2] = segment.box;
    for (const kind of ['back', 'front']) {
      const box = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
      for (const [key, value] of Object.entries({x: x1, y: y1, width: x2 - x1, height: y2 - y1,
        class: kind, 'vector-effect': 'non-scaling-stroke'}))
        box.setAttribute(key, value);
      svg.append(box);
    }
  }
};

const selectSegment = segment => {
  view.segment = segment;
  for (const button of listed.querySelectorAll('button'))
    button.setAttribute('aria-pressed', String(Number(button.dataset.segment) === segment?.place));
  outline(segment);
  if (segment) {
    zoomTo(segment.box, state.current);
    listed.querySelector('[aria-pressed=true]')?.scrollIntoView({block: 'nearest'});
  } else resetZoom();
};

const pane = (image, panel) => {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', `0 0 ${image.width} ${image.height}`);
  svg.setAttribute('aria-hidden', 'true');
  return make('div', {class: 'pane'}, make('div', {class: 'inner'},
    make('img', {src: image.large(panel.key), alt: `${panel.title} of ${image.name}`,
      draggable: 'false'}), svg), make('span', {class: 'tag'}, panel.title));
};

const showViewer = () => {
  const image = state.current, at = state.list.indexOf(image);
  element('position').textContent = `${(at + 1).toLocaleString('en')} / `
    + state.list.length.toLocaleString('en');
  element('shown-name').textContent = image.name;
  element('shown-numbers').replaceChildren(numbers(image));
  const panels = facts.panels.filter(panel => image.large(panel.key)
    && (view.panel === 'all' || view.panel === panel.key));
  stage.classList.toggle('single', panels.length === 1);
  stage.style.setProperty('--ratio', image.width / image.height);
  stage.classList.toggle('wide', image.width > 1.9 * image.height);
  stage.replaceChildren(...panels.map(panel => pane(image, panel)));
  for (const button of viewer.querySelectorAll('[data-view]'))
    button.setAttribute('aria-pressed', String(button.dataset.view === view.panel));
  const {hits, rest} = findings(image), first = [...hits, ...rest];
  const others = image.segments.filter(segment => !first.includes(segment));
  const items = part => part.map(segment => item(segment, hits.includes(segment),
    {'aria-pressed': 'false'}));
  listed.replaceChildren(
    make('p', {class: 'soft'}, first.length ? 'Choose a segment to zoom to it.' : 'No errors.'),
    make('ul', {class: 'findings'}, ...items(first)),
    make('details', {}, make('summary', {}, plural(others.length, 'other segment',
      'other segments')), make('ul', {class: 'findings'}, ...items(others))));
  applyZoom();
  outline(view.segment);
  history.replaceState(null, '', `#${image.id}/${view.panel}`);
};

const openViewer = (image, panel, segment = null) => {
  if (!image.large('image') && !image.large('errors')) return;
  if (image !== state.current) resetZoom();
  Object.assign(view, {panel, segment: null});
  state.current = image;
  if (!viewer.open) viewer.showModal();
  showViewer();
  selectSegment(segment);
};

const stepViewer = by => {
  const list = state.list.filter(image => image.large('image') || image.large('errors'));
  const at = list.indexOf(state.current) + by;
  if (list[at]) openViewer(list[at], view.panel);
};

/* Step through the segments that are listed. */
const stepSegments = by => {
  const {hits, rest} = findings(state.current), all = [...hits, ...rest];
  if (!all.length) return;
  const at = view.segment ? all.indexOf(view.segment) + by : by > 0 ? 0 : all.length - 1;
  selectSegment(all[at] ?? null);
};

cards.addEventListener('click', event => {
  const found = event.target.closest('figure > a, [data-segment]');
  if (!found || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const image = imageById.get(found.closest('.card').id);
  if (found.dataset.panel) openViewer(image, found.dataset.panel);
  else openViewer(image, 'all', image.segments[Number(found.dataset.segment)]);
});
listed.addEventListener('click', event => {
  const button = event.target.closest('[data-segment]');
  if (!button) return;
  const segment = state.current.segments[Number(button.dataset.segment)];
  selectSegment(segment === view.segment ? null : segment);
});
for (const button of viewer.querySelectorAll('[data-view]'))
  button.addEventListener('click', () => {
    view.panel = button.dataset.view;
    showViewer();
  });
element('before').addEventListener('click', () => stepViewer(-1));
element('after').addEventListener('click', () => stepViewer(1));
element('close').addEventListener('click', () => viewer.close());
viewer.addEventListener('close', () => {
  stage.replaceChildren();
  history.replaceState(null, '', `#${state.current.id}`);
  goTo(state.current);
});

stage.addEventListener('wheel', event => {
  const box = event.target.closest('.pane')?.getBoundingClientRect();
  if (!box) return;
  event.preventDefault();
  zoomAt(event.deltaY < 0 ? 1.25 : 0.8, (event.clientX - box.x) / box.width,
    (event.clientY - box.y) / box.height);
}, {passive: false});
stage.addEventListener('dblclick', event => {
  const box = event.target.closest('.pane')?.getBoundingClientRect();
  if (view.scale > 1) resetZoom();
  else if (box) zoomAt(3, (event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height);
});
/* Drag: shifts a zoomed image; a swipe with a finger goes to the next one. */
let drag = null;
stage.addEventListener('pointerdown', event => {
  const box = event.target.closest('.pane')?.getBoundingClientRect();
  if (!box || event.button) return;
  drag = {x: event.clientX, y: event.clientY, from: [view.x, view.y], box,
    swipe: event.pointerType === 'touch' && view.scale === 1};
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener('pointermove', event => {
  if (!drag || drag.swipe) return;
  view.x = drag.from[0] + (event.clientX - drag.x) / drag.box.width;
  view.y = drag.from[1] + (event.clientY - drag.y) / drag.box.height;
  applyZoom();
});
for (const name of ['pointerup', 'pointercancel'])
  stage.addEventListener(name, event => {
    const moved = drag?.swipe && name === 'pointerup' ? event.clientX - drag.x : 0;
    drag = null;
    if (Math.abs(moved) > 60) stepViewer(moved > 0 ? -1 : 1);
  });

const viewKeys = {ArrowRight: () => stepViewer(1), ArrowLeft: () => stepViewer(-1),
  j: () => stepViewer(1), k: () => stepViewer(-1),
  ArrowDown: () => stepSegments(1), ArrowUp: () => stepSegments(-1),
  '+': () => zoomAt(1.5, 0.5, 0.5), '-': () => zoomAt(1 / 1.5, 0.5, 0.5),
  0: () => selectSegment(null)};
const pageKeys = {j: () => stepCards(1), k: () => stepCards(-1),
  Enter: () => state.current && openViewer(state.current, 'all')};
document.addEventListener('keydown', event => {
  if (event.target.matches('input, select, textarea') || event.ctrlKey || event.metaKey
      || event.altKey) return;
  const panel = ['all', ...facts.panels.map(entry => entry.key)]['`1234'.indexOf(event.key)];
  if (viewer.open && (panel || event.key === 'a')) {
    view.panel = panel ?? 'all';
    showViewer();
    return event.preventDefault();
  }
  const action = (viewer.open ? viewKeys : pageKeys)[event.key];
  // Enter on a link or button is its own
  if (!action || (event.key === 'Enter' && event.target.closest('button, summary, figure > a')))
    return;
  event.preventDefault();
  action();
});

element('theme').addEventListener('click', () => {
  const root = document.documentElement;
  const dark = root.dataset.theme === 'dark' || (root.dataset.theme === undefined
    && matchMedia('(prefers-color-scheme: dark)').matches);
  root.dataset.theme = dark ? 'light' : 'dark';
});

/* Follow a link to an image: #image-000123, with /all or /errors in the viewer. */
const follow = () => {
  const [id, panel] = location.hash.slice(1).split('/');
  const image = imageById.get(id);
  if (!image) return;
  if (viewer.open && !panel) viewer.close();
  goTo(image);
  if (panel === 'all' || facts.panels.some(entry => entry.key === panel)) openViewer(image, panel);
};
window.addEventListener('hashchange', follow);
document.documentElement.classList.add('js');
update();
follow();
