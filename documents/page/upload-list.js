// The uploads as people see them, and the place where files are dropped.
import { chosen, dropped, FILES_MAX } from "./files.js";
import { arrange } from "./draw.js";
import { badge, named } from "./words.js";
import { bytes, count, element, write } from "./units.js";

/** Rows drawn at a time: those that need somebody first, then those under way. */
const ROWS_MAX = 40;
const ORDER = { failed: 0, token: 1, sending: 2, pausing: 3, waiting: 4 };
/** A screen reader is not told of each per cent. */
const TELL_MS = 2000;
const byId = (id) => document.getElementById(id);

export class UploadList {
  constructor(uploads, opened) {
    Object.assign(this, { uploads, opened, rows: new Map() });
    byId("uploads-again").addEventListener("click", () => uploads.againAll());
    byId("uploads-clear").addEventListener("click", () => uploads.clear());
    addEventListener("beforeunload", (event) => { if (uploads.isBusy()) event.preventDefault(); });
  }

  /** Draws before the next frame, however often it is called. */
  soon() {
    this.frame ??= setTimeout(() => { this.frame = undefined; this.draw(); }, 100);
  }

  draw() {
    const { all } = this.uploads;
    byId("uploads").hidden = all.length === 0;
    const place = (upload) => (upload.phase !== "accepted" ? ORDER[upload.phase] : this.uploads.isOver(upload) ? 6 : 5);
    const sorted = [...all].sort((a, b) => place(a) - place(b));
    const shown = sorted.slice(0, ROWS_MAX);
    const lines = shown.map((upload) => this.row(upload));
    for (const upload of [...this.rows.keys()]) if (!shown.includes(upload)) this.rows.delete(upload);
    arrange(byId("uploads-list"), lines);
    byId("uploads-more").hidden = all.length <= ROWS_MAX;
    write("uploads-more", `and ${count(all.length - shown.length)} more`);
    this.sums();
  }

  sums() {
    const t = this.uploads.totals();
    byId("uploads-all").value = t.bytes > 0 ? t.sent / t.bytes : 1;
    byId("uploads-again").hidden = t.failed === 0;
    byId("uploads-clear").hidden = t.done + t.errors === 0;
    const parts = [`${count(t.taken)} of ${count(t.files)} uploaded`, [t.failed, "failed"], [t.duplicates, "already known"], [t.done, "done"], [t.errors, "in error"]];
    const said = parts.filter((part) => typeof part === "string" || part[0] > 0).map((part) => (typeof part === "string" ? part : `${count(part[0])} ${part[1]}`)).join(", ");
    clearTimeout(this.telling);
    const wait = TELL_MS - (performance.now() - (this.toldAt ?? -Infinity));
    const tell = () => { this.toldAt = performance.now(); write("uploads-said", said); };
    if (wait <= 0) tell(); else this.telling = setTimeout(tell, wait);
  }

  row(upload) {
    const made = this.rows.get(upload) ?? this.make(upload);
    const { phase, file, document } = upload;
    made.item.className = `upload-row ${phase}`;
    made.bar.hidden = phase !== "sending";
    made.bar.value = file.size > 0 ? Math.min(1, upload.sent / file.size) : 0;
    const told = phase === "accepted" ? { state: document.state, outcome: document.outcome, step: document.step, error: document.error } : { words: words(upload), why: upload.why };
    const key = JSON.stringify(told);
    if (made.key !== key) {
      made.key = key;
      made.said.replaceChildren(...(phase === "accepted" ? this.accepted(document) : refused(told)));
    }
    made.again.hidden = phase !== "failed" && phase !== "token";
    made.drop.setAttribute("aria-label", `${phase === "accepted" || phase === "failed" ? "Remove from this list" : "Do not upload"}: ${upload.path}`);
    return made.item;
  }

  make(upload) {
    const bar = element("progress", { max: 1, value: 0, "aria-label": `Upload of ${upload.path}` });
    const said = element("span", { class: "upload-said" });
    const again = element("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => this.uploads.again(upload));
    const drop = element("button", { type: "button", class: "quiet remove" }, element("span", { "aria-hidden": "true" }, "✕"));
    drop.addEventListener("click", () => this.uploads.remove(upload));
    const item = element("li", {}, element("span", { class: "upload-name", title: upload.path }, named(upload.path)),
      element("span", { class: "fine n" }, bytes(upload.file.size)), element("span", { class: "upload-state" }, bar, said), element("span", { class: "upload-act" }, again, drop));
    const made = { item, bar, said, again, drop };
    this.rows.set(upload, made);
    return made;
  }

  accepted(document) {
    const note = { duplicate: "already known", retried: "another try" }[document.outcome];
    const link = element("a", { href: `#${document.file_id}` }, "open");
    const why = document.state === "ERROR" && document.error ? element("span", { class: "upload-why", title: document.error }, named(document.error)) : "";
    return [badge(document.state), note ? element("span", { class: "fine" }, note) : "", document.state === "PROCESSING" && document.step ? element("span", { class: "fine" }, document.step) : "", link, why];
  }
}

function words({ phase, sent, file }) {
  if (phase === "waiting") return "waiting";
  if (phase === "sending") return sent >= file.size ? "sent; the server takes it in" : `${bytes(sent)} sent`;
  if (phase === "pausing") return "to be sent again by itself";
  return phase === "token" ? "a token is needed" : "failed";
}

function refused({ words: text, why }) {
  return [element("span", {}, text), why ? element("span", { class: "upload-why" }, named(why)) : ""];
}

/** Takes files by drop anywhere on the page and by the two buttons; `taken` is given them. */
export function wireDrop(taken) {
  let depth = 0;
  const holds = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const lit = (on) => byId("drop").classList.toggle("over", on);
  addEventListener("dragenter", (event) => { if (holds(event)) { depth += 1; lit(true); } });
  addEventListener("dragleave", (event) => { if (holds(event)) { depth = Math.max(0, depth - 1); lit(depth > 0); } });
  addEventListener("dragover", (event) => { if (holds(event)) event.preventDefault(); });
  addEventListener("drop", async (event) => {
    depth = 0;
    lit(false);
    if (!holds(event)) return;
    event.preventDefault();
    take(await dropped(event.dataTransfer));
  });
  for (const [button, input] of [["choose", "files"], ["choose-folder", "folder"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", () => { take(chosen(byId(input).files)); byId(input).value = ""; });
  }
  function take({ files, skipped, unread }) {
    const notes = [];
    if (files.length > FILES_MAX) notes.push(`only the first ${count(FILES_MAX)} files were taken; drop the rest when these are done`);
    if (unread.length > 0) notes.push(`${count(unread.length)} could not be read: ${unread.slice(0, 3).join(", ")}${unread.length > 3 ? ", …" : ""}`);
    if (skipped > 0) notes.push(`${count(skipped)} left out that file managers made (.DS_Store, Thumbs.db, desktop.ini)`);
    if (files.length === 0 && notes.length === 0) notes.push("there was no file in it");
    byId("drop-note").hidden = notes.length === 0;
    write("drop-note", notes.join("; "));
    if (files.length > 0) taken(files.slice(0, FILES_MAX));
  }
}
