// The job behind a view, as it stands: sources, stages, topics, lag. Asked of the process that runs jobs; a process that only
// serves queries has no answer, and the picture is left out.
import { ask, breakable, count, element } from "./units.js";

const EVERY_MS = 2000;
const byId = (id) => document.getElementById(id);

export class Stages {
  constructor() {
    this.name = null;
    this.follow();
  }

  /** Shows the job of this view and version from now on. */
  show(view, version) {
    if (this.name === view && this.version === version) return;
    this.name = view;
    this.version = version;
    this.refresh();
  }

  async follow() {
    for (;;) {
      if (this.name !== null && !document.hidden) await this.refresh();
      await new Promise((done) => setTimeout(done, EVERY_MS));
    }
  }

  async refresh() {
    const asked = this.name;
    let job = null;
    try {
      job = await described(asked);
    } catch { /* The page says already that nothing can be reached. */ }
    if (asked !== this.name) return;
    const version = job?.versions.find((v) => v.version === this.version);
    byId("stages-card").hidden = !version?.stages;
    if (version?.stages) draw(version, job.retiring ?? []);
  }
}

/** What is known of a job; null where no jobs run, and for one that is built in. */
async function described(name) {
  const { parts } = await ask("/v1/status");
  if (!parts.jobs) return null;
  const { jobs } = await ask("/v1/jobs");
  return jobs.some((job) => job.job === name) ? ask(`/v1/jobs/${encodeURIComponent(name)}`) : null;
}

function draw(version, retiring) {
  const topic = (name, more) => element("li", { class: "stage-topic" }, element("span", {}, ...breakable(name)), more ? element("span", { class: "fine" }, more) : "");
  const lag = (stage) => stage.lag === null || stage.lag === undefined ? "lag not known yet" : stage.lag === 0 ? "at the end" : `${count(stage.lag)} behind`;
  // What nobody in the picture reads: late and dead-lettered records, the changelog.
  const aside = (stage, next) => stage.writes.filter((name) => next && !next.reads.some((read) => read.topic === name));
  const parts = version.stages.flatMap((stage, i) => [
    ...stage.reads.map((read) => topic(read.topic, `${read.partitions ?? "?"} partitions`)),
    element("li", { class: `stage ${stage.lag > 0 ? "behind" : ""}` },
      element("strong", {}, stage.stage), element("span", { class: "fine" }, stage.does),
      element("span", { class: "lag" }, lag(stage)), stage.state ? element("span", { class: "fine" }, stage.state.split(" in memory")[0]) : "",
      ...aside(stage, version.stages[i + 1]).map((name) => element("span", { class: "aside" }, "also ", ...breakable(name)))),
  ]);
  const last = version.stages.at(-1)?.writes ?? [];
  const items = [...parts, ...last.map((name) => topic(name))];
  const gone = retiring.map((old) => `; version ${old.version} is retired and is being removed`).join("");
  const state = (version.why ? `${version.state}: ${version.why}` : version.state) + gone;
  const key = `${state}${items.map((item) => item.outerHTML).join("")}`;
  if (byId("stages").dataset.key === key) return;
  byId("stages").dataset.key = key;
  byId("stages-state").textContent = state;
  byId("stages").replaceChildren(...items);
}
