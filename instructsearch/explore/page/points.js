"use strict";
// What all maps of a page share: which points are shown, lit, hovered and pinned, and the marks that stand for them.
// Knows the data of the points and colours; not where points lie, nor the elements around the maps.

class Points {
  constructor(data) {
    this.data = data;
    const count = data.titles.length;
    Object.assign(this, {
      count, colouring: 0, entries: [], numbers: null, hidden: [], names: true, lassoing: false,
      version: 0, hover: -1, pinned: -1, selected: null, found: null, emphasis: false,
      lit: new Uint8Array(count), order: Points.shuffled(count), colours: {}, cache: new Map(),
    });
  }

  // an order in which no colour always lies on top, the same each time
  static shuffled(size) {
    const order = Uint32Array.from({length: size}, (_, i) => i);
    let seed = 12345;
    for (let i = size - 1; i > 0; i--) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      const j = seed % (i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  shown(i) { return !this.hidden[this.numbers[i]]; }

  colour(number) {
    const chosen = this.data.colourings[number];
    this.colouring = number;
    this.entries = chosen.entries;
    this.numbers = chosen.numbers;
    this.steps = chosen.entries.filter((entry) => entry.style >= 0).length;
    this.hidden = chosen.entries.map(() => false);
    this.renew();
  }

  // as the page's colours are now: those of its style, and the palette that goes with light or dark
  paint(dark) {
    const value = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const palette = this.data.palettes[dark ? "dark" : "light"];
    this.colours = {palette, plot: value("--plot"), ink: value("--ink"), accent: value("--accent")};
    this.renew();
  }

  renew() {
    this.version++;
    this.cache.clear();
  }

  sprites(radius, ratio) {
    const key = `${radius} ${ratio}`;
    if (!this.cache.has(key)) {
      const size = Math.ceil(2 * radius + 3);
      this.cache.set(key, {size, of: this.entries.map((entry) => this.sprite(entry, radius, size, ratio))});
    }
    return this.cache.get(key);
  }

  colourOf(entry) {
    const {palette} = this.colours;
    if (entry.style === -1) return palette.other;
    if (entry.style === -2) return palette.none;
    const scale = palette.scale;
    if (this.ordered) return scale[Math.round(entry.style / Math.max(1, this.steps - 1) * (scale.length - 1))];
    return palette.categories[entry.style % palette.categories.length];
  }

  get ordered() { return this.data.colourings[this.colouring].ordered; }

  // each colour comes back in another shape: circle, triangle, square, diamond; what is rare is a cross
  outline(context, entry, radius) {
    const shape = entry.style < 0 || this.ordered ? 0 : Math.floor(entry.style / this.colours.palette.categories.length) % 4;
    context.beginPath();
    if (entry.style === -1) {
      for (const turn of [1, -1]) { context.moveTo(-radius * .8, -radius * .8 * turn); context.lineTo(radius * .8, radius * .8 * turn); }
    } else if (shape === 0) context.arc(0, 0, radius, 0, 7);
    else if (shape === 2) context.rect(-radius * .88, -radius * .88, radius * 1.76, radius * 1.76);
    else if (shape === 1) { context.moveTo(0, -radius * 1.15); context.lineTo(radius * 1.1, radius * .85); context.lineTo(-radius * 1.1, radius * .85); context.closePath(); }
    else { context.moveTo(0, -radius * 1.25); context.lineTo(radius * 1.25, 0); context.lineTo(0, radius * 1.25); context.lineTo(-radius * 1.25, 0); context.closePath(); }
  }

  sprite(entry, radius, size, ratio) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = Math.max(1, Math.round(size * ratio));
    const context = canvas.getContext("2d");
    context.setTransform(canvas.width / size, 0, 0, canvas.height / size, canvas.width / 2, canvas.height / 2);
    this.outline(context, entry, radius);
    if (entry.style < 0) {
      context.lineWidth = Math.max(1, radius * .45);
      context.strokeStyle = this.colourOf(entry);
      context.stroke();
    } else {
      context.fillStyle = this.colourOf(entry);
      context.fill();
      context.lineWidth = Math.min(.6, radius * .18);
      context.strokeStyle = this.colours.plot;
      context.stroke();
    }
    return canvas;
  }
}
