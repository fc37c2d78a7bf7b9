// Draws the curves of a page (figures of class curve). Axis, smoothing, scale and part are in the page's address; all charts share them.
// The server gives the least, the mean and the greatest value of each column of pixels.
"use strict";
(() => {
  if (!window.uPlot) return;
  const root = document.documentElement;
  const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3], [4, 2, 1, 2, 1, 2]];
  const colour = (c, alpha = 1) => {
    const text = getComputedStyle(root).getPropertyValue(c === 0 ? "--base" : c > 0 ? `--c${c}` : c).trim();
    if (alpha === 1 || !/^#[0-9a-f]{6}$/i.test(text)) return text;
    return text + Math.round(alpha * 255).toString(16).padStart(2, "0");
  };

  // What a person chose. from and to are steps; null: the ends.
  const state = { x: "step", smooth: 0, log: false, from: null, to: null };
  const number = text => text === null || text === "" || !(Number(text) >= 0) ? null : Math.round(Number(text));
  const readAddress = () => {
    const p = new URLSearchParams(location.search);
    state.x = ["samples", "time"].includes(p.get("x")) ? p.get("x") : "step";
    state.smooth = number(p.get("smooth")) || 0;
    state.log = p.get("log") === "1";
    state.from = number(p.get("from"));
    state.to = number(p.get("to"));
  };
  const writeAddress = () => {
    const u = new URL(location.href);
    const set = (name, value, usual) => value === usual ? u.searchParams.delete(name) : u.searchParams.set(name, value);
    set("x", state.x, "step");
    set("smooth", state.smooth, 0);
    set("log", state.log ? "1" : "", "");
    set("from", state.from, null);
    set("to", state.to, null);
    history.replaceState(null, "", u);
  };

  const significant = v => {
    const a = Math.abs(v);
    if (a !== 0 && (a < 1e-4 || a >= 1e7)) return v.toExponential(3);
    return String(Number(v.toPrecision(5)));
  };
  const valueText = (unit, v) => v === null || v === undefined ? "–" :
    unit === "share" ? (100 * v).toFixed(1) + " %" : unit === "ms" ? v.toFixed(2) + " ms" : unit === "/s" ? v.toFixed(1) + " /s" : significant(v);
  const short = v => {
    for (const [n, sign] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) if (Math.abs(v) >= 10 * n || (Math.abs(v) >= n && v % (n / 100) === 0)) return Number((v / n).toPrecision(4)) + sign;
    return String(Number(v.toPrecision(6)));
  };
  const clock = s => s < 120 ? Number(s.toPrecision(3)) + " s" : s < 7200 ? Number((s / 60).toPrecision(3)) + " min" : Number((s / 3600).toPrecision(4)) + " h";
  const xText = v => state.x === "time" ? clock(v) : short(v);

  // An exponential moving average without the bias of its beginning (as in Adam): after n points a point weighs exp(-n / points).
  // Where a column stands for several points, their mean does so for each.
  const smoothed = (s, points) => {
    let sum = 0, weight = 0;
    return s.mean.map((v, i) => {
      if (v === null) return null;
      const stays = Math.exp(-s.n[i] / points);
      sum = stays * sum + (1 - stays) * v;
      weight = stays * weight + (1 - stays);
      return sum / weight;
    });
  };

  const shown = new Map(); // figure → chart
  const form = document.getElementById("curve-controls");

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.styles = JSON.parse(figure.dataset.styles);
      this.area = figure.querySelector(".canvas");
      this.note = figure.querySelector("[data-note]");
      this.outputs = [...figure.querySelectorAll("output")];
      this.visible = false;
      this.stale = true;
      this.wanted = 0;
    }
    refresh() {
      this.stale = true;
      if (this.visible) this.load();
    }
    async load() {
      this.stale = false;
      const mine = ++this.wanted;
      const u = new URL(this.figure.dataset.source, location.href);
      u.searchParams.set("x", state.x);
      u.searchParams.set("width", Math.max(100, Math.round(this.area.clientWidth)));
      if (state.smooth) u.searchParams.set("lead", 6 * state.smooth);
      if (state.from !== null) u.searchParams.set("from", state.from);
      if (state.to !== null) u.searchParams.set("to", state.to);
      try {
        const answer = await fetch(u, { headers: { Accept: "application/json" } });
        if (!answer.ok) throw new Error(await answer.text());
        const data = await answer.json();
        if (mine !== this.wanted) return;
        this.data = data;
        this.draw();
      } catch (e) {
        if (mine !== this.wanted || this.plot) return;
        this.area.textContent = "";
        this.area.insertAdjacentElement("beforeend", Object.assign(document.createElement("p"), { className: "failed", textContent: "The values cannot be read: " + e.message }));
      }
    }
    draw() {
      if (!this.data) return;
      const tables = [], series = [{}], bands = [], lines = [];
      let dropped = 0;
      const clean = v => state.log && v !== null && v <= 0 ? (dropped++, null) : v;
      this.data.series.forEach((s, i) => {
        if (!s.step.length) { lines.push(null); return; }
        const [c, d] = this.styles[i] || [0, 0];
        const x = s.x || s.step, columns = [x];
        const add = (values, o) => { columns.push(values.map(clean)); series.push({ spanGaps: false, points: { show: false }, ...o }); return series.length - 1; };
        const mean = s.mean;
        const alone = mean.filter(v => v !== null).length < 2;
        if (s.size > 1 && this.data.series.length <= 8) {
          const top = add(s.max, { stroke: "transparent", width: 0 }), bottom = add(s.min, { stroke: "transparent", width: 0 });
          bands.push({ series: [top, bottom], fill: colour(c, state.smooth ? .1 : .22) });
        }
        if (state.smooth) add(mean, { stroke: colour(c, .3), width: 1 });
        const values = state.smooth ? smoothed(s, state.smooth) : mean;
        lines.push(add(values, { stroke: colour(c), width: 2, dash: dashes[d] || [], points: { show: alone || (s.size === 1 && x.length < 60), size: 5, fill: colour(c) } }));
        tables.push(columns);
      });
      this.lines = lines;
      this.remark(dropped);
      if (!tables.length) { this.destroy(); this.area.textContent = "No values in this part."; return; }
      const data = uPlot.join(tables);
      const [low, high] = this.range(data[0]);
      const key = JSON.stringify([series.length, state.x, state.log, state.smooth > 0, this.data.series.map(s => s.size > 1), bands.length]);
      this.marks = this.data.series.flatMap((s, i) => s.bad.map(at => [(s.x || s.step)[at], (this.styles[i] || [0])[0]]));
      if (this.plot && this.key === key) {
        this.bounds = [low, high];
        this.plot.setData(data);
      } else {
        this.destroy();
        this.key = key;
        this.bounds = [low, high];
        this.plot = new uPlot(this.options(series, bands), data, this.area);
      }
      this.last();
    }
    // range is the part that the address names, on the axis.
    range(x) {
      const at = (step, otherwise) => {
        const s = this.data.series.find(s => s.step.length);
        if (step === null || !s) return otherwise;
        if (!s.x) return step;
        const i = s.step.findIndex(v => v >= step);
        if (i < 0) return s.x[s.x.length - 1];
        if (i === 0) return s.x[0];
        return s.x[i - 1] + (s.x[i] - s.x[i - 1]) * (step - s.step[i - 1]) / (s.step[i] - s.step[i - 1]);
      };
      return [at(state.from, x[0]), at(state.to, x[x.length - 1])];
    }
    remark(dropped) {
      const sum = name => this.data.series.reduce((n, s) => n + s[name], 0), parts = [];
      for (const [name, text] of [["nan", "NaN"], ["above", "∞"], ["below", "-∞"]]) if (sum(name)) parts.push(`${sum(name)} ${text} (▴)`);
      if (dropped) parts.push("values ≤ 0 have no place on a logarithmic axis");
      this.note.textContent = parts.join(", ");
    }
    options(series, bands) {
      const dim = colour("--dim"), line = colour("--line"), unit = this.figure.dataset.unit;
      const font = "12px system-ui, sans-serif";
      const axis = { stroke: dim, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
      return {
        width: this.area.clientWidth, height: 220, series, bands, legend: { show: false },
        scales: { x: { time: false, range: () => { const [a, b] = this.bounds; return a < b ? [a, b] : [a - .5, b + .5]; } }, y: { distr: state.log ? 3 : 1 } },
        axes: [
          { ...axis, space: 70, size: 28, gap: 2, values: (_, all) => all.map(v => v === null ? "" : xText(v)) },
          { ...axis, size: 64, gap: 4, values: (_, all) => all.map(v => v === null ? "" : unit === "share" ? Number((100 * v).toPrecision(4)) + " %" : Math.abs(v) >= 1e4 ? short(v) : significant(v)) },
        ],
        cursor: {
          sync: { key: "curves", scales: ["x", null] }, points: { size: 6 }, focus: { prox: 16 },
          drag: { x: true, y: false, setScale: false },
          bind: { dblclick: () => () => { zoom(null, null); return null; } },
        },
        hooks: {
          setSelect: [u => {
            if (u.select.width < 4) return;
            const steps = [u.select.left, u.select.left + u.select.width].map(at => this.step(u.posToVal(at, "x")));
            u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            zoom(Math.floor(steps[0]), Math.ceil(steps[1]));
          }],
          setCursor: [u => u.cursor.idx === null || u.cursor.idx === undefined ? this.last() : this.tell(u.cursor.idx)],
          draw: [u => {
            const y = u.bbox.top + u.bbox.height, r = devicePixelRatio;
            for (const [x, c] of this.marks) {
              const at = u.valToPos(x, "x", true);
              if (at < u.bbox.left || at > u.bbox.left + u.bbox.width) continue;
              u.ctx.fillStyle = colour(c);
              u.ctx.beginPath();
              u.ctx.moveTo(at, y - 8 * r); u.ctx.lineTo(at + 4 * r, y); u.ctx.lineTo(at - 4 * r, y);
              u.ctx.fill();
            }
          }],
        },
      };
    }
    // step is the step at a place of the axis.
    step(x) {
      const s = this.data.series.find(s => s.step.length);
      if (!s.x) return x;
      const i = s.x.findIndex(v => v >= x);
      if (i <= 0) return i < 0 ? s.step[s.step.length - 1] : s.step[0];
      return s.step[i - 1] + (s.step[i] - s.step[i - 1]) * (x - s.x[i - 1]) / ((s.x[i] - s.x[i - 1]) || 1);
    }
    tell(at) {
      const all = this.plot.data;
      this.outputs.forEach((o, i) => {
        const line = this.lines[i];
        if (line === null || line === undefined) { o.textContent = ""; return; }
        let j = at;
        while (j > 0 && all[line][j] === undefined) j--;
        o.textContent = valueText(this.figure.dataset.unit, all[line][j]);
      });
    }
    last() { if (this.plot) this.tell(this.plot.data[0].length - 1); }
    resize() {
      if (!this.plot || Math.abs(this.plot.width - this.area.clientWidth) < 2) return;
      this.plot.setSize({ width: this.area.clientWidth, height: 220 });
    }
    destroy() {
      if (this.plot) this.plot.destroy();
      this.plot = null;
      this.area.textContent = "";
    }
  }

  const all = () => [...shown.values()];
  const tellPart = () => {
    if (!form) return;
    for (const name of ["x", "smooth"]) form.elements[name].value = String(state[name]);
    if (form.elements.smooth.selectedIndex < 0) form.elements.smooth.add(new Option(state.smooth, state.smooth, true, true));
    if (form.elements.x.selectedIndex < 0) form.elements.x.value = state.x = "step";
    form.elements.log.checked = state.log;
    const part = state.from === null && state.to === null ? "" : `steps ${state.from === null ? "from the beginning" : state.from} to ${state.to === null ? "the end" : state.to}`;
    if (form.elements.part.textContent !== part) form.elements.part.textContent = part;
  };
  const change = () => { writeAddress(); tellPart(); for (const c of all()) c.refresh(); };
  const zoom = (from, to) => { state.from = from; state.to = to; change(); };
  // ends returns the part that is shown, in steps.
  const ends = () => {
    let first = Infinity, last = -Infinity;
    for (const c of all()) for (const s of c.data ? c.data.series : []) if (s.points) { first = Math.min(first, s.first); last = Math.max(last, s.last); }
    return { first, last, from: state.from === null ? first : state.from, to: state.to === null ? last : state.to };
  };
  const move = (left, right) => {
    const e = ends(), width = e.to - e.from;
    if (!(e.last > e.first)) return;
    let from = Math.round(e.from + left * width), to = Math.round(e.to + right * width);
    if (left * right > 0) { // sideways: the width stays
      if (from < e.first) { to += e.first - from; from = e.first; }
      if (to > e.last) { from -= to - e.last; to = e.last; }
    }
    from = Math.max(from, e.first); to = Math.min(to, e.last);
    if (to - from < 1) return;
    zoom(from <= e.first ? null : from, to >= e.last ? null : to);
  };
  const sight = new IntersectionObserver(entries => {
    for (const e of entries) {
      const c = shown.get(e.target);
      if (!c) continue;
      c.visible = e.isIntersecting;
      if (c.visible && c.stale) c.load();
    }
  }, { rootMargin: "200px" });
  const sizes = new ResizeObserver(entries => { for (const e of entries) { const c = shown.get(e.target.parentElement); if (c) c.resize(); } });
  const find = () => {
    for (const [f] of shown) if (!f.isConnected) { shown.get(f).destroy(); shown.delete(f); }
    for (const f of document.querySelectorAll("figure.curve")) {
      if (shown.has(f)) continue;
      shown.set(f, new Chart(f));
      sight.observe(f);
      sizes.observe(f.querySelector(".canvas"));
    }
  };
  if (form) {
    form.addEventListener("submit", e => e.preventDefault());
    form.addEventListener("change", () => {
      state.x = form.elements.x.value;
      state.smooth = Number(form.elements.smooth.value);
      state.log = form.elements.log.checked;
      change();
    });
    form.addEventListener("click", e => {
      const moves = { in: [.25, -.25], out: [-.5, .5], earlier: [-.5, -.5], later: [.5, .5] };
      if (e.target.name === "whole") zoom(null, null);
      else if (moves[e.target.name]) move(...moves[e.target.name]);
    });
  }
  addEventListener("popstate", () => { readAddress(); tellPart(); for (const c of all()) c.refresh(); });
  document.addEventListener("tandem:changed", () => { find(); for (const c of all()) c.refresh(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const c of all()) { c.destroy(); c.draw(); } });
  readAddress();
  tellPart();
  find();
})();
