// The runs of a document's steps, lease by lease: where each lies in time, what it took of CPU and memory, how it ended.
import { micros, moment, named } from "./words.js";
import { bytes, count, duration, element, instant } from "./units.js";

/** A run has this share of the width at least, or short ones beside a long one would not be seen. */
const SHARE_MIN = 0.6;

/** Elements for the runs so far and, of a document in work, the step under way. */
export function timeline(document, now) {
  const leases = byLease(document);
  const most = Math.max(1, ...leases.flatMap(({ runs }) => runs.map((run) => Number(run.memory_bytes ?? 0))));
  if (leases.length === 0) return [element("p", { class: "fine" }, document.state === "UPLOADED" ? "No worker has taken it yet." : "No step has been reported.")];
  return leases.map((lease, i) => element("div", { class: "lease" }, heading(lease, i, document), chart(lease, most, document, now)));
}

function byLease(document) {
  const leases = new Map();
  for (const run of [...(document.steps ?? [])].sort((a, b) => a.token - b.token || a.place - b.place)) {
    if (!leases.has(run.token)) leases.set(run.token, { token: run.token, worker: run.worker, runs: [], isLive: false });
    leases.get(run.token).runs.push(run);
  }
  // Runs come with the report that ends their lease: of the one under way there are none yet.
  if (document.state === "PROCESSING") leases.set("under way", { worker: document.worker, runs: [], isLive: true });
  return [...leases.values()];
}

function heading(lease, i, document) {
  const begun = lease.isLive ? moment(document.leased_at) : Math.min(...lease.runs.map((run) => moment(run.started_at)));
  return element("p", { class: "lease-head" }, element("strong", {}, `Lease ${i + 1}`), element("span", { class: "fine" }, named(lease.worker ?? "?"), `, from ${instant(begun)} UTC${lease.isLive ? "" : `, token ${lease.token}`}`));
}

function chart(lease, most, document, now) {
  const starts = lease.runs.map((run) => moment(run.started_at));
  // The worker's clock places its runs, the server's the step under way; the two are not laid over each other.
  const from = Math.min(...starts, Infinity), runsEnd = Math.max(...lease.runs.map((run, i) => starts[i] + run.wall_us / 1000), -Infinity);
  const span = Math.max(1, runsEnd - from);
  const rows = lease.runs.map((run, i) => row(run, { left: (100 * (starts[i] - from)) / span, span, most }));
  if (lease.isLive) rows.push(underWay(document, now));
  const axis = lease.runs.length ? [element("li", { class: "run-axis", "aria-hidden": "true" }, element("span", {}), element("span", {}), element("span", { class: "ends" }, element("em", {}, "0"), element("em", {}, micros(span * 1000))), element("span", {}))] : [];
  const heads = lease.runs.length ? [element("li", { class: "run-heads", "aria-hidden": "true" }, element("span", {}, "Step"), element("span", {}, "Outcome"),
    element("span", {}, element("i", { class: "wall" }), "wall time", element("i", { class: "cpu" }), "CPU time"), element("span", {}, "Peak memory"))] : [];
  return element("ol", { class: "runs" }, ...heads, ...rows, ...axis);
}

function row(run, { left, span, most }) {
  const wall = bar("wall", left, (100 * run.wall_us) / 1000 / span), cpu = bar("cpu", left, (100 * run.cpu_us) / 1000 / span);
  const memory = bar("memory", 0, (100 * Number(run.memory_bytes)) / most);
  const times = `${micros(run.wall_us)}, CPU ${micros(run.cpu_us)}`;
  const again = run.attempt > 1 ? element("small", {}, `retry ${run.attempt - 1}`) : "";
  const message = run.message ? [element("p", { class: "run-message" }, named(run.message))] : [];
  return element("li", { class: `run ${run.outcome}` },
    element("span", { class: "run-step" }, run.step, again), element("span", { class: "run-outcome" }, outcome(run.outcome)),
    element("span", { class: "run-bars", title: `begun ${instant(run.started_at)} UTC by the worker's clock` }, element("span", { class: "track" }, wall, cpu), element("span", { class: "fine" }, times)),
    element("span", { class: "run-memory" }, element("span", { class: "track" }, memory), element("span", { class: "fine" }, bytes(run.memory_bytes))), ...message);
}

function underWay(document, now) {
  const ms = now - moment(document.leased_at);
  return element("li", { class: "run live" }, element("span", { class: "run-step" }, document.step || "…"), element("span", { class: "run-outcome" }, "under way"),
    element("span", { class: "run-bars" }, element("span", { class: "track" }, bar("going", 0, 100)), element("span", { class: "fine", "data-clock": "" }, `leased ${duration(ms)} ago; figures come with the report`)), element("span", { class: "run-memory" }));
}

function bar(kind, left, width) {
  const made = element("i", { class: `run-bar ${kind}` });
  const wide = Math.min(100, Math.max(SHARE_MIN, width));
  // By the object model: the policy of the page lets no style attribute through.
  made.style.left = `${Math.max(0, Math.min(left, 100 - wide))}%`;
  made.style.width = `${wide}%`;
  return made;
}

const WORDS = { OK: "ok", FAILED: "failed", CRASHED: "crashed", KILLED: "over a limit", GARBAGE: "bad output", INFRASTRUCTURE: "not its fault" };
const outcome = (word) => WORDS[word] ?? String(word).toLowerCase();

/** "3 runs, 1.24 s, at most 48 MiB". */
export function sums(document) {
  const runs = document.steps ?? [];
  if (runs.length === 0) return null;
  const total = (of) => runs.reduce((sum, run) => sum + Number(of(run) ?? 0), 0);
  const peak = Math.max(...runs.map((run) => Number(run.memory_bytes ?? 0)));
  return `${count(runs.length)} ${runs.length === 1 ? "run" : "runs"}, ${micros(total((run) => run.wall_us))}, CPU ${micros(total((run) => run.cpu_us))}, at most ${bytes(peak)}`;
}
