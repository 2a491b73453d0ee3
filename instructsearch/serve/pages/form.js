// The form: what is asked, as the user sets it. Knows elements and the question, not what is answered.

import {element, part} from "./element.js";
import {Filters} from "./filters.js";
import {Lens} from "./lens.js";
import {COUNTS, MODES, lens} from "./question.js";

const NARROW = matchMedia("(max-width: 40rem)");  // as in the style: there the form can be folded
const SWITCHES = [["rerank", "rerank"], ["documents", "byDocument"], ["understand", "understand"]];

export class Form {
  // `on.asked` is told that a search is wanted, `on.changed` that something else than the query has changed
  constructor(on) {
    this.on = on;
    this.query = part("query");
    this.filters = new Filters(() => on.changed());
    part("modes").append(...MODES.map(([mode, text]) => element("label", {}, element("input", {type: "radio", name: "mode", value: mode}), element("span", {text}))));
    part("k").append(...COUNTS.map((k) => element("option", {value: String(k), text: String(k)})));
    part("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      on.asked();
    });
    for (const id of ["modes", "k", ...SWITCHES.map(([name]) => name)]) part(id).addEventListener("change", () => on.changed());
    NARROW.addEventListener("change", () => this.fold(false));
    part("compare").addEventListener("click", () => {
      this.comparing = !this.comparing;
      on.changed();
      if (this.comparing) this.lenses[1]?.field.focus();
    });
  }

  write(question, views) {
    this.query.value = question.query;
    this.comparing = question.lenses.length > 1;
    part("compare").setAttribute("aria-pressed", String(this.comparing));
    this.lenses = question.lenses.map((chosen, at) => {
      const made = this.lenses?.[at] ?? new Lens(at, () => this.on.changed());
      made.write(views, chosen, this.comparing);
      if (part("lenses").children[at] !== made.box) part("lenses").append(made.box);
      return made;
    });
    while (part("lenses").children.length > this.lenses.length) part("lenses").lastElementChild.remove();
    part("lenses").className = this.comparing ? "two" : "one";
    part("lenses").hidden = !views.length;
    for (const one of document.getElementsByName("mode")) one.checked = one.value === question.mode;
    for (const [id, name] of SWITCHES) part(id).checked = question[name];
    part("k").value = String(question.k);
    this.filters.write(question.filters, question.any);
    const shown = this.lenses.map((one) => one.read().views.join(" + ")).join(" | ");
    part("refined").textContent = [shown, MODES.find(([mode]) => mode === question.mode)[1].toLowerCase(), ...SWITCHES.filter(([, name]) => question[name]).map(([id]) => id)].join(" · ");
  }

  // where the window is narrow, hits come right below the search field
  fold(away) {
    part("refine").open = !(away && NARROW.matches);
  }

  // the question with what the form says of it
  read(question) {
    const lenses = (this.lenses ?? []).map((one) => one.read());
    if (!lenses.length) lenses.push(lens());
    if (this.comparing && lenses.length < 2) lenses.push(lens(lenses[0].views, null));
    return {
      ...question, query: this.query.value.trim(), lenses: this.comparing ? lenses : lenses.slice(0, 1),
      mode: document.querySelector("[name=mode]:checked")?.value ?? "hybrid", k: Number(part("k").value),
      ...Object.fromEntries(SWITCHES.map(([id, name]) => [name, part(id).checked])),
      any: this.filters.any.value === "any", filters: this.filters.read(),
    };
  }
}
