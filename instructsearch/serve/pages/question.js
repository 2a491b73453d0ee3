// The question: everything that is asked and looked at, as plain data and as the address's hash, which can be shared.
// Knows no element and no server.

export const MODES = [["hybrid", "Both"], ["dense", "Meaning"], ["bm25", "Words"]];
export const COUNTS = [5, 10, 20, 50];
export const METHODS = [["tsne", "neighbours (t-SNE)"], ["pca", "directions (PCA)"]];

// `instruction` null is the view's own, "" is none
export function lens(views = [], instruction = null) {
  return {views, instruction};
}

export function blank(collection = "") {
  return {
    collection, query: "", lenses: [lens()], mode: "hybrid", rerank: false, byDocument: false, understand: false, k: 10,
    any: false, filters: [], map: false, method: "tsne", place: null,
  };
}

const VIEWS = ["v", "w"], INSTRUCTIONS = ["i", "j"];

export function format(question) {
  const told = new URLSearchParams();
  const put = (name, value) => { if (value) told.append(name, value === true ? "1" : value); };
  put("c", question.collection);
  put("q", question.query);
  question.lenses.forEach((one, at) => {
    one.views.forEach((view) => told.append(VIEWS[at], view));
    if (one.instruction !== null) told.append(INSTRUCTIONS[at], one.instruction);
  });
  put("compare", question.lenses.length > 1);
  if (question.mode !== "hybrid") put("mode", question.mode);
  put("rerank", question.rerank);
  put("documents", question.byDocument);
  put("understand", question.understand);
  if (question.k !== 10) put("k", String(question.k));
  put("any", question.any);
  question.filters.forEach(({field, operator, value}) => told.append("f", JSON.stringify([field, operator, value])));
  put("map", question.map);
  if (question.method !== "tsne") put("method", question.method);
  if (question.place) {
    put("doc", question.place.document);
    if (question.place.end > question.place.start) put("at", `${question.place.start}-${question.place.end}`);
  }
  return `#${told}`;
}

// Anybody can write an address: what is not understood is left out.
export function parse(hash) {
  const told = new URLSearchParams(hash.replace(/^#/, ""));
  const question = blank(told.get("c") ?? "");
  const read = (at) => lens(told.getAll(VIEWS[at]), told.get(INSTRUCTIONS[at]));
  question.query = told.get("q") ?? "";
  question.lenses = told.has("compare") ? [read(0), read(1)] : [read(0)];
  if (MODES.some(([mode]) => mode === told.get("mode"))) question.mode = told.get("mode");
  question.rerank = told.has("rerank");
  question.byDocument = told.has("documents");
  question.understand = told.has("understand");
  if (COUNTS.includes(Number(told.get("k")))) question.k = Number(told.get("k"));
  question.any = told.has("any");
  question.filters = told.getAll("f").map(row).filter(Boolean);
  question.map = told.has("map");
  if (METHODS.some(([method]) => method === told.get("method"))) question.method = told.get("method");
  if (told.get("doc")) {
    const span = /^(\d+)-(\d+)$/.exec(told.get("at") ?? "");
    question.place = {document: told.get("doc"), start: span ? Number(span[1]) : 0, end: span ? Number(span[2]) : 0};
  }
  return question;
}

function row(written) {
  try {
    const [field, operator, value] = JSON.parse(written);
    if ([field, operator, value].every((one) => typeof one === "string")) return {field, operator, value};
  } catch { /* it is none of ours */ }
  return null;
}

// two questions with the same key have the same hits
export function key(question) {
  return format({...question, map: false, method: "tsne", place: null});
}
