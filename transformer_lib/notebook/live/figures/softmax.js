// Softmax and temperature (chapter 1): scores become weights.
Live.define("softmax", {
  compute: {
    /** The weights of a row of scores. The temperature divides the scores; a dot product's is the root of its width. */
    weights: (scores, temperature) => Live.softmax(scores.map((score) => score / temperature)),
  },

  build(root, data, tools) {
    const { weights: weigh } = this.compute;
    const scores = data.labels.map((label, i) => tools.slider(
      `score of ${label}`, { min: -5, max: 10, step: 0.5, value: data.scores[i], format: (x) => x.toFixed(1) }, draw));
    // Moved in equal ratios: 0.1, ..., 1 in the middle, ..., 10.
    const temperature = tools.slider(
      "temperature", { min: -1, max: 1, step: 0.05, value: 0, format: (x) => (10 ** x).toFixed(2) }, draw);
    const add = tools.button("Add 1 to every score", () => {
      for (const score of scores) score.value += 1;
      draw();
    });
    const bars = tools.bars(data.labels);

    function draw() {
      const weights = weigh(scores.map((score) => score.value), 10 ** temperature.value);
      bars.update(weights);
      add.disabled = scores.some((score) => score.value > 9); // a slider at its end would not follow
      const told = data.labels.map((label, i) => `${label} ${weights[i].toFixed(2)}`).join(", ");
      tools.say(`Weights: ${told}. They sum to 1.`);
    }
    draw();
  },
});
