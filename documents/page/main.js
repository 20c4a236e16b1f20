// The page: uploads in, documents and their queue as they change.
import { needToken } from "./dialogs.js";
import { Panel } from "./document.js";
import { Figures } from "./figures.js";
import { Grid } from "./grid.js";
import { Live, queueNow } from "./live.js";
import { Queue } from "./queue.js";
import { UploadList, wireDrop } from "./upload-list.js";
import { Uploads } from "./uploads.js";
import { themeButton, write } from "./units.js";
import { who } from "./who.js";

const FOLLOW_UP_MS = 4000;
const byId = (id) => document.getElementById(id);

const troubles = new Map();
function trouble(source, text) {
  if (text) troubles.set(source, text); else troubles.delete(source);
  const all = [...new Set(troubles.values())].join(" · ");
  byId("trouble").hidden = all === "";
  write("trouble", all);
}

const address = () => { try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; } };
const isFileId = (text) => /^[0-9a-f]{64}$/.test(text);

const queue = new Queue((state, text) => grid.note(state, text));
const grid = new Grid({ trouble: (text) => trouble("documents", text), seen, isOpen: (id) => id === panel.id });
const panel = new Panel({ changed: (document) => hear([document]), closed: shut, by: () => who.values().owner });
const uploads = new Uploads(() => list.soon(), needToken);
const list = new UploadList(uploads);

/** An answer of the table: without a filter it says whether there is anything at all. */
function seen({ counts }) {
  if (grid.countsAll()) queue.count(counts);
  const empty = !grid.isFiltered() && Object.values(counts).every((n) => n === 0);
  byId("blank").hidden = !empty;
  byId("documents-card").hidden = empty;
}

function hear(documents) {
  grid.hear(documents);
  for (const document of documents) { uploads.hear(document); panel.hear(document); }
}

function upload(files) {
  uploads.add(files, who.values());
}

function queueEvent(event) {
  queue.hear(event);
  if (event.counts && grid.countsAll()) grid.count(event.counts);
}

/** Asks for everything: at first, after a break, and again and again during one. */
function poll() {
  grid.refresh();
  panel.refresh();
  queueNow().then(queueEvent).then(() => trouble("queue", null), (error) => trouble("queue", error.message));
}

function follow() {
  const id = address();
  panel.open(isFileId(id) ? id : null);
  grid.mark();
}

/** Back to the table, and to the row that the document was opened from. */
function shut() {
  const { id } = panel;
  history.pushState(null, "", location.pathname + location.search);
  follow();
  byId("rows").querySelector(`tr[data-id="${id}"] a`)?.focus();
}

function curl() {
  const { owner, mail } = who.values();
  return `curl ${location.origin}/v1/documents \\
  -F owner=${owner || "ada"} -F mail=${mail || "ada@example.org"} \\
  -F file=@report.pdf`;
}

wireDrop((files) => (who.check() ? upload(files) : who.hold(files, upload)));
addEventListener("hashchange", follow);
addEventListener("popstate", follow);
document.addEventListener("visibilitychange", () => { if (!document.hidden) { grid.soon(); panel.soon(); } });
byId("copy").hidden = !navigator.clipboard;
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("curl").textContent);
  write("copy", "Copied");
  setTimeout(() => write("copy", "Copy"), 2000);
});
write("curl", curl());
who.changed(() => write("curl", curl()));
themeButton();
setInterval(() => uploads.followUp(), FOLLOW_UP_MS);
new Live({
  documents: hear, queue: queueEvent, poll,
  link: (state) => { byId("link").dataset.state = state; write("link", state === "live" ? "live" : "reconnecting"); },
});
follow();
poll();
new Figures();
