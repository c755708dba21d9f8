// The scaled dot product at growing width (chapter 1): why scores are divided by the root of d.
Live.define("dot_product", {
  compute: {
    /** The weights of a row of dot products of width d. */
    weights: (products, d, divide) => Live.softmax(products.map((p) => (divide ? p / Math.sqrt(d) : p))),

    /** How far numbers lie from zero, typically: the root of the mean of their squares. */
    size: (numbers) => Math.sqrt(numbers.reduce((sum, x) => sum + x * x, 0) / numbers.length),
  },

  build(root, data, tools) {
    const { weights, size } = this.compute;
    let draw_number = 0; // which of the random queries
    const width = tools.slider("width d", {
      min: 0, max: data.widths.length - 1, step: 1, value: 0, format: (i) => String(data.widths[i]) }, draw);
    const divide = tools.toggle("divide by √d", false, draw);
    tools.button("Another query, other keys", () => {
      draw_number = (draw_number + 1) % data.products.length;
      draw();
    });
    const bars = tools.bars(data.products[0][0].map((_, i) => `key ${i + 1}`));

    function draw() {
      const d = data.widths[width.value], products = data.products[draw_number][width.value];
      const row = weights(products, d, divide.value);
      const scores = products.map((p) => (divide.value ? p / Math.sqrt(d) : p));
      bars.update(row);
      tools.say(`Scores: ${scores.map((score) => score.toFixed(1)).join(", ")}. They lie ${size(scores).toFixed(1)} `
        + `from zero, typically; the largest weight is ${Math.max(...row).toFixed(2)}.`);
    }
    draw();
  },
});
