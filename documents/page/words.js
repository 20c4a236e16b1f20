// What the API says in words, signs and figures for people.
import { element } from "./units.js";

/** In the order in which a document goes through them. */
export const STATES = ["UPLOADED", "PROCESSING", "DONE", "ERROR"];
export const MEANING = { UPLOADED: "in the queue", PROCESSING: "being worked on", DONE: "results are there", ERROR: "stopped; look why" };
const SIGNS = { UPLOADED: "○", PROCESSING: "◐", DONE: "✓", ERROR: "✕" };

export const isFinal = (state) => state === "DONE" || state === "ERROR";

/** A sign has a shape of its own, so that colour is never all there is. */
export const sign = (state) => element("i", { class: `sign ${state}`, "aria-hidden": "true" }, SIGNS[state] ?? "·");

export const badge = (state) => element("span", { class: `badge state ${state}` }, sign(state), state);

/** Whether `a` is not older than `b`; what does not say which it is counts as new. */
export function newer(a, b) {
  const order = (document) => document.revision ?? document.seq ?? moment(document.changed_at);
  const [left, right] = [order(a), order(b)];
  return left === undefined || right === undefined || Number.isNaN(right) || left >= right;
}

/** Milliseconds, of milliseconds or RFC 3339; NaN of nothing. */
export const moment = (at) => (at === null || at === undefined || at === 0 ? NaN : typeof at === "number" ? at : Date.parse(at));

/** How long a document has been, or was, what it is: `{ verb, ms }`. */
export function spent(document, now) {
  if (document.state === "UPLOADED") return { verb: "waits", ms: now - moment(document.queued_at ?? document.uploaded_at) };
  if (document.state === "PROCESSING") return { verb: "runs", ms: now - moment(document.leased_at ?? document.changed_at) };
  return { verb: "took", ms: moment(document.changed_at) - moment(document.leased_at) };
}

/** 850 → "850 µs", 340000 → "340 ms", 1240000 → "1.24 s". */
export function micros(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)} ms`;
  if (us < 6e7) return `${(us / 1e6).toFixed(us < 1e7 ? 2 : 1)} s`;
  const s = Math.round(us / 1e6);
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** The same of milliseconds; "–" of what is not known. */
export const millis = (ms) => (Number.isFinite(ms) ? micros(Math.max(0, ms) * 1000) : "–");

/** A name from elsewhere: it may be written from right to left, and must not turn round what is beside it. */
export const named = (name) => element("bdi", {}, name);

const SHORT = {
  "application/pdf": "PDF", "text/html": "HTML", "text/plain": "text", "application/xhtml+xml": "XHTML", "text/markdown": "Markdown", "application/zip": "ZIP",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "Word", "application/octet-stream": "unknown", "application/x-empty": "empty",
};

/** A media type as people call it. */
export const short = (type) => SHORT[type] ?? type ?? "–";
