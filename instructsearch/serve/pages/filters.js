// The rows of filters on the page. Knows elements; what rows mean is known by filter.js.

import {button, element, part} from "./element.js";
import {OPERATORS, complete, needsField, needsValue, takesList} from "./filter.js";

export class Filters {
  constructor(on) {
    this.on = on;
    this.fields = new Set(["title", "type", "path"]);
    this.list = part("filter-rows");
    this.any = part("filter-any");
    part("filter-add").addEventListener("click", () => {
      this.list.append(this.row({field: "", operator: "$eq", value: ""}));
      this.joined();
      this.list.lastElementChild.querySelector("input").focus();
    });
    this.any.addEventListener("change", () => this.on());
  }

  write(rows, any) {
    // what stands as it should is left alone: a hand may be at it
    if (JSON.stringify(rows) !== JSON.stringify(this.read())) this.list.replaceChildren(...rows.map((one) => this.row(one)));
    this.any.value = any ? "any" : "all";
    if (rows.length) part("filters").open = true;
    this.joined();
  }

  read() {
    return [...this.list.children].map((one) => one.given());
  }

  // the names of fields that have been seen are offered
  seen(names) {
    const before = this.fields.size;
    names.forEach((name) => this.fields.add(name));
    if (this.fields.size === before && part("fields").children.length) return;
    part("fields").replaceChildren(...[...this.fields].sort().map((name) => element("option", {value: name})));
  }

  joined() {
    const number = this.read().filter(complete).length;
    part("filter-joined").hidden = this.list.children.length < 2;
    part("filter-count").textContent = number ? String(number) : "";
    part("filter-count").hidden = !number;
  }

  row(given) {
    const told = () => { this.joined(); this.on(); };
    const field = element("input", {type: "text", class: "field", list: "fields", "aria-label": "Field", placeholder: "field",
      value: given.field, autocomplete: "off", spellcheck: "false", on: {change: told}});
    const operator = element("select", {"aria-label": "Comparison", on: {change: () => { fit(); told(); }}},
      ...OPERATORS.map(([name, words]) => element("option", {value: name, text: words, selected: name === given.operator})));
    const value = element("input", {type: "text", class: "value", "aria-label": "Value", value: given.value, autocomplete: "off", on: {change: told}});
    const fit = () => {
      field.disabled = !needsField(operator.value);
      value.disabled = !needsValue(operator.value);
      value.placeholder = takesList(operator.value) ? "one, two, three" : needsField(operator.value) ? "text, number, true" : "words";
    };
    const made = element("li", {}, field, operator, value,
      button("×", () => {
        const next = made.nextElementSibling ?? made.previousElementSibling;
        made.remove();
        (next?.querySelector("input") ?? part("filter-add")).focus();
        told();
      }, {class: "plain gone", "aria-label": "Remove this filter"}));
    made.given = () => ({field: field.value, operator: operator.value, value: value.value});
    fit();
    return made;
  }
}
