/* The cards of one page of images, filters, order, keys, links. */
const PER_PAGE = 20, FINDINGS = 6;
const cards = element('cards');
const state = {list: [], page: 0, current: null};

const swatch = color => {
  const made = make('span', {class: 'swatch'});
  made.style.background = color;
  return made;
};

/* The item of a segment in a list, with the color of its kind. */
const item = (segment, isHit, attributes) => make('li',
  {class: `mark-${facts.kinds[segment.kind].key}${isHit ? ' hit' : ''}`},
  make('button', {type: 'button', class: 'plain', 'data-segment': segment.place, ...attributes},
    ...sentence(segment)));

/* A sentence about a segment. */
const sentence = segment => {
  const name = facts.classes[segment.label];
  const parts = [swatch(name.color), make('b', {}, name.name), ' '];
  const score = segment.score === null ? '' : ` · score ${segment.score.toFixed(2)}`;
  const text = segment.text || (facts.kinds[segment.kind].key === 'matched'
    ? `found, IoU ${segment.iou.toFixed(2)}` : facts.kinds[segment.kind].title);
  return [...parts, make('span', {class: 'why'}, text),
    make('span', {class: 'soft'}, ` ${segment.side ? 'predicted' : 'truth'} · `
      + `${segment.area.toLocaleString('en')} px${score}`)];
};

/* The segments of an image that are listed: those looked for, then other errors. */
const findings = image => {
  const test = segmentTest(), filtered = isFiltered();
  const hits = filtered ? image.segments.filter(test) : [];
  const rest = image.segments.filter(segment => segment.error && !hits.includes(segment));
  const bySize = (a, b) => b.area - a.area;
  return {hits: hits.sort(bySize), rest: rest.sort(bySize)};
};

const numbers = image => make('span', {class: 'numbers'},
  make('b', {}, `PQ ${percent(image.pq)}`),
  make('span', {title: 'IoU of what is found'}, `SQ ${percent(image.sq)}`),
  make('span', {title: 'F1 score of finding'}, `RQ ${percent(image.rq)}`),
  make('span', {title: 'segments of the ground truth that are found'}, `${image.tp} TP`),
  make('span', {title: 'segments of the ground truth without a match'}, `${image.fn} FN`),
  make('span', {title: 'predicted segments without a match'}, `${image.fp} FP`));

const pixelBar = image => {
  const parts = image.pixels.map((share, kind) => ({share, ...facts.pixels[kind]}))
    .filter(part => part.share > 0);
  const bar = make('div', {class: 'stack thin', role: 'img', 'aria-label': 'pixels: '
    + parts.map(part => `${part.title} ${shareText(part.share)} %`).join(', ')});
  for (const part of parts) {
    const piece = make('span', {class: `pixel-${part.key}`,
      title: `${part.title}: ${shareText(part.share)} % of the pixels`});
    piece.style.width = `${100 * part.share}%`;
    bar.append(piece);
  }
  return bar;
};

const figure = (image, panel) => {
  const picture = make('img', {src: image.small(panel.key), loading: 'lazy', decoding: 'async',
    alt: `${panel.title} of ${image.name}`, width: image.width, height: image.height});
  return make('figure', {}, make('a', {href: image.large(panel.key), 'data-panel': panel.key},
    picture), make('figcaption', {}, panel.title));
};

const findingList = image => {
  const {hits, rest} = findings(image), all = [...hits, ...rest];
  if (!all.length) return make('p', {class: 'soft none'}, 'No errors.');
  const list = make('ul', {class: 'findings'});
  const add = part => list.append(...part.map(segment => item(segment, hits.includes(segment),
    {title: 'show it large'})));
  add(all.slice(0, FINDINGS));
  if (all.length > FINDINGS) {
    const more = make('button', {type: 'button', class: 'more'}, `${all.length - FINDINGS} more`);
    more.addEventListener('click', () => {
      add(all.slice(FINDINGS));
      more.remove();
    });
    return make('div', {}, list, more);
  }
  return list;
};

const card = image => make('article', {class: 'card', id: image.id, 'data-name': image.name,
  tabindex: '-1'},
  make('header', {}, make('h3', {}, make('a', {href: `#${image.id}`,
    title: 'permanent link to this image'}, image.name)), image.error ? null : numbers(image)),
  image.error ? make('p', {class: 'error'}, image.error) : pixelBar(image),
  image.note ? make('p', {class: 'warn'}, image.note) : null,
  image.large('image') || image.large('errors')
    ? make('div', {class: 'panels'}, ...facts.panels.filter(panel => image.large(panel.key))
      .map(panel => figure(image, panel)))
    : image.error ? null : make('p', {class: 'soft'}, 'No pictures of this image in the report.'),
  image.error ? null : findingList(image));

const numPages = () => Math.max(1, Math.ceil(state.list.length / PER_PAGE));

const showPage = page => {
  state.page = Math.min(Math.max(page, 0), numPages() - 1);
  const start = state.page * PER_PAGE, part = state.list.slice(start, start + PER_PAGE);
  cards.replaceChildren(...part.map(card));
  for (const pager of document.querySelectorAll('.pager')) {
    pager.hidden = numPages() < 2;
    pager.querySelector('.where').textContent =
      `${start + 1}–${start + part.length} of ${state.list.length.toLocaleString('en')}`;
    pager.querySelector('[data-page="-1"]').disabled = state.page === 0;
    pager.querySelector('[data-page="1"]').disabled = state.page === numPages() - 1;
  }
  mark();
};

const mark = () => {
  for (const other of cards.querySelectorAll('.current')) other.classList.remove('current');
  if (state.current) element(state.current.id)?.classList.add('current');
};

const controls = {label: element('filter-class'), kind: element('filter-kind'),
  size: element('filter-size'), name: element('search')};
const sort = element('sort');

const update = () => {
  for (const [key, control] of Object.entries(controls)) wanted[key] = control.value;
  state.list = selectImages(sort.value);
  const total = images.length, shown = state.list.length;
  element('count').textContent = shown === total ? plural(total, 'image', 'images')
    : `${shown.toLocaleString('en')} of ${plural(total, 'image', 'images')}`;
  const segments = state.list.reduce((sum, image) => sum + image.hits, 0);
  element('hits').textContent = isFiltered() ? plural(segments, 'segment', 'segments') : '';
  element('empty').hidden = shown > 0;
  element('clear').hidden = !isFiltered() && wanted.name === '';
  const pair = element('pair');
  pair.hidden = wanted.pair === null;
  if (wanted.pair) {
    const name = (label, rest) => facts.classes[label]?.name ?? rest;
    const [row, column] = wanted.pair;
    pair.textContent = `${name(row, 'invented')} → ${name(column, 'missed')} ×`;
  }
  if (state.current && !state.list.includes(state.current)) state.current = null;
  for (const button of document.querySelectorAll('[data-filter-kind], [data-filter-class]')) {
    const {filterKind, filterClass} = button.dataset;
    button.setAttribute('aria-pressed', String(filterKind === undefined
      ? filterClass === wanted.label : filterKind === wanted.kind));
  }
  showPage(0);
};

const clear = () => {
  for (const control of Object.values(controls)) control.value = '';
  wanted.pair = null;
  update();
};

const toGallery = () => element('images').scrollIntoView({block: 'start'});

/* Show the page that holds an image, whose filter is given up where it hides the image. */
const goTo = image => {
  if (!state.list.includes(image)) clear();
  const page = Math.floor(state.list.indexOf(image) / PER_PAGE);
  state.current = image;
  if (page !== state.page || !element(image.id)) showPage(page);
  mark();
  element(image.id).focus({preventScroll: true});
  element(image.id).scrollIntoView({block: 'start'});
};

const stepCards = by => {
  if (!state.list.length) return;
  const at = state.current ? state.list.indexOf(state.current) + by : state.page * PER_PAGE;
  goTo(state.list[Math.min(Math.max(at, 0), state.list.length - 1)]);
  history.replaceState(null, '', `#${state.current.id}`);
};

for (const control of [controls.label, controls.kind, controls.size, sort])
  control.addEventListener('change', update);
controls.name.addEventListener('input', update);
element('clear').addEventListener('click', clear);
element('pair').addEventListener('click', () => {
  wanted.pair = null;
  update();
});

document.addEventListener('click', event => {
  const toggle = event.target.closest('[data-filter-kind], [data-filter-class], [data-page], '
    + '[data-row], [data-sort]');
  if (!toggle) return;
  const {filterKind, filterClass, page, row, column, sort: order} = toggle.dataset;
  if (page !== undefined) {
    showPage(state.page + Number(page));
    return toGallery();
  }
  if (order !== undefined) return sortClasses(toggle, order);
  wanted.pair = null;
  for (const control of Object.values(controls)) control.value = '';
  if (row !== undefined) wanted.pair = [Number(row), Number(column)];
  else if (filterKind !== undefined) controls.kind.value = filterKind;
  else controls.label.value = filterClass;
  update();
  toGallery();
});

/* Sort the table of classes by a column; a second click turns the order. */
const classRows = [...document.querySelectorAll('#classes tbody tr')];
const hiddenRows = classRows.filter(row => row.hidden).length;
let allClasses = !hiddenRows;
const sortClasses = (button, order) => {
  const cell = button.closest('th'), [key, first] = order.split(':');
  const before = cell.getAttribute('aria-sort');
  const up = before ? before === 'descending' : first === 'up';
  for (const other of cell.parentElement.children) other.removeAttribute('aria-sort');
  cell.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const value = row => row.dataset[key] === undefined ? -1 : row.dataset[key];
  classRows.sort((a, b) => (up ? 1 : -1) * (key === 'name'
    ? value(a).localeCompare(value(b)) : value(a) - value(b)));
  document.querySelector('#classes tbody').append(...classRows);
  showClasses();
};
const showClasses = () => classRows.forEach((row, place) => {
  row.hidden = !allClasses && place >= classRows.length - hiddenRows;
});
element('all-classes')?.addEventListener('click', event => {
  allClasses = true;
  event.currentTarget.remove();
  showClasses();
});
