"use strict";
// One map: where its points are on the screen, which is under a place, how they are drawn and moved.
// Knows positions and the page's shared state; not what a point stands for, nor what hands do.

const SPAN = 65535;   // coordinates are whole numbers from 0 to this
const CELLS = 96;     // a side of the grid in which points are looked up
const PADDING = 26;   // pixels kept free around all points
const TOGETHER = .6;  // of the spread of all points: an entry spread wider than that is not named on the map
const FRAME = 10;     // milliseconds that painting may take in each frame of a movement
const STILL = 90;     // milliseconds without movement after which a map stands

class Chart {
  constructor(canvas, panel, state) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.layer = document.createElement("canvas");
    this.painted = null;
    this.state = state;
    this.untouched = true;
    this.path = null;
    this.place(panel);
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // --- where things are

  place(panel) {
    this.x = Float32Array.from(panel.x);
    this.y = Float32Array.from(panel.y, (value) => SPAN - value);
    this.hits = panel.hits;
    this.middles = new Map();
    this.everywhere = undefined;
    this.lookup();
  }

  lookup() {
    const cell = (i) => Math.min(CELLS - 1, Math.floor(this.y[i] / SPAN * CELLS)) * CELLS
      + Math.min(CELLS - 1, Math.floor(this.x[i] / SPAN * CELLS));
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < this.x.length; i++) this.starts[cell(i) + 1]++;
    for (let at = 0; at < CELLS * CELLS; at++) this.starts[at + 1] += this.starts[at];
    const free = this.starts.slice();
    this.members = new Uint32Array(this.x.length);
    for (let i = 0; i < this.x.length; i++) this.members[free[cell(i)]++] = i;
  }

  screen(i) { return [this.left + this.x[i] * this.scale, this.top + this.y[i] * this.scale]; }

  nearest(px, py, pixels) {
    const reach = pixels / this.scale;
    const x = (px - this.left) / this.scale, y = (py - this.top) / this.scale;
    const clamp = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor(value / SPAN * CELLS)));
    let best = -1, least = Infinity;
    for (let row = clamp(y - reach); row <= clamp(y + reach); row++) {
      const from = this.starts[row * CELLS + clamp(x - reach)], to = this.starts[row * CELLS + clamp(x + reach) + 1];
      for (let at = from; at < to; at++) {
        const i = this.members[at];
        if (!this.state.shown(i)) continue;
        const far = Math.hypot(this.x[i] - x, this.y[i] - y);
        // what is dimmed is found only where nothing else is
        const rank = far + (this.state.emphasis && !this.state.lit[i] ? reach : 0);
        if (far <= reach && rank < least) { best = i; least = rank; }
      }
    }
    return best;
  }

  inside(path) {
    const found = [];
    for (let i = 0; i < this.x.length; i++) {
      if (!this.state.shown(i)) continue;
      const [px, py] = this.screen(i);
      let odd = false;
      for (let a = 0, b = path.length - 1; a < path.length; b = a++) {
        const [ax, ay] = path[a], [bx, by] = path[b];
        if ((ay > py) !== (by > py) && px < (bx - ax) * (py - ay) / (by - ay) + ax) odd = !odd;
      }
      if (odd) found.push(i);
    }
    return found;
  }

  // --- moving

  resize() {
    const box = this.canvas.getBoundingClientRect();
    const middle = this.width ? [(this.width / 2 - this.left) / this.scale, (this.height / 2 - this.top) / this.scale] : null;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.width = box.width;
    this.height = box.height;
    this.canvas.width = Math.max(1, Math.round(box.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(box.height * this.ratio));
    if (this.untouched || !middle) this.fit();
    else this.centre(...middle);
  }

  fit() {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < this.x.length; i++) {
      x0 = Math.min(x0, this.x[i]); x1 = Math.max(x1, this.x[i]);
      y0 = Math.min(y0, this.y[i]); y1 = Math.max(y1, this.y[i]);
    }
    const wide = Math.max(1, this.width - 2 * PADDING), high = Math.max(1, this.height - 2 * PADDING);
    this.scale = this.whole = Math.min(wide / Math.max(1, x1 - x0), high / Math.max(1, y1 - y0));
    this.untouched = true;
    this.centre((x0 + x1) / 2, (y0 + y1) / 2);
  }

  centre(x, y) {
    this.left = this.width / 2 - x * this.scale;
    this.top = this.height / 2 - y * this.scale;
    this.redraw();
  }

  move(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.untouched = false;
    this.changed = performance.now();
    this.redraw();
  }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const scale = Math.max(this.whole / 2, Math.min(this.whole * 400, this.scale * factor));
    this.left = px - (px - this.left) * scale / this.scale;
    this.top = py - (py - this.top) * scale / this.scale;
    this.scale = scale;
    this.untouched = false;
    this.changed = performance.now();
    this.redraw();
  }

  reveal(i) {
    const [px, py] = this.screen(i);
    if (px < 12 || py < 12 || px > this.width - 12 || py > this.height - 12) this.centre(this.x[i], this.y[i]);
  }

  // --- drawing

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  radius() {
    const crowd = this.x.length > 10000 ? 2.2 : this.x.length > 3000 ? 2.9 : this.x.length > 800 ? 3.6 : 4.6;
    const room = Math.max(.6, Math.min(1, Math.min(this.width, this.height) / 620));
    const zoomed = Math.sqrt(Math.max(1, Math.min(12, this.scale / this.whole)));
    return Math.round(10 * Math.min(9, crowd * room * zoomed)) / 10;
  }

  draw() {
    const {context, state} = this;
    if (!this.width) return;
    const radius = this.radius();
    this.refresh(radius);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const grown = this.scale / this.painted.scale;
    const [left, top] = [this.left - this.painted.left * grown, this.top - this.painted.top * grown];
    context.drawImage(this.layer, left, top, this.width * grown, this.height * grown);
    const taken = this.ranks(radius);
    if (state.names) this.names(taken);
    if (state.hover >= 0) this.ring(state.hover, radius + 4, 1.5);
    if (state.pinned >= 0) this.ring(state.pinned, radius + 6, 3);
    if (this.path) this.outline();
    if (this.keyed) this.cross();
  }

  // The points are painted on a layer of their own, anew when something has changed. Where that takes longer than a
  // frame, the old layer is moved and stretched as long as the map moves, and painted again when it stands.
  refresh(radius) {
    const {layer, state, painted} = this;
    const same = painted && painted.version === state.version && layer.width === this.canvas.width && layer.height === this.canvas.height;
    if (same && painted.left === this.left && painted.top === this.top && painted.scale === this.scale) return;
    if (same && this.cost > FRAME && performance.now() - this.changed < STILL) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.redraw(), STILL + 10);
      return;
    }
    const began = performance.now();
    layer.width = this.canvas.width;
    layer.height = this.canvas.height;
    const brush = layer.getContext("2d");
    brush.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    if (state.emphasis) this.points(brush, state.sprites(radius * .85, this.ratio), false, .16);
    this.points(brush, state.sprites(state.emphasis ? radius * 1.25 : radius, this.ratio), true, state.emphasis ? 1 : .88);
    this.painted = {left: this.left, top: this.top, scale: this.scale, version: state.version};
    this.cost = performance.now() - began;
  }

  points(brush, sprites, lit, alpha) {
    const {state, x, y, left, top, scale, width, height} = this;
    const half = sprites.size / 2;
    brush.globalAlpha = alpha;
    for (const i of state.order) {
      if (!state.shown(i) || (state.emphasis && Boolean(state.lit[i]) !== lit)) continue;
      const px = left + x[i] * scale, py = top + y[i] * scale;
      if (px < -half || py < -half || px > width + half || py > height + half) continue;
      brush.drawImage(sprites.of[state.numbers[i]], px - half, py - half, sprites.size, sprites.size);
    }
  }

  ring(i, radius, weight) {
    const {context, state} = this;
    const [px, py] = this.screen(i);
    for (const [colour, width] of [[state.colours.plot, weight + 3], [state.colours.ink, weight]]) {
      context.beginPath();
      context.arc(px, py, radius, 0, 7);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }

  // rings around what the query found; a number stands where it hides no other
  ranks(radius) {
    const taken = [];
    const found = [...this.hits.keys()].filter((at) => this.state.shown(this.hits[at]));
    found.forEach((at) => this.ring(this.hits[at], radius + 2, 1.4));
    found.forEach((at) => {
      const [x, y] = this.screen(this.hits[at]);
      const [px, py] = [x + radius + 9, y - radius - 4];
      if (taken.some((one) => Math.abs(one[0] - px) < 14 && Math.abs(one[1] - py) < 12)) return;
      taken.push([px, py, 8]);
      this.words(String(at + 1), px, py, "bold 12px system-ui, sans-serif");
    });
    return taken;
  }

  words(text, px, py, font) {
    const {context, state} = this;
    context.font = font;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = state.colours.plot;
    context.strokeText(text, px, py);
    context.fillStyle = state.colours.ink;
    context.fillText(text, px, py);
  }

  // The middle of an entry's points, by medians, so that a few far ones do not move its name; none where they lie
  // scattered, for there the name would tell nothing.
  middle(entry) {
    const key = `${this.state.colouring} ${entry}`;
    if (!this.middles.has(key)) {
      const mine = [];
      for (let i = 0; i < this.x.length; i++) if (this.state.numbers[i] === entry) mine.push(i);
      this.everywhere ??= this.spread([...this.x.keys()]);
      const own = mine.length ? this.spread(mine) : null;
      this.middles.set(key, own && own.far <= TOGETHER * this.everywhere.far ? [own.x, own.y] : null);
    }
    return this.middles.get(key);
  }

  spread(rows) {
    const median = (values) => Float64Array.from(values).sort()[values.length >> 1];
    const [x, y] = [median(rows.map((i) => this.x[i])), median(rows.map((i) => this.y[i]))];
    return {x, y, far: median(rows.map((i) => Math.hypot(this.x[i] - x, this.y[i] - y)))};
  }

  names(taken) {
    const {context, state} = this;
    const font = "600 13px system-ui, sans-serif";
    const above = this.radius() + 10;  // points that lie close together would be gone below their name
    context.font = font;
    state.entries.forEach((entry, number) => {
      const at = entry.style >= 0 && !state.hidden[number] && this.middle(number);
      if (!at) return;
      const [x, y] = [this.left + at[0] * this.scale, this.top + at[1] * this.scale];
      if (x < 0 || y < 0 || x > this.width || y > this.height) return;
      const text = entry.label.length > 30 ? `${entry.label.slice(0, 29)}…` : entry.label;
      const half = context.measureText(text).width / 2 + 4;
      const px = Math.max(half, Math.min(this.width - half, x));
      const py = Math.max(10, y - above);
      if (taken.some((one) => Math.abs(one[0] - px) < one[2] + half && Math.abs(one[1] - py) < 18)) return;
      taken.push([px, py, half]);
      this.words(text, px, py, font);
    });
  }

  outline() {
    const {context, state} = this;
    context.beginPath();
    this.path.forEach(([px, py], at) => (at ? context.lineTo(px, py) : context.moveTo(px, py)));
    context.closePath();
    context.globalAlpha = .12;
    context.fillStyle = state.colours.accent;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = state.colours.accent;
    context.lineWidth = 2;
    context.stroke();
  }

  cross() {
    const {context, state} = this;
    const [px, py] = [this.width / 2, this.height / 2];
    context.beginPath();
    context.moveTo(px - 9, py); context.lineTo(px + 9, py);
    context.moveTo(px, py - 9); context.lineTo(px, py + 9);
    context.strokeStyle = state.colours.ink;
    context.lineWidth = 1.5;
    context.stroke();
  }
}
