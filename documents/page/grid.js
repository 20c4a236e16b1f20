// The documents: a tile for each state, filters, a table in pages. All of it is also in the address, so that it can be kept and sent.
import { ask, now } from "./api.js";
import { badge, MEANING, millis, named, newer, short, sign, spent, STATES } from "./words.js";
import { arrange } from "./draw.js";
import { bytes, count, duration, element, instant, write } from "./units.js";

const FIELDS = ["q", "name", "type", "owner"];
const REFRESH_MS = 1500, TYPING_MS = 350, CLOCK_MS = 1000, OFFERED_MAX = 200;
/** A row takes a card's height on a narrow screen. */
const pageRows = () => (matchMedia("(max-width: 620px)").matches ? 10 : 15);
const byId = (id) => document.getElementById(id);

export class Grid {
  /** `trouble(text)` is told what went wrong, `seen(answer)` each answer, `isOpen(file_id)` says which document is. */
  constructor({ trouble, seen, isOpen }) {
    Object.assign(this, { trouble, seen, isOpen, turn: 0, cursors: [], lines: new Map() });
    this.tiles = STATES.map((state) => this.tile(state));
    byId("tiles").replaceChildren(...this.tiles.map(({ button }) => button));
    this.fromAddress();
    byId("filter").addEventListener("submit", (event) => { event.preventDefault(); this.apply(); });
    byId("filter").addEventListener("reset", () => setTimeout(() => { this.state = undefined; this.apply(); }));
    byId("filter").addEventListener("input", ({ target }) => {
      clearTimeout(this.typing);
      // Words are found as far as they are written; an owner that is half written is nobody.
      if (target.name !== "owner" || target.value === "" || known.owners.has(target.value)) this.typing = setTimeout(() => this.apply(), TYPING_MS);
    });
    byId("filter").addEventListener("change", ({ target }) => { if (target.name === "owner") this.apply(); });
    byId("next").addEventListener("click", () => this.page([...this.cursors, this.next]));
    byId("previous").addEventListener("click", () => this.page(this.cursors.slice(0, -1)));
    setInterval(() => { for (const line of this.lines.values()) this.clock(line); }, CLOCK_MS);
  }

  fromAddress() {
    const params = new URLSearchParams(location.search);
    this.state = STATES.find((state) => state === params.get("state"));
    if (params.get("type")) offer("types", [params.get("type")]);
    for (const field of FIELDS) byId("filter").elements[field].value = params.get(field) ?? "";
  }

  filter() {
    const fields = FIELDS.map((field) => [field, byId("filter").elements[field].value.trim()]).filter(([, value]) => value !== "");
    return Object.fromEntries(this.state ? [["state", this.state], ...fields] : fields);
  }

  isFiltered() {
    return Object.keys(this.filter()).length > 0;
  }

  /** Whether the numbers of the states are those of all documents: the state itself does not narrow them. */
  countsAll() {
    return Object.keys(this.filter()).every((name) => name === "state");
  }

  apply() {
    clearTimeout(this.typing);
    const query = new URLSearchParams(this.filter());
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
    this.page([]);
  }

  page(cursors) {
    this.cursors = cursors;
    this.refresh();
  }

  /** Asks again, soon: a hundred changes a second are one question. */
  soon() {
    this.later ??= setTimeout(() => { this.later = undefined; if (!document.hidden) this.refresh(); }, REFRESH_MS);
  }

  /** Asks for the page again; an answer that comes after a newer question is dropped. */
  async refresh() {
    this.turn += 1;
    const turn = this.turn;
    try {
      const answer = await ask("/v1/documents", { ...this.filter(), limit: pageRows(), cursor: this.cursors.at(-1) });
      if (turn !== this.turn) return;
      this.trouble(null);
      this.draw(answer);
    } catch (error) {
      if (turn !== this.turn) return;
      // A cursor may have had its day; the first page is always there.
      if (error.status === 400 && this.cursors.length > 0) this.page([]); else this.trouble(error.message);
    }
  }

  draw({ documents, next, counts }) {
    this.next = next ?? null;
    // The index is a moment behind the stream: what has been heard since stays.
    const latest = (document) => { const known = this.lines.get(document.file_id)?.document; return known && !newer(document, known) ? known : document; };
    const rows = documents.map((document) => this.line(latest(document)));
    const wanted = new Set(documents.map((document) => document.file_id));
    for (const id of [...this.lines.keys()]) if (!wanted.has(id)) this.lines.delete(id);
    arrange(byId("rows").tBodies[0], rows);
    byId("rows").hidden = rows.length === 0;
    byId("none").hidden = rows.length > 0;
    write("none", this.isFiltered() ? "No document matches." : this.cursors.length ? "Nothing on this page." : "No documents yet.");
    byId("next").disabled = !this.next;
    byId("previous").disabled = this.cursors.length === 0;
    const one = this.cursors.length === 0 && !this.next;
    write("page", one ? `${count(rows.length)} ${rows.length === 1 ? "document" : "documents"}` : `page ${this.cursors.length + 1}`);
    this.count(counts);
    offer("types", documents.map((document) => document.type));
    offer("owners", documents.map((document) => document.owner));
    this.seen({ documents, counts });
  }

  /** Documents as they are now: those on the page at once, where they are; the page itself soon. */
  hear(documents) {
    for (const document of documents) {
      const line = this.lines.get(document.file_id);
      if (line && newer(document, line.document)) this.line({ ...line.document, ...document });
    }
    this.soon();
  }

  count(counts) {
    for (const { state, button, number } of this.tiles) {
      const text = count(counts[state] ?? 0);
      if (number.textContent !== text) number.textContent = text;
      button.setAttribute("aria-pressed", String(this.state === state));
    }
  }

  tile(state) {
    const number = element("b", {}, "–"), note = element("span", { class: "fine" }, MEANING[state]);
    const button = element("button", { type: "button", class: `tile ${state}`, "data-state": state, "aria-pressed": "false" },
      element("span", { class: "tile-name" }, sign(state), state), number, note);
    button.addEventListener("click", () => {
      this.state = this.state === state ? undefined : state;
      for (const other of this.tiles) other.button.setAttribute("aria-pressed", String(this.state === other.state));
      this.apply();
    });
    return { state, button, number, note };
  }

  /** What is to be said below the number of a state. */
  note(state, text) {
    const { note } = this.tiles.find((tile) => tile.state === state);
    if (note.textContent !== text) note.textContent = text;
  }

  /** On narrow screens each cell shows its heading, which `data-name` holds. */
  line(document) {
    const made = this.lines.get(document.file_id) ?? this.make(document);
    const changed = made.document && made.document.state !== document.state;
    made.document = document;
    const { cells } = made;
    const cell = (name, text) => { if (cells[name].textContent !== text) cells[name].textContent = text; };
    if (cells.link.textContent !== document.name) cells.link.replaceChildren(named(document.name));
    cell("error", document.state === "ERROR" ? document.error ?? "" : "");
    const said = `${document.state} ${document.step ?? ""}`;
    if (cells.state.dataset.key !== said) {
      cells.state.dataset.key = said;
      const step = document.step && document.state !== "DONE" && document.state !== "UPLOADED" ? element("small", {}, document.state === "ERROR" ? `in ${document.step}` : document.step) : "";
      cells.state.replaceChildren(badge(document.state), step);
    }
    cell("type", short(document.type));
    cells.type.title = document.type ?? "";
    cell("size", bytes(document.bytes));
    if (cells.owner.textContent !== document.owner) cells.owner.replaceChildren(named(document.owner ?? ""));
    cell("worker", document.worker ?? "–");
    cell("attempt", document.attempt ? count(document.attempt) : "–");
    for (const name of ["worker", "attempt"]) cells[name].classList.toggle("nothing", cells[name].textContent === "–");
    made.row.className = [changed ? "turned" : "", this.isOpen(document.file_id) ? "open-row" : ""].join(" ").trim();
    this.clock(made);
    return made.row;
  }

  make(document) {
    const link = element("a", { class: "row-link", href: `#${document.file_id}` });
    const td = (name, attributes = {}, ...children) => element("td", { "data-name": name, ...attributes }, ...children);
    const cells = {
      link, error: element("small", { class: "row-error" }), state: td("State"), type: td("Type"), size: td("Size", { class: "n" }), owner: td("Owner", { class: "owner" }),
      worker: td("Worker", { class: "worker" }), attempt: td("Attempt", { class: "n" }), age: td("Time", { class: "age" }),
    };
    const row = element("tr", { "data-id": document.file_id }, element("th", { scope: "row", "data-name": "Name" }, link, cells.error),
      cells.state, cells.type, cells.size, cells.owner, cells.worker, cells.attempt, cells.age);
    // The whole row opens the document, unless somebody selects text in it.
    row.addEventListener("click", (event) => { if (!event.target.closest("a") && String(getSelection()) === "") link.click(); });
    const made = { row, cells, document: null };
    this.lines.set(document.file_id, made);
    return made;
  }

  clock({ document, cells }) {
    const { verb, ms } = spent(document, now());
    const text = `${verb} ${verb === "took" ? millis(ms) : duration(ms)}`;
    const at = `since ${instant(document.changed_at)} UTC; uploaded ${instant(document.uploaded_at)} UTC`;
    const when = `${instant(document.changed_at)}`;
    if (cells.age.dataset.key === text + when) return;
    cells.age.dataset.key = text + when;
    cells.age.title = at;
    cells.age.replaceChildren(Number.isFinite(ms) ? text : "–", element("small", {}, when));
  }

  /** Marks the row of the open document. */
  mark() {
    for (const [id, { row }] of this.lines) row.classList.toggle("open-row", this.isOpen(id));
  }
}

/** What was seen, for the fields to offer. */
const known = { types: new Set(), owners: new Set() };

function offer(what, values) {
  for (const value of values) {
    if (!value || known[what].has(value) || known[what].size >= OFFERED_MAX) continue;
    known[what].add(value);
    if (what === "types") byId("type").append(element("option", { value }, short(value) === value ? value : `${short(value)} (${value})`));
    else byId("known-owners").append(element("option", { value }));
  }
}
