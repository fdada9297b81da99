// Maps of the numbers of segments: reading, places for names, the same segment in another map.

// Uint16Array [h * w] of an address, its width and height; small maps are enlarged
async function readMap(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  let numbers = new Uint16Array(image.width * image.height), w = image.width, h = image.height;
  for (let k = 0; k < numbers.length; k++) numbers[k] = pixels[4 * k] + 256 * pixels[4 * k + 1];
  while (Math.max(w, h) < 900) {
    numbers = doubled(numbers, w, h);
    w *= 2;
    h *= 2;
  }
  return [numbers, w, h];
}

// twice the size with smoother diagonals: a corner follows its two neighbors if they agree
function doubled(source, w, h) {
  const target = new Uint16Array(4 * w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const k = y * w + x, own = source[k];
      const up = y ? source[k - w] : own, down = y < h - 1 ? source[k + w] : own;
      const left = x ? source[k - 1] : own, right = x < w - 1 ? source[k + 1] : own;
      const t = 4 * y * w + 2 * x;
      target[t] = left === up && left !== down && up !== right ? up : own;
      target[t + 1] = up === right && up !== left && right !== down ? right : own;
      target[t + 2 * w] = left === down && left !== up && down !== right ? left : own;
      target[t + 2 * w + 1] = down === right && down !== left && right !== up ? right : own;
    }
  }
  return target;
}

// per segment [x, y, distance] of the point that is farthest from its border: there its name goes
function findPlaces(map, width, height, count) {
  const far = new Uint16Array(map.length), w = width;
  const places = Array.from({length: count + 1}, () => [0, 0, 0]);
  for (let y = 0, k = 0; y < height; y++) {
    for (let x = 0; x < w; x++, k++) {
      const own = map[k];
      const a = x && map[k - 1] === own ? far[k - 1] : 0;
      const b = y && map[k - w] === own ? far[k - w] : 0;
      far[k] = (a < b ? a : b) + 1;
    }
  }
  for (let y = height - 1, k = map.length - 1; y >= 0; y--) {
    for (let x = w - 1; x >= 0; x--, k--) {
      const own = map[k];
      const a = x < w - 1 && map[k + 1] === own ? far[k + 1] + 1 : 1;
      const b = y < height - 1 && map[k + w] === own ? far[k + w] + 1 : 1;
      const least = a < b ? a : b;
      if (least < far[k]) far[k] = least;
      const place = places[own];
      if (far[k] > place[2]) {
        place[0] = x;
        place[1] = y;
        place[2] = far[k];
      }
    }
  }
  return places;
}

// number in a new map of the segment that has a number in the old one, of the same image: the one
// of its class that shares most pixels with it, at least half of the smaller of both; 0 for none
function findAgain(number, oldMap, newMap, isCandidate) {
  const shared = new Uint32Array(65536), areas = new Uint32Array(65536);
  let own = 0;
  for (let k = 0; k < newMap.length; k++) {
    const found = newMap[k];
    areas[found] += 1;
    if (oldMap[k] !== number) continue;
    own += 1;
    shared[found] += 1;
  }
  let best = 0, most = 0;
  for (let found = 1; found < shared.length; found++) {
    if (shared[found] > most && isCandidate(found)) [best, most] = [found, shared[found]];
  }
  return most >= 0.5 * Math.min(own, areas[best]) ? best : 0;
}
