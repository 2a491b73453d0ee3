// Elements made in one go. Knows the DOM, and no markup: what is given as text stays text.

const PROPERTIES = new Set(["checked", "disabled", "hidden", "open", "value", "selected", "multiple"]);

export function element(kind, given = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "class") made.className = value;
    else if (name === "on") Object.entries(value).forEach(([event, does]) => made.addEventListener(event, does));
    else if (PROPERTIES.has(name)) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// what somebody else wrote, in whatever direction it is read
export function said(text, name = "", kind = "span") {
  return element(kind, {text, class: name || undefined, dir: "auto"});
}

export function button(text, does, given = {}) {
  return element("button", {type: "button", text, on: {click: does}, ...given});
}

export function part(id) {
  return document.getElementById(id);
}

export function many(number) {
  return number.toLocaleString("en");
}

export function count(number, noun) {
  return `${many(number)} ${noun}${number === 1 ? "" : "s"}`;
}

// text that is told to those who listen; the same text twice is told twice
export function tell(place, text) {
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
}
