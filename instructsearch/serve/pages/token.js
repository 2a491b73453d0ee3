// The bearer token: asked for when the server wants one, kept until the tab is closed. Knows nothing of what it opens.

import {element, part} from "./element.js";

const KEY = "instructsearch.token";

export class Token {
  constructor() {
    this.value = sessionStorage.getItem(KEY);
    this.asking = null;
  }

  // Ask once for all who were refused; true when there is another token to try than the one that was `used`.
  async wanted(used) {
    if (this.value && this.value !== used) return true;
    this.asking ??= this.ask(Boolean(used)).finally(() => { this.asking = null; });
    return this.asking;
  }

  ask(wrong) {
    const dialog = part("token");
    const form = element("form", {method: "dialog"});
    const field = element("input", {id: "token-field", type: "password", autocomplete: "current-password", required: true,
      "aria-describedby": "token-why", "aria-invalid": wrong ? "true" : undefined});
    const why = wrong
      ? "That is not the server's token. It is what the server was started with."
      : "The server was started with --token or $INSTRUCTSEARCH_TOKEN, and answers who shows it. It is kept until you close this tab.";
    form.append(
      element("h2", {id: "token-title", text: wrong ? "Wrong token" : "This server wants its token"}),
      element("p", {id: "token-why", text: why, class: wrong ? "wrong" : undefined}),
      element("label", {for: "token-field", text: "Token"}), field,
      element("div", {class: "row end"},
        element("button", {type: "button", text: "Cancel", on: {click: () => dialog.close("")}}),
        element("button", {class: "main", value: "show", text: "Show it"})),
    );
    dialog.replaceChildren(form);
    dialog.returnValue = "";
    dialog.showModal();
    field.focus();
    return new Promise((done) => {
      dialog.addEventListener("close", () => {
        const given = field.value.trim();
        const shown = dialog.returnValue === "show" && given !== "";
        if (shown) {
          this.value = given;
          sessionStorage.setItem(KEY, given);
        } else if (wrong) {
          this.value = null;
          sessionStorage.removeItem(KEY);
        }
        done(shown);
      }, {once: true});
    });
  }
}
