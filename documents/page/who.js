// Owner and mail address of what is uploaded from here: checked, and kept in this browser.
import { write } from "./units.js";

const OWNER_BYTES = 128, MAIL_BYTES = 254;
const byId = (id) => document.getElementById(id);
const size = (text) => new TextEncoder().encode(text).length;

/** What is wrong with them, by field; a plain function. */
export function wrong({ owner, mail }) {
  return {
    owner: owner === "" ? "say who these documents belong to" : size(owner) > OWNER_BYTES ? `at most ${OWNER_BYTES} bytes` : null,
    mail: mail !== "" && (size(mail) > MAIL_BYTES || !/^[^\s@<>,;"]+@[^\s@<>,;"]+\.[^\s@<>,;".]+$|^[^\s@<>,;"]+@localhost$/.test(mail)) ? "this is no mail address; write name@host, or leave it empty" : null,
  };
}

let held = null;

export const who = {
  values: () => ({ owner: byId("owner").value.trim(), mail: byId("mail").value.trim() }),

  /** Says beside each field what is wrong with it, goes to the first one, and tells whether all is well. */
  check() {
    const found = wrong(who.values());
    for (const [field, why] of Object.entries(found)) show(field, why);
    const first = Object.keys(found).find((field) => found[field]);
    if (first) byId(first).focus();
    return first === undefined;
  },

  /** Files that came too early: they go on as soon as the fields are right. */
  hold(files, go) {
    held = { files: [...(held?.files ?? []), ...files], go };
    waiting();
  },

  /** Calls back after each change. */
  changed(call) {
    for (const field of ["owner", "mail"]) byId(field).addEventListener("input", call);
  },
};

function show(field, why) {
  byId(`${field}-wrong`).hidden = !why;
  write(`${field}-wrong`, why ?? "");
  byId(field).toggleAttribute("aria-invalid", Boolean(why));
}

function waiting() {
  byId("who-go").hidden = held === null;
  if (held) write("who-go", `Upload ${held.files.length === 1 ? "the file" : `the ${held.files.length.toLocaleString("en-US")} files`}`);
}

function go() {
  if (!held || !who.check()) return;
  const { files, go: upload } = held;
  held = null;
  waiting();
  upload(files);
}

for (const field of ["owner", "mail"]) {
  byId(field).value = localStorage.getItem(`documents.${field}`) ?? "";
  byId(field).addEventListener("input", () => { if (!byId(`${field}-wrong`).hidden) show(field, wrong(who.values())[field]); });
  byId(field).addEventListener("change", () => {
    show(field, byId(field).value === "" ? null : wrong(who.values())[field]);
    localStorage.setItem(`documents.${field}`, who.values()[field]);
  });
}
byId("who").addEventListener("submit", (event) => { event.preventDefault(); go(); });
