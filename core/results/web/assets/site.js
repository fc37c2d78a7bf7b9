// Keeps an open page as the database is: on a "changed" event it fetches the page again and puts what differs in place.
// Elements with data-keep stay as they are; they hear of the change by the event "tandem:changed" on document.
"use strict";
(() => {
  if (!("live" in document.body.dataset) || !window.EventSource) return;
  const state = document.getElementById("live");
  let busy = false, again = false;
  const refresh = async () => {
    if (document.hidden) { again = true; return; }
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of ["main", "now"])
        Idiomorph.morph(document.getElementById(id), next.getElementById(id), {
          ignoreActiveValue: true,
          callbacks: { beforeNodeMorphed: old => !(old.dataset && "keep" in old.dataset) },
        });
      if (!("live" in next.body.dataset)) source.close();
      document.dispatchEvent(new Event("tandem:changed"));
      state.textContent = "live";
    } catch { state.textContent = "not reached"; }
    busy = false;
    if (again && !document.hidden) { again = false; setTimeout(refresh, 1000); }
  };
  const source = new EventSource("/live");
  source.addEventListener("changed", refresh);
  source.onopen = () => { if (state.textContent) refresh(); state.textContent = "live"; };
  source.onerror = () => { state.textContent = "not reached"; };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) { again = false; refresh(); } });
})();
