// What the parts of the process are doing: the spool, restores, stages, lag. A process that only serves the API has none.
import { brief, bytes, count, duration, element } from "./units.js";

const EVERY_MS = 2000, BEHIND_RECORDS = 1000;
const STAGES = { partial: "read", merge: "summed", "view-writer": "written to the view" };

/** Asks again and again and draws into `box`, which is hidden while there is nothing to tell. */
export async function watch(box) {
  for (;;) {
    const answer = await fetch("/v1/status").catch(() => null);
    const parts = answer?.ok ? (await answer.json()).parts : {};
    const lines = [...spool(parts.gateway?.spool), ...stages(parts.jobs), ...lag(parts.jobs?.lag), ...restores(parts.jobs?.restoring)];
    const key = lines.map((line) => line.outerHTML).join("");
    if (box.dataset.key !== key) {
      box.dataset.key = key;
      box.querySelector("ul").replaceChildren(...lines);
      box.hidden = lines.length === 0;
    }
    await new Promise((done) => setTimeout(done, EVERY_MS));
  }
}

function line(name, text, { share, bad = false } = {}) {
  const made = element("li", { class: bad ? "bad" : undefined }, element("span", { class: "stage" }, name), element("span", {}, text));
  if (share !== undefined) made.append(element("progress", { max: 100, value: Math.min(100, share).toFixed(1), "aria-label": name }));
  return made;
}

function spool(s) {
  if (!s) return [];
  if (s.records === 0) return [line("Spool", s.last_error ? `empty; ${s.last_error}` : "empty: every accepted event is in the log", { bad: Boolean(s.last_error) })];
  const age = s.oldest_age_ms === null ? "" : `, the oldest for ${duration(s.oldest_age_ms)}`;
  const why = s.last_error ? `. The log does not take them: ${s.last_error}` : "";
  const share = (100 * s.bytes) / s.bytes_max;
  return [line("Spool", `${count(s.records)} accepted events wait for the log${age}; ${bytes(s.bytes)} of ${bytes(s.bytes_max)}${why}`, { share, bad: Boolean(s.last_error) })];
}

function stages(jobs) {
  if (!jobs) return [];
  const away = jobs.threads.filter((t) => t.state !== "running");
  if (away.length === 0) return [line("Stages", `all ${jobs.threads.length} at work`)];
  const tell = (t) => `${t.name} is ${t.state}${t.why ? `: ${t.why}` : ""}`;
  return [line("Stages", away.map(tell).join("; "), { bad: away.some((t) => t.state !== "joining" && t.state !== "restoring") })];
}

function lag(stages) {
  if (!stages) return [];
  const behind = Object.entries(STAGES).filter(([stage]) => stages[stage] > BEHIND_RECORDS);
  if (behind.length === 0) return [];
  return [line("Behind", behind.map(([stage, what]) => `${brief(stages[stage])} records not yet ${what}`).join(", "))];
}

function restores(list = []) {
  return list.map((r) => {
    const left = r.seconds_left === null ? "" : `, ${duration(r.seconds_left * 1000)} left`;
    return line("Restoring", `${r.stage} ${r.partition}: ${count(r.rows)} rows, ${r.percent.toFixed(0)} %${left}`, { share: r.percent });
  });
}
