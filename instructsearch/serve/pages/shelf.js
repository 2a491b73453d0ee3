// The collections: which there are, which one is looked at, and a new one. Knows no hit.

import {count, element, part, said} from "./element.js";

export class Shelf {
  // `on.chosen` is told the name of the collection that is wanted
  constructor(api, on) {
    this.api = api;
    this.on = on;
    this.all = [];
    this.select = part("collection");
    this.select.addEventListener("change", () => {
      if (this.select.value === "") this.create();
      else this.on.chosen(this.select.value);
      this.select.value = this.name ?? "";
    });
  }

  async load() {
    this.all = (await this.api.collections()).collections;
    return this.all;
  }

  write(name) {
    this.name = name;
    const options = this.all.map((one) => element("option", {value: one.collection, selected: one.collection === name,
      text: one.error ? `${one.collection} (cannot be read)` : `${one.collection} (${count(one.documents, "document")})`}));
    if (!this.all.some((one) => one.collection === name)) options.unshift(element("option", {value: name, text: name || "none yet", selected: true, disabled: true}));
    this.select.replaceChildren(...options, element("option", {value: "", text: "New collection…"}));
  }

  create() {
    const dialog = part("create");
    const name = element("input", {id: "create-name", type: "text", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,99}",
      autocomplete: "off", spellcheck: "false", "aria-describedby": "create-hint"});
    const instruction = element("input", {id: "create-instruction", type: "text", dir: "auto", autocomplete: "off", maxlength: 10000,
      placeholder: "Represent the ticket by what it asks for:"});
    const wrong = element("p", {class: "wrong", role: "alert"});
    const form = element("form", {method: "dialog"},
      element("h2", {id: "create-title", text: "New collection"}),
      element("label", {for: "create-name", text: "Name"}), name,
      element("p", {class: "hint", id: "create-hint", text: "Letters, digits, dots, dashes and underscores."}),
      element("label", {for: "create-instruction", text: "What makes two documents similar? (optional)"}), instruction,
      element("p", {class: "hint", text: "The instruction of its first view. More views can be added later; no document is read again for them."}),
      wrong,
      element("div", {class: "row end"}, element("button", {type: "button", text: "Cancel", on: {click: () => dialog.close()}}),
        element("button", {class: "main", text: "Make it"})));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await this.api.post("/collections", {name: name.value, instruction: instruction.value.trim()});
      } catch (error) {
        wrong.replaceChildren(said(error.message));
        return;
      }
      dialog.close();
      await this.load();
      this.on.chosen(name.value);
    });
    dialog.replaceChildren(form);
    dialog.showModal();
    name.focus();
  }
}
