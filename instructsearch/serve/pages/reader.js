// The reader: a document's whole text, opened at a passage. Knows the service's documents, not how they were found.

import {button, count, element, part, said} from "./element.js";

export class Reader {
  // `on.closed` is told when the user leaves, `on.moved` when another passage of the document is wanted
  constructor(api, on) {
    this.api = api;
    this.on = on;
    this.dialog = part("reader");
    this.shown = null;
    this.dialog.addEventListener("close", () => { if (this.shown) { this.shown = null; this.on.closed(); } });
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.dialog.close(); });
  }

  close() {
    this.shown = null;
    this.dialog.close();
  }

  // `spans` are the places of all hits in this document
  async open(collection, place, spans) {
    const key = JSON.stringify([collection, place]);
    if (key === this.shown) return;
    this.shown = key;
    if (!this.dialog.open) this.dialog.showModal();
    if (this.document?.id !== place.document || this.collection !== collection) {
      this.frame(place.document, element("p", {class: "waiting", role: "status", text: "Reading the document…"}));
      try {
        const found = await this.api.document(collection, place.document);
        if (this.shown !== key) return;
        [this.document, this.collection] = [found, collection];
      } catch (error) {
        if (this.shown !== key) return;
        this.frame(place.document, element("div", {class: "notice wrong", role: "alert"}, said(error.message, "", "p"),
          button("Try again", () => { this.shown = null; this.open(collection, place, spans); })));
        return;
      }
    }
    this.show(place, spans);
  }

  frame(title, ...body) {
    this.dialog.replaceChildren(
      element("div", {class: "bar"}, element("h2", {id: "reader-title", dir: "auto", text: title}),
        button("×", () => this.dialog.close(), {class: "plain close", "aria-label": "Close the document"})),
      ...body.filter(Boolean));
  }

  show(place, spans) {
    const {title, id, text, metadata, passages} = this.document;
    const [start, end] = units(text, place.start, place.end);
    const mark = end > start ? element("mark", {id: "here", tabindex: "-1", text: text.slice(start, end)}) : null;
    const body = element("div", {class: "document", dir: "auto", tabindex: "0", role: "region", "aria-label": "Text of the document"},
      text.slice(0, start), mark, text.slice(mark ? end : start));
    const facts = element("p", {class: "where"}, title ? said(id) : null, title ? " · " : null, count(passages.length, "passage"));
    const fields = Object.entries(metadata).filter(([, value]) => value !== null && typeof value !== "object" && value !== "");
    const more = fields.length ? element("details", {}, element("summary", {text: "What is known of it"}),
      element("dl", {}, ...fields.flatMap(([name, value]) => [element("dt", {text: name, dir: "auto"}), element("dd", {text: String(value), dir: "auto"})]))) : null;
    this.frame(title || id, facts, more, this.steps(place, spans), body);
    if (!mark) return;
    mark.scrollIntoView({block: "center", behavior: "instant"});
    mark.focus({preventScroll: true});
  }

  steps(place, spans) {
    const at = spans.findIndex((one) => one.start === place.start && one.end === place.end);
    if (spans.length < 2 || at < 0) return null;
    const to = (number) => () => this.on.moved({document: place.document, ...spans[number]});
    return element("p", {class: "row steps"},
      button("‹ Hit before", to(at - 1), {disabled: at === 0}),
      element("span", {text: `${at + 1} of ${spans.length} hits in this document`}),
      button("Next hit ›", to(at + 1), {disabled: at === spans.length - 1}));
  }
}

// The service counts characters, and strings here count halves of those beyond the first 65,536.
export function units(text, ...points) {
  const found = [];
  let unit = 0, point = 0;
  for (const wanted of points) {
    while (point < wanted && unit < text.length) {
      unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
      point += 1;
    }
    found.push(unit);
  }
  return found;
}
