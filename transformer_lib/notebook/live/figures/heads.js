// Heads (chapter 3): the same queries and keys, cut into one, two or four pieces.
Live.define("heads", {
  compute: {
    /** The weights, [head][query][key]: each head sees its own columns, and divides by the root of their number. */
    weights(queries, keys, n_heads) {
      const d_head = queries[0].length / n_heads;
      return Array.from({ length: n_heads }, (_, head) => {
        const part = (row) => row.slice(head * d_head, (head + 1) * d_head);
        const score = (q, k) => part(q).reduce((sum, x, i) => sum + x * part(k)[i], 0) / Math.sqrt(d_head);
        return queries.map((q) => Live.softmax(keys.map((k) => score(q, k))));
      });
    },
  },

  build(root, data, tools) {
    const { weights } = this.compute;
    const d_model = data.queries[0].length;
    const heads = tools.choice("Heads", data.n_heads.map((n) => [n, String(n)]), data.n_heads[0], draw);
    const query = tools.choice("Who looks", data.tokens.map((token, i) => [i, token]), 0, draw);
    const tables = {}; // one for each number of heads; the others are hidden

    function draw() {
      const n = heads.value, asks = data.tokens[query.value];
      const rows = weights(data.queries, data.keys, n).map((head) => head[query.value]);
      tables[n] ??= tools.table({ caption: "Weights, a row for each head", corner: "head",
        rows: rows.map((_, head) => String(head)), columns: data.tokens });
      for (const [name, table] of Object.entries(tables)) table.frame.hidden = Number(name) !== n;
      tables[n].update(rows, { describe: (head, key) =>
        `In head ${head}, ${asks} gives ${data.tokens[key]} ${rows[head][key].toFixed(2)}.` });
      const finds = rows.map((row) => {
        const most = Math.max(...row), found = data.tokens.filter((_, i) => row[i] > most - 1e-9);
        return found.length === row.length ? "all the same" : found.join(" and ");
      });
      tools.say(`d_head = ${d_model} / ${n} = ${d_model / n}. Most weight of ${asks}: ${finds.join("; ")}. `
        + `The matrix of the queries has ${d_model} × ${d_model} = ${d_model ** 2} weights, however many heads.`);
    }
    draw();
  },
});
