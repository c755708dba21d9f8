// Beam search (chapter 11): the tree of all answers of a tiny model, and which of its branches a beam follows.
Live.define("beam", {
  compute: {
    penalty: (length, alpha) => ((5 + length) / 6) ** alpha,

    /**
     * Search a table {beginning: {token: probability}}. Every step extends all beginnings and keeps the likeliest; an
     * answer that has ended keeps its place. Returns the answers, best first, and the nodes that were kept or dropped.
     */
    search(table, end, size, alpha) {
      let beam = [{ path: [], log: 0 }];
      const kept = new Set([""]), dropped = new Set();
      const ended = (node) => node.path.at(-1) === end;
      while (!beam.every(ended)) {
        const going = beam.filter((node) => !ended(node));
        const longer = going.flatMap(({ path, log }) => Object.entries(table[path.join(" ")] ?? {}).map(
          ([token, p]) => ({ path: [...path, token], log: log + Math.log(p) })));
        longer.sort((a, b) => b.log - a.log);
        const answers = beam.filter(ended), room = size - answers.length;
        longer.forEach(({ path }, i) => (i < room ? kept : dropped).add(path.join(" ")));
        beam = [...answers, ...longer.slice(0, room)];
      }
      const answers = beam.map(({ path, log }) => ({ path, log, score: log / this.penalty(path.length, alpha) }));
      answers.sort((a, b) => b.score - a.score);
      return { answers, kept: [...kept], dropped: [...dropped] };
    },
  },

  build(root, data, tools) {
    const { compute } = this, { make } = tools;
    const size = tools.slider("beam", { min: 1, max: 5, step: 1, value: 1 }, draw);
    const alpha = tools.slider("length penalty α", {
      min: 0, max: 2, step: 0.2, value: 0.6, format: (x) => x.toFixed(1) }, draw);

    // Every node has its place: leaves one below the other, a parent in the middle of its children.
    const nodes = [];
    let leaves = 0;
    (function place(path, probability) {
      const node = { path, probability, children: [] };
      nodes.push(node);
      for (const [token, p] of Object.entries(data.table[path.join(" ")] ?? {})) {
        node.children.push(place([...path, token], probability * p));
      }
      const rows = node.children.map((child) => child.row);
      node.row = rows.length ? (rows[0] + rows.at(-1)) / 2 : leaves++;
      return node;
    })([], 1);
    const depth = Math.max(...nodes.map(({ path }) => path.length));

    let found = null;
    const tree = tools.drawing(leaves * 42 + 8, (width) => {
      const x = ({ path }) => (path.length + 0.5) / (depth + 1) * width, y = ({ row }) => row * 42 + 25;
      const way = (node) => {
        const name = node.path.join(" ");
        return found.kept.includes(name) ? "kept" : found.dropped.includes(name) ? "dropped" : "unseen";
      };
      const best = found.answers[0].path.join(" ");
      return [
        ...nodes.flatMap((node) => node.children.map((child) => make("line",
          { class: `live-edge live-${way(child)}`, x1: x(node), y1: y(node), x2: x(child), y2: y(child) }))),
        ...nodes.flatMap((node) => {
          const half = Math.min(29, width / (depth + 1) / 2 - 1), is_best = node.path.join(" ") === best;
          const at = { x: x(node), "text-anchor": "middle" };
          return [
            make("rect", { class: `live-node live-${way(node)}${is_best ? " live-best" : ""}`,
              x: x(node) - half, y: y(node) - 17, width: 2 * half, height: 34, rx: 4 }),
            make("text", { ...at, y: y(node) - 3 }, node.path.at(-1) ?? "start"),
            make("text", { ...at, y: y(node) + 12 }, node.probability.toFixed(2)),
          ];
        }),
      ];
    });
    tools.put(make("p", { class: "live-key" },
      "Thick lines: followed. Dashed: looked at and dropped. Thin: never looked at. The thickest frame: the answer."));

    function draw() {
      found = compute.search(data.table, data.end, size.value, alpha.value);
      const words = ({ path, log, score }) => `${path.slice(0, -1).join(" ") || "nothing"}, `
        + `probability ${Math.exp(log).toFixed(2)}, score ${score.toFixed(2)}`;
      const [first, second] = found.answers;
      const told = `A beam of ${size.value} answers: ${words(first)}.` + (second ? ` Second: ${words(second)}.` : "");
      tree.update(`${told} It followed ${found.kept.length - 1} beginnings and dropped ${found.dropped.length}.`);
      tools.say(told);
    }
    draw();
  },
});
