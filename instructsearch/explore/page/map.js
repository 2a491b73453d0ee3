"use strict";
// The page: reads the data, keeps what is shown, found and selected, and shows the same in every map.
// Every text of the data reaches the page as text, never as markup.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const part = (id) => document.getElementById(id);
  const many = (number) => number.toLocaleString("en");
  const count = data.titles.length;

  function element(kind, text, name) {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function said(text, name, kind = "span") {
    const made = element(kind, text, name);
    made.dir = "auto";
    return made;
  }

  // --- state that all maps share

  const state = new Points(data);
  const charts = [];
  const redraw = () => charts.forEach((chart) => chart.redraw());

  // --- what is emphasised: what is found, within what is selected

  function emphasise() {
    state.emphasis = Boolean(state.found || state.selected);
    state.version++;
    for (let i = 0; i < count; i++) state.lit[i] = (!state.found || state.found[i]) && (!state.selected || state.selected[i]) ? 1 : 0;
    redraw();
  }

  let haystack = null;
  function find() {
    const words = part("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    haystack ||= data.titles.map((title, i) => `${title}\n${data.texts[i]}\n${data.documents[i]}`.toLowerCase());
    state.found = words.length ? Uint8Array.from(haystack, (text) => words.every((word) => text.includes(word)) ? 1 : 0) : null;
    const number = state.found ? state.found.reduce((sum, one) => sum + one, 0) : 0;
    part("found").textContent = state.found ? `${many(number)} of ${many(count)}` : "";
    emphasise();
  }

  function step(direction) {
    for (let taken = 1; taken <= count; taken++) {
      const i = (((state.pinned < 0 && direction < 0 ? 0 : state.pinned) + direction * taken) % count + count) % count;
      if (state.shown(i) && (!state.emphasis || state.lit[i])) return pin(i);
    }
  }

  function pin(i) {
    state.pinned = i;
    if (i >= 0) charts.forEach((chart) => chart.reveal(i));
    detail();
    redraw();
  }

  function select(rows, more) {
    if (!rows.length && !more) state.selected = null;
    else {
      if (!more || !state.selected) state.selected = new Uint8Array(count);
      rows.forEach((i) => { state.selected[i] = 1; });
    }
    state.pinned = -1;
    detail();
    emphasise();
  }

  // --- what is said of the pinned point and the selected ones

  function detail() {
    const place = part("detail");
    place.replaceChildren();
    if (state.pinned >= 0) place.append(card(state.pinned));
    if (state.selected) place.append(picked());
  }

  function card(i) {
    const made = element("article");
    made.append(said(data.titles[i] || data.documents[i], "", "h3"), said(data.texts[i], "text", "p"));
    const facts = element("dl");
    facts.append(element("dt", "document"), said(data.documents[i], "", "dd"));
    for (const colouring of data.colourings) {
      facts.append(said(colouring.name, "", "dt"), said(colouring.entries[colouring.numbers[i]].label, "", "dd"));
    }
    data.panels.forEach((panel) => {
      const rank = panel.hits.indexOf(i) + 1;
      if (rank) facts.append(said(`hit in ${panel.view}`, "", "dt"), element("dd", `number ${rank}`));
    });
    made.append(facts);
    return made;
  }

  function picked() {
    const rows = [];
    state.selected.forEach((one, i) => { if (one && state.shown(i)) rows.push(i); });
    const made = element("div", undefined, "picked");
    made.append(element("h3", `${many(rows.length)} of ${many(count)} ${data.noun}s selected, by ${data.colourings[state.colouring].name}`));
    const counts = new Map();
    rows.forEach((i) => counts.set(state.numbers[i], (counts.get(state.numbers[i]) || 0) + 1));
    const share = element("div", undefined, "share");
    [...counts].sort((a, b) => b[1] - a[1]).slice(0, 12).forEach(([entry, number]) => {
      const bar = element("span", undefined, "part");
      bar.style.inlineSize = `${100 * number / rows.length}%`;
      bar.style.background = state.colourOf(state.entries[entry]);
      share.append(said(state.entries[entry].label, "label"), bar, element("span", `${many(number)} (${Math.round(100 * number / rows.length)}%)`));
    });
    const list = element("ol");
    rows.slice(0, 50).forEach((i) => { const item = element("li"); item.append(opener(i)); list.append(item); });
    made.append(share, list);
    if (rows.length > 50) made.append(element("p", `and ${many(rows.length - 50)} more`));
    return made;
  }

  function opener(i) {
    const text = [data.titles[i], data.texts[i]].filter(Boolean).join(": ") || data.documents[i];
    const button = said(text.length > 130 ? `${text.slice(0, 129)}…` : text, "", "button");
    button.type = "button";
    button.addEventListener("click", () => pin(i));
    return button;
  }

  function hover(i, event) {
    const tip = part("tip");
    tip.hidden = i < 0;
    if (i !== state.hover) {
      state.hover = i;
      tip.replaceChildren();
      if (i >= 0) {
        const text = data.texts[i];
        if (data.titles[i]) tip.append(said(data.titles[i], "", "b"));
        tip.append(said(text.length > 180 ? `${text.slice(0, 179)}…` : text), said(state.entries[state.numbers[i]].label, "what"));
      }
      redraw();
    }
    if (i < 0 || !event) return;
    const box = tip.getBoundingClientRect();
    const across = event.clientX + 16 + box.width > window.innerWidth ? event.clientX - box.width - 12 : event.clientX + 16;
    const down = event.clientY + 16 + box.height > window.innerHeight ? event.clientY - box.height - 12 : event.clientY + 16;
    tip.style.left = `${Math.max(4, across)}px`;
    tip.style.top = `${Math.max(4, down)}px`;
  }

  // --- legend and colours

  function colour(number) {
    state.colour(number);
    part("legend-title").textContent = `Legend: ${data.colourings[number].name}`;
    legend();
  }

  function legend() {
    const counts = state.entries.map(() => 0);
    for (const entry of state.numbers) counts[entry]++;
    const list = part("entries");
    list.replaceChildren();
    state.entries.forEach((entry, number) => {
      const button = element("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(!state.hidden[number]));
      button.title = entry.label;
      const swatch = state.sprite(entry, 6, 16, 2);
      swatch.setAttribute("aria-hidden", "true");
      button.append(swatch, said(entry.label, "label"), element("span", many(counts[number]), "count"));
      button.addEventListener("click", () => show((hidden, at) => (at === number ? !hidden : hidden)));
      button.addEventListener("dblclick", () => show((_, at) => at !== number));
      const item = element("li");
      item.append(button);
      list.append(item);
    });
    detail();
    redraw();
  }

  function show(hides) {
    state.version++;
    state.hidden = state.hidden.map(hides);
    part("entries").querySelectorAll("button").forEach((button, at) => button.setAttribute("aria-pressed", String(!state.hidden[at])));
    if (state.pinned >= 0 && !state.shown(state.pinned)) state.pinned = -1;
    detail();
    redraw();
  }

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function theme() {
    const set = document.documentElement.dataset.theme;
    state.paint(set ? set === "dark" : dark.matches);
    part("theme").textContent = `Theme: ${set || "auto"}`;
    if (state.numbers) legend();
  }

  // --- the page

  function figure(panel) {
    const made = element("figure");
    const caption = element("figcaption");
    caption.append(said(`View: ${panel.view}`, "", "h2"));
    caption.append(said(panel.instruction || "without an instruction", panel.instruction ? "instruction" : "instruction none", "p"));
    caption.append(element("p", panel.facts.join(" · "), "facts"));
    const plot = element("div", undefined, "plot");
    const canvas = element("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "map");
    canvas.setAttribute("aria-label", `Map of ${many(count)} ${data.noun}s in view ${panel.view}, ${panel.instruction || "without an instruction"}`);
    const zoom = element("div", undefined, "zoom");
    plot.append(canvas, zoom);
    made.append(caption, plot);
    part("panels").append(made);
    const chart = new Chart(canvas, panel, state);
    new Gestures(chart, {hover, pin, select, step});
    for (const [sign, name, does] of [["+", "Zoom in", () => chart.zoom(1.5)], ["−", "Zoom out", () => chart.zoom(1 / 1.5)], ["⤢", "Show all", () => chart.fit()]]) {
      const button = element("button", sign);
      button.type = "button";
      button.title = name;
      button.setAttribute("aria-label", `${name}, view ${panel.view}`);
      button.addEventListener("click", does);
      zoom.append(button);
    }
    if (panel.hits.length) made.append(hits(panel));
    charts.push(chart);
  }

  function hits(panel) {
    const list = element("ol", undefined, "hits");
    list.setAttribute("aria-label", `Found for the query in view ${panel.view}`);
    panel.hits.forEach((i, at) => {
      const item = element("li");
      item.append(element("span", String(at + 1), "rank"), opener(i));
      list.append(item);
    });
    return list;
  }

  function toggle(id, does) {
    part(id).addEventListener("click", () => {
      const on = part(id).getAttribute("aria-pressed") !== "true";
      part(id).setAttribute("aria-pressed", String(on));
      does(on);
      redraw();
    });
  }

  part("title").textContent = data.name;
  part("summary").textContent = data.summary;
  part("notes").append(...data.notes.map((note) => said(note, "", "li")));
  data.colourings.forEach((colouring, number) => part("colour").append(new Option(colouring.name, number)));
  theme();
  data.panels.forEach(figure);
  colour(0);
  if (window.innerWidth < 640 && state.entries.length > 6) part("legend").open = false;

  let typing = 0;
  part("find").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(find, 120); });
  part("find").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); find(); if (state.found) step(event.shiftKey ? -1 : 1); }
  });
  part("colour").addEventListener("change", (event) => colour(Number(event.target.value)));
  toggle("lasso", (on) => {
    state.lassoing = on;
    charts.forEach((chart) => chart.canvas.classList.toggle("lassoing", on));
  });
  toggle("names", (on) => { state.names = on; });
  part("all").addEventListener("click", () => show(() => false));
  part("none").addEventListener("click", () => show(() => true));
  part("reset").addEventListener("click", () => {
    part("find").value = "";
    Object.assign(state, {pinned: -1, selected: null});
    show(() => false);
    find();
    charts.forEach((chart) => chart.fit());
  });
  part("theme").addEventListener("click", () => {
    const next = {undefined: "dark", dark: "light"}[document.documentElement.dataset.theme];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    theme();
  });
  dark.addEventListener("change", theme);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    hover(-1);
    pin(-1);
    select([], false);
  });
})();
