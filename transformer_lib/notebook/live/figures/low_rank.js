// Low rank (chapter 18): how much of a change of a matrix a few directions can hold, and what they cost.
Live.define("low_rank", {
  compute: {
    /**
     * The directions of a matrix, the largest first: {size, up, down}, whose products size * up * down add up to it.
     * By Jacobi's method: pairs of rows are turned into each other until every two are at right angles.
     */
    directions(matrix) {
      const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
      const rows = matrix.map((row) => [...row]);
      const turns = rows.map((_, i) => rows.map((_, j) => Number(i === j))); // rows = turns * matrix
      for (let sweep = 0; sweep < 30; sweep++) {
        for (let i = 0; i < rows.length; i++) {
          for (let j = 0; j < i; j++) {
            const both = dot(rows[i], rows[j]);
            if (Math.abs(both) < 1e-14) continue;
            const half = (dot(rows[j], rows[j]) - dot(rows[i], rows[i])) / (2 * both);
            const tangent = (half < 0 ? -1 : 1) / (Math.abs(half) + Math.hypot(half, 1));
            const cos = 1 / Math.hypot(tangent, 1), sin = tangent * cos;
            for (const table of [rows, turns]) {
              const [a, b] = [table[i], table[j]];
              table[i] = a.map((x, n) => cos * x - sin * b[n]);
              table[j] = a.map((x, n) => sin * x + cos * b[n]);
            }
          }
        }
      }
      const found = rows.map((row, i) => {
        const size = Math.sqrt(dot(row, row));
        return { size, up: turns[i], down: row.map((x) => (size ? x / size : 0)) };
      });
      return found.sort((a, b) => b.size - a.size);
    },

    /** The nearest matrix of a rank: the largest directions, added up. */
    nearest(matrix, rank) {
      const kept = this.directions(matrix).slice(0, rank);
      return matrix.map((row, i) => row.map((_, j) =>
        kept.reduce((sum, { size, up, down }) => sum + size * up[i] * down[j], 0)));
    },

    /** The share of the squares of all entries that the nearest matrix has. */
    share(matrix, rank) {
      const squares = this.directions(matrix).map(({ size }) => size ** 2);
      const sum = (some) => some.reduce((a, b) => a + b, 0);
      return sum(squares.slice(0, rank)) / sum(squares);
    },
  },

  build(root, data, tools) {
    const { compute } = this;
    const names = Object.keys(data.changes), first = data.changes[names[0]];
    const [high, wide] = [first.length, first[0].length];
    const rank = tools.slider("rank r", { min: 0, max: high, step: 1, value: data.rank }, draw);
    const kind = tools.choice("The change has", names.map((name) => [name, name]), names[0], draw);
    const top = 18, gap = 16;
    let shown = [first, first];
    // A square for each number: as large as it is, full above zero, empty below.
    const squares = tools.drawing(top + 14 * high, (width) => {
      const cell = Math.min(14, (width - gap) / (2 * wide));
      const most = Math.max(...shown[0].flat().map(Math.abs));
      return shown.flatMap((matrix, n) => {
        const left = n * (wide * cell + gap);
        return [
          tools.make("text", { x: left, y: 12 }, n ? `rank ${rank.value}` : "the change"),
          tools.make("rect", { class: "live-axis", x: left, y: top, width: wide * cell, height: high * cell }),
          ...matrix.flatMap((row, i) => row.map((value, j) => {
            const side = cell * Math.min(1, Math.sqrt(Math.abs(value) / most));
            const [x, y] = [left + (j + 0.5) * cell - side / 2, top + (i + 0.5) * cell - side / 2];
            return tools.make("rect", { class: value < 0 ? "live-square live-below" : "live-square",
              x: x.toFixed(1), y: y.toFixed(1), width: side.toFixed(1), height: side.toFixed(1) });
          })),
        ];
      });
    });
    const bars = tools.bars(["change", "numbers"]);

    function draw() {
      const r = rank.value, change = data.changes[kind.value];
      const share = compute.share(change, r), trained = r * (high + wide), all = high * wide;
      shown = [change, compute.nearest(change, r)];
      bars.update([share, trained / all]);
      const told = `Rank ${r}: ${r} × (${high} + ${wide}) = ${trained} numbers in place of ${all} hold `
        + `${share.toFixed(2)} of the change.`;
      squares.update(`A change with ${kind.value}, and the nearest of rank ${r}, which has ${share.toFixed(2)} of it.`);
      tools.say(told);
    }
    draw();
  },
});
