// Documents into a collection: dropped or chosen files, the job that takes them in, and how far it is.
// Knows the service's jobs; what is searched, others know.

import {button, count, element, many, part, said} from "./element.js";

const LOOK = 300;  // milliseconds between two looks at a job
const STATES = {queued: "waiting for its turn", waiting: "waiting for another writer", running: "working", done: "done",
  failed: "failed", interrupted: "interrupted", cancelled: "cancelled"};
const ENDED = new Set(["done", "failed", "interrupted", "cancelled"]);
const SHOWN = 5;   // failures that are listed

export class Uploads {
  // `on.changed` is told the collection that a job has changed; `on.target` says where files go
  constructor(api, on) {
    this.api = api;
    this.on = on;
    this.list = part("jobs");
    this.watched = new Set();
    this.drops();
    part("files").addEventListener("change", (event) => {
      const files = [...event.target.files].map((file) => [file, file.name]);
      event.target.value = "";
      this.send(files);
    });
  }

  choose() {
    if (this.on.target()) part("files").click();
    else this.on.create();
  }

  drops() {
    const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const show = (event) => {
      if (!files(event)) return;
      event.preventDefault();
      const name = this.on.target();
      part("drop-text").textContent = name ? `Drop files to add them to ${name}` : "Make a collection first, then drop files into it";
      part("drop").hidden = false;
    };
    const hide = () => { part("drop").hidden = true; };
    document.addEventListener("dragenter", show);
    document.addEventListener("dragover", show);
    // out of the window, or given up with Escape: nothing is entered instead
    document.addEventListener("dragleave", (event) => { if (event.relatedTarget === null) hide(); });
    // not every end of a drag is told, but while one lasts no pointer moves
    for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, hide);
    document.addEventListener("drop", async (event) => {
      hide();
      if (!files(event)) return;
      event.preventDefault();
      this.send(await dropped(event.dataTransfer));
    });
  }

  async send(files) {
    const name = this.on.target();
    if (!name) { this.on.create(); return; }
    if (!files.length) return;
    const card = this.card(`${count(files.length, "file")} into ${name}`);
    card.stage("sending", 0, null);
    try {
      await this.api.status(name);  // where a token is wanted it is asked for before gigabytes are sent
      const job = await this.api.upload(name, files, (sent, total) => card.stage("sending", sent, total));
      await this.follow(job, card);
    } catch (error) {
      card.failed(error.message);
    }
  }

  // a job that somebody else began
  watch(id, name) {
    if (this.watched.has(id)) return;
    const card = this.card(`Work on ${name}`);
    this.api.get(`/jobs/${id}`).then((job) => this.follow(job, card)).catch((error) => card.failed(error.message));
  }

  async follow(job, card) {
    this.watched.add(job.id);
    card.cancels(async () => {
      const {body} = await this.api.ask(`/jobs/${job.id}`, {method: "DELETE"});
      return body;
    });
    while (!ENDED.has(job.state)) {
      const {stage, done, total} = job.progress ?? {stage: STATES[job.state], done: 0, total: null};
      card.stage(stage, done, total);
      await new Promise((next) => setTimeout(next, LOOK));
      job = await this.api.get(`/jobs/${job.id}`);
    }
    if (job.state === "done") card.done(summary(job), job.failures);
    else card.failed(job.error?.message ?? STATES[job.state], job.state === "cancelled" ? null : async () => {
      await this.follow(await this.api.post(`/jobs/${job.id}/retry`), card);
    });
    this.on.changed(job.collection);
  }

  card(title) {
    const bar = element("progress", {max: 1, "aria-label": title});
    const line = element("p", {class: "line", role: "status"});
    const more = element("div", {class: "row"});
    const box = element("section", {class: "job", "aria-label": title},
      element("header", {}, said(title, "title", "h2"), button("×", () => box.remove(), {class: "plain close", "aria-label": `Hide: ${title}`})),
      bar, line, more);
    this.list.append(box);
    const ended = (state) => { bar.remove(); box.classList.add(state); more.replaceChildren(); };
    return {
      stage(stage, done, total) {
        if (total) { bar.max = total; bar.value = Math.min(done, total); } else bar.removeAttribute("value");
        line.textContent = total ? `${stage}: ${stage === "sending" ? megabytes(done, total) : `${many(done)} of ${many(total)}`}` : `${stage}${done ? `: ${many(done)}` : "…"}`;
        if (!bar.isConnected) line.before(bar);
        box.classList.remove("wrong", "well");
      },
      cancels(does) {
        more.replaceChildren(button("Cancel", (event) => { event.target.disabled = true; does(); }, {class: "plain"}));
      },
      done(text, failures) {
        ended(failures.length ? "wrong" : "well");
        line.textContent = text;
        if (!failures.length) return;
        more.append(element("ul", {class: "failures"}, ...failures.slice(0, SHOWN).map((one) => said(`${one.where}: ${one.reason}`, "", "li")),
          failures.length > SHOWN ? element("li", {text: `and ${many(failures.length - SHOWN)} more`}) : null));
      },
      failed(text, again) {
        ended("wrong");
        line.textContent = text;
        if (again) more.append(button("Try again", again));
      },
    };
  }
}

function megabytes(done, total) {
  return total < 1e6 ? `${many(Math.ceil(done / 1000))} of ${many(Math.ceil(total / 1000))} kB` : `${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`;
}

function summary(job) {
  const counts = job.result?.documents;
  if (!counts) return STATES.done;
  const words = [["added", "added"], ["updated", "updated"], ["unchanged", "unchanged"], ["failed", "not read"]];
  return words.filter(([name]) => counts[name]).map(([name, word]) => `${many(counts[name])} ${word}`).join(", ") || "nothing to add";
}

// Files that were dropped, those in folders too, each with its path below what was dropped.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => [file, file.name]);
  const found = [];
  for (const entry of entries) await gather(entry, found);
  return found;
}

async function gather(entry, found) {
  if (entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    found.push([file, entry.fullPath.replace(/^\//, "")]);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));  // a hundred at a time
    if (!some.length) return;
    for (const one of some) await gather(one, found);
  }
}
