// One answer: the hits for one lens, or what stands in their place: waiting, nothing found, an error with a way out.
// Knows hits and elements; asks nothing itself.

import {button, count, element, said} from "./element.js";
import {card} from "./hit.js";

const SLOW = 2500;  // milliseconds after which waiting is explained

export class Column {
  constructor(name, on) {
    this.on = on;
    this.hits = [];
    this.heading = element("h2", {class: name ? "lensname" : "unseen", text: "Hits"});
    this.list = element("ol", {class: "hits"});
    this.state = element("div", {class: "state"});
    this.box = element("section", {class: "column", "aria-label": name || "Hits"}, this.heading, this.state, this.list);
    this.name = name;
  }

  title(view, instruction) {
    if (!this.name) return;
    this.heading.replaceChildren(element("span", {class: `badge ${this.name.toLowerCase()}`, text: this.name}),
      said(instruction || `as view ${view} has it`, instruction ? "" : "none"));
  }

  put(...state) {
    clearTimeout(this.later);
    this.box.removeAttribute("aria-busy");
    this.state.replaceChildren(...state);
  }

  waiting() {
    this.put(...[0, 1, 2].map(() => element("div", {class: "ghost", "aria-hidden": "true"}, element("i"), element("i"), element("i"))));
    this.hits = [];
    this.list.replaceChildren();
    this.box.setAttribute("aria-busy", "true");
    this.later = setTimeout(() => {
      this.state.prepend(element("p", {text: "Still searching. The first search after a start loads the model, which takes a while."}));
    }, SLOW);
  }

  failed(error, again) {
    this.hits = [];
    this.list.replaceChildren();
    this.put(element("div", {class: "notice wrong", role: "alert"},
      element("p", {class: "lead", text: "This search did not work"}), said(error.message, "", "p"), button("Try again", again)));
  }

  nothing(collection, filtered) {
    const ways = filtered
      ? element("p", {}, "No passage passes the filters. ", button("Search without them", this.on.unfilter))
      : element("p", {text: collection.documents ? "No passage matches. Try other words, or search by meaning." : "The collection is empty. Drop files on this page, or choose “Add documents”."});
    this.put(element("div", {class: "notice"}, element("p", {class: "lead", text: "Nothing found"}), ways));
  }

  show(hits, given) {
    this.hits = hits;
    this.put();
    this.given = given;
    this.list.replaceChildren(...hits.map((hit) => card(hit, {...given, open: given.open(hit), on: this.on, other: null})));
  }

  // say of each hit where the other lens has it
  compare(other) {
    const ranks = new Map(other.hits.map((hit) => [hit.chunk, hit.rank]));
    let shared = 0;
    for (const item of this.list.children) {
      const rank = ranks.get(Number(item.dataset.chunk));
      shared += rank !== undefined;
      const text = rank === undefined ? `only in ${this.name}` : `#${rank} in ${other.name}`;
      item.querySelector("h3").append(element("span", {class: rank === undefined ? "other alone" : "other", text}));
    }
    return shared;
  }

  links() {
    return [...this.list.querySelectorAll("a.open")];
  }

  told(seconds) {
    return `${count(this.hits.length, "hit")} in ${seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`}`;
  }
}
