// Requests of this page, and the clock of the server that answers them.
import { exact } from "./units.js";

/** A smaller difference of clocks is the second that the header leaves out, and the way there. */
const SKEW_MIN_MS = 2000;
/** An upload that neither gets on nor is answered for so long is given up: the other end is gone, and nobody said so. */
const SILENT_MAX_MS = 60000;

let token = null; // To write with. It is kept here alone, so that a page that is left forgets it.
let skewMs = 0;

/** Milliseconds since the epoch, by the server's clock: ages must not depend on this machine's. */
export const now = () => Date.now() + skewMs;

/** From here on writes carry this token. */
export const authorize = (text) => { token = text; };

/** What writes carry now: one that was refused under another than this was refused for nothing. */
export const carried = () => token;

/** An answer that is none: its status, 0 if nothing answered, and its words. */
export class Problem extends Error {
  constructor(status, body) {
    super([body?.detail, body?.fix].filter(Boolean).join("; ") || (status ? `the server answered ${status}` : "the server cannot be reached"));
    Object.assign(this, { status, body });
  }
}

/** Reads; a page whose session has ended is sent to sign in. */
export async function ask(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== undefined && value !== ""));
  const response = await fetch(query.size ? `${path}?${query}` : path).catch(() => { throw new Problem(0); });
  if (response.status === 401) location.assign("/login");
  learn(response.headers.get("date"));
  return answer(response.status, await response.text());
}

/** Writes. */
export async function post(path, body) {
  const headers = { ...bearer(), "content-type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => { throw new Problem(0); });
  return answer(response.status, await response.text());
}

/** Sends one file. The promise is kept with what was answered, `status` 0 if nothing was; `signal` gives it up. */
export function send({ file, name, owner, mail, key }, progress, signal) {
  return new Promise((done) => {
    const request = new XMLHttpRequest(); // `fetch` does not tell how far an upload is.
    const query = new URLSearchParams(Object.entries({ name, owner, mail }).filter(([, value]) => value));
    request.open("POST", `/v1/documents?${query}`);
    const headers = { ...bearer(), "content-type": "application/octet-stream", "idempotency-key": key };
    for (const [header, value] of Object.entries(headers)) request.setRequestHeader(header, value);
    let silent;
    const watch = () => { clearTimeout(silent); silent = setTimeout(() => request.abort(), SILENT_MAX_MS); };
    request.upload.addEventListener("progress", (event) => { watch(); progress(event.loaded); });
    request.addEventListener("loadend", () => {
      clearTimeout(silent);
      done({ status: request.status, body: parsed(request.responseText), retryAfterS: Number(request.getResponseHeader("retry-after")) || null });
    });
    signal.addEventListener("abort", () => request.abort());
    watch();
    request.send(file);
  });
}

const bearer = () => (token ? { authorization: `Bearer ${token}` } : {});

function answer(status, text) {
  const body = parsed(text);
  if (status < 200 || status > 299) throw new Problem(status, body);
  return body;
}

/** What stands between may answer in another language than JSON. */
function parsed(text) {
  try { return exact(text); } catch { return null; }
}

function learn(date) {
  const ahead = Date.parse(date) + 500 - Date.now();
  if (!Number.isNaN(ahead)) skewMs = Math.abs(ahead) < SKEW_MIN_MS ? 0 : ahead;
}
