// One document: the panel beside the table, opened by `#FILE_ID` in the address.
import { ask, now } from "./api.js";
import { act, confirm } from "./dialogs.js";
import { described, redraw } from "./draw.js";
import { results } from "./results.js";
import { badge, isFinal, millis, moment, named, newer, short } from "./words.js";
import { sums, timeline } from "./timeline.js";
import { bytes, count, element, instant, write } from "./units.js";

const REFRESH_MS = 800, CLOCK_MS = 1000;
const LOG_LINES = 200;
const WIDE = new Set(["Media type", "FileID (SHA-256)", "Task"]);
const byId = (id) => document.getElementById(id);

export class Panel {
  /** `changed(document)` is told of what was done here, by whom `by()` says; `closed` is called when it is shut. */
  constructor({ changed, closed, by }) {
    Object.assign(this, { changed, closed, by, id: null, turn: 0 });
    byId("document-close").addEventListener("click", () => closed());
    byId("retry").addEventListener("click", () => this.act("retry"));
    byId("cancel").addEventListener("click", () => this.act("cancel"));
    addEventListener("keydown", (event) => { if (event.key === "Escape" && this.id && !document.querySelector("dialog[open]") && !event.target.matches("input")) closed(); });
    setInterval(() => { if (this.shown && !isFinal(this.shown.state)) this.steps(); }, CLOCK_MS);
  }

  /** Opens a document, or shuts the panel. */
  open(id) {
    if (id === this.id) return;
    Object.assign(this, { id, shown: null });
    this.turn += 1;
    byId("document").hidden = id === null;
    document.body.classList.toggle("with-drawer", id !== null);
    if (id === null) return;
    this.trouble(null);
    for (const part of ["document-facts", "document-state", "timeline", "log", "results-body"]) { byId(part).replaceChildren(); delete byId(part).dataset.key; }
    delete byId("results-body").dataset.of;
    for (const part of ["retry", "cancel", "results", "results-link", "document-error"]) byId(part).hidden = true;
    byId("document-title").replaceChildren("…");
    byId("document").querySelector(".drawer-body").scrollTop = 0;
    const path = `/v1/documents/${encodeURIComponent(id)}`;
    byId("contents").href = `${path}/contents`;
    byId("results-link").href = `${path}/results`;
    byId("document-title").focus({ preventScroll: true });
    this.refresh();
  }

  trouble(text) {
    byId("document-trouble").hidden = !text;
    write("document-trouble", text ?? "");
  }

  /** It has changed: its steps and its log may have, too. */
  hear(document) {
    if (document.file_id !== this.id) return;
    if (this.shown && newer(document, this.shown)) this.draw({ ...this.shown, ...document, steps: this.shown.steps });
    this.soon();
  }

  soon() {
    if (this.id) this.later ??= setTimeout(() => { this.later = undefined; this.refresh(); }, REFRESH_MS);
  }

  async refresh() {
    if (!this.id) return;
    this.turn += 1;
    const turn = this.turn;
    const path = `/v1/documents/${encodeURIComponent(this.id)}`;
    try {
      const [document, { log }] = await Promise.all([ask(path), ask(`${path}/log`)]);
      if (turn !== this.turn) return;
      this.trouble(null);
      // The view is a moment behind the stream, or behind what was just done here: it is asked again until it is not.
      const behind = this.shown && !newer(document, this.shown);
      this.draw(behind ? { ...this.shown, steps: document.steps } : document);
      lines(log);
      if (behind) this.soon();
    } catch (error) {
      if (turn !== this.turn) return;
      if (!this.shown) byId("document-title").replaceChildren(error.status === 404 ? "No such document" : "This document cannot be shown");
      this.trouble(error.message);
    }
  }

  draw(document) {
    this.shown = document;
    if (byId("document-title").textContent !== document.name) byId("document-title").replaceChildren(named(document.name));
    const step = document.step && (document.state === "PROCESSING" || document.state === "ERROR") ? ` in ${document.step}` : "";
    redraw("document-state", [document.state, step], () => [badge(document.state), element("span", { class: "fine" }, step)]);
    byId("document-error").hidden = !document.error || document.state !== "ERROR";
    write("document-error", document.error ? `${document.step ? `${document.step}: ` : ""}${document.error}` : "");
    byId("retry").hidden = document.state !== "ERROR";
    byId("cancel").hidden = isFinal(document.state);
    const list = facts(document);
    redraw("document-facts", list, () => described(list.map(([name, value]) => [name, named(value)]), (name) => ({ class: WIDE.has(name) ? "wide" : undefined })));
    this.steps();
    const done = document.state === "DONE" && Boolean(document.result);
    byId("results").hidden = byId("results-link").hidden = !done;
    if (done) results(document, byId("results-body"), () => this.id === document.file_id);
  }

  steps() {
    const { shown } = this;
    const ticking = shown.state === "PROCESSING" ? Math.floor(now() / CLOCK_MS) : 0;
    redraw("timeline", [shown.steps, shown.state, shown.step, shown.attempt, ticking], () => timeline(shown, now()));
  }

  async act(action) {
    const { id, by } = this;
    const question = action === "retry"
      ? ["Process it once more?", "It goes to the back of the queue and all its steps run again.", "Retry"]
      : ["Cancel it?", "It becomes ERROR, “cancelled”. A worker that has it is told to stop. It can be retried later.", "Cancel it"];
    if (!(await confirm(...question))) return;
    const button = byId(action);
    button.disabled = true;
    try {
      const { document } = await act(`/v1/documents/${encodeURIComponent(id)}/${action}`, by());
      if (this.id === id) this.trouble(null);
      // It has the revision of the row that was acted on, and is newer than that and older than what the stream will say.
      this.changed({ ...document, revision: document.revision + 0.5 });
    } catch (error) {
      if (this.id === id) { await this.refresh(); this.trouble(`It was not ${action === "retry" ? "retried" : "cancelled"}: ${error.message}`); }
    } finally {
      button.disabled = false;
    }
  }
}

function facts(document) {
  const queued = moment(document.leased_at) - moment(document.queued_at);
  const worked = isFinal(document.state) ? moment(document.changed_at) - moment(document.leased_at) : NaN;
  const list = [
    ["Owner", document.owner], ["Type", short(document.type)],
    ["Size", `${bytes(document.bytes)} (${count(document.bytes)} B)`], ["Uploaded", `${instant(document.uploaded_at)} UTC`], ["State since", `${instant(document.changed_at)} UTC`],
    ["In the queue", queued >= 0 ? millis(queued) : "–"], ["In work", worked >= 0 ? millis(worked) : "–"], ["Worker", document.worker ?? "–"],
    ["Leases", count(document.attempt ?? 0)], ["Steps in all", sums(document) ?? "–"],
    ...(document.duplicates ? [["Uploaded again", `${count(document.duplicates)} ${document.duplicates === 1 ? "time" : "times"}, told to be a duplicate`]] : []),
    ...(document.infrastructure_failures ? [["Infrastructure failures", `${count(document.infrastructure_failures)} leases lost or given back`]] : []),
    ["Media type", document.type], ["FileID (SHA-256)", document.file_id], ["Task", document.task_id ?? "–"],
  ];
  return list.map(([name, value]) => [name, String(value ?? "–")]);
}

function lines(log) {
  const shown = [...log].sort((a, b) => b.seq - a.seq).slice(0, LOG_LINES);
  redraw("log", shown, () => [
    ...shown.map((line) => element("li", {}, element("time", { datetime: new Date(moment(line.at)).toISOString() }, instant(line.at)),
      element("strong", { class: `event ${line.state}` }, line.event),
      element("span", {}, named(line.message ?? ""), ...(line.worker ? [element("small", {}, named(line.worker), line.attempt ? `, lease ${line.attempt}` : "")] : [])))),
    ...(log.length > shown.length ? [element("li", { class: "fine" }, `and ${count(log.length - shown.length)} earlier lines`)] : []),
  ]);
}
