// The map of the collection under a view, with the hits marked. Draws with the scripts of `instructsearch map`.
// Knows the service's maps and hits; Points, Chart and Gestures come from those scripts.

/* global Points, Chart, Gestures */
import {button, element, many, part, said} from "./element.js";
import {METHODS} from "./question.js";

const LOOK = 700;  // milliseconds between two looks at a map that is being drawn
const STAGES = {queued: "waiting for its turn", read: "reading the vectors", group: "finding groups", flatten: "flattening"};

export class Atlas {
  // `on.open` is told the document and span of a point, `on.method` how to flatten, `on.close` that it is not wanted
  constructor(api, on) {
    this.api = api;
    this.on = on;
    this.box = part("map");
    this.hits = [];
    this.drawn = null;
    this.wanted = null;
    document.addEventListener("theme", () => this.repaint());
  }

  hide() {
    this.wanted = null;
    this.stop?.abort();
    clearTimeout(this.later);
    this.box.hidden = true;
  }

  // `lenses` name the hits that can be marked: [name, view, hits]
  show(question, lenses) {
    this.box.hidden = false;
    this.lenses = lenses;
    this.lens = Math.min(this.lens ?? 0, lenses.length - 1);
    const [, view, hits] = lenses[this.lens];
    const wanted = JSON.stringify([question.collection, view, question.method]);
    this.question = question;
    this.view = view;
    this.hits = hits;
    if (wanted !== this.wanted) {
      this.wanted = wanted;
      this.drawn = null;
      this.frame(this.waiting({stage: "queued", done: 0, total: null}));
      this.look();
    } else if (this.drawn) this.mark();
    else this.frame(this.body);
  }

  // the collection has changed: look whether there is a newer map
  changed() {
    if (!this.wanted) return;
    clearTimeout(this.later);
    this.look();
  }

  async look() {
    this.stop?.abort();
    this.stop = new AbortController();
    const {collection, method} = this.question;
    const wanted = this.wanted;
    try {
      const {body} = await this.api.map(collection, this.view, method, this.stop.signal);
      if (wanted !== this.wanted) return;
      if (body.map && body.generation !== this.drawn?.generation) this.draw(body);
      if (body.current) { this.news(null); return; }
      if (this.drawn) this.news(body.progress);
      else this.frame(this.waiting(body.progress));
      this.later = setTimeout(() => this.look(), LOOK);
    } catch (error) {
      if (error.name !== "AbortError" && wanted === this.wanted) this.failed(error);
    }
  }

  waiting({stage, done, total}) {
    const share = total ? Math.round(100 * done / total) : null;
    return element("div", {class: "notice", role: "status"},
      element("p", {class: "lead", text: "Drawing the map"}),
      element("progress", {max: 100, value: share ?? undefined, "aria-label": "Map"}),
      element("p", {text: `${STAGES[stage] ?? stage}${share === null ? "…" : `, ${share} %`}`}));
  }

  failed(error) {
    const install = error.type === "MissingExtra";
    this.drawn = null;
    this.frame(element("div", {class: "notice wrong", role: "alert"},
      element("p", {class: "lead", text: install ? "Maps are not installed on this server" : "The map could not be drawn"}),
      said(error.message, "", "p"),
      install ? element("p", {text: "Install it where the server runs, then start the server again. Searching works without it."}) : null,
      button("Try again", () => { this.frame(this.waiting({stage: "queued"})); this.look(); })));
  }

  frame(body) {
    this.body = body;
    const choose = (label, options, chosen, does) => element("label", {}, element("span", {text: label}),
      element("select", {on: {change: (event) => does(event.target.value)}},
        ...options.map(([value, text]) => element("option", {value, text, selected: String(value) === String(chosen)}))));
    const several = this.lenses.length > 1 ? choose("Hits of", this.lenses.map(([name], at) => [at, `lens ${name}`]), this.lens, (at) => {
      this.lens = Number(at);
      this.show(this.question, this.lenses);
    }) : null;
    const colours = this.drawn ? choose("Colour by", this.drawn.colourings.map((one, at) => [at, one.name]), this.points.colouring, (at) => {
      this.points.colour(Number(at));
      this.frame(this.body);
      this.chart.redraw();
    }) : null;
    this.box.replaceChildren(
      element("header", {}, element("h2", {}, "Map of view ", said(this.view)),
        button("×", this.on.close, {class: "plain close", "aria-label": "Close the map"})),
      element("div", {class: "tools"}, several, choose("Flatten by", METHODS, this.question.method, this.on.method), colours),
      body);
    if (this.drawn) this.legend();
  }

  draw(told) {
    const data = told.map;
    this.drawn = {...data, generation: told.generation};
    this.numbers = new Map(data.chunks.map((chunk, at) => [chunk, at]));
    this.points = new Points(data);
    this.points.names = true;
    this.points.colour(0);
    this.points.paint(window.theme.dark);
    const canvas = element("canvas", {tabindex: "0", role: "application", "aria-roledescription": "map",
      "aria-label": `Map of ${many(data.titles.length)} ${data.noun}s under view ${this.view}. Arrows move it, plus and minus zoom, N and P go from point to point.`});
    const zoom = element("div", {class: "zoom"});
    this.card = element("div", {class: "pinned", "aria-live": "polite"});
    this.tip = element("div", {class: "tip", "aria-hidden": "true", hidden: true});
    this.outdated = element("p", {class: "hint", role: "status", hidden: true});
    const summary = element("details", {class: "how"}, element("summary", {text: data.summary}),
      element("ul", {}, ...[...data.panels[0].facts, ...data.notes].map((note) => said(note, "", "li"))));
    const body = element("div", {class: "drawn"}, this.outdated, element("div", {class: "plot"}, canvas, zoom, this.tip), this.card,
      element("details", {class: "legend"}, element("summary", {text: "Legend"}), element("ul", {class: "entries"})), summary);
    this.frame(body);
    this.chart = new Chart(canvas, this.placed([]), this.points);
    new Gestures(this.chart, {
      hover: (i, event) => this.hover(i, event), pin: (i) => this.pin(i), select: () => {},
      step: (way) => this.step(way),
    });
    for (const [sign, name, does] of [["+", "Zoom in", () => this.chart.zoom(1.5)], ["−", "Zoom out", () => this.chart.zoom(1 / 1.5)], ["⤢", "Show all", () => this.chart.fit()]]) {
      zoom.append(button(sign, does, {"aria-label": name, title: name}));
    }
    this.mark();
  }

  // the map's points, and behind them those hits that its sample left out
  placed(extra) {
    const panel = this.drawn.panels[0];
    const beyond = this.drawn.chunks.length;
    const at = new Map(extra.map((one, number) => [one.chunk, beyond + number]));
    const numbers = this.hits.map((hit) => this.numbers.get(hit.chunk) ?? at.get(hit.chunk)).filter((i) => i !== undefined);
    return {x: [...panel.x, ...extra.map((one) => one.x)], y: [...panel.y, ...extra.map((one) => one.y)], hits: numbers};
  }

  async mark() {
    const {drawn, hits} = this;
    const beyond = hits.filter((hit) => !this.numbers.has(hit.chunk)).map((hit) => hit.chunk);
    let extra = [];
    if (beyond.length) {
      try {
        extra = (await this.api.places(this.question.collection, this.view, this.question.method, beyond)).places;
      } catch { /* what cannot be placed is not marked */ }
      if (drawn !== this.drawn || hits !== this.hits) return;
    }
    const count = drawn.chunks.length + extra.length;
    // what is placed beside its likes stands in the legend with the nearest of them
    const like = (one) => nearest(drawn.panels[0], one);
    this.points.count = count;
    this.points.order = Points.shuffled(count);
    const kinds = drawn.colourings.map((one) => ({...one, numbers: [...one.numbers.slice(0, drawn.chunks.length), ...extra.map((place) => one.numbers[like(place)])]}));
    this.points.data = {...drawn, colourings: kinds};
    this.extra = extra;
    this.points.colour(this.points.colouring);
    this.chart.place(this.placed(extra));
    this.points.pinned = -1;
    this.frame(this.body);
    this.pinned();
    this.chart.redraw();
  }

  news(progress) {
    if (!this.outdated) return;
    this.outdated.hidden = !progress;
    if (progress) this.outdated.textContent = "The collection has changed since; a newer map is being drawn.";
  }

  repaint() {
    if (!this.drawn || this.box.hidden) return;
    this.points.paint(window.theme.dark);
    this.legend();
    this.chart.redraw();
  }

  legend() {
    const counts = this.points.entries.map(() => 0);
    for (const entry of this.points.numbers) counts[entry]++;
    this.box.querySelector(".entries").replaceChildren(...this.points.entries.map((entry, number) => {
      const swatch = this.points.sprite(entry, 6, 16, 2);
      swatch.setAttribute("aria-hidden", "true");
      const toggle = button("", () => {
        this.points.hidden[number] = !this.points.hidden[number];
        toggle.setAttribute("aria-pressed", String(!this.points.hidden[number]));
        this.points.version++;
        this.chart.redraw();
      }, {"aria-pressed": String(!this.points.hidden[number])});
      toggle.append(swatch, said(entry.label, "label"), element("span", {class: "count", text: many(counts[number])}));
      return element("li", {}, toggle);
    }));
  }

  // --- one point

  told(i) {
    const beyond = i - this.drawn.chunks.length;
    const chunk = beyond < 0 ? this.drawn.chunks[i] : this.extra[beyond].chunk;
    const hit = this.hits.find((one) => one.chunk === chunk);
    const {titles, texts, documents} = this.drawn;
    return hit ? {title: hit.title || hit.document, text: hit.text, rank: hit.rank, hit, chunk}
      : {title: titles[i] || documents[i], text: texts[i], document: documents[i], chunk};
  }

  hover(i, event) {
    this.tip.hidden = i < 0;
    if (i !== this.points.hover) {
      this.points.hover = i;
      if (i >= 0) {
        const {title, text} = this.told(i);
        this.tip.replaceChildren(said(title, "", "b"), said(text.length > 160 ? `${text.slice(0, 159)}…` : text));
      }
      this.chart.redraw();
    }
    if (i < 0 || !event) return;
    const plot = this.tip.parentElement.getBoundingClientRect(), box = this.tip.getBoundingClientRect();
    const [x, y] = [event.clientX - plot.left, event.clientY - plot.top];
    this.tip.style.left = `${Math.max(0, x + 16 + box.width > plot.width ? x - box.width - 12 : x + 16)}px`;
    this.tip.style.top = `${Math.max(0, y + 16 + box.height > plot.height ? y - box.height - 12 : y + 16)}px`;
  }

  pin(i) {
    this.points.pinned = i;
    if (i >= 0) this.chart.reveal(i);
    this.pinned();
    this.chart.redraw();
  }

  // a hit of the list, pointed at from there
  point(chunk) {
    if (!this.drawn || this.box.hidden) return;
    const at = this.hits.filter((hit) => this.numbers.has(hit.chunk) || this.extra.some((one) => one.chunk === hit.chunk)).findIndex((hit) => hit.chunk === chunk);
    this.points.hover = at < 0 ? -1 : this.chart.hits[at];
    this.chart.redraw();
  }

  step(way) {
    const among = this.chart.hits.length ? this.chart.hits : [...this.drawn.chunks.keys()];
    const at = among.indexOf(this.points.pinned);
    this.pin(among[(at + way + among.length + (at < 0 && way < 0 ? 1 : 0)) % among.length]);
  }

  pinned() {
    const i = this.points.pinned;
    if (i < 0) {
      this.card.replaceChildren(element("p", {class: "hint", text: this.hits.length ? "Rings and numbers mark the hits. Choose a point to read it." : "Choose a point to read it; search, and the hits are marked."}));
      return;
    }
    const one = this.told(i);
    this.card.replaceChildren(element("h3", {dir: "auto", text: one.rank ? `${one.rank}. ${one.title}` : one.title}),
      said(one.text, "", "p"), button("Open it at this place", () => this.on.open(one)));
  }
}

function nearest(panel, {x, y}) {
  let best = 0, least = Infinity;
  panel.x.forEach((other, i) => {
    const far = (other - x) ** 2 + (panel.y[i] - y) ** 2;
    if (far < least) [best, least] = [i, far];
  });
  return best;
}
