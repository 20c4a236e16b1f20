// Uploads under way: three at a time, tried again while the server is away, followed until their documents are done.
import { ask, carried, send } from "./api.js";
import { newer, isFinal } from "./words.js";
import { verdict } from "./verdict.js";

const AT_A_TIME = 3;
/** Documents that nothing was heard of for so long are asked for, so many at a time: a stream that broke may have passed them over. */
const QUIET_MS = 8000, ASKED_AT_A_TIME = 8;

/** Phases: waiting, sending, pausing (to be tried again), token (needs one), failed, accepted. */
export class Uploads {
  /** `changed` is called after each change; `needToken(why)` gives a promise of whether there is one now. */
  constructor(changed, needToken) {
    Object.assign(this, { changed, needToken, all: [], awaySince: null, restUntil: 0 });
  }

  add(files, { owner, mail }) {
    const made = files.map(({ file, path }) => ({
      key: unique(), file, path, name: file.name, owner, mail, phase: "waiting", sent: 0, tries: 0, failingSince: null, why: null, document: null,
    }));
    this.all.push(...made);
    this.pump();
  }

  /** Starts what there is room for; nothing while the server rests or a token is asked for, or a thousand files would all knock at the door. */
  pump() {
    clearTimeout(this.timer);
    const rest = this.restUntil - Date.now();
    const room = AT_A_TIME - this.all.filter(({ phase }) => phase === "sending").length;
    const isHeld = rest > 0 || this.all.some(({ phase }) => phase === "token");
    const next = isHeld ? [] : this.all.filter(({ phase }) => phase === "waiting" || phase === "pausing");
    for (const upload of next.slice(0, Math.max(0, room))) this.run(upload);
    if (rest > 0) this.timer = setTimeout(() => this.pump(), rest + 20);
    this.changed();
  }

  async run(upload) {
    Object.assign(upload, { phase: "sending", sent: 0, stop: new AbortController(), under: carried() });
    const { signal } = upload.stop;
    const answer = await send(upload, (sent) => { upload.sent = sent; this.changed(); }, signal);
    if (signal.aborted) return;
    if (answer.status === 0 && !(await isReadable(upload.file))) {
      this.end(upload, { kind: "failed", why: "the file cannot be read any more: it was moved, changed or deleted" });
      return;
    }
    upload.tries += 1;
    upload.failingSince ??= Date.now();
    const since = Math.min(upload.failingSince, this.awaySince ?? Infinity);
    this.end(upload, verdict(answer, { tries: upload.tries, failingMs: Date.now() - since }));
  }

  end(upload, { kind, why = null, afterMs, document }) {
    upload.why = why;
    if (kind === "accepted") {
      // A state that is not known yet is heard of soon.
      Object.assign(upload, { phase: "accepted", document: { state: "UPLOADED", ...document }, heardAt: Date.now() });
      Object.assign(this, { awaySince: null, restUntil: 0 });
    } else if (kind === "again") {
      upload.phase = "pausing";
      this.awaySince ??= Date.now();
      this.restUntil = Math.max(this.restUntil, Date.now() + afterMs);
    } else if (kind === "token") {
      this.hold(upload);
    } else {
      upload.phase = "failed";
    }
    this.pump();
  }

  /** Waits for a token; without one nothing that waits can be sent. */
  async hold(upload) {
    upload.phase = "token";
    // Of two that were refused together the second may be told so after the token has been given.
    const granted = upload.under !== carried() || (await this.needToken(upload.why));
    if (granted) { if (upload.phase === "token") this.again(upload); return; }
    const stuck = this.all.filter(({ phase }) => phase === "token" || phase === "waiting" || phase === "pausing");
    for (const other of stuck) Object.assign(other, { phase: "failed", why: upload.why });
    this.changed();
  }

  /** Once more from the start, under the same key: if it had been taken after all, it is not taken twice. */
  again(...uploads) {
    for (const upload of uploads) Object.assign(upload, { phase: "waiting", tries: 0, failingSince: null, why: null });
    Object.assign(this, { awaySince: null, restUntil: 0 });
    this.pump();
  }

  againAll() {
    this.again(...this.all.filter(({ phase }) => phase === "failed"));
  }

  remove(upload) {
    upload.stop?.abort();
    this.all = this.all.filter((other) => other !== upload);
    this.pump();
  }

  clear() {
    this.all = this.all.filter((upload) => !this.isOver(upload));
    this.changed();
  }

  isOver(upload) {
    return upload.phase === "accepted" && isFinal(upload.document.state);
  }

  /** Whether leaving the page would lose something. */
  isBusy() {
    return this.all.some(({ phase }) => phase !== "accepted" && phase !== "failed");
  }

  /** A document as it is now. */
  hear(document) {
    let heard = false;
    for (const upload of this.all) {
      if (upload.document?.file_id !== document.file_id || !newer(document, upload.document)) continue;
      upload.document = { ...document, outcome: upload.document.outcome };
      upload.heardAt = Date.now();
      heard = true;
    }
    if (heard) this.changed();
  }

  /** Asks for those that nothing was heard of. */
  async followUp() {
    const quiet = this.all.filter((upload) => upload.phase === "accepted" && !this.isOver(upload) && Date.now() - upload.heardAt > QUIET_MS);
    await Promise.all(quiet.slice(0, ASKED_AT_A_TIME).map(async (upload) => {
      upload.heardAt = Date.now();
      const document = await ask(`/v1/documents/${encodeURIComponent(upload.document.file_id)}`).catch(() => null);
      if (document) this.hear(document);
    }));
  }

  /** Sums: bytes and files, sent and in all. */
  totals() {
    const sums = { files: this.all.length, taken: 0, failed: 0, duplicates: 0, errors: 0, done: 0, bytes: 0, sent: 0 };
    for (const { phase, file, sent, document } of this.all) {
      sums.bytes += file.size;
      sums.sent += phase === "accepted" ? file.size : Math.min(sent, file.size);
      sums.failed += phase === "failed";
      if (phase !== "accepted") continue;
      sums.taken += 1;
      sums.duplicates += document.outcome === "duplicate";
      sums.done += document.state === "DONE";
      sums.errors += document.state === "ERROR";
    }
    return sums;
  }
}

async function isReadable(file) {
  try { await file.slice(0, 1).arrayBuffer(); return true; } catch { return false; }
}

/** 128 random bits; `randomUUID` is only there where the page came by https. */
const unique = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
