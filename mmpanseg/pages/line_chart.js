'use strict';
(() => {
  const root = document.documentElement;
  const box = document.querySelector('.charts');
  const runs = JSON.parse(box.dataset.runs);
  const element = name => document.getElementById(name);
  const state = {
    axis: box.dataset.axis, weight: Number(box.dataset.smoothing),
    log: box.dataset.log === 'true', range: null, hidden: new Set()
  };
  const HEIGHT = 230, TOP = 14, BOTTOM = 28, LEFT = 50;
  const AXES = {step: 'step', epoch: 'epoch', time: 'h'};

  const shape = (name, attributes, text) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const paint = (target, color) => {
    target.style.setProperty('--light', color[0]);
    target.style.setProperty('--dark', color[1]);
    return target;
  };

  // numbers

  function short(value) {
    const size = Math.abs(value);
    if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
    if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
    if (size > 0 && size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, 'e');
    return String(Number(value.toPrecision(4)));
  }

  function exact(value) {
    const size = Math.abs(value);
    if (value === 0) return '0';
    if (size < 1e-3) return value.toExponential(2);
    return size < 1000 ? value.toFixed(size < 1 ? 3 : 2) : Math.round(value).toLocaleString('en');
  }

  function place(x) {
    if (state.axis === 'step') return `step ${Math.round(x).toLocaleString('en')}`;
    return state.axis === 'epoch' ? `epoch ${x.toFixed(2)}` : `${x.toFixed(3)} h`;
  }

  function ticks(low, high, count) {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find(factor => factor * power >= raw * 0.999) * power;
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k <= high / step + 1e-9; k++)
      found.push(Number((k * step).toPrecision(12)));
    return found;
  }

  function logTicks(low, high) {
    for (const factors of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]]) {
      const found = [];
      for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++)
        for (const factor of factors) {
          const value = Number((factor * 10 ** p).toPrecision(6));
          if (value >= low && value <= high) found.push(value);
        }
      if (found.length >= 3) return found;
    }
    return ticks(low, high, 4);
  }

  // as mmpanseg.curves.smoothing
  function smooth(values, weight) {
    let total = 0, norm = 0;
    return values.map(value => {
      if (value === null) return null;
      total = weight * total + value;
      norm = weight * norm + 1;
      return total / norm;
    });
  }

  function toAxis(run, steps) {
    if (state.axis === 'step') return steps;
    if (state.axis === 'epoch') return steps.map(s => run.epoch ? s / run.epoch : NaN);
    const [known, hours] = run.clock;
    let k = 0;
    return steps.map(s => {
      if (!known.length) return NaN;
      while (k < known.length && known[k] < s) k++;
      if (k === known.length) return hours[k - 1];
      const [x0, y0] = k ? [known[k - 1], hours[k - 1]] : [0, 0];
      return known[k] === x0 ? hours[k] : y0 + (hours[k] - y0) * (s - x0) / (known[k] - x0);
    });
  }

  function nearest(xs, x) {
    let low = 0, high = xs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle + 1; else high = middle;
    }
    return low > 0 && Math.abs(xs[low - 1] - x) <= Math.abs(xs[low] - x) ? low - 1 : low;
  }

  // as mmpanseg.curves.picture
  function spread(ys) {
    const groups = [], gap = 15;
    for (const y of ys) {
      let group = {sum: y, count: 1};
      while (groups.length) {
        const before = groups[groups.length - 1];
        if (before.sum / before.count + before.count * gap <= group.sum / group.count) break;
        groups.pop();
        group = {sum: before.sum + group.sum - group.count * before.count * gap,
          count: before.count + group.count};
      }
      groups.push(group);
    }
    return groups.flatMap(group => Array.from({length: group.count},
      (_, k) => group.sum / group.count + gap * k));
  }

  const pencil = document.createElement('canvas').getContext('2d');

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.spec = JSON.parse(figure.dataset.chart);
      this.plot = figure.querySelector('.plot');
      this.hidden = new Set();
      this.visible = false;
      this.dirty = true;
      this.at = null;
      this.legend();
      this.plot.tabIndex = 0;
      this.plot.addEventListener('pointermove', event => this.move(event));
      this.plot.addEventListener('pointerleave', () => { if (!this.drag) pointAll(null); });
      this.plot.addEventListener('pointerdown', event => this.press(event));
      this.plot.addEventListener('pointerup', () => this.release());
      this.plot.addEventListener('pointercancel', () => { this.drag = null; this.draw(); });
      this.plot.addEventListener('dblclick', () => zoom(null));
      this.plot.addEventListener('keydown', event => this.key(event));
      this.plot.addEventListener('blur', () => pointAll(null));
    }

    legend() {
      const list = this.figure.querySelector('.legend');
      this.chips = this.spec.lines.map((line, number) => {
        const chip = paint(document.createElement('button'), line.color);
        chip.type = 'button';
        chip.className = line.dashed ? 'key dashed' : 'key';
        const value = document.createElement('b');
        chip.append(document.createElement('i'), line.name, ' ', value);
        chip.title = 'show or hide; double click: show this one only';
        chip.addEventListener('click', () => {
          if (!this.hidden.delete(number)) this.hidden.add(number);
          this.draw();
        });
        chip.addEventListener('dblclick', () => {
          this.hidden = new Set(this.spec.lines.keys());
          this.hidden.delete(number);
          this.draw();
        });
        list.append(chip);
        return {chip, value};
      });
    }

    prepare() {
      const weight = this.spec.smooth ? state.weight : 0;
      this.log = state.log && this.spec.log;
      this.lines = this.spec.lines.map((line, number) => {
        const raw = this.log ? line.y.map(y => y !== null && y > 0 ? y : null) : line.y;
        return {
          ...line, number, raw, xs: toAxis(runs[line.run], line.x),
          ys: weight ? smooth(raw, weight) : raw,
          shown: !this.hidden.has(number) && !state.hidden.has(line.run)
        };
      });
      this.shown = this.lines.filter(line => line.shown);
      this.faint = weight > 0 && this.shown.length <= 3;
    }

    ranges() {
      let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
      for (const line of this.shown)
        for (const [k, x] of line.xs.entries())
          if (line.ys[k] !== null && Number.isFinite(x)) [x0, x1] = [Math.min(x0, x), Math.max(x1, x)];
      if (x0 > x1) return null;
      if (state.range) [x0, x1] = state.range;
      else [x0, x1] = [0, Math.max(lastOfAll(), x1) || 1];
      for (const line of this.shown)
        for (const [k, x] of line.xs.entries())
          if (x >= x0 && x <= x1)
            for (const y of this.faint ? [line.ys[k], line.raw[k]] : [line.ys[k]])
              if (y !== null) [y0, y1] = [Math.min(y0, y), Math.max(y1, y)];
      if (y0 > y1) [y0, y1] = this.log ? [1, 10] : [0, 1];
      if (this.log) {
        const margin = Math.max((y1 / y0) ** 0.06, 1.02);
        return [x0, x1, y0 / margin, y1 * margin];
      }
      const margin = (y1 - y0) * 0.07 || Math.abs(y1) * 0.1 || 1;
      const low = y0 >= 0 && y0 - margin < 0 ? 0 : y0 - margin;
      return [x0, x1, low, y1 + margin];
    }

    draw() {
      this.dirty = true;
      if (!this.visible) return;
      this.dirty = false;
      this.prepare();
      const width = this.plot.clientWidth;
      const svg = this.svg = shape('svg', {
        viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: 'img',
        'aria-label': this.spec.title
      });
      this.plot.replaceChildren(svg);
      const found = this.ranges();
      for (const {number, shown} of this.lines)
        this.chips[number].chip.setAttribute('aria-pressed', String(shown));
      this.values(null);
      if (!found) {
        svg.append(shape('text', {x: width / 2, y: HEIGHT / 2, class: 'nothing'},
          this.shown.length ? `no ${state.axis} in these logs` : 'all lines are hidden'));
        this.at = null;
        return;
      }
      const [x0, x1, y0, y1] = found;
      const labeled = width >= 360 && this.shown.length > 1 && this.shown.length <= 6;
      pencil.font = '12px system-ui, sans-serif';
      this.right = labeled ? Math.min(130, 12 + Math.max(
        ...this.shown.map(line => pencil.measureText(line.name).width))) : 14;
      const inner = width - LEFT - this.right;
      const scale = this.log ? Math.log : value => value;
      this.toX = x => LEFT + (x - x0) / (x1 - x0) * inner;
      this.fromX = px => x0 + (px - LEFT) / inner * (x1 - x0);
      this.toY = y => HEIGHT - BOTTOM - (scale(y) - scale(y0)) / (scale(y1) - scale(y0))
        * (HEIGHT - TOP - BOTTOM);
      this.axes(svg, width, x0, x1, y0, y1);
      const clip = `clip-${this.figure.id}`, ground = shape('clipPath', {id: clip});
      ground.append(shape('rect', {x: LEFT - 2, y: TOP - 8, width: inner + 6,
        height: HEIGHT - TOP - BOTTOM + 10}));
      svg.append(ground);
      const curves = shape('g', {'clip-path': `url(#${clip})`});
      svg.append(curves);
      for (const line of this.shown) {
        if (this.faint) curves.append(this.path(line, line.raw, 'raw'));
        curves.append(this.path(line, line.ys, 'line'));
        const finite = line.ys.filter(y => y !== null).length;
        if (finite === 1 || this.spec.points && finite <= 60) this.dots(curves, line);
      }
      if (labeled) this.labels(svg, width);
      this.cursor = shape('g', {class: 'cursor'});
      svg.append(this.cursor);
    }

    axes(svg, width, x0, x1, y0, y1) {
      const grid = shape('g', {class: 'axis'});
      for (const y of this.log ? logTicks(y0, y1) : ticks(y0, y1, 5)) {
        const at = this.toY(y);
        grid.append(shape('line', {x1: LEFT, x2: width - this.right, y1: at, y2: at}),
          shape('text', {x: LEFT - 7, y: at + 4, 'text-anchor': 'end'}, short(y)));
      }
      const marks = ticks(x0, x1, width < 420 ? 4 : 5);
      for (const [k, x] of marks.entries()) {
        const last = k === marks.length - 1 && this.toX(x) > width - this.right - 20;
        grid.append(shape('text', {x: this.toX(x), y: HEIGHT - 9,
          'text-anchor': last && this.right < 20 ? 'end' : 'middle'}, short(x)));
      }
      grid.append(shape('text', {x: LEFT - 7, y: HEIGHT - 9, 'text-anchor': 'end', class: 'unit'},
        AXES[state.axis]));
      svg.append(grid);
    }

    path(line, ys, kind) {
      let text = '', pen = false;
      for (const [k, y] of ys.entries()) {
        if (y === null || !Number.isFinite(line.xs[k])) { pen = false; continue; }
        text += `${pen ? 'L' : 'M'}${this.toX(line.xs[k]).toFixed(1)} ${this.toY(y).toFixed(1)}`;
        pen = true;
      }
      return paint(shape('path', {d: text, class: line.dashed ? `${kind} dashed` : kind,
        'stroke-width': (kind === 'raw' ? 1 : 1.8 * line.width)}), line.color);
    }

    dots(target, line) {
      for (const [k, y] of line.ys.entries())
        if (y !== null && Number.isFinite(line.xs[k]))
          target.append(paint(shape('circle', {cx: this.toX(line.xs[k]), cy: this.toY(y), r: 2.4,
            class: 'dot'}), line.color));
    }

    labels(svg, width) {
      // beside the end of each line; ends that are close share a column without overlap
      const columns = [];
      for (const line of this.shown) {
        let k = line.ys.length - 1;
        while (k >= 0 && (line.ys[k] === null || !(this.toX(line.xs[k]) <= width - this.right + 3)))
          k--;
        if (k < 0) continue;
        const end = {line, x: this.toX(line.xs[k]), y: this.toY(line.ys[k])};
        const column = columns.find(one => Math.abs(one[0].x - end.x) < 70);
        if (column) column.push(end); else columns.push([end]);
      }
      for (const ends of columns) {
        ends.sort((a, b) => a.y - b.y);
        const x = Math.max(...ends.map(end => end.x)) + 6, places = spread(ends.map(end => end.y));
        for (const [k, {line}] of ends.entries()) {
          let name = line.name;
          while (name.length > 4 && x + pencil.measureText(name).width > width)
            name = `${name.slice(0, -2).trimEnd()}…`;
          svg.append(paint(shape('text', {x, y: Math.min(Math.max(places[k], 10), HEIGHT - 12) + 4,
            class: 'label'}, name), line.color));
        }
      }
    }

    // the cursor

    move(event) {
      if (!this.toX || this.dirty) return;
      const px = event.clientX - this.plot.getBoundingClientRect().left;
      if (this.drag && event.pointerType === 'mouse') {
        this.drag.to = px;
        if (Math.abs(px - this.drag.from) > 4) {
          const [a, b] = [Math.min(px, this.drag.from), Math.max(px, this.drag.from)];
          this.drag.box.setAttribute('x', a);
          this.drag.box.setAttribute('width', b - a);
        }
      }
      this.snap(this.fromX(px));
    }

    snap(x) {
      let best = null;
      for (const line of this.shown) {
        const at = line.xs[nearest(line.xs, x)];
        if (best === null || Math.abs(at - x) < Math.abs(best - x)) best = at;
      }
      pointAll(best);
    }

    press(event) {
      if (event.pointerType !== 'mouse' || event.button || !this.toX) {
        this.move(event);
        return;
      }
      const from = event.clientX - this.plot.getBoundingClientRect().left;
      const marked = shape('rect', {x: from, y: TOP - 6, width: 0,
        height: HEIGHT - TOP - BOTTOM + 6, class: 'selection'});
      this.svg.append(marked);
      this.drag = {from, to: from, box: marked};
      this.plot.setPointerCapture(event.pointerId);
    }

    release() {
      const drag = this.drag;
      this.drag = null;
      if (!drag) return;
      drag.box.remove();
      if (Math.abs(drag.to - drag.from) < 8) return;
      zoom([this.fromX(Math.min(drag.from, drag.to)), this.fromX(Math.max(drag.from, drag.to))]);
    }

    key(event) {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      const longest = [...this.shown || []].sort((a, b) => b.xs.length - a.xs.length)[0];
      if (step && longest) {
        const k = this.at === null ? (step > 0 ? -1 : longest.xs.length)
          : nearest(longest.xs, this.at);
        this.snap(longest.xs[Math.min(Math.max(k + step, 0), longest.xs.length - 1)]);
      } else if (event.key === 'Escape') {
        zoom(null);
      } else {
        return;
      }
      event.preventDefault();
    }

    point(x) {
      if (!this.visible || this.dirty || !this.cursor) return;
      this.at = x;
      this.cursor.replaceChildren();
      this.values(x);
      if (x === null || !this.toX) return;
      const at = this.toX(x);
      if (at < LEFT - 1 || at > this.plot.clientWidth - this.right + 1) return;
      this.cursor.append(shape('line', {x1: at, x2: at, y1: TOP - 6, y2: HEIGHT - BOTTOM}));
      for (const line of this.shown) {
        const k = nearest(line.xs, x);
        if (Math.abs(this.toX(line.xs[k]) - at) <= 8 && line.ys[k] !== null)
          this.cursor.append(paint(shape('circle', {cx: this.toX(line.xs[k]),
            cy: this.toY(line.ys[k]), r: 3.6}), line.color));
      }
      const end = at > LEFT + (this.plot.clientWidth - LEFT - this.right) * 0.7;
      this.cursor.append(shape('text', {x: at + (end ? -6 : 6), y: TOP + 3,
        'text-anchor': end ? 'end' : 'start'}, place(x)));
    }

    values(x) {
      for (const line of this.lines) {
        let k = line.y.length - 1;
        if (x === null) while (k > 0 && line.y[k] === null) k--;
        else k = nearest(line.xs, x);
        const near = x === null || this.toX && Math.abs(this.toX(line.xs[k]) - this.toX(x)) <= 8;
        this.chips[line.number].value.textContent = k >= 0 && near && line.y[k] !== null
          ? exact(line.y[k]) + this.spec.unit : '–';
      }
    }
  }

  const charts = [...document.querySelectorAll('figure.chart')].map(figure => new Chart(figure));
  const drawAll = () => charts.forEach(chart => chart.draw());
  const pointAll = x => charts.forEach(chart => chart.point(x));

  // all charts end at the same step
  function lastOfAll() {
    let high = 0;
    for (const {spec} of charts)
      for (const line of spec.lines)
        if (!state.hidden.has(line.run))
          high = Math.max(high, toAxis(runs[line.run], line.x.slice(-1))[0] || 0);
    return high;
  }

  function zoom(range, part = '') {
    state.range = range;
    element('unzoom').disabled = range === null;
    element('part').value = range === null ? '1' : part;
    drawAll();
  }

  element('axis').addEventListener('change', event => {
    state.axis = event.target.value;
    zoom(null);
  });
  element('smoothing').addEventListener('input', event => {
    state.weight = Number(event.target.value);
    element('weight').textContent = state.weight.toFixed(2);
    charts.filter(chart => chart.spec.smooth).forEach(chart => chart.draw());
  });
  element('log').addEventListener('change', event => {
    state.log = event.target.checked;
    drawAll();
  });
  element('part').addEventListener('change', event => {
    const share = Number(event.target.value), high = lastOfAll();
    zoom(share < 1 ? [high * (1 - share), high] : null, event.target.value);
  });
  element('unzoom').addEventListener('click', () => zoom(null));
  element('theme').addEventListener('click', () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
  });
  for (const button of document.querySelectorAll('button[data-run]'))
    button.addEventListener('click', () => {
      const run = Number(button.dataset.run);
      if (!state.hidden.delete(run)) state.hidden.add(run);
      button.setAttribute('aria-pressed', String(!state.hidden.has(run)));
      drawAll();
    });

  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) {
      const chart = charts.find(one => one.figure === entry.target);
      chart.visible = entry.isIntersecting;
      if (chart.visible && chart.dirty) chart.draw();
    }
  }, {rootMargin: '400px'});
  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth !== width) { width = box.clientWidth; drawAll(); }
  }).observe(box);
  charts.forEach(chart => seen.observe(chart.figure));
  addEventListener('beforeprint', () => charts.forEach(chart => {
    chart.visible = true;
    if (chart.dirty) chart.draw();
  }));
})();
