// What the steps have made of a document. The built-in steps are shown by what they mean; the output of any other as it is.
import { ask } from "./api.js";
import { described } from "./draw.js";
import { named } from "./words.js";
import { bytes, count, duration, element, figure } from "./units.js";

/** Larger results are shown on demand. */
const UNASKED_BYTES_MAX = 2 << 20;
const BEGINNING_CHARS = 1500, FACTS_SHOWN = 12, KEYWORDS_SHOWN = 30, OUTPUT_CHARS = 20000;

/** Draws the results of a document that is DONE into `box`; a turn that is not the last one any more draws nothing. */
export async function results(document, box, isCurrent) {
  if (box.dataset.of === document.result) return;
  box.dataset.of = document.result;
  if (document.result_bytes > UNASKED_BYTES_MAX) {
    const button = element("button", { type: "button" }, `Show ${bytes(document.result_bytes)} of results`);
    button.addEventListener("click", () => load(document, box, isCurrent));
    box.replaceChildren(button);
  } else {
    await load(document, box, isCurrent);
  }
}

async function load(document, box, isCurrent) {
  try {
    const answer = await ask(`/v1/documents/${encodeURIComponent(document.file_id)}/results`);
    if (isCurrent()) box.replaceChildren(...sections(answer));
  } catch (error) {
    if (!isCurrent()) return;
    delete box.dataset.of;
    box.replaceChildren(element("p", { class: "wrong" }, `The results cannot be shown: ${error.message}`));
  }
}

function sections({ steps = {}, pipeline }) {
  const { D2 = {}, D3 = {}, D4 = {}, D5 = {} } = steps;
  return [
    ...summary(D5, pipeline), ...keywords(D5.keywords, D5.keyword_counts), ...found(D4.facts),
    ...beginning(D3.text ?? D2.text, D3.truncated ?? D2.truncated), ...outputs(steps),
  ];
}

function summary({ title, extract, figures, language }, pipeline) {
  const { facts, reading_seconds: seconds, ...counts } = figures ?? {};
  const told = [["title", title], ["language", languageName(language)], ...Object.entries(counts), ["time to read", seconds === undefined ? null : duration(seconds * 1000)], ["pipeline", pipeline]]
    .filter(([, value]) => value !== undefined && value !== null && value !== "");
  const words = extract ? [element("p", { class: "results-extract", dir: "auto" }, plain(extract))] : [];
  return [...words, ...(told.length ? [element("dl", { class: "about-document" }, ...described(told.map(([name, value]) => [spaced(name), named(plain(value))])))] : [])];
}

/** {"code":"eng"} → "English"; a code that nobody has a name for stays as it is. */
function languageName(language) {
  const code = language?.code ?? language;
  if (code === undefined || code === null || code === "und") return code ? "not determined" : null;
  try { return new Intl.DisplayNames("en", { type: "language" }).of(code); } catch { return plain(code); }
}

function keywords(list, counts = {}) {
  if (!Array.isArray(list) || list.length === 0) return [];
  const chip = (keyword) => {
    const word = plain(keyword?.word ?? keyword), times = keyword?.count ?? counts[word];
    return element("li", {}, named(word), typeof times === "number" ? element("small", {}, `×${count(times)}`) : "");
  };
  return [element("h4", {}, "Keywords"), element("ul", { class: "chips" }, ...list.slice(0, KEYWORDS_SHOWN).map(chip))];
}

/** Facts by kind: `{kind: {"found": […], "more"}}`. */
function found(facts) {
  const kinds = Object.entries(facts ?? {}).filter(([, told]) => Array.isArray(told?.found) && told.found.length > 0);
  if (kinds.length === 0) return [];
  const line = ([kind, { found: list, more }]) => {
    const unlike = new Map(list.map((fact) => [one(fact), fact]));
    const rest = unlike.size - FACTS_SHOWN;
    const items = [...unlike].slice(0, FACTS_SHOWN).map(([text, fact]) => element("li", { title: fact?.text === text ? undefined : plain(fact?.text ?? "") }, named(text)));
    if (rest > 0) items.push(element("li", { class: "fine" }, `and ${count(rest)} more`));
    return element("div", {}, element("dt", {}, `${spaced(kind)} `, element("small", {}, more ? `the first ${count(list.length)}` : count(list.length))), element("dd", {}, element("ul", { class: "chips" }, ...items)));
  };
  return [element("h4", {}, "Facts in the text"), element("dl", { class: "facts-found" }, ...kinds.map(line))];
}

/** A fact as people read it: what it was found to mean, not how it was written. */
function one(fact) {
  if (fact === null || typeof fact !== "object") return plain(fact);
  const { at, text, ...meant } = fact;
  if (meant.latitude !== undefined) return `${meant.latitude}, ${meant.longitude}`;
  if (meant.amount !== undefined) return `${meant.amount} ${meant.currency ?? ""}`.trim();
  return Object.values(meant).map(plain).join(" ") || plain(text ?? "");
}

function beginning(text, truncated) {
  if (typeof text !== "string" || text.trim() === "") return [];
  const cut = text.length > BEGINNING_CHARS;
  const shown = cut ? `${text.slice(0, BEGINNING_CHARS).replace(/\s\S*$/, "")} …` : text;
  return [element("h4", {}, "Text"), element("div", { class: "beginning", dir: "auto", tabindex: "0", role: "region", "aria-label": "Beginning of the text" }, shown),
    element("p", { class: "fine" }, `${cut ? `The first ${count(BEGINNING_CHARS)} of ` : ""}${count(text.length)} characters${truncated ? "; the document has more than was read" : ""}.`)];
}

/** Everything, for those who bring steps of their own. */
function outputs(steps) {
  const shown = Object.entries(steps).map(([name, output]) => {
    const body = element("pre", { tabindex: "0" });
    const box = element("details", {}, element("summary", {}, `Output of ${name}`), body);
    box.addEventListener("toggle", () => {
      const text = JSON.stringify(output, (_, value) => (typeof value === "bigint" ? String(value) : value), 2);
      body.textContent = text.length > OUTPUT_CHARS ? `${text.slice(0, OUTPUT_CHARS)}\n… ${count(text.length - OUTPUT_CHARS)} more characters` : text;
    }, { once: true });
    return box;
  });
  return shown.length ? [element("div", { class: "outputs" }, ...shown)] : [];
}

const spaced = (name) => String(name).replaceAll("_", " ");
const plain = (value) => (value !== null && typeof value === "object" ? figure(value, "json") : figure(value));
