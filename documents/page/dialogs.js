// Two questions to the reader: whether he means it, and for a token to write with.
import { authorize, post, Problem } from "./api.js";

const byId = (id) => document.getElementById(id);

/** Asks; a promise of whether the answer is `yes`. */
export function confirm(title, words, yes) {
  byId("confirm-title").textContent = title;
  byId("confirm-words").textContent = words;
  byId("confirm-yes").textContent = yes;
  return asked(byId("confirm"), byId("confirm-no"), (settle) => { byId("confirm-yes").onclick = () => settle(true); });
}

let asking = null;

/** Asks for a token, once for all who need one; a promise of whether there is one now. */
export function needToken(why) {
  asking ??= askToken(why).finally(() => { asking = null; });
  return asking;
}

function askToken(why) {
  byId("access-why").textContent = byId("access").dataset.asked ? why : "";
  byId("access").dataset.asked = "yes";
  byId("access-token").value = "";
  return asked(byId("access"), byId("access-no"), (settle) => {
    byId("access-form").onsubmit = (event) => {
      event.preventDefault();
      const token = byId("access-token").value.trim();
      byId("access-token").value = "";
      if (token) authorize(token);
      settle(token !== "");
    };
  });
}

/** Posts, in this name, with a token when one turns out to be needed. */
export async function act(path, by) {
  for (;;) {
    try {
      return await post(path, by ? { by } : {});
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401 || !(await needToken(error.message))) throw error;
    }
  }
}

/** Shows a dialog until it is answered; Escape is a no. */
function asked(dialog, no, wire) {
  return new Promise((done) => {
    const settle = (answer) => { dialog.onclose = null; dialog.close(); done(answer); };
    dialog.onclose = () => done(false);
    no.onclick = () => settle(false);
    wire(settle);
    dialog.showModal();
  });
}
