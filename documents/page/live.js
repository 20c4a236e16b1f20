// What changes, as it changes: the stream of events, or questions again and again while it is broken.
import { ask } from "./api.js";

const POLL_MS = 3000, REOPEN_MS = 3000;
/** Events are handed on in bundles: a hundred documents a second must not draw the page a hundred times. */
const BUNDLE_MS = 250;

export class Live {
  /** `documents(rows)`, `queue(event)`; `poll()` asks for everything at once; `link(word)` is told how it stands. */
  constructor(told) {
    Object.assign(this, told, { bundle: new Map() });
    this.open();
    setInterval(() => { if (this.state === "away") this.poll(); }, POLL_MS);
  }

  open() {
    const stream = new EventSource("/v1/documents/live");
    stream.addEventListener("open", () => this.turn("live"));
    stream.addEventListener("document", (event) => this.collect(JSON.parse(event.data)));
    stream.addEventListener("queue", (event) => this.queue(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      this.turn("away");
      // A broken stream is opened again by the browser, a refused one never is.
      if (stream.readyState === EventSource.CLOSED) setTimeout(() => this.open(), REOPEN_MS);
    });
  }

  turn(state) {
    if (this.state === state) return;
    this.state = state;
    this.link(state);
    // Whatever happened between is asked for.
    this.poll();
  }

  collect(document) {
    this.bundle.set(document.file_id, document);
    this.timer ??= setTimeout(() => {
      const rows = [...this.bundle.values()];
      this.bundle.clear();
      this.timer = undefined;
      this.documents(rows);
    }, BUNDLE_MS);
  }
}

/** The queue as an event would tell it. */
export const queueNow = () => ask("/v1/queues/documents");
