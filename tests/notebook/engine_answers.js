// Asked by test_live_engine.py: loads the scripts of a page and a model, answers a list of questions, all in JSON.
const fs = require("node:fs");
const path = require("node:path");
const { live, model: file, jobs } = JSON.parse(fs.readFileSync(0, "utf-8"));
const Engine = require(path.join(live, "engine.js"));
for (const name of [path.join(live, "live.js"), path.join(live, "figures", "model.js"), file]) require(name);
const [page] = Object.values(globalThis.Live.models);
const rows = (x) => Array.from({ length: x.rows }, (_, i) => [...x.data.subarray(i * x.width, (i + 1) * x.width)]);
const plain = (maps) =>
  Object.fromEntries(Object.entries(maps).map(([name, heads]) => [name, heads.map((head) => head.map((r) => [...r]))]));

const answer = {
  // What the model makes of a source and a whole target, in one pass.
  pass(model, { src, tgt, off }) {
    const maps = {};
    const options = { off: new Set(off), maps };
    return { logits: rows(Engine.decode(model, tgt, Engine.encode(model, src, options), options)), maps: plain(maps) };
  },
  // What it writes by itself, token by token.
  greedy(model, { src, off }) {
    const { ids, steps, maps } = Engine.greedy(model, src, new Set(off));
    const sums = steps.map((step) => step.probabilities.reduce((a, b) => a + b));
    return { ids, logits: steps.map((step) => [...step.logits]), sums, maps: plain(maps) };
  },
  switches: (model) => Engine.switches(model),
  weights: (model) => Object.fromEntries(Object.entries(model.weights).map(([name, w]) => [name, [...w.data]])),
  // The tokens of texts that somebody types; null for one that is refused.
  read(model, { name, texts }) {
    const { compute } = globalThis.Live.kinds.model;
    return texts.map((text) => {
      try {
        return compute.TASKS[name].read(compute, text, model);
      } catch {
        return null;
      }
    });
  },
  // What it says of a file in which something is changed.
  refuse(_, { path: keys, value }) {
    const changed = structuredClone(page);
    const last = keys.pop();
    keys.reduce((at, key) => at[key], changed)[last] = value;
    try {
      return String(Engine.load(changed) && "accepted");
    } catch (error) {
      return error.message;
    }
  },
};
const model = jobs.some((job) => job.kind !== "refuse") ? Engine.load(page) : null;
process.stdout.write(JSON.stringify(jobs.map(({ kind, ...job }) => answer[kind](model, job))));
