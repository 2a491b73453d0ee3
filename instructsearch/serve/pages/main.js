// The page: puts its parts together. The address says what is shown; whatever changes that goes through the address.

import {Api} from "./api.js";
import {Atlas} from "./atlas.js";
import {Column} from "./column.js";
import {button, element, part, said, tell} from "./element.js";
import {complete, dictionary, written} from "./filter.js";
import {Form} from "./form.js";
import {stems} from "./highlight.js";
import {keys} from "./keys.js";
import {blank, format, key, parse} from "./question.js";
import {Reader} from "./reader.js";
import {Shelf} from "./shelf.js";
import {Token} from "./token.js";
import {Uploads} from "./uploads.js";

const api = new Api(new Token());
let question = blank();
let status = null;          // of the collection, as the service tells it
let answered = null;        // the key of the question whose hits are shown
let columns = [];
let stop = null;

const views = () => (status?.views ?? []).filter((view) => view.ready);

// --- the address

function go(next, {replace = false} = {}) {
  const hash = format(next);
  if (hash === location.hash) { follow(); return; }
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  follow();
}

async function follow() {
  const before = question;
  question = parse(location.hash);
  if (!shelf.all.length || before.collection !== question.collection || !status) {
    if (!await choose()) return;
  }
  part("ask").hidden = false;
  form.write(question, views());
  document.title = [question.query, question.collection, "instructsearch"].filter(Boolean).join(" · ");
  search();
  look();
  read();
}

// Find out what there is of the collection that is wanted; false where there is none to look at.
async function choose() {
  status = null;
  answered = null;
  try {
    if (!shelf.all.length) await shelf.load();
    const wanted = question.collection || (shelf.all.find((one) => one.documents) ?? shelf.all.find((one) => !one.error))?.collection;
    if (!wanted) { empty(); return false; }
    const found = await api.status(wanted);
    if (!question.collection) {
      question.collection = wanted;
      history.replaceState(null, "", format(question));
    }
    if (question.collection !== wanted) return false;
    status = found;
  } catch (error) {
    shelf.write(question.collection);
    unreachable(error);
    return false;
  }
  shelf.write(status.collection);
  if (status.job) uploads.watch(status.job, status.collection);
  return true;
}

function notice(...told) {
  columns = [];
  part("ask").hidden = true;
  part("told").textContent = "";
  atlas.hide();
  part("columns").replaceChildren(element("div", {class: "notice"}, ...told));
}

function empty() {
  shelf.write("");
  notice(element("p", {class: "lead", text: "There is no collection yet"}),
    element("p", {text: "Make one here and drop files into it, or index a folder on the server:"}),
    element("pre", {}, element("code", {text: "instructsearch index FOLDER -c NAME"})),
    button("New collection", () => shelf.create(), {class: "main"}));
}

function unreachable(error) {
  const others = shelf.all.filter((one) => one.collection !== question.collection && !one.error);
  const gone = error.status === 404;
  notice(element("p", {class: "lead", text: gone ? "There is no such collection" : "This collection cannot be looked at"}),
    element("div", {role: "alert"}, said(gone ? `This server has no collection “${question.collection}”. Choose another one, or make it.` : error.message, "", "p")),
    element("div", {class: "row"}, button("Try again", () => { shelf.all = []; follow(); }),
      ...others.slice(0, 5).map((one) => button(one.collection, () => go(blank(one.collection)), {class: "plain"}))));
}

// --- searching

function asked(lens) {
  return {
    query: question.query, views: lens.views.filter((name) => views().some((view) => view.view === name)), instruction: lens.instruction,
    mode: question.mode, k: question.k, by_document: question.byDocument, understand: question.understand,
    where: dictionary(question.filters, question.any), explain: true, ...(question.rerank ? {rerank: true} : {}),
  };
}

async function search() {
  const wanted = key(question);
  if (wanted === answered) return;
  answered = wanted;
  stop?.abort();
  stop = new AbortController();
  const two = question.lenses.length > 1;
  if (!question.query) { idle(); return; }
  const mine = question.lenses.map((_, at) => new Column(two ? "AB"[at] : "", on));
  columns = mine;
  part("columns").className = two ? "two" : "one";
  part("columns").replaceChildren(...mine.map((one) => one.box));
  tell(part("told"), "Searching…");
  const seconds = await Promise.all(mine.map((column, at) => fill(column, question.lenses[at], stop.signal)));
  if (columns !== mine) return;
  summarise(seconds);
  form.fold(true);
  look();
  if (question.place) read();
}

async function fill(column, lens, signal) {
  const name = lens.views.join(" + ") || views()[0]?.view || "";
  const own = lens.views.length === 1 && views().find((view) => view.view === lens.views[0]);
  column.title(name, lens.instruction ?? (own && own.query_instruction) ?? "");
  column.waiting();
  try {
    const answer = await api.search(question.collection, asked(lens), signal);
    const hits = answer.hits;
    if (!hits.length) {
      column.hits = [];
      column.list.replaceChildren();
      column.nothing(status, question.filters.some(complete));
    } else {
      column.show(hits, {wanted: stems(question.query, question.understand), views: lens.views.length,
        open: (hit) => format({...question, place: {document: hit.document, start: hit.start, end: hit.end}})});
    }
    form.filters.seen(hits.flatMap((hit) => Object.keys(hit.metadata)));
    return answer.seconds;
  } catch (error) {
    if (error.name === "AbortError") return null;
    column.failed(error, () => { answered = null; search(); });
    return null;
  }
}

function summarise(seconds) {
  const [a, b] = columns;
  if (seconds.some((one) => one === null)) { tell(part("told"), "The search did not work."); return; }
  if (!b) { tell(part("told"), a.told(seconds[0])); return; }
  const shared = a.compare(b);
  b.compare(a);
  tell(part("told"), `${shared} of ${a.hits.length} hits of A are also in B. A: ${a.told(seconds[0])}. B: ${b.told(seconds[1])}.`);
}

function idle() {
  columns = [];
  part("told").textContent = "";
  const {documents, chunks} = status;
  part("columns").className = "one";
  part("columns").replaceChildren(documents
    ? element("div", {class: "notice calm"}, element("p", {class: "lead", text: `${documents.toLocaleString("en")} documents, ${chunks.toLocaleString("en")} passages`}),
      element("p", {text: "Choose a view, say what you are looking for, and press Enter. “Map” shows what the view puts together."}))
    : element("div", {class: "notice"}, element("p", {class: "lead", text: `${status.collection} is empty`}),
      element("p", {text: "Drop files anywhere on this page: text, Markdown, HTML, PDF, DOCX, PPTX, CSV, JSONL and more."}),
      button("Add documents", () => uploads.choose(), {class: "main"})));
}

// --- the map and the reader

function look() {
  const button = part("show-map");
  button.setAttribute("aria-pressed", String(question.map));
  part("answer").classList.toggle("mapped", question.map && Boolean(views().length));
  if (!question.map || !views().length) { atlas.hide(); return; }
  atlas.show(question, question.lenses.map((lens, at) => [
    "AB"[at], lens.views.find((name) => views().some((view) => view.view === name)) ?? views()[0].view, columns[at]?.hits ?? [],
  ]));
}

function read() {
  if (!question.place) { reader.close(); return; }
  const spans = columns.flatMap((column) => column.hits).filter((hit) => hit.document === question.place.document)
    .map(({start, end}) => ({start, end}));
  const once = [...new Map(spans.map((span) => [`${span.start}-${span.end}`, span])).values()].sort((a, b) => a.start - b.start);
  reader.open(question.collection, question.place, once);
}

// a point of the map: a hit says where it is, of others the passage is looked up
async function open({hit, document, chunk}) {
  if (hit) { go({...question, place: {document: hit.document, start: hit.start, end: hit.end}}); return; }
  try {
    const passage = (await api.document(question.collection, document)).passages.find((one) => one.chunk === chunk);
    go({...question, place: {document, start: passage?.start ?? 0, end: passage?.end ?? 0}});
  } catch (error) {
    tell(part("told"), error.message);
  }
}

async function changed(name) {
  if (name !== question.collection) return;
  await shelf.load().catch(() => {});
  if (await choose()) {
    form.write(form.read(question), views());
    search();
    atlas.changed();
  }
}

// --- the parts

const on = {
  filter(name, value) {
    const row = {field: name, operator: "$eq", value: written(value)};
    if (!question.filters.some((one) => one.field === name && one.operator === "$eq" && one.value === row.value)) go({...question, filters: [...question.filters, row]});
  },
  unfilter: () => go({...question, filters: []}),
};
const form = new Form({
  asked: () => { answered = null; go(form.read(question)); },
  changed: () => go(form.read(question), {replace: !question.query}),
});
const shelf = new Shelf(api, {chosen: (name) => go({...blank(name), query: form.query.value.trim()})});
const uploads = new Uploads(api, {changed, target: () => status?.collection ?? "", create: () => shelf.create()});
const reader = new Reader(api, {
  closed: () => go({...question, place: null}),
  moved: (place) => go({...question, place}, {replace: true}),
});
export const atlas = new Atlas(api, {
  open,
  method: (method) => go({...question, method}, {replace: true}),
  close: () => { go({...question, map: false}, {replace: true}); part("show-map").focus(); },
});
const why = (hit) => {
  const told = hit?.querySelector(".why");
  if (told) told.open = !told.open;
};
keys({columns: () => columns.map((one) => one.links()), on: {why, search: () => { part("query").focus(); part("query").select(); }}});

part("add").addEventListener("click", () => uploads.choose());
part("show-map").addEventListener("click", () => go({...form.read(question), map: !question.map}, {replace: true}));
part("skip").addEventListener("click", (event) => { event.preventDefault(); part("answer").focus(); });
const told = () => { part("theme").textContent = `Theme: ${window.theme.set}`; };
part("theme").addEventListener("click", () => window.theme.next());
document.addEventListener("theme", told);
told();
for (const [enter, leave] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
  part("columns").addEventListener(enter, (event) => atlas.point(Number(event.target.closest(".hit")?.dataset.chunk ?? -1)));
  part("columns").addEventListener(leave, () => atlas.point(-1));
}
form.write(question, []);
window.addEventListener("popstate", follow);
window.addEventListener("hashchange", () => { if (format(question) !== location.hash) follow(); });
follow();
