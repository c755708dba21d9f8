// The schedule of the paper (chapter 10): the learning rate climbs for the warm-up, then falls with the root of the
// step.
Live.define("schedule", {
  compute: {
    rate: (step, d_model, warmup) => d_model ** -0.5 * Math.min(step ** -0.5, step * warmup ** -1.5),
  },

  build(root, data, tools) {
    const { rate } = this.compute;
    const warmup = tools.slider("warm-up", { min: 500, max: 12000, step: 500, value: data.warmup,
      format: (x) => x.toLocaleString("en") }, draw);
    const width = tools.choice("d_model", data.widths.map((d) => [d, String(d)]), data.d_model, draw);
    const curve = tools.plot({ height: 240, xLabel: "step", yLabel: "learning rate, in thousandths",
      format: (value, axis) => (axis === "x" ? value.toLocaleString("en") : (1000 * value).toFixed(1)) });
    const steps = Array.from({ length: 201 }, (_, i) => Math.max(1, i * data.steps / 200));
    const line = (d, w) => steps.map((step) => [step, rate(step, d, w)]);

    function draw() {
      const w = warmup.value, d = width.value, peak = rate(w, d, w);
      const told = `The rate climbs to ${peak.toFixed(5)} at step ${w.toLocaleString("en")}; `
        + `at step ${data.steps.toLocaleString("en")} it is ${rate(data.steps, d, w).toFixed(5)}.`;
      curve.update({
        lines: [line(d, w), line(data.d_model, data.warmup)], marks: [[w, peak, "peak"]],
        x: [0, data.steps], y: [0, Math.max(0.002, peak)],
      }, `${told} Dashed: the paper's, with ${data.d_model} and ${data.warmup.toLocaleString("en")}.`);
      tools.say(told);
    }
    draw();
  },
});
