// Keeps an open page as the database is: on a "changed" event it fetches the page again and puts what differs in place.
// Elements with data-keep stay as they are; they hear of the change by the event "tandem:changed" on document.
// A page that nobody sees neither listens nor fetches; it catches up when it is seen again.
"use strict";
(() => {
  if (!("live" in document.body.dataset) || !window.EventSource) return;
  const state = document.getElementById("live");
  const pause = 2000; // between two fetches, in ms
  let source = null, timer = 0, busy = false, last = 0, shown = document.body.dataset.live, final = false;
  const refresh = async () => {
    timer = 0;
    if (document.hidden || final) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.status >= 500) throw new Error(String(answer.status));
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = next.getElementById("main");
      if (!main) throw new Error(String(answer.status));
      for (const id of ["main", "now"])
        Idiomorph.morph(document.getElementById(id), next.getElementById(id), {
          ignoreActiveValue: true,
          callbacks: {
            beforeNodeMorphed: old => !(old.dataset && "keep" in old.dataset),
            beforeAttributeUpdated: (name, node) => name !== "open" || node.localName !== "details", // a person opened or closed it
          },
        });
      document.title = next.title;
      shown = next.body.dataset.live;
      final = shown === undefined;
      document.dispatchEvent(new Event("tandem:changed"));
      state.textContent = final ? "" : "live";
      if (final) leave();
    } catch { state.textContent = "not reached"; setTimeout(plan, 5 * pause); }
    last = Date.now();
    busy = false;
  };
  const plan = () => { if (!timer && !document.hidden) timer = setTimeout(() => busy ? (timer = 0, plan()) : refresh(), Math.max(busy ? pause : 0, last + pause - Date.now())); };
  const leave = () => { if (source) source.close(); source = null; };
  const listen = () => {
    if (source || final) return;
    source = new EventSource("/live");
    source.addEventListener("at", e => { state.textContent = "live"; if (e.data !== shown) plan(); });
    source.addEventListener("changed", plan);
    source.onerror = () => {
      state.textContent = "not reached";
      if (source && source.readyState === EventSource.CLOSED) { leave(); setTimeout(() => document.hidden || listen(), 5 * pause); }
    };
  };
  document.addEventListener("visibilitychange", () => { document.hidden ? leave() : listen(); });
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", () => { if (!document.hidden) listen(); });
  if (!document.hidden) listen();
})();
