// A value column over time, a line for each of the largest keys of the chosen window.
import { decimals } from "./chart.js";
import { ask, brief, clock, count, day, element, figure, span } from "./units.js";

const LINES = 5, KEYS_READ = 5000, REFRESH_MS = 10000, STEPS_MAX = 96, GAP_MAX = 24;
const WIDTH = 1000, HEIGHT = 200;
const DAY_MS = 86400000;
const ROUND_MS = [1, 5, 15, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000].map((s) => s * 1000);
const NUMBERS = new Set(["long", "integer", "double"]);
const byId = (id) => document.getElementById(id);

export class Series {
  constructor(narrow) {
    this.narrow = narrow;
    this.turn = 0;
    byId("column").addEventListener("change", () => { this.column = byId("column").value; this.refresh(); });
    byId("series").addEventListener("pointermove", (event) => this.point(event));
    byId("series").addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(byId("series"));
  }

  /** Of another view. */
  open(path, params, shown, step) {
    // Each session is a key of its own: there is nothing to follow over time.
    const columns = shown.window.kind === "session" ? [] : shown.values.filter((column) => NUMBERS.has(column.kind));
    Object.assign(this, { path, params, shown, step, start: undefined, lines: null, asked: -Infinity });
    this.column = (columns.find((column) => column.name !== "records") ?? columns[0])?.name;
    byId("series-card").hidden = columns.length === 0;
    byId("column").replaceChildren(...columns.map((column) => element("option", { value: column.name }, column.name)));
    byId("column").value = this.column ?? "";
    byId("series").replaceChildren();
    byId("series-legend").replaceChildren();
  }

  choose(start, windows) {
    if (!this.column || !start) { byId("series-card").hidden = true; return; }
    byId("series-card").hidden = false;
    const same = this.start === start && this.newest === windows[0].start;
    if (same && performance.now() - this.asked < REFRESH_MS) return;
    Object.assign(this, { start, newest: windows[0].start, ...around(Date.parse(start), windows.map((w) => Date.parse(w.start)), this.step) });
    this.refresh();
  }

  async refresh() {
    this.turn += 1;
    this.asked = performance.now();
    const turn = this.turn;
    try {
      let whose = "of the chosen window";
      let window = await ask(this.path, { ...this.params, window: this.start, limit: KEYS_READ });
      if (window.rows.length < LINES && this.shown.key.length > 0) {
        // Too few to show what else there is.
        whose = "of the windows shown";
        window = await ask(this.path, { ...this.params, from: this.from, to: this.to, limit: KEYS_READ });
      }
      const largest = byKey(window.rows, this.shown.key, this.column).filter((row) => row[this.column] !== null)
        .sort((a, b) => Number(b[this.column]) - Number(a[this.column])).slice(0, LINES);
      const lines = await Promise.all(largest.map((row) => this.line(row)));
      if (turn !== this.turn) return;
      this.lines = lines;
      const read = window.next ? `The largest among the first ${count(window.rows.length)} keys ${whose}.` : `The largest keys ${whose}.`;
      const { error } = this.shown.values.find((column) => column.name === this.column);
      const stated = error === null ? "" : ` Stated error: ± ${(100 * error).toLocaleString("en-US", { maximumSignificantDigits: 2 })} %.`;
      byId("series-note").textContent = `${read} Choose one to filter the rows.${stated}`;
      this.legend();
      this.draw();
    } catch {
      // The table asks the same store and says what is wrong.
      if (turn === this.turn) this.asked = -Infinity;
    }
  }

  async line(row) {
    const key = Object.fromEntries(this.shown.key.map((column) => [column.name, row[column.name]]));
    const filter = Object.fromEntries(Object.entries(key).map(([name, value]) => [`key.${name}`, value]));
    const answer = await ask(this.path, { ...this.params, ...filter, from: this.from, to: this.to, limit: 1000 });
    const values = new Map(answer.rows.map((r) => [Date.parse(r.window_start), Number(r[this.column])]));
    return { key, name: Object.values(key).join(" · ") || "all", values };
  }

  legend() {
    byId("series-legend").replaceChildren(...this.lines.map((line, i) => {
      const button = element("button", { type: "button", class: "name", title: "Filter the rows by this key" }, line.name);
      button.addEventListener("click", () => this.narrow(line.key));
      return element("li", {}, element("i", { class: `line s${i + 1}` }), button);
    }));
  }

  draw() {
    const box = byId("series");
    if (!this.lines?.length) { box.replaceChildren(); return; }
    this.slots = Array.from({ length: Math.round((this.to - this.from) / this.step) }, (_, i) => this.from + i * this.step);
    const most = Math.max(0, ...this.lines.flatMap((line) => [...line.values.values()]));
    const { top, ticks } = decimals(most);
    const x = (at) => (this.slots.length < 2 ? WIDTH / 2 : ((at - this.from) / this.step / (this.slots.length - 1)) * WIDTH);
    const y = (value) => HEIGHT - (Math.max(0, value) / top) * HEIGHT;
    const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${this.column} by window, ${this.lines.map((l) => l.name).join("; ")}` });
    for (const tick of ticks) plot.append(svg("line", { x1: 0, x2: WIDTH, y1: y(tick), y2: y(tick), class: "grid" }));
    if (Date.parse(this.start) >= this.from) plot.append(svg("line", { x1: x(Date.parse(this.start)), x2: x(Date.parse(this.start)), y1: 0, y2: HEIGHT, class: "chosen-at" }));
    this.lines.forEach((line, i) => plot.append(...strokes(line, this.slots, x, y).map(({ d, dot }) => svg("path", { d, class: `s${i + 1}${dot ? " dot" : ""}` }))));
    const axis = element("div", { class: "series-axis", "aria-hidden": "true" }, ...ticks.map((tick) => {
      const em = element("em", {}, this.tick(tick));
      em.style.bottom = `${(100 * tick) / top}%`;
      return em;
    }));
    this.cursor = element("i", { class: "series-cursor", hidden: "" });
    this.tip = element("div", { class: "tip", "aria-hidden": "true", hidden: "" });
    box.replaceChildren(axis, element("div", { class: "series-plot" }, plot, this.cursor, this.tip), this.times());
  }

  tick(value) {
    return value >= 1e5 ? brief(value).replace(/\.0+ |(\.\d*?)0+ /, "$1 ") : figure(value);
  }

  /** Times below: the roundest that there is room for. */
  times() {
    const room = Math.max(1, Math.floor(byId("series").clientWidth / 90));
    const every = ROUND_MS.find((ms) => ms >= this.step && (this.to - this.from) / ms <= room) ?? ROUND_MS.at(-1);
    const label = (at) => {
      const em = element("em", {}, at % DAY_MS === 0 ? day(new Date(at)) : clock(new Date(at)));
      const left = this.slots.length < 2 ? 50 : (100 * (at - this.from)) / this.step / (this.slots.length - 1);
      em.style.left = `${left}%`;
      // At its end it would stand out of the card.
      em.classList.toggle("last", left > 95);
      return em;
    };
    return element("div", { class: "series-times", "aria-hidden": "true" }, ...this.slots.filter((at) => at % every === 0).map(label));
  }

  point(event) {
    if (!this.tip || !this.slots) return;
    const plot = byId("series").querySelector(".series-plot").getBoundingClientRect();
    this.tip.hidden = this.cursor.hidden = event === null;
    if (event === null) return;
    const share = Math.min(1, Math.max(0, (event.clientX - plot.left) / plot.width));
    const i = Math.round(share * (this.slots.length - 1)), at = this.slots[i];
    const left = this.slots.length < 2 ? 0.5 : i / (this.slots.length - 1);
    this.cursor.style.left = `${100 * left}%`;
    const size = this.shown.window.size_ms ?? this.step;
    this.tip.replaceChildren(element("strong", {}, span(at, at + size)), ...this.lines.map((line, n) => element("div", {},
      element("span", {}, element("i", { class: `line s${n + 1}` }), line.name), element("b", {}, figure(line.values.get(at))))));
    const room = plot.width - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(left * plot.width + (left > 0.5 ? -this.tip.offsetWidth - 12 : 12), room))}px`;
  }
}

/** The windows around one, newest first, as far as there is no long gap and as they can be told apart: from the first start to the last end. */
function around(chosen, starts, step) {
  let at = starts.indexOf(chosen), last = at;
  while (at > 0 && starts[at - 1] - starts[at] <= GAP_MAX * step && starts[at - 1] - chosen < (STEPS_MAX / 2) * step) at -= 1;
  const to = starts[at] + step;
  while (last + 1 < starts.length && starts[last] - starts[last + 1] <= GAP_MAX * step && to - starts[last + 1] <= STEPS_MAX * step) last += 1;
  return { from: starts[last], to };
}

/** One row of each key, the one with the largest value. */
function byKey(rows, key, column) {
  const largest = new Map();
  for (const row of rows) {
    const name = JSON.stringify(key.map((k) => String(row[k.name])));
    if (row[column] !== null && !(Number(largest.get(name)?.[column]) >= Number(row[column]))) largest.set(name, row);
  }
  return [...largest.values()];
}

/** Lines between neighbours; a window without a row breaks them, and a value between two breaks is a point. */
function strokes(line, slots, x, y) {
  const runs = [[]];
  for (const at of slots) {
    const value = line.values.get(at);
    if (value === undefined || Number.isNaN(value)) runs.push([]);
    else runs.at(-1).push(`${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
  }
  return runs.filter((run) => run.length).map((run) => ({ d: `M${run.length === 1 ? `${run[0]}L${run[0]}` : run.join("L")}`, dot: run.length === 1 }));
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
