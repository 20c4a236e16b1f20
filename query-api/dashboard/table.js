// What is in one hour: the largest groups, and the flows with filter and pages.
import { ask, bytes, count, element, instant, parse, write } from "./units.js";

const TOP_ROWS = 8;
// A row takes a card's height on a narrow screen.
const pageRows = () => (matchMedia("(max-width: 620px)").matches ? 10 : 25);
const KEYS = ["src_app", "dest_app", "vpc_id"];
const byId = (id) => document.getElementById(id);

export class Detail {
  constructor(failed) {
    this.failed = failed;
    this.by = "src_app";
    this.filter = {};
    this.cursors = [];
    this.turn = 0;
    byId("by").addEventListener("click", (event) => this.group(event.target.closest("button")));
    byId("filter").addEventListener("submit", (event) => { event.preventDefault(); this.apply(); });
    byId("filter").addEventListener("reset", () => setTimeout(() => this.apply()));
    byId("next").addEventListener("click", () => this.page([...this.cursors, this.nextCursor]));
    byId("previous").addEventListener("click", () => this.page(this.cursors.slice(0, -1)));
  }

  /** Shows an hour from its first page. */
  choose(hour) {
    this.hour = hour;
    this.cursors = [];
    return this.refresh();
  }

  /** Asks again for what is shown; an answer that comes after a newer question is dropped. */
  async refresh() {
    this.turn += 1;
    const turn = this.turn;
    try {
      const [top, flows] = await Promise.all([
        ask("/v1/top", { hour: this.hour, by: this.by, limit: TOP_ROWS }, parse),
        ask("/v1/flows", this.query({ limit: pageRows(), cursor: this.cursors.at(-1) }), parse),
      ]);
      if (turn !== this.turn) return;
      this.showTop(top);
      this.showFlows(flows);
      this.failed(null);
    } catch (error) {
      if (turn === this.turn) this.failed(error);
    }
  }

  query(more) {
    const all = { hour: this.hour, ...this.filter, ...more };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value !== ""));
  }

  group(button) {
    if (!button) return;
    for (const other of byId("by").children) other.setAttribute("aria-pressed", String(other === button));
    this.by = button.dataset.by;
    this.refresh();
  }

  apply() {
    this.filter = Object.fromEntries(new FormData(byId("filter")));
    this.cursors = [];
    this.refresh();
  }

  page(cursors) {
    this.cursors = cursors;
    this.refresh();
  }

  showTop(answer) {
    const most = answer.top.length ? Number(answer.top[0].bytes_rx + answer.top[0].bytes_tx) : 1;
    byId("top").replaceChildren(...answer.top.map((group) => this.talker(group, most)));
    const rest = answer.groups - answer.top.length;
    const all = answer.total.bytes_rx + answer.total.bytes_tx;
    write("top-rest", `${rest > 0 ? `and ${count(rest)} more; ` : ""}${bytes(all)} in all`);
    for (const name of this.by.split(",")) {
      const values = new Set(answer.top.map((group) => group.key[name]));
      byId(`known-${name}`).replaceChildren(...[...values].map((value) => element("option", { value })));
    }
  }

  talker(group, most) {
    const sum = group.bytes_rx + group.bytes_tx;
    const names = this.by.split(",").map((name) => group.key[name]);
    const button = element("button", { type: "button", class: "name", title: `Filter the flows by ${names.join(" → ")}` }, names.join(" → "));
    button.addEventListener("click", () => this.narrow(group.key));
    const fill = element("i", { class: "share" });
    fill.style.width = `${Math.max(0.5, (100 * Number(sum)) / most)}%`;
    const facts = `${bytes(group.bytes_rx)} in, ${bytes(group.bytes_tx)} out`;
    return element("li", {}, fill, button, element("b", { title: `${count(sum)} bytes: ${facts}` }, bytes(sum)));
  }

  /** Filters the table by a group. */
  narrow(key) {
    for (const name of KEYS) byId("filter").elements[name].value = key[name] ?? "";
    this.apply();
  }

  showFlows(answer) {
    byId("rows").tBodies[0].replaceChildren(...answer.flows.map(line));
    byId("rows").hidden = answer.flows.length === 0;
    const more = answer.next !== null;
    byId("none").hidden = answer.flows.length > 0;
    write("none", more ? "Nothing on this page; go on with Next." : "No flow matches.");
    this.nextCursor = answer.next;
    byId("next").disabled = !more;
    byId("previous").disabled = this.cursors.length === 0;
    const one = this.cursors.length === 0 && !more;
    write("page", one ? `${count(answer.flows.length)} ${answer.flows.length === 1 ? "row" : "rows"}` : `page ${this.cursors.length + 1}`);
    byId("csv").href = `/v1/flows?${new URLSearchParams(this.query({ format: "csv" }))}`;
    this.showProvenance(answer.completeness);
  }

  showProvenance(c) {
    const late = c.late ? `${count(c.late)} late: ${count(c.late_folded)} folded in, ${count(c.late_held)} held, ${count(c.sealed_out)} after sealing` : "none late";
    write("provenance", `${count(c.records)} records in ${count(c.rows)} rows; ${late}. Watermark ${instant(c.watermark)}, as of ${instant(c.as_of)} UTC.`);
    byId("offsets").tBodies[0].replaceChildren(...c.sources.map((s) => element("tr", {},
      element("th", { scope: "row" }, s.topic), ...[s.partition, s.first_offset, s.last_offset].map((n) => element("td", { class: "n" }, count(n))))));
  }
}

/** A row of the table; on narrow screens each cell shows its heading, which `data-name` holds. */
function line(flow) {
  const sum = (name, value) => element("td", { class: "n", "data-name": name, "data-value": String(value) },
    bytes(value), element("small", {}, count(value)));
  return element("tr", {},
    element("th", { scope: "row", "data-name": "Source" }, flow.src_app),
    element("td", { "data-name": "Destination" }, flow.dest_app), element("td", { "data-name": "Network" }, flow.vpc_id),
    sum("Received", flow.bytes_rx), sum("Sent", flow.bytes_tx),
    element("td", { class: "n", "data-name": "Records" }, count(flow.records)));
}
