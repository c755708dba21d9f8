// Positions as clock hands (chapter 4): the numbers of one position, and how alike it is to all others.
Live.define("positions", {
  compute: {
    /** Feature 2j is the sine and 2j + 1 the cosine of p times 10000 to the power of -2j / d. */
    encoding: (p, d) => Array.from({ length: d }, (_, i) => {
      const angle = p * 10000 ** (-2 * Math.floor(i / 2) / d);
      return i % 2 ? Math.cos(angle) : Math.sin(angle);
    }),

    /** The dot product of position p with each of the first n positions, over that with itself. */
    similarity(p, n, d) {
      const here = this.encoding(p, d);
      const dot = (other) => other.reduce((sum, x, i) => sum + x * here[i], 0);
      return Array.from({ length: n }, (_, q) => dot(this.encoding(q, d)) / dot(here));
    },
  },

  build(root, data, tools) {
    const { compute } = this;
    const place = tools.slider("position", { min: 0, max: data.length - 1, step: 1, value: data.position }, draw);
    const width = tools.slider("width d", { min: 2, max: 9, step: 1, value: Math.log2(data.width),
      format: (x) => String(2 ** x) }, draw);
    const hands = tools.plot({ height: 150, xLabel: "clock, from fast to slow", yLabel: "sine, and dashed: cosine",
      format: (value, axis) => (axis === "x" ? value.toFixed(0) : value.toFixed(1)) });
    const alike = tools.plot({ height: 190, xLabel: "other position", yLabel: "similarity",
      format: (value, axis) => (axis === "x" ? value.toFixed(0) : value.toFixed(1)) });

    function draw() {
      const p = place.value, d = 2 ** width.value;
      const numbers = compute.encoding(p, d), curve = compute.similarity(p, data.length, d);
      const points = (values) => values.map((value, i) => [i, value]);
      const [sines, cosines] = [0, 1].map((rest) => points(numbers.filter((_, i) => i % 2 === rest)));
      hands.update({ lines: [sines, cosines], x: [0, d / 2 - 1], y: [-1, 1] },
        `The ${d} numbers of position ${p}: ${numbers.slice(0, 6).map((x) => x.toFixed(2)).join(", ")} and so on.`);
      const near = (step) => curve[p + step] ?? curve[p - step];
      const told = `Similarity of position ${p} to those 1, 5 and 20 steps away: ${[1, 5, 20]
        .map((step) => near(step).toFixed(2)).join(", ")}.`;
      const marks = [[p, 1, `position ${p}`]];
      alike.update({ lines: [points(curve)], marks, x: [0, data.length - 1], y: [-1, 1] }, told);
      tools.say(told);
    }
    draw();
  },
});
