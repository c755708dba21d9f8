// The cache (chapter 8): one head writes token after token; it keeps the keys and values of the past, or computes them
// again.
Live.define("cache", {
  compute: {
    /**
     * Write `steps` tokens. Returns the output at the last one, how often the key of each token was computed, and how
     * many multiplications it took. They are counted where they are done.
     */
    write(tokens, query, key, value, steps, cached) {
      let products = 0;
      const dot = (a, b) => a.reduce((sum, x, i) => { products += 1; return sum + x * b[i]; }, 0);
      const times = (row, matrix) => matrix[0].map((_, column) => dot(row, matrix.map((line) => line[column])));
      const computed = Array(steps).fill(0);
      let keys = [], values = [], output = null;
      for (let step = 1; step <= steps; step += 1) {
        if (!cached) [keys, values] = [[], []]; // what was known is thrown away
        for (let i = keys.length; i < step; i += 1) { // all tokens so far; with a cache only the new one
          const q = times(tokens[i], query);
          keys.push(times(tokens[i], key));
          values.push(times(tokens[i], value));
          computed[i] += 1;
          const weights = Live.softmax(keys.map((k) => dot(q, k) / Math.sqrt(q.length)));
          output = values[0].map((_, column) => dot(weights, values.map((v) => v[column])));
        }
      }
      return { output, computed, products };
    },
  },

  build(root, data, tools) {
    const { write } = this.compute;
    const steps = tools.slider("tokens written", { min: 1, max: data.tokens.length, step: 1, value: data.steps }, draw);
    const next = tools.button("Write the next token", () => { steps.value += 1; draw(); });
    const rows = ["no cache", "cache"];
    const table = tools.table({ caption: "How often the key and the value of each token were computed",
      rows, columns: data.words, format: (x) => String(x) });

    function draw() {
      const n = steps.value;
      next.disabled = n === data.tokens.length;
      const ways = [false, true].map((cached) => write(data.tokens, data.query, data.key, data.value, n, cached));
      const counts = ways.map(({ computed }) => data.words.map((_, i) => computed[i] ?? 0));
      table.update(counts, {
        shade: (count) => count / data.tokens.length,
        describe: (i, j) => `${rows[i]}: the key of ${data.words[j]} was computed ${counts[i][j]} times.`,
      });
      const [without, kept] = ways.map(({ products }) => products.toLocaleString("en"));
      const outputs = ways.map(({ output }) => output.at(-1).toFixed(3));
      const apart = Math.max(...ways[0].output.map((x, i) => Math.abs(x - ways[1].output[i])));
      tools.say(`${n} tokens: ${without} multiplications without a cache, ${kept} with one. `
        + `The outputs at the last token, ${outputs.join(" and ")}, differ by ${apart}.`);
    }
    draw();
  },
});
