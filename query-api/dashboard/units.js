// Figures as people read them. Byte sums are BigInt: they may not fit a double.

const SUMS = new Set(["bytes_rx", "bytes_tx"]);

/** Parses an answer; byte sums come out exact where the browser gives the digits, else as near as a double is. */
export function parse(text) {
  return JSON.parse(text, (name, value, context) =>
    SUMS.has(name) && typeof value === "number" ? BigInt(context?.source ?? value) : value);
}

const STEPS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** 1536n → "1.50 KiB". */
export function bytes(value) {
  if (value === null || value === undefined) return "…";
  let n = Number(value), step = 0;
  while (n >= 1023.5 && step < STEPS.length - 1) { n /= 1024; step += 1; }
  const digits = step === 0 || n >= 100 ? 0 : n >= 10 ? 1 : 2;
  return `${n.toFixed(digits)} ${STEPS[step]}`;
}

const GROUPED = new Intl.NumberFormat("en-US");

/** 1234567 → "1,234,567". */
export const count = (value) => GROUPED.format(value);

/** At most four digits: 1234567 → "1.23 M". */
export function brief(value) {
  const steps = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e5, "k"]];
  const [size, unit] = steps.find(([size]) => value >= size) ?? [1, ""];
  if (size === 1) return count(value);
  const n = value / (size === 1e5 ? 1e3 : size);
  return `${n.toFixed(n >= 100 ? 0 : n >= 10 ? 1 : 2)} ${unit}`;
}

/** 95000 → "1 min 35 s". */
export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (n) => String(n).padStart(2, "0");

/** "21 Nov", with the year if it is not this one. */
export function day(date) {
  const year = date.getUTCFullYear();
  const text = `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
  return year === new Date().getUTCFullYear() ? text : `${text} ${year}`;
}

/** "03:00". */
export const clock = (date) => `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;

/** "21 Nov, 03:00–04:00 UTC". */
export function hour(number) {
  const start = new Date(number * 3600000), end = new Date((number + 1) * 3600000);
  return `${day(start)}, ${clock(start)}–${clock(end)} UTC`;
}

/** "21 Nov 03:24:10". */
export function instant(text) {
  if (!text) return "none yet";
  const date = new Date(text);
  return `${day(date)} ${clock(date)}:${two(date.getUTCSeconds())}`;
}

/** A new element with text and attributes. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Sets text only when it changes, so that a selection and a screen reader are left alone. */
export function write(id, text) {
  const at = document.getElementById(id);
  if (at.textContent !== text) at.textContent = text;
}
