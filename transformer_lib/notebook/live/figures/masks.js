// Masks (chapter 2): which words may be looked at, and what becomes of the others' share.
Live.define("masks", {
  compute: {
    /** May query i look at key j? Not at padding, and not ahead. Both must permit it. */
    allowed: (is_padding, causal, padding) => is_padding.map((_, i) =>
      is_padding.map((pad, j) => !(padding && pad) && !(causal && j > i))),

    /** Weights under a mask that acts before the softmax, as it should, or after it. */
    weights: (scores, allowed, before) => scores.map((row, i) => {
      if (before) return Live.softmax(row.map((score, j) => (allowed[i][j] ? score : -Infinity)));
      return Live.softmax(row).map((weight, j) => (allowed[i][j] ? weight : 0));
    }),
  },

  build(root, data, tools) {
    const { allowed, weights } = this.compute;
    const causal = tools.toggle("causal mask", false, draw);
    const padding = tools.toggle("padding mask", false, draw);
    const when = tools.choice(
      "The mask acts", [["before", "before the softmax"], ["after", "after it"]], "before", draw);
    const table = tools.table({
      caption: "Weights, a row for each query; hatched: masked", corner: "query", rows: data.tokens,
      columns: [...data.tokens, "sum"] });

    function draw() {
      const may = allowed(data.is_padding, causal.value, padding.value);
      const found = weights(data.scores, may, when.value === "before");
      const sums = found.map((row) => row.reduce((a, b) => a + b, 0));
      table.update(found.map((row, i) => [...row, sums[i]]), {
        masked: may.map((row) => [...row.map((ok) => !ok), false]),
        shade: (weight, i, j) => (j < data.tokens.length ? weight : 0),
        describe: (i, j) => {
          const [query, key] = [data.tokens[i], data.tokens[j]];
          if (key === undefined) return `The row of ${query} sums to ${sums[i].toFixed(2)}.`;
          return may[i][j] ? `${query} gives ${key} ${found[i][j].toFixed(2)}.` : `${query} may not look at ${key}.`;
        },
      });
      const count = may.flat().filter(Boolean).length, lowest = Math.min(...sums);
      tools.say(`${count} of ${may.flat().length} pairs are permitted. `
        + (lowest > 0.999 ? "Every row sums to 1." : `Rows sum to as little as ${lowest.toFixed(2)}.`));
    }
    draw();
  },
});
