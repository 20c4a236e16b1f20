// Drawing that leaves alone what has not changed: a selection, the focus, what a screen reader reads.
import { element } from "./units.js";

const byId = (id) => document.getElementById(id);

/** Puts `wanted` into `box` in this order; what is there already is left where it is, with the focus that it has. */
export function arrange(box, wanted) {
  const keep = new Set(wanted);
  for (const old of [...box.children]) if (!keep.has(old)) old.remove();
  wanted.forEach((item, i) => { if (box.children[i] !== item) box.insertBefore(item, box.children[i] ?? null); });
}

/** Draws a part anew only when what it is made of has changed, so that a selection is left alone. */
export function redraw(id, from, make) {
  const key = JSON.stringify(from, (_, value) => (typeof value === "bigint" ? String(value) : value));
  if (byId(id).dataset.key === key) return;
  byId(id).dataset.key = key;
  byId(id).replaceChildren(...make());
}

/** Names and what they are, as a list. */
export const described = (list, attributes = () => ({})) => list.map(([name, value]) => element("div", attributes(name), element("dt", {}, name), element("dd", {}, value)));
