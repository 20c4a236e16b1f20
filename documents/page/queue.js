// The queue and who works on it.
import { now } from "./api.js";
import { arrange, described, redraw } from "./draw.js";
import { MEANING, moment, named, STATES } from "./words.js";
import { bytes, count, duration, element, write } from "./units.js";

/** A worker is heard of every 3 seconds and given up after 15: at this age something is wrong. */
const SILENT_MS = 10000;
/** So much work for each free hand is a long queue. */
const LONG_PER_SLOT = 20;
/** The pace is that of the last two minutes, from five seconds on. */
const PACE_MS = 120000, PACE_MIN_MS = 5000;
const byId = (id) => document.getElementById(id);

export class Queue {
  /** `note(state, text)` is told what there is to say of a state in the tiles. */
  constructor(note) {
    Object.assign(this, { tell: note, workers: [], samples: [], lines: new Map() });
    setInterval(() => this.draw(), 1000);
  }

  /** An event or an answer: what it holds is taken, what it does not hold stays. */
  hear({ queue, pending, leased, workers, counts }) {
    Object.assign(this, { queue: queue ?? this.queue, pending: pending ?? this.pending, leased: leased ?? this.leased, workers: workers ?? this.workers });
    if (counts) this.count(counts);
    this.draw();
  }

  /** Documents that have come to an end so far, for the pace. */
  count(counts) {
    const finished = (counts.DONE ?? 0) + (counts.ERROR ?? 0);
    const at = performance.now();
    this.samples.push([at, finished]);
    while (this.samples.length > 2 && at - this.samples[1][0] > PACE_MS) this.samples.shift();
    this.known = STATES.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  }

  /** Documents a second, null while it is not known. */
  pace() {
    const [[from, first] = [0, 0]] = this.samples, [to, last] = this.samples.at(-1) ?? [0, 0];
    const at = Math.max(to, performance.now());
    return this.samples.length < 2 || at - from < PACE_MIN_MS || last < first ? null : ((last - first) * 1000) / (at - from);
  }

  draw() {
    if (this.pending === undefined) return;
    const slots = this.workers.reduce((sum, worker) => sum + worker.capacity, 0);
    const pace = this.pace();
    const left = pace > 0 && this.pending > 0 ? `empty in about ${duration((this.pending * 1000) / pace)}` : "";
    write("queue-pace", [pace > 0 ? rate(pace) : "", left].filter(Boolean).join(", "));
    this.tell("UPLOADED", left || MEANING.UPLOADED);
    this.tell("PROCESSING", this.workers.length === 0 ? "no worker" : `${count(this.workers.length)} ${this.workers.length === 1 ? "worker" : "workers"}, room for ${count(slots)}`);
    write("pace", this.known ? `${count(this.known)} in all${pace > 0 ? `, ${rate(pace)}` : ""}` : "");
    const facts = [["Waiting", count(this.pending)], ["Leased", count(this.leased)], ["Workers", count(this.workers.length)], ["Room for", `${count(slots)} at a time`]];
    redraw("queue-facts", facts, () => described(facts));
    this.note(slots);
    this.table();
  }

  note(slots) {
    const at = this.workers.length === 1 ? "1 worker takes" : `${count(this.workers.length)} workers take`;
    const words = this.workers.length === 0
      ? `No worker has asked for work${this.pending ? `: ${count(this.pending)} ${this.pending === 1 ? "document waits" : "documents wait"}` : " yet"}. Start one, on this machine or on any other that reaches this one (where tokens are needed, with one of the role work in TIDEMARK_TOKEN):`
      : this.pending > slots * LONG_PER_SLOT ? `The queue is long: ${count(this.pending)} documents wait and ${at} ${count(slots)} at a time. Start more, on any machine that reaches this one (where tokens are needed, with one of the role work in TIDEMARK_TOKEN):` : null;
    byId("queue-note").hidden = words === null;
    if (words === null) return;
    write("queue-words", words);
    write("queue-command", `TIDEMARK_URL=${location.origin} tidemark serve document-worker`);
  }

  table() {
    byId("workers").hidden = this.workers.length === 0;
    const rows = [...this.workers].sort((a, b) => (a.worker < b.worker ? -1 : 1)).map((worker) => this.line(worker));
    arrange(byId("workers").tBodies[0], rows);
    const known = new Set(this.workers.map(({ worker }) => worker));
    for (const name of [...this.lines.keys()]) if (!known.has(name)) this.lines.delete(name);
  }

  line(worker) {
    const made = this.lines.get(worker.worker) ?? this.make(worker.worker);
    const { cells } = made;
    const set = (cell, text) => { if (cell.textContent !== text) cell.textContent = text; };
    const silent = now() - moment(worker.last_heartbeat);
    set(cells.load, worker.capacity === 0 ? `${count(worker.leases)}, draining` : `${count(worker.leases)} of ${count(worker.capacity)}`);
    cells.bar.max = Math.max(1, worker.capacity);
    cells.bar.value = worker.leases;
    const late = silent > SILENT_MS;
    set(cells.heard, `${late ? "⚠ silent for " : ""}${duration(silent)}${late ? "" : " ago"}`);
    cells.heard.classList.toggle("late", late);
    set(cells.memory, worker.memory_bytes ? bytes(worker.memory_bytes) : "–");
    set(cells.cpu, `${count(worker.cpu_percent ?? 0)} %`);
    return made.row;
  }

  make(name) {
    const bar = element("progress", { max: 1, value: 0, "aria-label": `Leases of ${name}` });
    const cells = { bar, load: element("span", {}), heard: element("td", {}), memory: element("td", { class: "n" }), cpu: element("td", { class: "n", title: "100 % is one core" }) };
    const row = element("tr", {}, element("th", { scope: "row" }, named(name)), element("td", {}, bar, " ", cells.load), cells.heard, cells.memory, cells.cpu);
    const made = { row, cells };
    this.lines.set(name, made);
    return made;
  }
}

const rate = (pace) => (pace >= 1 ? `${pace.toFixed(pace < 10 ? 1 : 0)} a second` : `${(pace * 60).toFixed(pace * 60 < 10 ? 1 : 0)} a minute`);
