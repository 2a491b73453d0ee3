"use strict";
// Light or dark, before anything is drawn: as the system has it, or as the user set it here.

{
  const KEY = "instructsearch.theme";
  const kept = localStorage.getItem(KEY);
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;

  const system = matchMedia("(prefers-color-scheme: dark)");
  const told = () => document.dispatchEvent(new CustomEvent("theme"));
  system.addEventListener("change", told);

  window.theme = {
    get set() { return document.documentElement.dataset.theme ?? "auto"; },
    get dark() { return this.set === "auto" ? system.matches : this.set === "dark"; },
    next() {
      const next = {auto: "dark", dark: "light", light: "auto"}[this.set];
      if (next === "auto") {
        delete document.documentElement.dataset.theme;
        localStorage.removeItem(KEY);
      } else {
        document.documentElement.dataset.theme = next;
        localStorage.setItem(KEY, next);
      }
      told();
    },
  };
}
