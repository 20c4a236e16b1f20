// A bar for each window: one button each, so that it can be reached and read without a mouse. Windows are numbered by `hour`,
// which is their start in steps of the look's length.
import { brief, bytes, clock, count, day, element, hour as hourName } from "./units.js";

const SLOTS = 48, SLOTS_NARROW = 24, NARROW_PX = 620, GAP_MAX = 6;
const DAY_PX = 72, CLOCK_PX = 56;

/** Hours in order of time with small gaps filled; a larger one is marked at the hour after it. */
export function slots(hours, limit) {
  const row = [];
  for (const h of [...hours].reverse()) {
    const last = row.at(-1);
    const missing = last ? h.hour - last.hour - 1 : 0;
    if (missing > 0 && missing <= GAP_MAX) {
      for (let i = 1; i <= missing; i += 1) row.push({ hour: last.hour + i, empty: true });
    }
    row.push({ ...h, jump: missing > GAP_MAX });
  }
  return row.slice(-limit);
}

/** The ends of the scale: whole powers of two in steps, so that labels are round in KiB, MiB, GiB. */
export function scale(max) {
  if (max <= 0) return { top: 1024, ticks: [0, 512, 1024] };
  const unit = 1024 ** Math.floor(Math.log(max) / Math.log(1024));
  const n = max / unit;
  const step = [0.25, 0.5, 1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 256].find((s) => n / s <= 4) * unit;
  const steps = Math.ceil(max / step);
  return { top: steps * step, ticks: Array.from({ length: steps + 1 }, (_, i) => i * step) };
}

/** As above, in tens. */
export function decimals(max) {
  if (max <= 0) return { top: 4, ticks: [0, 2, 4] };
  const unit = 10 ** Math.floor(Math.log10(max));
  const step = [0.2, 0.25, 0.5, 1, 2, 2.5].map((s) => s * unit).find((s) => max / s <= 4 && (s >= 1 || max < 4)) ?? unit;
  const steps = Math.ceil(max / step);
  return { top: steps * step, ticks: Array.from({ length: steps + 1 }, (_, i) => i * step) };
}

/** Bytes by hour. */
const HOURS = {
  step: 3600000,
  total: (h) => Number(h.bytes_rx ?? 0n) + Number(h.bytes_tx ?? 0n),
  name: (h) => hourName(h.hour),
  scale,
  figure: bytes,
  lines: (h) => [["received", bytes(h.bytes_rx)], ["sent", bytes(h.bytes_tx)], ["records", count(h.records)]],
};

/** Records by window, for windows that start every `step` milliseconds. */
export const records = (step, name) => ({
  step, name, scale: decimals, total: (w) => w.records, figure: brief,
  lines: (w) => [["records", count(w.records)], ["keys", count(w.rows)]],
});

export class Chart {
  constructor(at, choose, look = HOURS) {
    this.at = at;
    this.choose = choose;
    this.look = look;
    this.hours = [];
    this.bars = new Map();
    this.plot = element("div", { class: "plot", role: "group", "aria-label": "Hours" });
    this.axis = element("div", { class: "axis", "aria-hidden": "true" });
    this.days = element("div", { class: "days", "aria-hidden": "true" });
    this.tip = element("div", { class: "tip", "aria-hidden": "true" });
    this.tip.hidden = true;
    at.append(this.axis, this.plot, this.days, this.tip);
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    new ResizeObserver(() => this.draw()).observe(at);
  }

  label(h) {
    const late = h.late ? `, ${count(h.late)} late` : "";
    const total = this.look === HOURS ? `${bytes(this.look.total(h))}, ` : "";
    return `${this.look.name(h)}: ${h.state}, ${total}${count(h.records)} ${h.records === 1 ? "record" : "records"}${late}`;
  }

  show(hours, chosen) {
    this.hours = hours;
    this.chosen = chosen;
    this.draw();
  }

  draw() {
    const row = slots(this.hours, this.at.clientWidth < NARROW_PX ? SLOTS_NARROW : SLOTS);
    const { top, ticks } = this.look.scale(Math.max(0, ...row.filter((h) => !h.empty).map(this.look.total)));
    this.axis.replaceChildren(...ticks.map((tick) => this.tick(tick, top)));
    this.row = row.filter((h) => !h.empty).map((h) => h.hour);
    const wanted = row.map((h) => this.slot(h, top));
    const same = wanted.length === this.plot.children.length && wanted.every((bar, i) => bar === this.plot.children[i]);
    if (!same) this.reorder(wanted);
    for (const [hour] of this.bars) if (!row.some((h) => h.hour === hour)) this.bars.delete(hour);
    this.days.replaceChildren(...this.labels(row));
  }

  reorder(wanted) {
    const focused = document.activeElement;
    this.plot.replaceChildren(...wanted);
    if (wanted.includes(focused)) focused.focus();
  }

  tick(tick, top) {
    const line = element("span", {}, element("em", {}, this.look.figure(tick).replace(/\.0+ |(\.\d*?)0+ /, "$1 ")));
    line.style.bottom = `${(100 * tick) / top}%`;
    return line;
  }

  slot(h, top) {
    const made = this.bars.get(h.hour) ?? this.make(h.hour);
    const slot = made;
    slot.className = h.empty ? "slot empty" : `slot ${h.state}`;
    slot.classList.toggle("jump", Boolean(h.jump));
    slot.disabled = Boolean(h.empty);
    slot.tabIndex = h.hour === this.chosen ? 0 : -1;
    slot.setAttribute("aria-pressed", String(h.hour === this.chosen));
    slot.setAttribute("aria-label", h.empty ? `${this.look.name(h)}: no records` : this.label(h));
    const share = h.empty ? 0 : this.look.total(h) / top;
    slot.firstChild.style.height = share > 0 ? `max(3px, ${(100 * share).toFixed(2)}%)` : "0";
    slot.hour = h;
    return slot;
  }

  make(hour) {
    const slot = element("button", { type: "button", "data-hour": hour }, element("i", { class: "fill" }));
    slot.addEventListener("click", () => this.choose(hour));
    slot.addEventListener("pointerenter", () => this.point(slot));
    slot.addEventListener("focus", () => { if (slot.matches(":focus-visible")) this.point(slot); });
    slot.addEventListener("blur", () => { this.tip.hidden = true; });
    this.bars.set(hour, slot);
    return slot;
  }

  point(slot) {
    const h = slot.hour;
    if (h.empty) { this.tip.hidden = true; return; }
    const line = (name, value) => element("div", {}, element("span", {}, name), element("b", {}, value));
    const late = h.late ? [line("late", brief(h.late))] : [];
    this.tip.replaceChildren(
      element("strong", {}, this.look.name(h)), element("div", { class: `state ${h.state}` }, element("i", { class: `key ${h.state}` }), h.state),
      ...this.look.lines(h).map(([name, value]) => line(name, value)), ...late,
    );
    this.tip.hidden = false;
    const plot = this.at.getBoundingClientRect(), bar = slot.getBoundingClientRect();
    const x = bar.left + bar.width / 2 - plot.left - this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.max(0, Math.min(x, plot.width - this.tip.offsetWidth))}px`;
  }

  key(event) {
    const here = this.row.indexOf(Number(event.target.dataset.hour));
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: this.row.length - 1 }[event.key];
    const hour = this.row[to];
    if (here < 0 || to === undefined || hour === undefined) return;
    event.preventDefault();
    this.choose(hour);
    this.bars.get(hour)?.focus();
  }

  /** A label at each midnight, then at whole parts of the day where there is room. */
  labels(row) {
    const slot = this.plot.clientWidth / Math.max(1, row.length);
    const dates = row.map((h) => new Date(h.hour * this.look.step));
    const midnight = (date) => date.getUTCHours() === 0 && date.getUTCMinutes() === 0;
    const isDay = (i) => midnight(dates[i]) || i === 0 || Boolean(row[i].jump);
    const placed = new Map();
    const place = (i, text, kind, px) => {
      if ([...placed.keys()].every((other) => Math.abs(other - i) * slot >= px)) placed.set(i, element("em", { class: kind }, text));
    };
    row.forEach((_, i) => { if (isDay(i) && (i > 0 || !dates.slice(1).some((d, j) => midnight(d) && (j + 1) * slot < DAY_PX))) place(i, day(dates[i]), "day", DAY_PX); });
    // Of shorter windows than hours the roundest times that there is room for.
    for (const minutes of this.look.step < 3600000 ? [360, 60, 15, 5, 1] : [360]) {
      row.forEach((_, i) => { if ((dates[i] / 60000) % minutes === 0) place(i, clock(dates[i]), "", CLOCK_PX); });
    }
    return row.map((_, i) => element("span", {}, ...(placed.has(i) ? [placed.get(i)] : [])));
  }
}
