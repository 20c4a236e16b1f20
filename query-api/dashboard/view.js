// One view: its windows, why the chosen one is as it is, its rows.
import { Chart, records } from "./chart.js";
import { Rows } from "./rows.js";
import { Series } from "./series.js";
import { Stages } from "./stages.js";
import { ask, count, cut, duration, element, instant, period, span, step, write } from "./units.js";

const WINDOWS = 48;
const byId = (id) => document.getElementById(id);

export class View {
  constructor(trouble) {
    this.trouble = trouble;
    this.turn = 0;
    this.asked = 0;
    this.rows = new Rows(trouble);
    this.series = new Series((key) => this.rows.narrow(key));
    this.stages = new Stages();
    byId("follow").addEventListener("click", () => { this.chosen = null; this.turnTo([]); });
    byId("earlier").addEventListener("click", () => this.turnTo([...this.pages, this.next]));
    byId("later").addEventListener("click", () => this.turnTo(this.pages.slice(0, -1)));
  }

  /** Shows a view, or what has changed of it. `version`: of a version that is not the current one. */
  show(summary, version) {
    const shown = [summary, ...summary.others].find((v) => v.version === version) ?? summary;
    const name = `${summary.view}@${shown.version}`;
    const changed = this.name !== name;
    if (changed) {
      this.name = name;
      this.chosen = null;
      this.pages = [];
      this.fresh = "";
      this.path = `/v1/views/${encodeURIComponent(summary.view)}`;
      // The bare name follows what is promoted; a version asked for by number stays.
      this.params = shown === summary && summary.current !== null ? {} : { version: shown.version };
      this.step = step(shown.window);
      byId("windows").replaceChildren();
      this.chart = new Chart(byId("windows"), (index) => this.choose(index), records(this.step, (w) => this.title(w)));
      this.rows.open(this.path, this.params, shown);
      this.series.open(this.path, this.params, shown, this.step);
      byId("windows-link").href = `${this.path}/windows?${new URLSearchParams(this.params)}`;
      byId("progress-link").href = `${this.path}/progress?${new URLSearchParams(this.params)}`;
      document.title = `${summary.view} · Tidemark`;
    }
    this.shown = shown;
    this.about(summary, shown);
    this.stages.show(summary.view, shown.version);
    const { watermark, newest } = shown;
    const fresh = JSON.stringify([watermark, newest]);
    if (fresh !== this.fresh) {
      this.fresh = fresh;
      this.refresh();
    }
  }

  about(summary, shown) {
    write("view-title", summary.view);
    write("description", shown.description);
    const delay = shown.watermark_delay_ms === null ? "none yet" : `${instant(shown.watermark)} UTC, ${duration(shown.watermark_delay_ms)} behind`;
    const facts = [
      ["Time", cut(shown.window)], ["Grace", period(shown.grace_ms)], ["Key", shown.key.map((k) => k.name).join(", ") || "none: one row"],
      ["From", shown.sources.join(", ")], ["Kept", period(shown.retention_ms)], ["Watermark", delay],
      ...(shown.dead_lettered ? [["Dead-lettered", `${count(shown.dead_lettered)} records, on tidemark.${summary.view}.v${shown.version}.dead-letter`]] : []),
    ];
    describe("about", facts);
    this.versions(summary, shown);
  }

  versions(summary, shown) {
    const all = [summary, ...summary.others].sort((a, b) => a.version - b.version);
    const name = (v) => `v${v.version}${v.version === summary.current ? " current" : v.version === summary.previous ? " previous" : ""}`;
    const link = (v) => element("a", {
      href: `#${encodeURIComponent(summary.view)}${v.version === summary.current ? "" : `@${v.version}`}`,
      "aria-current": v === shown ? "true" : undefined,
    }, name(v));
    const links = all.map(link);
    const key = links.map((made) => made.outerHTML).join("");
    byId("versions").hidden = all.length < 2;
    if (byId("versions").dataset.key === key) return;
    byId("versions").dataset.key = key;
    byId("versions").replaceChildren(...links);
  }

  title(w) {
    const start = w.hour * this.step;
    return span(start, w.end ? Date.parse(w.end) : start + (this.shown.window.size_ms ?? this.step));
  }

  /** To the windows behind these cursors, the newest without any. */
  turnTo(pages) {
    this.pages = pages;
    this.chosen = null;
    this.refresh();
  }

  choose(index) {
    this.chosen = index === this.windows[0]?.hour ? null : index;
    this.draw();
  }

  /** Asks for the windows again; an answer that comes after a newer question is dropped. */
  async refresh() {
    this.turn += 1;
    const turn = this.turn;
    try {
      const answer = await ask(`${this.path}/windows`, { ...this.params, limit: WINDOWS, cursor: this.pages.at(-1) });
      if (turn !== this.turn) return;
      this.next = answer.next;
      byId("earlier").disabled = !answer.next;
      byId("later").disabled = this.pages.length === 0;
      byId("windows-pages").hidden = !answer.next && this.pages.length === 0;
      this.windows = answer.windows.map((w) => ({ ...w, hour: Math.round(Date.parse(w.start) / this.step) }));
      this.trouble(null);
      this.draw();
    } catch (error) {
      if (turn === this.turn) this.trouble(error.message);
    }
  }

  draw() {
    if (!this.windows.some((w) => w.hour === this.chosen)) this.chosen = null;
    const window = this.windows.find((w) => w.hour === (this.chosen ?? this.windows[0]?.hour));
    this.chart.show(this.windows, window?.hour);
    byId("follow").hidden = this.chosen === null && this.pages.length === 0;
    const start = window?.start;
    write("window-title", window ? this.title(window) : "No records yet");
    this.explain(start);
    this.rows.choose(start, `${window?.state} ${window?.records} ${window?.updated_at}`);
    this.series.choose(start, this.windows);
  }

  /** Says why a window is as it is. */
  async explain(start) {
    this.asked += 1;
    const asked = this.asked;
    try {
      const why = await ask(`${this.path}/why`, { ...this.params, window: start });
      if (asked === this.asked) explain(why);
    } catch (error) {
      if (asked === this.asked) this.trouble(error.message);
    }
  }
}

/** A list of names and what they are. */
function describe(id, facts) {
  const key = JSON.stringify(facts);
  if (byId(id).dataset.key === key) return;
  byId(id).dataset.key = key;
  byId(id).replaceChildren(...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

/** Words with their instants as the page writes them. */
const sentence = (text) => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (at) => instant(at));

function explain(why) {
  // The badge says the state, with which the sentence begins.
  const words = sentence(why.why).slice(why.state.length + 2);
  const said = `${why.state} ${words}`;
  if (byId("why").dataset.key !== said) {
    byId("why").dataset.key = said;
    const badge = element("span", { class: `badge ${why.state}`, id: "window-state" }, element("i", { class: `key ${why.state}` }), why.state);
    byId("why").replaceChildren(badge, ` ${words.charAt(0).toUpperCase()}${words.slice(1)}.`);
  }
  const late = why.late ? `${count(why.late)}: ${count(why.late_folded)} folded in, ${count(why.late_held)} held, ${count(why.sealed_out)} after sealing` : "none";
  describe("counts", [
    ["Records", count(why.records)], ["Keys", count(why.rows)], ["Late", late],
    ["Closes when all have passed", instant(why.closes_at)], ["Closed", why.closed_at ? instant(why.closed_at) : why.state === "open" ? "not yet" : "–"],
    ["Sealed when all have passed", instant(why.seals_at) + (why.amendable_until ? `, not before ${instant(why.amendable_until)}` : "")], ["As of", instant(why.as_of)],
  ]);
  byId("behind-box").hidden = why.behind.length === 0;
  byId("behind").tBodies[0].replaceChildren(...why.behind.map((b) => element("tr", {},
    element("th", { scope: "row" }, `${b.topic} ${b.partition}`), element("td", { class: "n" }, count(b.next_offset)),
    element("td", {}, instant(b.watermark) + (b.idle_at ? ", idle" : "")),
    element("td", { class: "n" }, b.behind_ms === null ? "no record yet" : duration(b.behind_ms)))));
  byId("offsets").tBodies[0].replaceChildren(...why.sources.map((s) => element("tr", {},
    element("th", { scope: "row" }, s.topic), ...[s.partition, s.first_offset, s.last_offset].map((n) => element("td", { class: "n" }, count(n))))));
}
