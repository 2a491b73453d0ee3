// Why a hit is where it is: its rank and score at every stage, under which instructions, filters and indexes, how fast.
// Knows the service's explanation and nothing of how it is made.

import {element, said} from "./element.js";

const STAGES = {bm25: "words (BM25)", fusion: "fused by rank", rerank: "reranker"};
const shown = (score) => (Math.abs(score) >= 1000 ? score.toFixed(0) : Number(score.toPrecision(4)).toString());

export function explained(hit) {
  const told = hit.explain;
  const made = element("div", {class: "explain"});
  if (!told) {
    made.append(element("p", {text: "The server gave no explanation."}));
    return made;
  }
  made.append(stages(told.stages ?? {}), facts(told, hit));
  return made;
}

function stages(told) {
  const body = element("tbody");
  for (const [name, {rank, score}] of Object.entries(told)) {
    body.append(element("tr", {},
      element("th", {scope: "row"}, STAGES[name] ? STAGES[name] : said(`view ${name}`)),
      element("td", {text: `#${rank}`}), element("td", {text: shown(score)})));
  }
  const head = ["Stage", "Rank", "Score"].map((text) => element("th", {scope: "col", text}));
  return element("table", {}, element("caption", {class: "unseen", text: "Rank and score at each stage that saw this passage"}),
    element("thead", {}, element("tr", {}, ...head)), body);
}

function facts(told, hit) {
  const list = element("dl");
  const put = (name, ...values) => list.append(element("dt", {text: name}), element("dd", {}, ...values));
  for (const [view, both] of Object.entries(told.instructions ?? hit.instructions ?? {})) {
    put(`${view}, documents`, said(both.document || "no instruction", both.document ? "" : "none"));
    put(`${view}, query`, said(both.query || "no instruction", both.query ? "" : "none"));
  }
  if (told.filters && Object.keys(told.filters).length) put("filter", element("code", {text: JSON.stringify(told.filters)}));
  for (const [view, index] of Object.entries(told.index ?? {})) {
    const how = index.exact ? "every vector compared" : `approximate: ${index.spec}`;
    put(`${view}, index`, `${how}${index.vectors === undefined ? "" : `, ${index.vectors.toLocaleString("en")} vectors`}`);
  }
  if (hit.rerank) put("reranker", `${hit.rerank.name}, from #${hit.rerank.rank}, ${hit.rerank.takes_instruction ? "told the instruction" : "takes no instruction"}`);
  const times = Object.entries(told.milliseconds ?? {});
  if (times.length) put("time", times.map(([stage, ms]) => `${stage} ${shown(ms)} ms`).join(" · "));
  return list;
}
