// Keeps a task's page as new as the task: listens to its events and fetches the page's own parts again. Without it the
// page reloads itself; nothing here knows what a part shows.
(() => {
  "use strict";
  const main = document.querySelector("main[data-events]");
  if (!main || !window.EventSource || !window.fetch) return;
  const PAUSE_MS = 1000, LOOK_MS = 4000, SETTLING_MS = 60000;
  let busy = false, again = false, until = Infinity;

  function put(fresh) {
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (!next || next.innerHTML === part.innerHTML) continue;
      const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
      const log = part.querySelector(".log");
      const atEnd = !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
      const kept = log ? log.scrollTop : 0;
      part.innerHTML = next.innerHTML;
      for (const id of open) part.querySelector("#" + CSS.escape(id))?.setAttribute("open", "");
      const now = part.querySelector(".log");
      if (now) now.scrollTop = atEnd ? now.scrollHeight : kept;
    }
    document.title = fresh.title;
    const settled = fresh.querySelector("main")?.dataset.settled === "yes";
    if (settled) until = 0;
  }

  async function look() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok && !answer.redirected) put(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch (error) { /* the next look will tell */ }
    setTimeout(() => { busy = false; if (again) { again = false; look(); } }, PAUSE_MS);
  }

  const log = document.querySelector(".log");
  if (log) log.scrollTop = log.scrollHeight;
  if (main.dataset.settled === "yes") return;
  const timer = setInterval(() => {
    if (Date.now() > until) clearInterval(timer);
    else if (!document.hidden) look();
  }, LOOK_MS);
  const source = new EventSource(main.dataset.events);
  const kinds = ["task.started", "task.progress", "task.merging", "task.stopping", "task.cancel_requested",
    "task.delivered", "task.failed", "task.cancelled", "task.expired", "attempt.failed", "unit.doubted"];
  for (const kind of kinds) source.addEventListener(kind, look);
  source.addEventListener("end", () => { source.close(); until = Date.now() + SETTLING_MS; look(); });
  addEventListener("pagehide", () => source.close());
})();
