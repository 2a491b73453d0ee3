// What keys do on the whole page. Knows links to walk through and what the page wants to be told.

const WRITING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";

// `columns` gives the links of each column; `on.search` and `on.why` are told what is wanted
export function keys({columns, on}) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const {target} = event;
    const search = target.id === "query";
    if (event.key === "Escape" && target !== document.body) {
      if (search && target.value) return;  // the browser empties the field
      target.blur();
      return;
    }
    if (target.matches(WRITING) && !(search && event.key === "ArrowDown")) return;
    if (target.closest?.("canvas, summary, .legend")) return;
    const does = {
      "/": on.search,
      ArrowDown: () => walk(columns(), 1), ArrowUp: () => walk(columns(), -1) || on.search(),
      ArrowLeft: () => aside(columns(), -1), ArrowRight: () => aside(columns(), 1),
      w: () => on.why(document.activeElement.closest(".hit")),
    }[event.key];
    if (!does || (target.matches("[type=radio]") && event.key !== "/")) return;
    event.preventDefault();
    does();
  });
}

function place(columns) {
  const hit = document.activeElement.closest?.(".hit");
  const at = columns.findIndex((links) => links.some((link) => hit?.contains(link)));
  return [Math.max(0, at), at < 0 ? -1 : columns[at].findIndex((link) => hit.contains(link))];
}

function walk(columns, way) {
  const [column, row] = place(columns);
  return focus(columns[column]?.[row + way]);
}

function aside(columns, way) {
  const [column, row] = place(columns);
  const next = columns[column + way];
  return next?.length ? focus(next[Math.min(Math.max(0, row), next.length - 1)]) : false;
}

function focus(link) {
  if (!link) return false;
  link.focus();
  link.closest(".hit").scrollIntoView({block: "nearest"});
  return true;
}
