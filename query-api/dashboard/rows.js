// The rows of one window of any view: a filter for each key column, pages, CSV.
import { ask, count, element, figure, write } from "./units.js";

const REFRESH_MS = 2000;
const NUMBERS = new Set(["long", "integer", "double"]);
// A row takes a card's height on a narrow screen.
const pageRows = () => (matchMedia("(max-width: 620px)").matches ? 10 : 25);
const byId = (id) => document.getElementById(id);

export class Rows {
  constructor(trouble) {
    this.trouble = trouble;
    this.turn = 0;
    byId("filter").addEventListener("submit", (event) => { event.preventDefault(); this.apply(); });
    byId("filter").addEventListener("reset", () => setTimeout(() => this.apply()));
    byId("next").addEventListener("click", () => this.page([...this.cursors, this.nextCursor]));
    byId("previous").addEventListener("click", () => this.page(this.cursors.slice(0, -1)));
  }

  /** Of another view: its columns, and no filter. */
  open(path, params, shown) {
    Object.assign(this, { path, params, shown, cursors: [], filter: {}, start: undefined, version: undefined });
    byId("filter").hidden = shown.key.length === 0;
    byId("filter").replaceChildren(...shown.key.map(input),
      element("div", { class: "act" }, element("button", { type: "submit" }, "Filter"), element("button", { type: "reset", class: "quiet" }, "Clear")));
    const keys = shown.key.map((column) => element("th", { scope: "col" }, column.name));
    byId("rows").tHead.replaceChildren(element("tr", {}, ...keys, ...shown.values.map(heading)));
    byId("rows").tBodies[0].replaceChildren();
  }

  /** Shows a window from its first page; asks again for the same one when `version` says that it may have changed. */
  choose(start, version) {
    if (start === this.start && version === this.version) return;
    if (start === this.start && performance.now() - (this.asked ?? 0) < REFRESH_MS) return;
    if (start !== this.start) this.cursors = [];
    Object.assign(this, { start, version });
    this.refresh();
  }

  query(more) {
    return { ...this.params, window: this.start, ...this.filter, ...more };
  }

  async refresh() {
    this.turn += 1;
    this.asked = performance.now();
    const turn = this.turn;
    try {
      const answer = await ask(this.path, this.query({ limit: pageRows(), cursor: this.cursors.at(-1) }));
      if (turn === this.turn) this.draw(answer);
    } catch (error) {
      if (turn === this.turn) this.trouble(error.message);
    }
  }

  apply() {
    this.filter = Object.fromEntries([...new FormData(byId("filter"))].filter(([, value]) => value !== ""));
    this.cursors = [];
    this.refresh();
  }

  /** Filters the table by a key. */
  narrow(key) {
    for (const [name, value] of Object.entries(key)) byId("filter").elements[`key.${name}`].value = value;
    this.apply();
    byId("rows-card").scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  page(cursors) {
    this.cursors = cursors;
    this.refresh();
  }

  draw(answer) {
    byId("rows").tBodies[0].replaceChildren(...answer.rows.map((row) => this.line(row)));
    byId("rows").hidden = answer.rows.length === 0;
    const more = answer.next !== null;
    byId("none").hidden = answer.rows.length > 0;
    write("none", more ? "Nothing on this page; go on with Next." : Object.keys(this.filter).length ? "No row matches." : "No rows.");
    this.nextCursor = answer.next;
    byId("next").disabled = !more;
    byId("previous").disabled = this.cursors.length === 0;
    const one = this.cursors.length === 0 && !more;
    write("page", one ? `${count(answer.rows.length)} ${answer.rows.length === 1 ? "row" : "rows"}` : `page ${this.cursors.length + 1}`);
    const csv = Object.entries(this.query({ format: "csv" })).filter(([, value]) => value !== undefined);
    byId("csv").href = `${this.path}?${new URLSearchParams(csv)}`;
  }

  /** On narrow screens each cell shows its heading, which `data-name` holds. */
  line(row) {
    const cell = (column, kind, attributes = {}) => element(kind, {
      "data-name": column.name, "data-value": String(row[column.name]), class: NUMBERS.has(column.kind) ? "n" : column.kind === "json" ? "json" : undefined, ...attributes,
    }, figure(row[column.name], column.kind));
    const [first, ...rest] = this.shown.key;
    return element("tr", {}, ...(first ? [cell(first, "th", { scope: "row" })] : []), ...rest.map((column) => cell(column, "td")),
      ...this.shown.values.map((column) => cell(column, "td")));
  }
}

function input(column) {
  const hint = { time: "2026-11-21T03:00:00Z", boolean: "true or false" }[column.kind] ?? "any";
  return element("label", {}, column.name,
    element("input", { name: `key.${column.name}`, autocomplete: "off", spellcheck: "false", placeholder: hint }));
}

function heading(column) {
  const error = column.error === null ? [] : [element("small", {}, `± ${(100 * column.error).toLocaleString("en-US", { maximumSignificantDigits: 2 })} %`)];
  return element("th", { scope: "col", class: NUMBERS.has(column.kind) ? "n" : undefined, title: column.description || undefined }, column.name, ...error);
}
