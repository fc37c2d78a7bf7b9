// Draws the page's charts from the JSON in #data with Observable Plot, anew whenever their width changes, and on a live page whenever
// the data does ("tandem:changed").
"use strict";
(() => {
  let text, data;
  const hidden = new Set(); // variants that the legend switched off
  let pointed = null; // the variant whose button the pointer is on

  const colour = c => c === 0 ? "var(--base)" : c > 0 ? `var(--c${c})` : "var(--dim)";
  const symbols = ["circle", "square", "triangle", "diamond", "star", "cross", "wye", "times", "hexagon"];
  const symbol = c => symbols[Math.max(0, c)];
  const dash = c => c > 4 ? "5 3" : "none";
  const faint = d => pointed !== null && d.variant !== pointed;
  const named = v => v || "runs without a variant";
  // What tells long names apart is mostly at their end.
  const clip = (text, n) => text.length > n ? text.slice(0, Math.floor(n / 3)) + "…" + text.slice(text.length - n + Math.floor(n / 3) + 1) : text;
  const short = m => m.name.replace(/^eval\//, "");
  const plain = v => Math.abs(v) >= 1e4 ? d3.format("~s")(v) : String(+v.toPrecision(6)).replace("-", "−");
  const tick = m => v => m.share ? plain(100 * v) : plain(v);
  const value = m => v => v == null ? "–" : m.share ? (100 * v).toFixed(1) + " %" : d3.format(".4~g")(v);
  const signed = m => v => v == null ? "–" : (v < 0 ? "−" : "+") + (m.share ? (100 * Math.abs(v)).toFixed(1) + " pt" : d3.format(".3~g")(Math.abs(v)));
  const range = (f, low, high) => low == null ? "" : ` [${f(low)}, ${f(high)}]`;
  const axis = m => short(m) + (m.share ? " (%)" : "") + (m.lower ? ", lower is better" : "");
  const base = width => ({ width, style: { fontSize: "12px", background: "none", overflow: "visible" } });
  const tipStyle = { fill: "var(--panel)", stroke: "var(--dim)", fontSize: 13, lineWidth: 26, textPadding: 8 };

  // rows lays out a chart with one variant per row: names beside the rows, or above them where there is no room.
  function rows(width, names, marks, options) {
    const narrow = width < 480;
    const longest = Math.max(...names.map(n => named(n).length));
    const letters = Math.min(longest, narrow ? Math.floor(width / 7.5) : Math.floor(width / 16));
    return Plot.plot({
      ...base(width), ...options,
      marginLeft: narrow ? 10 : 20 + 7 * letters, marginRight: 18, marginTop: names.length > 14 ? 26 : narrow ? 4 : 10, marginBottom: 40,
      height: 48 + names.length * (narrow ? 58 : 38),
      x: { grid: true, nice: true, ...options.x }, y: { domain: names, label: null, axis: null, padding: 0.4, type: "band" },
      marks: [
        ...(names.length > 14 ? [Plot.axisX({ anchor: "top", label: null, tickFormat: options.x.tickFormat, ticks: options.x.ticks })] : []),
        Plot.axisX({ anchor: "bottom", tickFormat: options.x.tickFormat, ticks: options.x.ticks }),
        ...marks,
        narrow
          ? Plot.text(names, { y: d => d, text: d => clip(named(d), letters), frameAnchor: "left", textAnchor: "start", dy: -16, fill: "currentColor", stroke: "var(--bg)", strokeWidth: 4, title: named })
          : Plot.text(names, { y: d => d, text: d => clip(named(d), letters), frameAnchor: "left", textAnchor: "end", dx: -10, fill: "currentColor", stroke: "var(--bg)", strokeWidth: 4, title: named }),
      ],
    });
  }

  function means(width) {
    const m = data.metric, f = value(m), variants = data.variants;
    const baseline = variants.find(v => v.role === "baseline");
    const seeds = variants.flatMap(v => v.seeds.map(([seed, x]) => ({ ...v, seed, x })));
    const marks = [];
    if (baseline && data.floor != null) {
      marks.push(Plot.rectX([0], { x1: baseline.mean - data.floor, x2: baseline.mean + data.floor, fill: "currentColor", fillOpacity: 0.07 }));
    }
    if (baseline) marks.push(Plot.ruleX([baseline.mean], { stroke: "var(--base)", strokeDasharray: "3 3" }));
    marks.push(
      Plot.ruleY(variants.filter(v => v.low != null), { y: "name", x1: "low", x2: "high", stroke: v => colour(v.colour), strokeWidth: 3, strokeLinecap: "round" }),
      Plot.dot(seeds, { y: "name", x: "x", r: 3, fill: v => colour(v.colour), fillOpacity: 0.45, dy: 9 }),
      Plot.dot(variants, { y: "name", x: "mean", r: 6, fill: v => colour(v.colour), stroke: "var(--bg)", strokeWidth: 1.5 }),
      Plot.tip(seeds, Plot.pointer({ y: "name", x: "x", dy: 9, title: d => `${named(d.name)}\nseed ${d.seed}: ${f(d.x)}\nmean ${f(d.mean)}${range(f, d.low, d.high)}${d.stopped ? `\n${d.stopped} stopped early` : ""}`, ...tipStyle })),
    );
    return rows(width, variants.map(v => v.name), marks, {
      x: { label: axis(m), tickFormat: tick(m), ticks: width / 80 },
      ariaLabel: `${short(m)} by variant`, ariaDescription: variants.map(v => `${named(v.name)} ${f(v.mean)}`).join(", "),
    });
  }

  function deltas(width) {
    const m = data.metric, f = signed(m), list = data.variants.filter(v => v.delta).map(v => ({ name: v.name, ...v.delta }));
    const ink = d => ({ better: "var(--good)", worse: "var(--bad)" })[d.verdict] || "var(--dim)";
    const known = d => d.verdict === "better" || d.verdict === "worse";
    if (!list.length) return document.createTextNode("No variant has a seed in common with the baseline.");
    const marks = [];
    if (data.floor != null) marks.push(Plot.rectX([0], { x1: -data.floor, x2: data.floor, fill: "currentColor", fillOpacity: 0.07 }));
    marks.push(
      Plot.ruleX([0], { stroke: "var(--base)", strokeDasharray: "3 3" }),
      Plot.ruleY(list.filter(d => d.low != null), { y: "name", x1: "low", x2: "high", stroke: ink, strokeWidth: 3, strokeLinecap: "round" }),
      Plot.dot(list, { y: "name", x: "value", r: 6, fill: d => known(d) ? ink(d) : "var(--bg)", stroke: ink, strokeWidth: 2 }),
      width < 480
        ? Plot.text(list, { y: "name", text: "verdict", frameAnchor: "right", textAnchor: "end", dy: -16, fill: ink, stroke: "var(--bg)", strokeWidth: 4, fontSize: 11 })
        : Plot.text(list, { y: "name", x: "value", text: "verdict", dy: 15, fill: ink, stroke: "var(--bg)", strokeWidth: 4, fontSize: 11 }),
      Plot.tip(list, Plot.pointer({ y: "name", x: "value", title: d => `${named(d.name)}\n${f(d.value)}${range(f, d.low, d.high)}\n${d.verdict}${d.p == null ? "" : `, p = ${d3.format(".3f")(d.p)}`}, ${d.n} ${d.n === 1 ? "seed" : "seeds"}`, ...tipStyle })),
    );
    return rows(width, list.map(d => d.name), marks, {
      x: { label: "difference" + (m.share ? " (points)" : "") + (m.lower ? ", lower is better" : ""), tickFormat: v => (v > 0 ? "+" : "") + tick(m)(v), ticks: width / 80 },
      ariaLabel: "Difference from the baseline by variant", ariaDescription: list.map(d => `${named(d.name)} ${f(d.value)}, ${d.verdict}`).join("; "),
    });
  }

  function curve(width, element) {
    const c = data.curves[element.dataset.index], m = c.metric, f = value(m);
    const points = c.series.filter(s => !hidden.has(s.variant)).flatMap(s => s.steps.map((step, i) =>
      ({ variant: s.variant, colour: s.colour, seeds: s.seeds, step, mean: s.mean[i], low: s.low[i], high: s.high[i] })));
    return Plot.plot({
      ...base(width), height: Math.max(200, Math.min(280, width * 0.66)), marginLeft: 44, marginRight: 12, marginBottom: 36, marginTop: 12,
      x: { label: "step", ticks: width / 90, tickFormat: plain }, y: { label: null, grid: true, nice: true, tickFormat: tick(m), ticks: 5 },
      ariaLabel: `${short(m)} by step`,
      marks: [
        Plot.areaY(points, { x: "step", y1: "low", y2: "high", z: "variant", fill: d => colour(d.colour), fillOpacity: d => faint(d) ? 0.03 : 0.16 }),
        ...d3.groups(points, d => d.variant).map(([, line]) =>
          Plot.lineY(line, { x: "step", y: "mean", stroke: colour(line[0].colour), strokeDasharray: dash(line[0].colour), strokeWidth: 2, strokeOpacity: faint(line[0]) ? 0.15 : 1 })),
        Plot.dot(points, Plot.pointer({ x: "step", y: "mean", r: 4, fill: d => colour(d.colour) })),
        Plot.tip(points, Plot.pointer({ x: "step", y: "mean", title: d => `${named(d.variant)}, step ${d3.format(",")(d.step)}\n${f(d.mean)}${d.seeds > 1 ? `\n${f(d.low)} to ${f(d.high)} over ${d.seeds} seeds` : ""}`, ...tipStyle })),
      ],
    });
  }

  function search(width) {
    const m = data.metric, f = value(m), points = data.points.map((p, i) => ({ ...p, n: i + 1 }));
    const known = points.filter(p => p.value != null), best = points.filter(p => p.best != null);
    const levels = p => Object.entries(p.levels || {}).map(([name, level]) => `${name} ${level}`).join("\n");
    return Plot.plot({
      ...base(width), height: Math.max(220, Math.min(340, width * 0.5)), marginLeft: 52, marginRight: 12, marginBottom: 36, marginTop: 12,
      x: { label: "point", ticks: width / 90, tickFormat: plain }, y: { label: null, grid: true, nice: true, tickFormat: tick(m), ticks: 5 },
      ariaLabel: `${short(m)} of each point of the search`, ariaDescription: best.length ? `best ${f(best[best.length - 1].best)}` : "",
      marks: [
        Plot.lineY(best, { x: "n", y: "best", curve: "step-after", stroke: "var(--c1)", strokeWidth: 2 }),
        Plot.dot(known, { x: "n", y: "value", r: 4, fill: "var(--c1)", fillOpacity: 0.5 }),
        Plot.dot(points.filter(p => p.value == null), { x: "n", frameAnchor: "bottom", symbol: "times", r: 4, stroke: "var(--bad)" }),
        Plot.tip(known, Plot.pointer({ x: "n", y: "value", title: p => `${p.name}: ${f(p.value)}\n${levels(p)}`, ...tipStyle })),
      ],
    });
  }

  // narrowing draws a variant's difference from the baseline and its interval by the number of pairs of seeds.
  function narrowing(width, element) {
    const m = data.metric, f = signed(m), v = data.narrowing[element.dataset.index], points = v.points;
    return Plot.plot({
      ...base(width), height: 180, marginLeft: 48, marginRight: 12, marginBottom: 34, marginTop: 10,
      x: { label: "pairs of seeds", domain: d3.range(1, d3.max(data.narrowing, n => n.points.length) + 1), type: "point", padding: 0.6, tickFormat: plain, ...(points.length > width / 24 ? { ticks: d3.ticks(1, points.length, width / 48).filter(Number.isInteger) } : {}) },
      y: { label: null, grid: true, nice: true, domain: extent(data.narrowing), tickFormat: n => (n > 0 ? "+" : "") + tick(m)(n), ticks: 5 },
      ariaLabel: `${named(v.variant)}: difference from the baseline by pairs of seeds`, ariaDescription: points.map(p => `${p.n}: ${f(p.value)}${range(f, p.low, p.high)}`).join("; "),
      marks: [
        Plot.ruleY([0], { stroke: "var(--base)", strokeDasharray: "3 3" }),
        Plot.ruleX(points.filter(p => p.low != null), { x: "n", y1: "low", y2: "high", stroke: colour(v.colour), strokeWidth: 3, strokeOpacity: 0.6, strokeLinecap: "round", clip: true }),
        Plot.dot(points, { x: "n", y: "value", r: 4, fill: colour(v.colour), stroke: "var(--bg)" }),
        Plot.tip(points, Plot.pointerX({ x: "n", y: "value", title: p => `${p.n} ${p.n === 1 ? "pair" : "pairs"} of seeds, the last seed ${p.seed}\n${f(p.value)}${range(f, p.low, p.high)}`, ...tipStyle })),
      ],
    });
  }

  // extent is what the differences reach over, with the intervals of three and more pairs: that of two is so wide that nothing else would show.
  function extent(all) {
    const values = all.flatMap(v => v.points.flatMap(p => p.n > 2 && p.low != null ? [p.value, p.low, p.high] : [p.value]));
    return d3.extent([0, ...values]);
  }

  let costs = [], cost;
  function costsOf(runs) {
    const longest = d3.max(runs, r => r.seconds) || 0;
    const unit = longest > 5 * 3600 ? { name: "h", of: 3600 } : longest > 300 ? { name: "min", of: 60 } : { name: "s", of: 1 };
    return [
      { key: "seconds", label: "training time", axis: `training time (${unit.name})`, of: unit.of, text: v => d3.format(",.3~r")(v) + " " + unit.name },
      { key: "flops", label: "operations (estimate)", axis: "FLOP of the training (estimate)", of: 1, text: v => d3.format(".3~s")(v) + "FLOP" },
      { key: "parameters", label: "parameters", axis: "parameters", of: 1, text: v => d3.format(".4~s")(v) },
    ].filter(c => {
      const [least, most] = d3.extent(runs.filter(r => r[c.key] > 0), r => r[c.key]);
      return c.key === "seconds" || most > 1.001 * least; // what all runs cost alike says nothing
    });
  }

  function costChart(width) {
    const m = data.metric, f = value(m), key = cost.key;
    const runs = data.runs.filter(r => r[key] > 0 && !hidden.has(r.variant)).map(r => ({ ...r, x: r[key] / cost.of }));
    const centres = d3.groups(runs.filter(r => r.colour >= 0), r => r.variant).map(([variant, of]) =>
      ({ variant, colour: of[0].colour, x: d3.mean(of, r => r.x), value: d3.mean(of, r => r.value) }));
    return Plot.plot({
      ...base(width), height: Math.max(260, Math.min(420, width * 0.5)), marginLeft: 48, marginRight: 20, marginBottom: 42, marginTop: 24,
      x: { label: cost.axis, grid: true, nice: true, ticks: width / 90, tickFormat: "~s" }, y: { label: axis(m), grid: true, nice: true, tickFormat: tick(m), ticks: 6 },
      ariaLabel: `${short(m)} against ${cost.label}`, ariaDescription: centres.map(c => `${named(c.variant)} ${f(c.value)} at ${cost.text(c.x)}`).join(", "),
      marks: [
        Plot.dot(runs, { x: "x", y: "value", r: 3.5, symbol: r => symbol(r.colour), fill: r => colour(r.colour), fillOpacity: r => faint(r) ? 0.08 : 0.5 }),
        Plot.dot(centres, { x: "x", y: "value", r: 7, symbol: c => symbol(c.colour), fill: c => colour(c.colour), fillOpacity: c => faint(c) ? 0.15 : 1, stroke: "var(--bg)", strokeWidth: 1.5 }),
        Plot.tip(runs, Plot.pointer({ x: "x", y: "value", title: r => `${named(r.variant)}, seed ${r.seed}\n${f(r.value)} for ${cost.text(r.x)}\nrun ${r.run}`, ...tipStyle })),
      ],
    });
  }

  const draw = { means, deltas, curve, search, narrowing, cost: costChart };
  let plots = [];
  function render(element) {
    const width = Math.floor(element.clientWidth);
    if (width <= 0) return;
    const chart = draw[element.dataset.chart](width, element);
    if (chart.setAttribute) { // one picture with a description: a reader does not go through its marks
      chart.setAttribute("role", "img");
      chart.querySelectorAll("g[aria-label]").forEach(g => g.removeAttribute("aria-label"));
    }
    element.replaceChildren(chart);
  }
  const widths = new WeakMap();
  const observer = new ResizeObserver(entries => requestAnimationFrame(() => {
    for (const { target } of entries) {
      if (widths.get(target) === target.clientWidth) continue;
      widths.set(target, target.clientWidth);
      if (target.isConnected) render(target);
    }
  }));

  const again = () => plots.filter(p => p.dataset.chart === "curve" || p.dataset.chart === "cost").forEach(render);

  let legends = [], order = [];
  function legend(box) {
    box.replaceChildren(...order.map(([variant, c]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(!hidden.has(variant)));
      const mark = Plot.plot({ width: 30, height: 12, margin: 6, axis: null, x: { domain: [0, 1] }, y: { domain: [0, 1] }, style: { background: "none" }, marks: [
        Plot.ruleY([0.5], { x1: 0, x2: 1, stroke: colour(c), strokeWidth: 2, strokeDasharray: dash(c) }),
        Plot.dot([0], { x: 0.5, y: 0.5, r: 4, symbol: symbol(c), fill: colour(c) }),
      ] });
      mark.setAttribute("aria-hidden", "true");
      button.append(mark, named(variant));
      button.addEventListener("click", () => {
        hidden.has(variant) ? hidden.delete(variant) : hidden.add(variant);
        pointed = null;
        for (const l of legends) for (const b of l.children) if (b.variant === variant) b.setAttribute("aria-pressed", String(!hidden.has(variant)));
        again();
      });
      button.variant = variant;
      button.addEventListener("pointerenter", e => { if (e.pointerType === "mouse" && !hidden.has(variant)) { pointed = variant; again(); } });
      button.addEventListener("pointerleave", () => { if (pointed !== null) { pointed = null; again(); } });
      return button;
    }));
  }

  const chosen = new WeakSet(); // selects that have been set up
  function chooser(select) {
    select.replaceChildren(...costs.map(c => new Option(c.label, c.key, false, c.key === cost.key)));
    select.closest(".controls").hidden = costs.length < 2;
    if (chosen.has(select)) return;
    chosen.add(select);
    select.addEventListener("change", () => {
      cost = costs.find(c => c.key === select.value);
      plots.filter(p => p.dataset.chart === "cost").forEach(render);
    });
  }

  // Tables that are wider than their place scroll by the keyboard too.
  const reach = () => document.querySelectorAll(".scroll, .ablation-scroll").forEach(e => {
    if (e.scrollWidth > e.clientWidth && !e.closest("details:not([open])")) e.tabIndex = 0;
    else e.removeAttribute("tabindex");
  });
  addEventListener("resize", reach);
  addEventListener("toggle", reach, true);

  // update draws what the page has now. A legend that stays as it is keeps its buttons, and with them the focus.
  function update() {
    const source = document.getElementById("data");
    if (!source) return;
    const select = document.querySelector("[data-cost]");
    const changed = source.textContent !== text;
    if (changed) {
      text = source.textContent;
      data = JSON.parse(text);
      costs = costsOf(data.runs);
      cost = costs.find(c => cost && c.key === cost.key) || costs[0];
      const coloured = new Map();
      for (const s of [...data.curves.flatMap(c => c.series), ...data.runs]) if (s.colour >= 0) coloured.set(s.variant, s.colour);
      order = [...coloured].sort((a, b) => a[1] - b[1]);
    }
    if (select) chooser(select);
    const seen = new Set(plots), listed = JSON.stringify(order);
    plots = [...document.querySelectorAll("[data-chart]")];
    for (const p of plots) {
      if (!seen.has(p)) observer.observe(p); // which draws it
      else if (changed) render(p);
    }
    legends = [...document.querySelectorAll("[data-legend]")];
    for (const l of legends) {
      if (l.listed === listed) continue;
      l.listed = listed;
      legend(l);
    }
    reach();
  }
  update();
  document.addEventListener("tandem:changed", update);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(d => { d.open = true; }));
})();
