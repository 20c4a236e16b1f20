// What becomes of an upload that was answered so: a plain function of facts.

/** So long after its first failure an upload is tried again by itself: as long as a process takes to be brought back up. */
export const RETRY_FOR_MS = 5 * 60 * 1000;
const WAITS_MS = [1000, 2000, 4000, 8000, 15000, 30000];

/** Nothing answered, or whoever did says that it will pass. */
const PASSING = new Set([0, 408, 425, 429, 500, 502, 503, 504]);

const WORDS = {
  0: "the server cannot be reached",
  403: "this token may not upload",
  413: "the file is larger than the server takes",
  415: "this type of file is not taken",
  503: "the server does not take documents at the moment",
  507: "the server has no room left",
};

/**
 * `tries`: how often it has failed in a row, this time included; `failingMs`: since the first of them.
 * Gives `{ kind, why }`: `accepted` (with `document`), `again` (with `afterMs`), `token`, or `failed`.
 */
export function verdict({ status, body, retryAfterS }, { tries, failingMs }) {
  const [first] = body?.documents ?? [];
  if (status >= 200 && status < 300 && first?.file_id) return { kind: "accepted", document: first };
  const why = said(status, first?.error ?? body);
  if (status === 401) return { kind: "token", why };
  if (!PASSING.has(status)) return { kind: "failed", why };
  if (failingMs >= RETRY_FOR_MS) return { kind: "failed", why: `the upload failed ${tries} times in ${Math.round(failingMs / 60000)} min: ${why}` };
  const asked = (retryAfterS ?? 0) * 1000;
  return { kind: "again", afterMs: Math.max(asked, WAITS_MS[Math.min(tries, WAITS_MS.length) - 1]), why };
}

function said(status, problem) {
  const text = [problem?.detail, problem?.fix].filter(Boolean).join("; ");
  return text || WORDS[status] || `the server answered ${status}`;
}
