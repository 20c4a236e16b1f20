// Figures as people read them. Byte sums are BigInt: they may not fit a double.

const SUMS = new Set(["bytes_rx", "bytes_tx"]);

/** Parses an answer; byte sums come out exact where the browser gives the digits, else as near as a double is. */
export function parse(text) {
  return JSON.parse(text, (name, value, context) =>
    SUMS.has(name) && typeof value === "number" ? BigInt(context?.source ?? value) : value);
}

/** Parses an answer of any view: whole numbers that a double cannot hold come out as BigInt, digit by digit. */
export function exact(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value);
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

const HOUR_MS = 3600000, DAY_MS = 24 * HOUR_MS;

/** "21 Nov, 03:00–03:15 UTC", "21 Nov" for a day, with seconds where they tell windows apart. */
export function span(startMs, endMs) {
  const start = new Date(startMs), end = new Date(endMs);
  if (startMs % DAY_MS === 0 && endMs - startMs === DAY_MS) return `${day(start)} UTC`;
  const seconds = (startMs % 60000) + (endMs % 60000) > 0;
  const time = (date) => (seconds ? `${clock(date)}:${two(date.getUTCSeconds())}` : clock(date));
  const sameDay = Math.floor(startMs / DAY_MS) === Math.floor((endMs - 1) / DAY_MS);
  return `${day(start)}, ${time(start)}–${sameDay ? "" : `${day(end)}, `}${time(end)} UTC`;
}

/** "1 h", "15 min", "1 h 30 min", "500 ms". */
export function period(ms) {
  const parts = [[DAY_MS, "d"], [HOUR_MS, "h"], [60000, "min"], [1000, "s"], [1, "ms"]];
  let left = ms;
  return parts.flatMap(([size, unit]) => {
    const n = Math.floor(left / size);
    left -= n * size;
    return n ? [`${n} ${unit}`] : [];
  }).join(" ") || "0 s";
}

/** How a view cuts time, in words. */
export function cut(window) {
  if (window.kind === "session") return `sessions, ${period(window.gap_ms)} of silence ends one`;
  if (window.kind === "hopping") return `windows of ${period(window.size_ms)}, one every ${period(window.hop_ms)}`;
  return `windows of ${period(window.size_ms)}`;
}

/** Milliseconds from one window to the next. */
export const step = (window) => window.hop_ms ?? window.bucket_ms ?? window.size_ms;

/** A value of a view's column as people read it. */
export function figure(value, kind) {
  if (value === null || value === undefined) return "–";
  if (kind === "time") return instant(value);
  if (kind === "json") return list(value);
  if (typeof value === "bigint") return count(value);
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? count(value) : value.toLocaleString("en-US", { maximumSignificantDigits: 5 });
}

/** [{"ip":"a","n":3},{"ip":"b","n":1}] → "a 3, b 1". */
function list(value) {
  const flat = (item) => (item !== null && typeof item === "object" ? Object.values(item).map(flat).join(" ") : figure(item));
  // An entry of a top-k, with by how much its count may be too high.
  const entry = ({ value: of, count: n, error }) => `${flat(of)} ×${count(n)}${error ? ` (up to ${count(error)} fewer)` : ""}`;
  const told = (item) => (item !== null && typeof item === "object" && "value" in item && "count" in item ? entry(item) : flat(item));
  return Array.isArray(value) ? value.map(told).join(", ") || "none" : flat(value);
}

/** Fetches an answer; a problem document becomes an error with its words. */
export async function ask(path, params = {}, read = exact) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== undefined && value !== ""));
  const response = await fetch(query.size ? `${path}?${query}` : path);
  if (response.status === 401) location.assign("/login");
  const body = read(await response.text());
  if (!response.ok) throw new Error([body.detail, body.fix].filter(Boolean).join("; "));
  return body;
}

/** The button that turns light into dark. */
export function themeButton() {
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
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

/** A name that may be broken after its dots and underscores only, as long as they are close enough. */
export const breakable = (name) => name.split(/(?<=[._])/).flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part]));
