// What came and went by the hour, and how long it took: from the views that the pipeline's jobs make.
import { Problem } from "./api.js";
import { micros, millis, moment, short } from "./words.js";
import { bytes, clock, count, day, element, exact, write } from "./units.js";

const EVERY_MS = 10000, HOUR_MS = 3600000;
const HOURS = 24, HOUR_ROWS = 12, STEP_ROWS = 30;
const HOURLY = "documents.hourly", STEPS = "documents.steps_hourly";
const byId = (id) => document.getElementById(id);

export class Figures {
  constructor() {
    this.follow();
    new ResizeObserver(() => this.chart()).observe(byId("figures-chart"));
  }

  async follow() {
    for (;;) {
      if (!document.hidden && !(await this.refresh())) return;
      await new Promise((done) => setTimeout(done, EVERY_MS));
    }
  }

  /** False where no views are served at all: then there is nothing to ask for again, and no page of views to lead to. */
  async refresh() {
    const from = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS - (HOURS - 1) * HOUR_MS).toISOString();
    try {
      const served = await answer("/v1/views");
      if (served === null) {
        for (const link of document.querySelectorAll('[data-of="query"]')) link.hidden = true;
        document.querySelector(".brand").href = "/documents";
        return false;
      }
      const has = (name) => served.views.some(({ view }) => view === name);
      byId("figures-card").hidden = false;
      this.hours(has(HOURLY) ? await rowsOf(HOURLY, { from }) : null);
      steps(has(STEPS) ? await rowsOf(STEPS, {}) : null);
    } catch (error) {
      byId("figures-card").hidden = byId("figures-none").hidden = false;
      write("figures-none", `The figures cannot be read: ${error.message}`);
    }
    return true;
  }

  hours(answer) {
    const rows = answer?.rows ?? [];
    const open = new Set((answer?.completeness.windows ?? []).filter((window) => window.state === "open").map((window) => Date.parse(window.start)));
    this.from = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - (HOURS - 1) * HOUR_MS;
    this.slots = Array.from({ length: HOURS }, (_, i) => ({ at: this.from + i * HOUR_MS, arrived: 0, done: 0, failed: 0 }));
    for (const row of rows) {
      const slot = this.slots[Math.round((moment(row.window_start) - this.from) / HOUR_MS)];
      if (slot) for (const name of ["arrived", "done", "failed"]) slot[name] += Number(row[name] ?? 0);
    }
    for (const slot of this.slots) slot.open = open.has(slot.at);
    byId("figures-none").hidden = rows.length > 0;
    write("figures-none", "No document in the last 24 hours.");
    byId("figures-chart").hidden = rows.length === 0;
    this.chart();
    table("figures-hours", ["Hour", "Type", "Arrived", "Done", "Failed", "In queue", "In work"], 2, [...rows]
      .sort((a, b) => moment(b.window_start) - moment(a.window_start) || Number(b.arrived) - Number(a.arrived)).slice(0, HOUR_ROWS)
      .map((row, i, all) => [hour(moment(row.window_start), open, all[i - 1]?.window_start === row.window_start), short(row.media_type), ...["arrived", "done", "failed"].map((name) => count(row[name] ?? 0)),
        between(millis, row.queued_p50_ms, row.queued_p95_ms), between(millis, row.worked_p50_ms, row.worked_p95_ms)]));
  }

  chart() {
    const box = byId("figures-chart");
    if (!this.slots || box.hidden) return;
    const most = Math.max(1, ...this.slots.flatMap(({ arrived, done, failed }) => [arrived, done + failed]));
    const every = box.clientWidth < 620 ? 6 : 3;
    box.replaceChildren(...this.slots.map((slot) => column(slot, most, every)), element("em", { class: "most", "aria-hidden": "true" }, count(most)));
  }
}

/** An hour's arrivals beside what came of documents in it. */
function column(slot, most, every) {
  const date = new Date(slot.at);
  const bar = (kind, n) => {
    const made = element("i", { class: `bar-${kind}` });
    made.style.height = n > 0 ? `max(3px, ${(100 * n) / most}%)` : "0";
    return made;
  };
  const words = `${day(date)}, ${clock(date)} UTC: ${count(slot.arrived)} arrived, ${count(slot.done)} done, ${count(slot.failed)} failed${slot.open ? "; partial, the hour is open" : ""}`;
  const label = date.getUTCHours() % every === 0 ? element("em", {}, date.getUTCHours() === 0 ? day(date) : clock(date)) : "";
  return element("div", { class: `column${slot.open ? " partial" : ""}`, role: "img", "aria-label": words, title: words },
    element("div", { class: "pillars" }, element("div", { class: "pillar" }, bar("arrived", slot.arrived)), element("div", { class: "pillar" }, bar("failed", slot.failed), bar("done", slot.done))), label);
}

/** The hour of a row; said once to the eye where several rows are of it. */
function hour(at, open, again) {
  const date = new Date(at);
  const partial = open.has(at) ? element("span", { class: "badge partial" }, "partial") : "";
  return [element("span", { class: again ? "out" : undefined }, `${day(date)}, ${clock(date)} `, partial)];
}

function steps(answer) {
  const rows = answer?.rows ?? [];
  byId("figures-steps").hidden = rows.length === 0;
  if (rows.length === 0) return;
  const start = new Date(moment(answer.window.start));
  write("figures-steps-title", `Steps, ${day(start)} ${clock(start)} UTC${answer.completeness.state === "open" ? ", partial" : ""}`);
  table("figures-steps", ["Step", "Type", "Runs", "Failed", "Wall, p50 – p95", "CPU, p95", "Memory"], 2, [...rows]
    .sort((a, b) => (a.step < b.step ? -1 : a.step > b.step ? 1 : Number(b.runs) - Number(a.runs))).slice(0, STEP_ROWS)
    .map((row) => [row.step, short(row.media_type), count(row.runs ?? 0), count(row.failures ?? 0), between(micros, row.wall_p50_us, row.wall_p95_us), known(row.cpu_p95_us) ? micros(row.cpu_p95_us) : "–", known(row.memory_max_bytes) ? bytes(row.memory_max_bytes) : "–"]));
}

const known = (value) => value !== null && value !== undefined;

/** "813 ms – 42.0 s"; "–" where nothing has been measured. */
const between = (words, p50, p95) => (known(p50) && known(p95) ? `${words(p50)} – ${words(p95)}` : "–");

function table(id, heads, texts, rows) {
  const key = rows.map((row) => row.map((cell) => (Array.isArray(cell) ? cell.map((part) => part.textContent ?? part).join("") : cell)).join("|")).join("\n");
  const at = byId(id);
  at.hidden = rows.length === 0;
  if (at.dataset.key === key) return;
  at.dataset.key = key;
  const cell = (kind, i, content, more = {}) => element(kind, { class: i < texts ? undefined : "n", ...more }, ...[content].flat());
  at.tHead.replaceChildren(element("tr", {}, ...heads.map((name, i) => cell("th", i, name, { scope: "col" }))));
  at.tBodies[0].replaceChildren(...rows.map((row) => element("tr", {}, ...row.map((content, i) => cell(i === 0 ? "th" : "td", i, content, i === 0 ? { scope: "row" } : {})))));
}

/** The answer of a path; null where no views are served: not every process that serves documents does. */
async function answer(path) {
  const response = await fetch(path).catch(() => { throw new Problem(0); });
  if (response.status === 404) return null;
  const text = await response.text();
  if (response.ok) return exact(text);
  let problem = null;
  try { problem = JSON.parse(text); } catch { /* The status says it then. */ }
  throw new Problem(response.status, problem);
}

const rowsOf = (name, params) => answer(`/v1/views/${name}?${new URLSearchParams({ ...params, limit: 2000 })}`);
