// Rotary positions (chapter 17): query and key are turned by their places, and the score sees the distance alone.
Live.define("rotary", {
  compute: {
    /** A vector turned by its place: pair j is feature j and feature j + d / 2, and turns by p * 10000 ** (-2j / d). */
    turn(x, p) {
      const half = x.length / 2;
      return x.map((feature, i) => {
        const j = i % half, angle = p * 10000 ** (-2 * j / x.length);
        const [along, across] = i < half ? [feature, -x[j + half]] : [feature, x[j]];
        return along * Math.cos(angle) + across * Math.sin(angle);
      });
    },

    /** The dot product of a query at place p and a key at place r, not yet divided. */
    score(query, key, p, r) {
      const turned = this.turn(key, r);
      return this.turn(query, p).reduce((sum, x, i) => sum + x * turned[i], 0);
    },
  },

  build(root, data, tools) {
    const { compute } = this;
    const { query, key, places } = data, half = query.length / 2, last = places - 1;
    const from = tools.slider("place of the query", { min: 0, max: last, step: 1, value: data.query_place }, draw);
    const to = tools.slider("place of the key", { min: 0, max: last, step: 1, value: data.key_place }, draw);
    const pair = tools.choice("Pair shown", query.slice(half).map((_, j) => [j, String(j)]), 0, draw);
    const both = tools.button("Move both one place on", () => {
      const [p, r] = [from.value, to.value];
      from.value = Math.max(p, r) === last ? p - Math.min(p, r) : p + 1;
      to.value = Math.max(p, r) === last ? r - Math.min(p, r) : r + 1;
      draw();
    });
    both.title = "At the end both go back to the beginning";
    const plane = tools.drawing(216, (width) => {
      const make = tools.make, middle = [width / 2, 108];
      const hand = (x, p, i, words) => {
        const turned = compute.turn(x, p), j = pair.value;
        const tip = [middle[0] + 75 * turned[j], middle[1] - 75 * turned[j + half]];
        const out = [middle[0] + 90 * turned[j], middle[1] - 90 * turned[j + half] + (i ? 12 : -2)];
        return [
          make("polyline", { class: `live-curve live-curve-${i}`, points: `${middle.join()} ${tip.join()}` }),
          make("text", { x: out[0], y: out[1], "text-anchor": turned[j] < 0 ? "end" : "start" }, words),
        ];
      };
      return [make("circle", { class: "live-axis", cx: middle[0], cy: middle[1], r: 75, fill: "none" }),
        ...hand(query, from.value, 0, "query"), ...hand(key, to.value, 1, "key")];
    });
    const curve = tools.plot({ height: 190, xLabel: "place of the key", yLabel: "score",
      format: (value, axis) => (axis === "x" ? value.toFixed(0) : value.toFixed(1)) });

    function draw() {
      const p = from.value, r = to.value;
      const points = Array.from({ length: places }, (_, i) => [i, compute.score(query, key, p, i)]);
      const told = `Query at ${p}, key at ${r}: distance ${p - r}, score ${points[r][1].toFixed(3)}.`;
      const angle = (x) => (180 / Math.PI * x * 10000 ** (-2 * pair.value / query.length)).toFixed(1);
      plane.update(`Pair ${pair.value}: the query turned by ${angle(p)} degrees, the key by ${angle(r)}.`);
      curve.update({ lines: [points], marks: [[r, points[r][1], "key"]], x: [0, last], y: [-half, half] }, told);
      tools.say(told);
    }
    draw();
  },
});
