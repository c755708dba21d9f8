// Live figures: the element <live-figure kind="softmax" data='{"scores": [2, 0]}'>, and the parts that all share.
//
// A figure is a file figures/KIND.js that calls Live.define(KIND, {compute, build}). `compute` holds plain functions
// from numbers to numbers, which the tests compare with PyTorch; `build(root, data, tools)` draws. The element waits
// until it comes near the window, loads the file, builds, and takes the place of the static picture. If anything fails,
// the picture stays. No library, no module, no request to anybody else: it works from a file on disk as well.
(() => {
  "use strict";
  const here = typeof document === "undefined" ? null : document.currentScript;
  const inlined = !here?.src; // in a notebook all scripts stand in the frame itself, and nothing is loaded

  // `kinds` are the figures defined so far; a file models/NAME.js puts its weights into `models`.
  const Live = { kinds: {}, models: {}, softmax, define: (kind, figure) => { Live.kinds[kind] = figure; } };
  globalThis.Live = Live;

  /** e to the power of each score, divided by their sum (chapter 1). Minus infinities alone give zeros (chapter 2). */
  function softmax(scores) {
    const most = Math.max(...scores); // taken off first, or e to the power of 1000 would be too large for a number
    if (most === -Infinity) return scores.map(() => 0);
    const powers = scores.map((score) => Math.exp(score - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }
  if (!here) return; // without a page, as in the tests, only the above is there

  // ---- The element -----------------------------------------------------------------------------------------------

  const loads = {};
  function load(file) {
    if (inlined) return null;
    loads[file] ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = new URL(file, here.src);
      script.onload = done;
      script.onerror = () => failed(new Error(`${file} did not load`));
      document.head.append(script);
    });
    return loads[file];
  }

  class LiveFigure extends HTMLElement {
    connectedCallback() {
      if (this.dataset.state) return; // it began when it stood elsewhere
      this.dataset.state = "waiting";
      this.still = this.findPicture();
      if (inlined) return void this.start();
      const watcher = new IntersectionObserver((seen) => {
        if (!seen.some((entry) => entry.isIntersecting)) return;
        watcher.disconnect();
        this.start();
      }, { rootMargin: "200px" });
      watcher.observe(this);
      if (this.still) watcher.observe(this.still); // higher than the element, which is empty yet
    }

    /** The static picture: what stands inside the element, else what stands before it in the same figure. */
    findPicture() {
      if (!this.children.length) return this.closest("figure") && this.previousElementSibling;
      const inside = make("div", {}, ...this.childNodes);
      this.append(inside);
      return inside;
    }

    async start() {
      this.dataset.state = "loading";
      const root = make("div", { class: "live-root", role: "group" });
      try {
        const kind = this.getAttribute("kind");
        const data = JSON.parse(this.getAttribute("data") || "{}");
        await load(`figures/${kind}.js`);
        const figure = Live.kinds[kind];
        const needs = figure.needs ?? [];
        await Promise.all(needs.map((name) => load(name === "model" ? `models/${data.model}.js` : `${name}.js`)));
        root.setAttribute("aria-label", data.title ?? kind);
        this.append(root);
        const height = this.still?.offsetHeight ?? 0;
        await figure.build(root, data, toolsFor(root));
        this.style.minHeight = `${height}px`; // the page does not jump
        if (this.still) this.still.hidden = true;
        this.dataset.state = "ready";
      } catch (error) {
        root.remove();
        const says = "This figure could not be brought to life; the picture shows how it begins.";
        this.append(make("p", { class: "live-failed" }, says));
        this.dataset.error = error.message;
        this.dataset.state = "failed";
      }
    }
  }

  // ---- The parts that figures share ------------------------------------------------------------------------------

  const SVG = new Set("svg g line path polyline circle rect text title".split(" "));
  let count = 0; // for names of groups

  /** An element of HTML or SVG, with attributes and children. */
  function make(name, attributes = {}, ...children) {
    const element = SVG.has(name)
      ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  /** What `build` gets. Controls stand above, in the order of the calls; everything else below, in that order. */
  function toolsFor(root) {
    const panel = make("div", { class: "live-controls" });
    const line = make("p", { class: "live-line", "aria-hidden": "true" });
    const aloud = make("p", { class: "live-aloud", role: "status" });
    root.append(panel, line, aloud);
    let pause;

    /** Add an element below the controls, above the line of text. */
    const put = (element) => { line.before(element); return element; };

    /** Say in a sentence what is to be seen. It is read out when nothing has changed for half a second. */
    function say(text, read = true) {
      line.textContent = text;
      clearTimeout(pause);
      if (read) pause = setTimeout(() => { aloud.textContent = text; }, 500);
    }

    function slider(label, { min, max, step, value, format = String }, onInput = () => {}) {
      const input = make("input", { type: "range", min, max, step, value });
      const shown = make("output", {});
      const tell = () => {
        shown.textContent = format(Number(input.value));
        input.setAttribute("aria-valuetext", shown.textContent);
      };
      input.addEventListener("input", () => { tell(); onInput(Number(input.value)); });
      panel.append(make("label", { class: "live-slider" }, make("span", {}, label), input, shown));
      tell();
      return {
        input,
        get value() { return Number(input.value); },
        set value(number) { input.value = number; tell(); },
      };
    }

    function toggle(label, checked, onChange = () => {}) {
      const input = make("input", { type: "checkbox" });
      input.checked = checked;
      input.addEventListener("change", () => onChange(input.checked));
      panel.append(make("label", { class: "live-toggle" }, input, make("span", {}, label)));
      return { input, get value() { return input.checked; } };
    }

    /** One of several: a group of radio buttons. `options` are pairs of a value and its words. */
    function choice(label, options, value, onChange = () => {}) {
      const name = `live-${count++}`;
      const group = make("fieldset", { class: "live-choice" }, make("legend", {}, label));
      for (const [one, words] of options) {
        const input = make("input", { type: "radio", name, value: one });
        input.checked = one === value;
        input.addEventListener("change", () => { value = one; onChange(one); });
        group.append(make("label", { class: "live-toggle" }, input, make("span", {}, words)));
      }
      panel.append(group);
      return { group, get value() { return value; } };
    }

    function button(label, onClick) {
      const element = make("button", { type: "button", class: "live-button" }, label);
      element.addEventListener("click", onClick);
      panel.append(element);
      return element;
    }

    /**
     * A table of shaded numbers that is walked with the arrow keys. `update(values, {masked, describe, shade})` fills
     * it: masked cells are hatched; `describe(row, column)` says what a cell holds, to who hovers and who listens.
     */
    function table({ caption, corner = "", rows, columns, format = (value) => value.toFixed(2) }) {
      const head = make("tr", {}, corner ? make("th", { scope: "col" }, corner) : make("td", {})); // no empty heading
      for (const name of columns) head.append(make("th", { scope: "col" }, name));
      const body = make("tbody", {});
      const cells = rows.map((name) => {
        const row = columns.map(() => make("td", { role: "gridcell", tabindex: -1 }, make("span", {})));
        body.append(make("tr", {}, make("th", { scope: "row" }, name), ...row));
        return row;
      });
      const name = `live-${count++}`;
      const grid = make("table", { class: "live-table", role: "grid", "aria-labelledby": name },
        make("thead", {}, head), body);
      if (columns.length > 6) grid.classList.add("live-many"); // then the names stand upright
      const frame = put(make("div", {}, make("p", { id: name, class: "live-caption" }, caption),
        make("div", { class: "live-scroll" }, grid)));
      cells[0][0].tabIndex = 0;
      let words = () => "";
      const place = (target) => {
        const cell = target.closest("td");
        const i = cells.findIndex((row) => row.includes(cell));
        return i < 0 ? null : [i, cells[i].indexOf(cell)];
      };
      const tell = (event) => {
        const found = place(event.target);
        if (!found) return;
        if (event.type === "focusin") {
          for (const cell of cells.flat()) cell.tabIndex = -1;
          event.target.closest("td").tabIndex = 0;
        }
        say(words(...found), event.type !== "focusin"); // what has the focus is read out anyway
      };
      grid.addEventListener("mouseover", tell);
      grid.addEventListener("focusin", tell);
      grid.addEventListener("click", (event) => event.target.closest("td")?.focus());
      grid.addEventListener("keydown", (event) => {
        const found = place(event.target);
        const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
          Home: [0, -columns.length], End: [0, columns.length] };
        const step = steps[event.key];
        if (!found || !step) return;
        event.preventDefault();
        const within = (number, length) => Math.min(length - 1, Math.max(0, number));
        cells[within(found[0] + step[0], rows.length)][within(found[1] + step[1], columns.length)].focus();
      });
      return {
        frame,
        update(values, { masked = null, describe = () => "", shade = (value) => value } = {}) {
          words = describe;
          cells.forEach((row, i) => row.forEach((cell, j) => {
            const hidden = Boolean(masked?.[i][j]);
            cell.firstChild.textContent = hidden && values[i][j] === 0 ? "0" : format(values[i][j], i, j);
            cell.style.setProperty("--shade", Math.min(1, Math.max(0, shade(values[i][j], i, j) || 0)));
            cell.classList.toggle("live-masked", hidden);
            cell.setAttribute("aria-label", describe(i, j));
          }));
        },
      };
    }

    /** Bars with a name and a number each; `update` takes numbers from 0 to 1. */
    function bars(labels, format = (value) => value.toFixed(2)) {
      const list = put(make("ul", { class: "live-bars", role: "list" }));
      const rows = labels.map((label) => {
        const bar = make("span", { class: "live-bar" }), number = make("span", { class: "live-number" });
        list.append(make("li", {}, make("span", {}, label), make("span", { class: "live-rail" }, bar), number));
        return { bar, number };
      });
      return {
        list,
        update: (values) => rows.forEach(({ bar, number }, i) => {
          bar.style.setProperty("--share", values[i]);
          number.textContent = format(values[i]);
        }),
      };
    }

    /** A drawing as wide as its place. `draw(width)` returns elements of SVG; `update(label)` says what it shows. */
    function drawing(height, draw) {
      const svg = put(make("svg", { class: "live-svg", role: "img", height }));
      let width = 0;
      const redraw = () => {
        width = Math.max(240, Math.min(640, svg.parentElement.clientWidth));
        svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
        svg.setAttribute("width", width);
        svg.replaceChildren(...draw(width));
      };
      let drawn = false;
      new ResizeObserver(() => { if (drawn && root.clientWidth !== width) redraw(); }).observe(root);
      return { svg, update(label) { svg.setAttribute("aria-label", label); drawn = true; redraw(); } };
    }

    /** Lines over two axes. `update({lines, marks, x, y}, label)`: lines of [x, y]; x and y are [low, high]. */
    function plot({ height = 220, xLabel, yLabel, format = String }) {
      let now = { lines: [], marks: [], x: [0, 1], y: [0, 1] };
      const left = 48, right = 12, top = 22, bottom = 38;
      const picture = drawing(height, (width) => {
        const { lines, marks = [], x, y } = now;
        const across = (value) => left + (value - x[0]) / (x[1] - x[0]) * (width - left - right);
        const up = (value) => height - bottom - (value - y[0]) / (y[1] - y[0]) * (height - top - bottom);
        const text = (words, at, more = {}) => make("text", { x: at[0], y: at[1], ...more }, words);
        const axes = make("path", { class: "live-axis", d: `M${left} ${top}V${height - bottom}H${width - right}` });
        return [
          axes,
          ...[0, 0.5, 1].map((part) => x[0] + part * (x[1] - x[0])).map((value) =>
            text(format(value, "x"), [across(value), height - bottom + 16],
              { "text-anchor": value === x[1] ? "end" : "middle" })),
          ...[0, 0.5, 1].map((part) => y[0] + part * (y[1] - y[0])).map((value) =>
            text(format(value, "y"), [left - 6, up(value) + 4], { "text-anchor": "end" })),
          text(xLabel, [width - right, height - 4], { "text-anchor": "end" }),
          text(yLabel, [4, 12]),
          ...lines.map((line, i) => make("polyline", { class: `live-curve live-curve-${i}`,
            points: line.map(([a, b]) => `${across(a).toFixed(1)},${up(b).toFixed(1)}`).join(" ") })),
          ...marks.flatMap(([a, b, words]) => [
            make("circle", { class: "live-mark", cx: across(a), cy: up(b), r: 5 }),
            text(words ?? "", [across(a) + (across(a) > width / 2 ? -9 : 9), up(b) - 8],
              { "text-anchor": across(a) > width / 2 ? "end" : "start" }),
          ]),
        ];
      });
      return { svg: picture.svg, update(what, label) { now = what; picture.update(label); } };
    }

    return { put, say, slider, toggle, choice, button, table, bars, drawing, plot, make };
  }

  customElements.define("live-figure", LiveFigure);
})();
