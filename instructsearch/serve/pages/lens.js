// A lens: which views are searched, each with its instruction in words, and what the query is embedded under.
// Knows views as the service tells them, not the hits.

import {element, said} from "./element.js";
import {lens} from "./question.js";

export class Lens {
  constructor(number, on) {
    this.name = "AB"[number];
    this.on = on;
    this.views = [];
    this.box = element("fieldset", {class: `lens ${this.name.toLowerCase()}`});
  }

  // `views` are the finished ones; what is chosen of them is `chosen`
  write(views, chosen, compared) {
    const picked = new Set(chosen.views.filter((name) => views.some((one) => one.view === name)));
    if (!picked.size && views.length) picked.add(views[0].view);
    // what stands as it should is left alone: a hand may be at it
    const shown = JSON.stringify([views, compared]);
    const wanted = lens(views.map((one) => one.view).filter((name) => picked.has(name)), chosen.instruction);
    if (shown === this.shown && JSON.stringify(this.read()) === JSON.stringify(wanted)) return;
    this.shown = shown;
    this.views = views;
    const id = (what) => `${what}-${this.name}`;
    this.field = element("input", {id: id("instruction"), type: "text", autocomplete: "off", dir: "auto", maxlength: 10000,
      value: chosen.instruction ?? "", disabled: chosen.instruction === "", "aria-describedby": id("hint"), on: {change: this.on}});
    this.none = element("input", {type: "checkbox", checked: chosen.instruction === "", on: {change: () => {
      this.field.disabled = this.none.checked;
      this.on();
    }}});
    this.boxes = views.map((one) => element("input", {type: "checkbox", name: id("view"), value: one.view,
      checked: picked.has(one.view), on: {change: (event) => this.chosen(event)}}));
    const cards = views.map((one, at) => element("label", {class: "view"}, this.boxes[at], element("span", {},
      said(one.view, "name"),
      said(one.instruction || "without an instruction", one.instruction ? "words" : "words none"))));
    this.hint = element("p", {id: id("hint"), class: "hint"});
    this.box.replaceChildren(
      element("legend", {}, compared ? element("span", {class: `badge ${this.name.toLowerCase()}`, text: this.name}) : null,
        compared ? ` Lens ${this.name}` : "Similar in which way?"),
      element("div", {class: "parts"},
        element("div", {}, element("p", {class: "over", text: views.length > 1 ? "Views; several are fused by rank" : "View"}), element("div", {class: "views"}, ...cards)),
        element("div", {}, element("label", {class: "over", for: id("instruction"), text: "Instruction for the query"}),
          element("div", {class: "instruct"}, this.field,
            element("label", {class: "switch"}, this.none, element("span", {text: "without any"}))),
          this.hint)));
    this.describe();
  }

  // at least one view stays chosen
  chosen(event) {
    if (!this.boxes.some((one) => one.checked)) event.target.checked = true;
    this.describe();
    this.on();
  }

  describe() {
    const one = this.views.find((view) => view.view === this.read().views[0]);
    const own = one?.query_instruction ?? "";
    this.field.placeholder = own || "no instruction";
    this.hint.textContent = own ? "Left empty, it is the view’s own, shown in grey." : "Left empty, there is none; say here what should count.";
  }

  read() {
    const views = this.boxes.filter((one) => one.checked).map((one) => one.value);
    const text = this.field.value.trim();
    return lens(views, this.none.checked ? "" : text || null);
  }
}
