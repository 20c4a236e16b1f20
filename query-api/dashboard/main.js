// The page: live events in, sections redrawn.
import { Chart } from "./chart.js";
import { watch } from "./status.js";
import { Detail } from "./table.js";
import { brief, bytes, count, duration, element, hour as hourName, instant, parse, themeButton, write } from "./units.js";

const REFRESH_MS = 2000, RATE_SAMPLES = 10;
const byId = (id) => document.getElementById(id);

let state = null;      // the last event
let chosen = null;     // an hour the reader chose; null follows the newest
let shown = null;      // what the detail was last asked for
let refreshed = 0;
const samples = [];    // of records received, for the rate

const detail = new Detail((error) => trouble("detail", error?.message));
const chart = new Chart(byId("chart"), (hour) => choose(hour));

const troubles = new Map();
function trouble(source, text) {
  if (text) troubles.set(source, text); else troubles.delete(source);
  const all = [...troubles.values()].join(" · ");
  byId("trouble").hidden = all === "";
  write("trouble", all);
}

function choose(hour) {
  chosen = hour === state.hours[0]?.hour ? null : hour;
  draw();
}

function draw() {
  const empty = state.hours.length === 0 && state.progress.received === 0;
  byId("empty").hidden = !empty;
  byId("content").hidden = empty;
  if (empty) return;
  strip(state.progress);
  why(state.progress);
  sources(state.progress.sources);
  if (!state.hours.some((h) => h.hour === chosen)) chosen = null;
  const hour = state.hours.find((h) => h.hour === (chosen ?? state.hours[0]?.hour));
  chart.show(state.hours, hour?.hour);
  if (hour) about(hour);
}

function strip(p) {
  for (const stage of ["received", "accepted", "folded", "served"]) {
    write(stage, brief(p[stage]));
    byId(stage).title = count(p[stage]);
  }
  write("rate", rate(p.received));
  drops("drop-accepted", [["dead-lettered", p.dropped.dead_lettered]]);
  drops("drop-folded", [["repeats", p.dropped.duplicates], ["filtered", p.dropped.filtered], ["held", p.dropped.held], ["after sealing", p.dropped.sealed_out]],
    p.late_folded ? `${brief(p.late_folded)} late, folded in` : "");
  const gone = p.folded - p.served;
  drops("drop-served", [["expired", Math.max(0, gone)]]);
  fresh(p);
}

function drops(id, reasons, note = "") {
  const lost = reasons.filter(([, n]) => n > 0).map(([name, n]) => element("span", { class: "drop", title: count(n) }, `−${brief(n)} ${name}`));
  if (note) lost.push(element("span", { class: "note" }, note));
  if (lost.length === 0) lost.push(element("span", { class: "note" }, "none dropped"));
  const key = lost.map((l) => l.textContent).join("|");
  if (byId(id).dataset.key !== key) { byId(id).replaceChildren(...lost); byId(id).dataset.key = key; }
}

function rate(received) {
  samples.push([performance.now(), received]);
  if (samples.length > RATE_SAMPLES) samples.shift();
  const [[at, first]] = samples, [now, last] = samples.at(-1);
  return now - at < 1500 ? "from the topics" : `${brief(Math.round(((last - first) * 1000) / (now - at)))} a second`;
}

function fresh(p) {
  const text = p.watermark_delay_ms === null ? "no watermark yet" : `watermark ${instant(p.watermark)} UTC, ${duration(p.watermark_delay_ms)} behind`;
  write("fresh", text);
}

function why(p) {
  byId("why").hidden = p.holding === null;
  if (p.holding === null) return;
  const h = p.holding;
  write("why", `Why is ${hourName(h.hour)} open? It closes when every partition has passed ${instant(h.closes_at)}; ${sentence(h)}.`);
}

/** The reason with its instants as the page writes them. */
const sentence = (h) => h.reason.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (text) => instant(text));

function sources(list) {
  byId("sources").tBodies[0].replaceChildren(...list.map((s) => element("tr", {},
    element("th", { scope: "row" }, `${s.topic} ${s.partition}`),
    element("td", {}, instant(s.watermark) + (s.idle_at ? ", idle" : "")),
    ...[s.next_offset, s.records, s.late, s.held, s.filtered, s.dead_lettered, s.duplicates].map((n) => element("td", { class: "n" }, count(n))))));
}

/** The chosen hour: its line of facts at once, its contents when they may have changed. */
function about(h) {
  write("hour-title", hourName(h.hour));
  const total = h.bytes_rx === null ? "…" : bytes(h.bytes_rx + h.bytes_tx);
  const late = h.late ? `, ${count(h.late)} late` : "";
  const key = `${h.hour} ${h.state} ${total} ${h.records} ${h.late}`;
  if (byId("hour-facts").dataset.key !== key) {
    byId("hour-facts").dataset.key = key;
    byId("hour-facts").replaceChildren(
      element("span", { class: `badge ${h.state}`, id: "hour-state" }, element("i", { class: `key ${h.state}` }), h.state),
      ` ${MEANING[h.state]} ${total}, ${count(h.records)} records${late}.`);
  }
  byId("follow").hidden = chosen === null;
  const version = `${h.state} ${h.records} ${h.late} ${h.updated_at}`;
  if (shown?.hour !== h.hour) {
    shown = { hour: h.hour, version };
    refreshed = performance.now();
    detail.choose(h.hour);
  } else if (shown.version !== version && performance.now() - refreshed > REFRESH_MS) {
    shown.version = version;
    refreshed = performance.now();
    detail.refresh();
  }
}

const MEANING = {
  open: "Partial: records are still coming.",
  final: "Every record that was on time is in.",
  amended: "Complete; late records have been added since.",
  sealed: "Closed for good.",
};

function connect() {
  const live = new EventSource("/v1/live");
  live.addEventListener("state", (event) => {
    state = parse(event.data);
    trouble("live", null);
    link("live");
    draw();
  });
  live.addEventListener("unavailable", (event) => trouble("live", event.data));
  live.addEventListener("error", () => {
    link("away");
    // A refused stream is closed for good by the browser; a broken one it opens again by itself.
    if (live.readyState === EventSource.CLOSED) signedIn().then(() => setTimeout(connect, 3000));
  });
}

/** A refused stream does not say why; a request does. Without a good token the page to sign in comes next. */
async function signedIn() {
  const response = await fetch("/v1/progress").catch(() => null);
  if (response?.status === 401) location.assign("/login");
}

function link(to) {
  byId("link").dataset.state = to;
  write("link", to === "live" ? "live" : "reconnecting");
}

function curl() {
  return `curl ${location.origin}/v1/flows \\
  -H 'content-type: application/json' \\
  -d '{"src_app":"web", "dest_app":"db", "vpc_id":"vpc-1",
       "observed_at":"${new Date().toISOString()}",
       "bytes_tx":1200, "bytes_rx":48000}'`;
}

byId("follow").addEventListener("click", () => { chosen = null; draw(); });
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("curl").textContent);
  write("copy", "Copied");
  setTimeout(() => write("copy", "Copy"), 2000);
});
write("curl", curl());
themeButton();
connect();
watch(byId("status"));
