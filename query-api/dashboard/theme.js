// Runs before the page is painted, so that a chosen theme does not flash.
(() => {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();

// A process that only serves the API has no page of documents.
document.addEventListener("DOMContentLoaded", async () => {
  const link = document.querySelector("[data-of=documents]");
  if (!link) return;
  const answer = await fetch("/v1/status").catch(() => null);
  if (answer?.ok && (await answer.json()).parts.documents) link.hidden = false;
});
