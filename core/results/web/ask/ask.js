// Plots the answer of a query. What is plotted is in the page's address: x, y, series, mark.
"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const form = document.getElementById("query");
  document.getElementById("sql").addEventListener("keydown", e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); form.requestSubmit(); } });
  const rows = document.getElementById("rows"), box = document.getElementById("plotted");
  if (!rows || !box || !window.Plot) return;
  const { columns, rows: values } = JSON.parse(rows.textContent);
  const controls = document.getElementById("plot-controls"), area = document.getElementById("plot");
  const isNumber = j => values.some(r => typeof r[j] === "number") && values.every(r => r[j] === null || typeof r[j] === "number");
  const isTime = j => values.length > 0 && values.every(r => r[j] === null || (typeof r[j] === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(r[j]))) && values.some(r => r[j] !== null);
  const numbers = columns.map((_, j) => j).filter(isNumber);
  if (!numbers.length) { area.textContent = "No column is of numbers alone."; return; }
  const wanted = new URLSearchParams(location.search);
  const fill = (name, usual, none) => {
    const select = controls.elements[name];
    const at = columns.indexOf(wanted.get(name));
    select.value = at >= 0 ? String(at) : wanted.has(name) && none ? "" : usual;
  };
  const named = name => columns.findIndex(c => c === name);
  const y = numbers[numbers.length - 1];
  const x = named("step") >= 0 && named("step") !== y ? named("step") : columns.findIndex((_, j) => j !== y);
  const series = ["variant", "run_id", "metric", "seed"].map(named).find(j => j >= 0 && j !== x && j !== y);
  fill("x", String(x < 0 ? y : x));
  fill("y", String(y));
  fill("series", series === undefined ? "" : String(series), true);
  const steps = columns[Number(controls.elements.x.value)] === "step";
  controls.elements.mark.value = ["line", "dot", "bar"].includes(wanted.get("mark")) ? wanted.get("mark") : steps ? "line" : isNumber(Number(controls.elements.x.value)) || isTime(Number(controls.elements.x.value)) ? "dot" : "bar";
  const draw = () => {
    const [x, y] = ["x", "y"].map(n => Number(controls.elements[n].value)), mark = controls.elements.mark.value;
    const by = controls.elements.series.value === "" ? -1 : Number(controls.elements.series.value);
    const at = isTime(x) ? r => r[x] === null ? null : new Date(r[x]) : r => r[x];
    const of = r => String(r[by]);
    const groups = by < 0 ? [] : [...new Set(values.map(of))];
    const colours = Array.from({ length: 8 }, (_, i) => `var(--c${i + 1})`);
    const dashes = [null, "6 3", "2 3", "8 3 2 3"];
    const fillOrStroke = by < 0 ? "var(--c1)" : of;
    const sorted = isNumber(x) || isTime(x) ? [...values].sort((a, b) => at(a) - at(b)) : values;
    const marks = [Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1 })];
    if (mark === "bar") marks.push(Plot.barY(values, { x: at, y: r => r[y], fill: fillOrStroke, ...(by >= 0 ? { fx: of } : {}) }), Plot.ruleY([0]));
    else if (mark === "dot") marks.push(Plot.dot(values, { x: at, y: r => r[y], stroke: fillOrStroke, ...(by >= 0 ? { symbol: of } : {}), r: 4 }));
    else (by < 0 ? [[null, sorted]] : d3.groups(sorted, of)).forEach(([, rows], i) => marks.push(Plot.lineY(rows, { x: at, y: r => r[y], stroke: fillOrStroke, strokeWidth: 2, strokeDasharray: dashes[Math.floor(i / 8) % 4] })));
    const bars = mark === "bar" && isNumber(x) ? { type: "band" } : {};
    try {
      area.replaceChildren(Plot.plot({
        width: Math.max(280, area.clientWidth), height: 340, marginLeft: 64, marginBottom: 40, style: { fontSize: "12px", background: "none", overflow: "visible" },
        x: { label: columns[x], ...bars }, y: { label: columns[y] }, marks,
        ...(by >= 0 ? { color: { domain: groups, range: groups.map((_, i) => colours[i % 8]), legend: groups.length <= 24 }, fx: { label: null } } : {}),
      }));
      for (const e of area.querySelectorAll("[aria-label], [aria-description]")) for (const name of ["aria-label", "aria-description"]) e.removeAttribute(name); // the box has one
    } catch (e) { area.textContent = "It cannot be plotted so: " + e.message; }
  };
  const remember = () => {
    const u = new URL(location.href);
    for (const n of ["x", "y", "series"]) u.searchParams.set(n, controls.elements[n].value === "" ? "" : columns[Number(controls.elements[n].value)]);
    u.searchParams.set("mark", controls.elements.mark.value);
    history.replaceState(null, "", u);
  };
  controls.addEventListener("submit", e => e.preventDefault());
  controls.addEventListener("change", () => { remember(); draw(); });
  box.addEventListener("toggle", () => { if (box.open) draw(); });
  let width = 0;
  new ResizeObserver(() => { if (box.open && area.clientWidth !== width) { width = area.clientWidth; draw(); } }).observe(box);
  if (box.open) draw();
})();
