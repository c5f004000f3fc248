"use strict";
(() => {
  const held = document.getElementById("figures");
  const { config, figures } = held ? JSON.parse(held.textContent) : { config: {}, figures: {} };
  const minus = (text) => text.replace(/-/g, "\u2212");
  const short = (value) => {
    const size = Math.abs(value);
    if (value === 0) return "0";
    if (size >= 1e-2 && size < 1e4) return minus(String(Number(value.toPrecision(3))));
    const [mantissa, power] = value.toExponential(1).split("e");
    return minus(`${mantissa}\u00d710`) + Number(power).toString().replace(/./g, (c) => "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"["-0123456789".indexOf(c)] ?? "");
  };
  const isMap = (figure) => figure.skies.length > 0;
  const coarse = matchMedia("(pointer: coarse)").matches;
  const plots = new Map();

  // Every figure is drawn at once: what is printed or searched for is there.
  for (const gd of document.querySelectorAll("[data-figure]")) {
    const figure = figures[gd.dataset.figure];
    const small = window.innerWidth < 600;
    const layout = figure.layout;
    if (small && !isMap(figure)) {
      layout.font.size = 12;
      layout.margin = { ...layout.margin, l: 46, r: 6 };
      layout.legend = { ...layout.legend, font: { size: 11 } };
    }
    if (coarse) layout.dragmode = isMap(figure) ? "pan" : false;
    figure.legend = layout.showlegend !== false;
    figure.free = ["xaxis", "yaxis"].filter((key) => !layout[key]?.range);
    if (figure.named) layout.showlegend = false;
    if (isMap(figure)) layout.images = [picture(figure, 0)];
    Plotly.newPlot(gd, figure.data, layout, { ...config, scrollZoom: isMap(figure), displayModeBar: isMap(figure) || coarse ? false : "hover" });
    plots.set(gd.dataset.figure, gd);
    measure(gd);
    gd.on("plotly_afterplot", () => measure(gd));
    if (isMap(figure)) showScale(gd, figure, 0);
    follow(gd, figure);
    if (isMap(figure)) {
      point(gd, figure);
      fingers(gd);
      quietWheel(gd);
    }
  }

  function picture(figure, number) {
    const { left, right, low, high } = figure.projection;
    return {
      source: figure.skies[number].source, xref: "x", yref: "y", x: left, y: high, sizex: Math.abs(right - left), sizey: high - low,
      sizing: "stretch", layer: "below",
    };
  }

  function showScale(gd, figure, number) {
    const { low, high, unit, colours } = figure.skies[number];
    const box = gd.parentElement.querySelector(".scale");
    const stops = colours.filter((_, k) => k % 15 === 0);
    box.querySelector(".colours").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    box.querySelector(".low").textContent = short(low);
    box.querySelector(".high").textContent = short(high);
    box.querySelector(".unit").innerHTML = unit;
  }

  // An SVG that knows its size can be scaled to a page of paper.
  function measure(gd) {
    const { width, height } = gd._fullLayout;
    for (const svg of gd.querySelectorAll(".main-svg")) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    gd.style.setProperty("--aspect", width / height);
  }

  // Figures of one name move together; plain numbers take the place of decades when little of them is left.
  function follow(gd, figure) {
    let told = false;
    const ranges = (event) => Object.fromEntries(Object.entries(event).filter(([key]) => /^xaxis\.|^yaxis\./.test(key)));
    const pass = (event) => {
      if (told) return;
      const others = [...plots.values()].filter((one) => one !== gd && figure.link && figures[one.dataset.figure].link === figure.link);
      const change = isMap(figure) ? area(gd) : ranges(event);
      const keys = Object.keys(change).filter((key) => isMap(figure) || key.startsWith("xaxis."));
      if (!others.length || !keys.length) return;
      const wanted = Object.fromEntries(keys.map((key) => [key, change[key]]));
      for (const one of others) one.dispatchEvent(new CustomEvent("follow", { detail: wanted }));
    };
    gd.addEventListener("follow", async (event) => {
      told = true;
      await Plotly.relayout(gd, event.detail);
      told = false;
    });
    gd.on("plotly_relayout", pass);
    if (isMap(figure)) gd.on("plotly_relayouting", pass);
    gd.on("plotly_relayout", () => {
      const axis = gd.layout.xaxis;
      if (axis?.type !== "log") return;
      const mode = axis.range[1] - axis.range[0] < 0.45 ? "auto" : "array";
      if (axis.tickmode !== mode && !(mode === "array" && axis.tickmode === undefined)) Plotly.relayout(gd, { "xaxis.tickmode": mode });
    });
  }

  function area(gd) {
    const { xaxis, yaxis } = gd._fullLayout;
    return { "xaxis.range": [...xaxis.range], "yaxis.range": [...yaxis.range] };
  }

  // A page that is being scrolled goes on scrolling over a map; a wheel that begins on a map zooms it.
  let scrolled = 0;
  addEventListener("scroll", () => { scrolled = performance.now(); }, { passive: true });
  function quietWheel(gd) {
    gd.addEventListener("wheel", (event) => {
      if (performance.now() - scrolled < 350 && !event.ctrlKey) event.stopPropagation();
    }, { capture: true, passive: true });
  }

  function zoom(gd, factor, x = 0.5, y = 0.5) {
    const { xaxis, yaxis } = gd._fullLayout;
    const scaled = ([a, b], at) => [a + (b - a) * at * (1 - factor), b - (b - a) * (1 - at) * (1 - factor)];
    return Plotly.relayout(gd, { "xaxis.range": scaled(xaxis.range, x), "yaxis.range": scaled(yaxis.range, 1 - y) });
  }

  function whole(gd) {
    const { layout } = figures[gd.dataset.figure];
    const { left, right, low, high } = figures[gd.dataset.figure].projection;
    const grow = figures[gd.dataset.figure].shape === "sky" ? 1.005 : 1;
    return Plotly.relayout(gd, { "xaxis.range": [left * grow, right * grow], "yaxis.range": [low * grow, high * grow], dragmode: layout.dragmode });
  }

  // One finger scrolls the page, two move and enlarge a map.
  function fingers(gd) {
    const down = new Map();
    let before = null;
    const state = () => {
      const [a, b] = [...down.values()];
      return { x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2, d: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) };
    };
    const touches = (event) => {
      down.clear();
      for (const touch of event.touches) down.set(touch.identifier, touch);
    };
    const stop = { capture: true, passive: false };
    gd.addEventListener("touchstart", (event) => {
      touches(event);
      event.stopPropagation();
      before = down.size === 2 ? state() : null;
      if (before) event.preventDefault();
      else tell(gd, event.touches[0]);
    }, stop);
    gd.addEventListener("touchmove", (event) => {
      touches(event);
      event.stopPropagation();
      if (down.size !== 2 || !before) return;
      event.preventDefault();
      const now = state();
      const box = gd.getBoundingClientRect();
      const { xaxis, yaxis } = gd._fullLayout;
      const [u, v] = [(before.x - box.left - xaxis._offset) / xaxis._length, (before.y - box.top - yaxis._offset) / yaxis._length];
      const shift = [(now.x - before.x) / xaxis._length, (now.y - before.y) / yaxis._length];
      const factor = Math.min(Math.max(before.d / Math.max(now.d, 1), 0.5), 2);
      const moved = ([a, b], at, by) => {
        const span = (b - a) * factor;
        const start = a + (b - a) * at - span * (at + by);
        return [start, start + span];
      };
      before = now;
      Plotly.relayout(gd, { "xaxis.range": moved(xaxis.range, u, shift[0]), "yaxis.range": moved(yaxis.range, 1 - v, -shift[1]) });
    }, stop);
    gd.addEventListener("touchend", (event) => { touches(event); event.stopPropagation(); before = null; }, stop);
  }

  // What a pointer is on: longitude and latitude by the projection, the value by its colour.
  const canvases = new Map();
  function point(gd, figure) {
    gd.addEventListener("pointermove", (event) => tell(gd, event));
    gd.addEventListener("pointerleave", () => { gd.parentElement.querySelector(".readout").textContent = ""; });
  }

  function tell(gd, event) {
    const figure = figures[gd.dataset.figure];
    const out = gd.parentElement.querySelector(".readout");
    const box = gd.getBoundingClientRect();
    const { xaxis, yaxis } = gd._fullLayout;
    const x = xaxis.p2l(event.clientX - box.left - xaxis._offset);
    const y = yaxis.p2l(event.clientY - box.top - yaxis._offset);
    const { left, right, low, high } = figure.projection;
    const where = figure.projection.kind === "mollweide" ? mollweide(x, y) : gnomonic(x, y, figure.projection);
    const [u, v] = [(x - left) / (right - left), (high - y) / (high - low)];
    if (!where || u < 0 || u >= 1 || v < 0 || v >= 1) { out.textContent = ""; return; }
    const value = colourOf(gd, figure, u, v);
    const name = figure.skies[Number(gd.dataset.shown ?? 0)].unit;
    out.innerHTML = `lon ${where[0].toFixed(1)}\u00b0, lat ${minus(where[1].toFixed(1))}\u00b0${value === null ? "" : `: ${name} \u2248 ${short(value)}`}`;
  }

  function mollweide(x, y) {
    if (x * x / 4 + y * y >= 1) return null;
    const angle = Math.asin(y);
    const lon = -Math.PI * x / (2 * Math.cos(angle));
    const lat = Math.asin((2 * angle + Math.sin(2 * angle)) / Math.PI);
    return [(lon * 180 / Math.PI + 360) % 360, lat * 180 / Math.PI];
  }

  function gnomonic(x, y, { lon, lat }) {
    const [east, north] = [x, y].map((value) => value * Math.PI / 180);
    const [l, b] = [lon, lat].map((value) => value * Math.PI / 180);
    const r = Math.hypot(1, east, north);
    const z = (Math.sin(b) + north * Math.cos(b)) / r;
    const ahead = Math.cos(b) - north * Math.sin(b);
    return [((l + Math.atan2(east, ahead)) * 180 / Math.PI + 360) % 360, Math.asin(z) * 180 / Math.PI];
  }

  function colourOf(gd, figure, u, v) {
    const number = Number(gd.dataset.shown ?? 0);
    const { source, low, high, colours } = figure.skies[number];
    let drawn = canvases.get(source);
    if (!drawn) {
      drawn = { ready: false };
      canvases.set(source, drawn);
      const image = new Image();
      image.onload = () => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.width, image.height];
        drawn.pen = canvas.getContext("2d", { willReadFrequently: true });
        drawn.pen.drawImage(image, 0, 0);
        drawn.size = [image.width, image.height];
        drawn.scale = colours.map((c) => [1, 3, 5].map((k) => parseInt(c.slice(k, k + 2), 16)));
        drawn.ready = true;
      };
      image.src = source;
    }
    if (!drawn.ready) return null;
    const [r, g, b] = drawn.pen.getImageData(Math.floor(u * drawn.size[0]), Math.floor(v * drawn.size[1]), 1, 1).data;
    let [best, nearest] = [0, Infinity];
    drawn.scale.forEach(([i, j, k], at) => {
      const d = (r - i) ** 2 + (g - j) ** 2 + (b - k) ** 2;
      if (d < nearest) [best, nearest] = [at, d];
    });
    return nearest > 1500 || greyed(r, g, b) ? null : low + (high - low) * best / 255;
  }

  const greyed = (r, g, b) => Math.hypot(r - 214, g - 218, b - 222) < 5;

  for (const box of document.querySelectorAll(".choice")) {
    const gd = plots.get(box.dataset.for);
    const figure = figures[box.dataset.for];
    box.addEventListener("change", (event) => {
      if (box.dataset.facet === "sky") {
        const number = Number(event.target.value);
        gd.dataset.shown = number;
        Plotly.relayout(gd, { "images[0].source": figure.skies[number].source });
        showScale(gd, figure, number);
        return;
      }
      if (box.dataset.facet === "scale") {
        const { value } = event.target;
        Plotly.relayout(gd, { "yaxis.type": value, "yaxis.range": [...figure.scales[value]], "yaxis.dtick": value === "log" ? 1 : null });
        return;
      }
      const chosen = new Map();
      for (const one of document.querySelectorAll(`.choice[data-for="${box.dataset.for}"]`)) {
        const on = [...one.querySelectorAll("input:checked")].map((input) => input.value);
        chosen.set(Number(one.dataset.facet), new Set(on));
      }
      const shown = figure.data.map((trace) => (trace.meta?.facets ?? []).every((name, k) => !name || !chosen.has(k) || chosen.get(k).has(name)));
      Plotly.restyle(gd, { visible: shown });
      // another parameter has another range
      if (event.target.type === "radio") {
        const change = Object.fromEntries(figure.free.map((key) => [`${key}.autorange`, true]));
        const [across, up] = figure.titles[event.target.value] ?? [];
        Plotly.relayout(gd, across ? { ...change, "xaxis.title.text": across, "yaxis.title.text": up } : change);
      }
    });
  }

  for (const button of document.querySelectorAll("[data-zoom]")) {
    const gd = plots.get(button.closest("figure").querySelector("[data-figure]").dataset.figure);
    button.addEventListener("click", () => (Number(button.dataset.zoom) ? zoom(gd, Number(button.dataset.zoom)) : whole(gd)));
  }

  for (const find of document.querySelectorAll(".find")) {
    find.addEventListener("input", () => {
      const wanted = find.value.trim().toLowerCase();
      for (const name of document.querySelectorAll(`#${find.dataset.of} dt`)) {
        const value = name.nextElementSibling;
        const hidden = !`${name.textContent} ${value.textContent}`.toLowerCase().includes(wanted);
        name.hidden = value.hidden = hidden;
      }
    });
  }

  // On paper letters keep their size: figures are drawn anew as wide as a page.
  addEventListener("beforeprint", () => {
    for (const gd of plots.values()) {
      if (!isMap(figures[gd.dataset.figure])) Plotly.relayout(gd, { width: 680, height: gd.parentElement.classList.contains("is-tall") ? 400 : 300, showlegend: figures[gd.dataset.figure].legend });
    }
  });
  addEventListener("afterprint", () => {
    for (const gd of plots.values()) {
      if (!isMap(figures[gd.dataset.figure])) Plotly.relayout(gd, { width: null, height: null, autosize: true, showlegend: figures[gd.dataset.figure].legend && !figures[gd.dataset.figure].named });
    }
  });
})();
