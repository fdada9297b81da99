'use strict';
/* The data of the page, and which images are shown in which order. */
const element = name => document.getElementById(name);
const readData = name => JSON.parse(element(`data-${name}`).textContent);

const make = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== null && value !== false) made.setAttribute(key, value === true ? '' : value);
  made.append(...children.filter(child => child !== null));
  return made;
};

const percent = value => value === null ? '–' : (100 * value).toFixed(1);
/* What is neither nothing nor all is not written as 0 or 100. */
const shareText = value => 0 < value && value < 0.0005 ? '<0.1'
  : 0.9995 <= value && value < 1 ? '>99.9' : percent(value);
const plural = (number, one, many) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

const facts = readData('facts');

const images = (() => {
  const {images: rows, templates} = readData('images');
  const names = facts.panels.map(panel => panel.key);
  return rows.map(([number, name, [pq, sq, rq], [tp, fp, fn], [width, height], template, pixels,
    segments, error, note], order) => {
    const digits = String(number).padStart(6, '0');
    const picture = place => templates[template][place].replaceAll('*', digits);
    const parts = pixels.reduce((sum, value) => sum + value, 0);
    return {
      id: `image-${digits}`, order, name, pq, sq, rq, tp, fp, fn, width, height, pixels, error, note,
      large: key => picture(names.indexOf(key)),
      small: key => picture(names.indexOf(key) + names.length)
        || picture(names.indexOf(key)),
      // the first kind is right, the last one is not scored
      wrong: parts ? 1 - pixels[0] - pixels[pixels.length - 1] : 0,
      segments: segments.map(([side, label, kind, area, iou, score, box, text, reason, partner],
        place) => ({side, label, kind, area, iou, score, box, text, reason, partner, place,
        error: facts.kinds[kind].wrong})),
    };
  });
})();
const imageById = new Map(images.map(image => [image.id, image]));

/* What is looked for; pair is [row, column] of the confusion matrix. */
const wanted = {label: '', kind: '', size: '', name: '', pair: null};
const isFiltered = () => wanted.label !== '' || wanted.kind !== '' || wanted.size !== ''
  || wanted.pair !== null;

const kindTest = wantedKind => {
  const [side, key] = wantedKind.split(':');
  if (side === 'any') return segment => segment.error;
  if (side === 'reason') {
    const reason = facts.reasons.findIndex(entry => entry.key === key);
    return segment => segment.reason === reason;
  }
  const kind = facts.kinds.findIndex(entry => entry.key === key);
  const number = side === 'gt' ? 0 : 1;
  return segment => segment.side === number && segment.kind === kind;
};

const pairTest = ([row, column]) => {
  const rest = facts.classes.length;
  const ignored = facts.kinds.findIndex(entry => entry.key === 'ignored');
  if (row === rest)
    return segment => segment.side === 1 && segment.label === column && segment.partner < 0
      && segment.kind !== ignored;
  return segment => segment.side === 0 && segment.label === row && segment.kind !== ignored
    && (column === rest ? segment.partner < 0 : segment.partner === column);
};

/* A function that tells whether a segment is looked for. */
const segmentTest = () => {
  const tests = [];
  if (wanted.label !== '') tests.push(segment => segment.label === Number(wanted.label));
  if (wanted.kind !== '') tests.push(kindTest(wanted.kind));
  if (wanted.pair !== null) tests.push(pairTest(wanted.pair));
  if (wanted.size !== '') {
    const {low, high} = facts.sizes[Number(wanted.size)];
    tests.push(segment => segment.area >= low && (high === null || segment.area < high));
  }
  return segment => tests.every(test => test(segment));
};

const orders = {
  pq: image => image.pq, fn: image => image.fn, fp: image => image.fp,
  wrong: image => image.wrong, order: image => image.order,
  errors: image => image.segments.filter(segment => segment.error).length,
  hits: image => image.hits,
};

/* The images that fit, in the order 'key:up' or 'key:down'; those without a value are last. */
const selectImages = order => {
  const test = segmentTest(), filtered = isFiltered(), text = wanted.name.trim().toLowerCase();
  const found = images.filter(image => {
    image.hits = filtered ? image.segments.filter(test).length : image.segments.length;
    return image.hits + !filtered > 0 && (text === '' || image.name.toLowerCase().includes(text));
  });
  const [key, direction] = order.split(':');
  if (key === 'name') {
    const compare = new Intl.Collator('en', {numeric: true}).compare;
    return found.sort((a, b) => compare(a.name, b.name) || a.order - b.order);
  }
  const factor = direction === 'down' ? -1 : 1;
  const values = new Map(found.map(image => [image, image.error ? null : orders[key](image)]));
  return found.sort((a, b) => {
    const [x, y] = [values.get(a), values.get(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a.order - b.order;
    return factor * (x - y) || a.order - b.order;
  });
};
