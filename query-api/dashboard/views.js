// The page of all views: the list, asked for again and again, and the view that is chosen.
import { View } from "./view.js";
import { ask, breakable, cut, duration, element, themeButton, write } from "./units.js";

const EVERY_MS = 1500;
const byId = (id) => document.getElementById(id);
const view = new View((text) => trouble("view", text));

let views = [];

const troubles = new Map();
function trouble(source, text) {
  if (text) troubles.set(source, text); else troubles.delete(source);
  const all = [...troubles.values()].join(" · ");
  byId("trouble").hidden = all === "";
  write("trouble", all);
}

/** What the address names: "#access.hourly" or, of a version that is not current, "#access.hourly@3". */
function wanted() {
  let address = location.hash.slice(1);
  try { address = decodeURIComponent(address); } catch { /* It was not made by this page. */ }
  const [name, version] = address.split("@");
  return { name, version: version ? Number(version) : undefined };
}

function draw() {
  byId("empty").hidden = views.length > 0;
  byId("content").hidden = views.length === 0;
  if (views.length === 0) return;
  const { name, version } = wanted();
  const chosen = views.find((v) => v.view === name) ?? views[0];
  const unknown = name && chosen.view !== name ? `There is no view “${name}”; this is ${chosen.view}.`
    : version && ![chosen, ...chosen.others].some((v) => v.version === version) ? `${name} has no version ${version}; this is version ${chosen.version}.` : null;
  trouble("address", unknown);
  list(chosen);
  view.show(chosen, version);
}

function list(chosen) {
  const items = views.map((v) => item(v, v === chosen));
  const key = items.map((made) => made.outerHTML).join("");
  if (byId("list").dataset.key === key) return;
  byId("list").dataset.key = key;
  const focused = byId("list").contains(document.activeElement) ? document.activeElement.hash : null;
  byId("list").replaceChildren(...items);
  if (focused) items.find((made) => made.hash === focused)?.focus();
}

function item(v, chosen) {
  const state = v.newest?.state;
  const badge = state
    ? element("span", { class: `badge ${state}` }, element("i", { class: `key ${state}` }), state)
    : element("span", { class: "badge" }, "no records");
  const catching = v.others.filter((o) => o.version > (v.current ?? 0)).map((o) => `v${o.version}`);
  const version = v.current === null ? `v${v.version}, not promoted` : `v${v.version}${catching.length ? `, ${catching.join(", ")} beside it` : ""}`;
  // Rounded, so that the list is not drawn anew for each second.
  const delay = v.watermark_delay_ms === null ? "no watermark yet" : `${duration(Math.round(v.watermark_delay_ms / 10000) * 10000)} behind`;
  return element("a", { href: `#${encodeURIComponent(v.view)}`, "aria-current": chosen ? "true" : undefined },
    element("span", { class: "name" }, ...breakable(v.view)), badge,
    element("span", { class: "fine" }, cut(v.window)), element("span", { class: "fine right" }, version),
    element("span", { class: "fine wide" }, delay));
}

async function refresh() {
  try {
    views = (await ask("/v1/views")).views;
    trouble("list", null);
    byId("link").dataset.state = "live";
    write("link", "live");
    draw();
  } catch (error) {
    trouble("list", error.message);
    byId("link").dataset.state = "away";
    write("link", "reconnecting");
  }
}

async function follow() {
  for (;;) {
    await refresh();
    await new Promise((done) => setTimeout(done, EVERY_MS));
  }
}

addEventListener("hashchange", () => { if (views.length) draw(); });
themeButton();
follow();
