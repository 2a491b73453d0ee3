// One hit: where it is from, its text with the query's words marked, what is known of it, why it is there.
// Knows a hit and what the page wants to be told; not who asked.

import {button, element, said} from "./element.js";
import {explained} from "./explain.js";
import {pieces} from "./highlight.js";

const LONG = 320;         // characters of a passage beyond which it is folded
const CHIPS = 6;          // fields shown of one hit
const PLACES = ["page", "slide", "heading"];
const TOLD = new Set([...PLACES, "path", "title"]);

// `open` is the address of the passage in its document; `on.filter` is told a field and value to filter by
export function card(hit, {wanted, open, other, views, on}) {
  const name = hit.title || hit.document;
  const link = element("a", {class: "open", href: open, dir: "auto", text: name});
  const made = element("li", {class: "hit", "data-chunk": hit.chunk},
    element("span", {class: "rank"}, element("span", {class: "unseen", text: "Hit "}), String(hit.rank)),
    element("div", {class: "told"},
      element("h3", {}, link, other),
      where(hit), passage(hit.text, wanted), foot(hit, views, on)));
  return made;
}

function where(hit) {
  const told = element("p", {class: "where"});
  const parts = [];
  if (hit.title && hit.title !== hit.document) parts.push(said(hit.document));
  for (const place of PLACES) {
    const value = hit.metadata[place];
    if (value !== undefined && value !== null && value !== "") parts.push(said(place === "heading" ? String(value) : `${place} ${value}`));
  }
  parts.forEach((one, at) => told.append(at ? " · " : "", one));
  return parts.length ? told : null;
}

function passage(text, wanted) {
  const made = element("p", {class: "text", dir: "auto"});
  // what a document keeps apart by blank lines stands together here
  for (const [piece, ours] of pieces(text.replace(/\s*\n\s*/g, "\n").trim(), wanted)) made.append(ours ? element("mark", {text: piece}) : piece);
  if (text.length <= LONG) return made;
  made.classList.add("folded");
  const more = button("Show all of it", () => {
    const folded = made.classList.toggle("folded");
    more.textContent = folded ? "Show all of it" : "Show less";
    more.setAttribute("aria-expanded", String(!folded));
  }, {class: "plain", "aria-expanded": "false"});
  return element("div", {}, made, more);
}

function foot(hit, views, on) {
  const made = element("div", {class: "foot"});
  const why = element("details", {class: "why"}, element("summary", {text: "Why this hit"}));
  why.addEventListener("toggle", () => { if (why.open && why.children.length < 2) why.append(explained(hit)); });
  if (views > 1 && hit.view) made.append(element("span", {class: "fact", text: hit.view.split("+").join(" + ")}));
  const fields = Object.entries(hit.metadata).filter(([name, value]) => !TOLD.has(name) && fit(value));
  for (const [name, value] of fields.slice(0, CHIPS)) {
    const text = `${name}: ${value}`;
    made.append(button(text.length > 42 ? `${text.slice(0, 41)}…` : text, () => on.filter(name, value),
      {class: "chip", dir: "auto", title: `Only hits where ${name} is ${value}`}));
  }
  made.append(why);
  return made;
}

function fit(value) {
  return typeof value === "number" || typeof value === "boolean" || (typeof value === "string" && value !== "" && value.length <= 80);
}
