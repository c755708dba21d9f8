// Layer norm (chapter 5): one token's features, moved to mean 0 and scaled to variance 1.
Live.define("layer_norm", {
  compute: {
    mean: (x) => x.reduce((a, b) => a + b, 0) / x.length,

    /** The variance is the mean of the squared deviations; eps stands under the root. */
    norm(x, eps = 1e-5) {
      const mean = this.mean(x), variance = this.mean(x.map((value) => (value - mean) ** 2));
      return x.map((value) => (value - mean) / Math.sqrt(variance + eps));
    },
  },

  build(root, data, tools) {
    const { compute } = this;
    const one = (x) => x.toFixed(1);
    const shift = tools.slider("added to all", { min: -10, max: 10, step: 1, value: 0 }, draw);
    const scale = tools.slider("all times", { min: 0, max: 5, step: 0.5, value: 1, format: one }, draw);
    const outlier = tools.slider(`added to ${data.names.at(-1)}`, { min: 0, max: 20, step: 1, value: 0 }, draw);
    let before = [], after = [];
    const strips = tools.drawing(170, (width) => [
      ...strip(before, [-10, 45], 12, "before", width), ...strip(after, [-2, 2], 94, "after layer norm", width)]);
    const table = tools.table({ caption: "The features of one token", rows: ["before", "after"], columns: data.names });

    /** A line of numbers from `low` to `high`, with a dot for each value. */
    function strip(values, [low, high], top, words, width) {
      const { make } = tools, at = (value) => 14 + (value - low) / (high - low) * (width - 28);
      const ticks = [low, (low + high) / 2, high];
      return [
        make("text", { x: 4, y: top }, words),
        make("path", { class: "live-axis", d: `M14 ${top + 38}H${width - 14}` }),
        ...ticks.map((tick) => make("text", { x: at(tick), y: top + 58, "text-anchor": "middle" }, String(tick))),
        ...values.map((value, i) => make("circle", { class: "live-mark", cx: at(value), cy: top + 38 - 4 * i, r: 5 })),
      ];
    }

    function draw() {
      const last = data.values.length - 1;
      before = data.values.map((value, i) => value * scale.value + shift.value + (i === last ? outlier.value : 0));
      after = compute.norm(before);
      const told = `Mean ${compute.mean(before).toFixed(2)} before. `
        + `After: ${after.map((value) => value.toFixed(2)).join(", ")}.`;
      strips.update(told);
      const both = [before, after];
      table.update(both, { shade: () => 0,
        describe: (i, j) => `${data.names[j]}, ${["before", "after"][i]}: ${both[i][j].toFixed(2)}.` });
      tools.say(told);
    }
    draw();
  },
});
