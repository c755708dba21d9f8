// The Transformer of this book in plain JavaScript, so that a page can run the models that its chapters trained.
//
// It computes what transformer_lib computes, in the order of the chapters, for one sentence at a time: there is no
// batch, so no padding and no padding mask; nothing is trained, so no dropout. The tests give both the same weights
// and compare logits and attention maps. There is no page in here: figures/model.js draws what this file computes.
//
// A matrix is {rows, width, data}: `data` holds its rows one after the other. What is computed has 64 bits, in which
// JavaScript reckons; weights have 32, for they are many. They are found by the names they have in PyTorch, such as
// "encoder.layers.0.self_attn.q_proj.weight".
//
// `off` is a Set with the names of the parts that are switched off; `switches(model)` lists them all.
"use strict";

(function () {
  const matrix = (rows, width) => ({ rows, width, data: new Float64Array(rows * width) });
  const row = (x, i) => x.data.subarray(i * x.width, (i + 1) * x.width);

  // The sum of a[atA + i] * b[atB + i].
  function dot(a, atA, b, atB, length) {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += a[atA + i] * b[atB + i];
    return sum;
  }

  // ---------------------------------------------------------------- chapter 1: attention

  function softmax(scores) {
    let highest = -Infinity; // taken off first: the result is the same, and nothing grows too large
    for (const score of scores) if (score > highest) highest = score;
    const shares = new Float64Array(scores.length);
    let sum = 0;
    for (let i = 0; i < scores.length; i++) sum += shares[i] = Math.exp(scores[i] - highest);
    for (let i = 0; i < scores.length; i++) shares[i] /= sum;
    return shares;
  }

  // One query looks at the first `seen` keys of one head, whose features are those from `from` to `from + width`.
  // Adds to `output` the values, each by its weight, and returns the weights: softmax(q k^T / sqrt(d_head)) v.
  function attend(query, keys, values, seen, from, width, output) {
    const scores = new Float64Array(seen);
    for (let j = 0; j < seen; j++) {
      scores[j] = dot(query, from, keys.data, j * keys.width + from, width) / Math.sqrt(width);
    }
    const weights = softmax(scores);
    for (let j = 0; j < seen; j++) {
      const value = row(values, j);
      for (let i = from; i < from + width; i++) output[i] += weights[j] * value[i];
    }
    return weights;
  }

  // ---------------------------------------------------------------- chapters 2 and 3: masks, heads

  // `queries` look at `keys` in all heads, each in its own slice of the width, and the heads are mixed at the end.
  // The causal mask, aligned bottom-right: the last query sees every key, the one before it all but the last.
  // `maps[name][head]` gets one row of weights for each query, as long as what that query may see.
  function multiHead(model, name, queries, keys, values, { causal, off, maps }) {
    const heads = model.config.n_heads;
    const width = queries.width / heads;
    const mixed = matrix(queries.rows, queries.width);
    if (maps && !maps[name]) maps[name] = Array.from({ length: heads }, () => []);
    for (let head = 0; head < heads; head++) {
      const silent = off.has(`${name}.head.${head}`);
      for (let i = 0; i < queries.rows; i++) {
        const seen = causal ? keys.rows - queries.rows + i + 1 : keys.rows;
        const output = silent ? new Float64Array(queries.width) : row(mixed, i); // a silent head says nothing
        const weights = attend(row(queries, i), keys, values, seen, head * width, width, output);
        if (maps) maps[name][head].push(weights);
      }
    }
    return linear(model, `${name}.out_proj`, mixed);
  }

  // ---------------------------------------------------------------- chapter 4: positions

  // Position p as the hands of d_model / 2 clocks, from fast to slow.
  function encoding(position, width) {
    const hands = new Float32Array(width);
    for (let i = 0; i < width; i += 2) {
      const angle = position * 10000 ** -(i / width);
      hands[i] = Math.sin(angle);
      hands[i + 1] = Math.cos(angle);
    }
    return hands;
  }

  // ---------------------------------------------------------------- chapter 5: residuals and layer norm

  // Every token gets mean 0 and variance 1 over its own features, and is then stretched and shifted.
  function layerNorm(model, name, x) {
    const stretch = weight(model, `${name}.weight`).data;
    const shift = weight(model, `${name}.bias`).data;
    const y = matrix(x.rows, x.width);
    for (let r = 0; r < x.rows; r++) {
      const token = row(x, r);
      let mean = 0;
      let variance = 0;
      for (const value of token) mean += value / x.width;
      for (const value of token) variance += (value - mean) ** 2 / x.width;
      const size = Math.sqrt(variance + model.normEps);
      for (let i = 0; i < x.width; i++) y.data[r * x.width + i] = ((token[i] - mean) / size) * stretch[i] + shift[i];
    }
    return y;
  }

  // The residual connection and the norm around a sublayer, before it (pre-norm) or after the sum (post-norm).
  function sublayer(model, name, x, off, compute) {
    const first = model.config.norm_first;
    const y = compute(first ? layerNorm(model, `${name}.norm`, x) : x);
    if (!off.has("residuals")) for (let i = 0; i < y.data.length; i++) y.data[i] += x.data[i];
    return first ? y : layerNorm(model, `${name}.norm`, y);
  }

  // ---------------------------------------------------------------- chapter 6: feed-forward and embeddings

  // x W^T + b, as in PyTorch, where a row of W makes one feature of the result. Nearly all the time goes here. Eight
  // sums are made at once, of which none waits for the one before it. Behind ReLU nine features in ten are zero: to
  // leave them out, a token after the other, is quicker than to take four tokens together.
  function linear(model, name, x, mostlyZeros = false) {
    const w = weight(model, `${name}.weight`);
    const bias = weight(model, `${name}.bias`).data;
    const y = matrix(x.rows, w.rows);
    const fours = mostlyZeros ? 0 : x.rows - (x.rows % 4);
    if (fours) byFours(x, fours, w, bias, y);
    for (let r = fours; r < x.rows; r++) oneToken(x, r, w, bias, y);
    return y;
  }

  // The first `count` tokens, four at a time: a weight that is fetched serves all of them.
  function byFours(x, count, w, bias, y) {
    const [from, weights, out] = [x.data, w.data, y.data];
    const { width, rows: features } = w;
    let j = 0;
    for (; j + 1 < features; j += 2) {
      const [w0, w1] = [j * width, (j + 1) * width];
      for (let r = 0; r < count; r += 4) {
        const x0 = r * width;
        const x1 = x0 + width;
        const x2 = x1 + width;
        const x3 = x2 + width;
        let a0 = bias[j], a1 = a0, a2 = a0, a3 = a0;
        let b0 = bias[j + 1], b1 = b0, b2 = b0, b3 = b0;
        for (let i = 0; i < width; i++) {
          const a = weights[w0 + i], b = weights[w1 + i];
          const v0 = from[x0 + i], v1 = from[x1 + i], v2 = from[x2 + i], v3 = from[x3 + i];
          a0 += v0 * a; a1 += v1 * a; a2 += v2 * a; a3 += v3 * a;
          b0 += v0 * b; b1 += v1 * b; b2 += v2 * b; b3 += v3 * b;
        }
        const to = r * features + j;
        out[to] = a0; out[to + features] = a1; out[to + 2 * features] = a2; out[to + 3 * features] = a3;
        out[to + 1] = b0; out[to + features + 1] = b1; out[to + 2 * features + 1] = b2; out[to + 3 * features + 1] = b3;
      }
    }
    for (; j < features; j++) {
      for (let r = 0; r < count; r++) out[r * features + j] = bias[j] + dot(from, r * width, weights, j * width, width);
    }
  }

  // Token `r`, eight features at a time, without its zeros.
  function oneToken(x, r, w, bias, y) {
    const [from, weights, out] = [x.data, w.data, y.data];
    const { width, rows: features } = w;
    const [at, to] = [r * width, r * features];
    const values = new Float64Array(width); // those that are not zero, and where they stand
    const places = new Int32Array(width);
    let count = 0;
    for (let i = 0; i < width; i++) {
      if (from[at + i] === 0) continue;
      values[count] = from[at + i];
      places[count++] = i;
    }
    let j = 0;
    for (; j + 7 < features; j += 8) {
      const w0 = j * width;
      const w1 = w0 + width;
      const w2 = w1 + width;
      const w3 = w2 + width;
      const w4 = w3 + width;
      const w5 = w4 + width;
      const w6 = w5 + width;
      const w7 = w6 + width;
      let s0 = bias[j], s1 = bias[j + 1], s2 = bias[j + 2], s3 = bias[j + 3];
      let s4 = bias[j + 4], s5 = bias[j + 5], s6 = bias[j + 6], s7 = bias[j + 7];
      for (let n = 0; n < count; n++) {
        const v = values[n], i = places[n];
        s0 += v * weights[w0 + i]; s1 += v * weights[w1 + i]; s2 += v * weights[w2 + i]; s3 += v * weights[w3 + i];
        s4 += v * weights[w4 + i]; s5 += v * weights[w5 + i]; s6 += v * weights[w6 + i]; s7 += v * weights[w7 + i];
      }
      out[to + j] = s0; out[to + j + 1] = s1; out[to + j + 2] = s2; out[to + j + 3] = s3;
      out[to + j + 4] = s4; out[to + j + 5] = s5; out[to + j + 6] = s6; out[to + j + 7] = s7;
    }
    for (; j < features; j++) out[to + j] = bias[j] + dot(from, at, weights, j * width, width);
  }

  function feedForward(model, name, x) {
    const hidden = linear(model, `${name}.fc1`, x);
    for (let i = 0; i < hidden.data.length; i++) hidden.data[i] = Math.max(0, hidden.data[i]); // ReLU
    return linear(model, `${name}.fc2`, hidden, true);
  }

  // A row of numbers for every token, times sqrt(d_model), plus the encoding of the place where the token stands.
  function embed(model, name, ids, offset, off) {
    const table = weight(model, `${name}.weight`);
    const x = matrix(ids.length, table.width);
    ids.forEach((id, r) => {
      if (!(id >= 0 && id < table.rows)) throw new Error(`token id ${id} is outside the vocabulary of ${table.rows}`);
      if (offset + r >= model.config.max_len) throw new Error(`a text may have at most ${model.config.max_len} tokens`);
      const token = row(table, id);
      const place = off.has("positions") ? new Float32Array(table.width) : encoding(offset + r, table.width);
      for (let i = 0; i < table.width; i++) x.data[r * x.width + i] = token[i] * Math.sqrt(table.width) + place[i];
    });
    return x;
  }

  // ---------------------------------------------------------------- chapter 7: the encoder

  // Look around, then think it over.
  function encoderLayer(model, name, x, { off, maps }) {
    const look = `${name}.self_attn`;
    x = sublayer(model, `${look}_residual`, x, off, (x) => {
      const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((part) => linear(model, `${look}.${part}`, x));
      return multiHead(model, look, q, k, v, { causal: false, off, maps });
    });
    const think = `${name}.feed_forward`;
    return sublayer(model, `${think}_residual`, x, off, (x) => feedForward(model, think, x));
  }

  // Token ids of the source -> the memory, one vector for each.
  function encode(model, ids, { off = new Set(), maps = null } = {}) {
    if (!ids.length) throw new Error("there is nothing to read");
    let x = embed(model, "src_embedding", ids, 0, off);
    for (let n = 0; n < model.config.n_encoder_layers; n++) {
      const name = `encoder.layers.${n}`;
      if (!off.has(name)) x = encoderLayer(model, name, x, { off, maps });
    }
    return model.config.norm_first ? layerNorm(model, "encoder.norm", x) : x;
  }

  // ---------------------------------------------------------------- chapter 8: the decoder and its cache

  // What generating keeps from one step to the next, by layer: keys and values of the target so far, and of the source.
  const newCache = () => ({ length: 0, held: {} });

  // Keys and values of the new tokens, behind those of the earlier ones if there is a cache.
  function grow(cache, name, keys, values) {
    if (!cache) return [keys, values];
    const join = (a, b) => {
      const both = matrix(a.rows + b.rows, b.width);
      both.data.set(a.data);
      both.data.set(b.data, a.data.length);
      return both;
    };
    const [k, v] = cache.held[name] || [matrix(0, keys.width), matrix(0, keys.width)];
    return (cache.held[name] = [join(k, keys), join(v, values)]);
  }

  // Keys and values of the memory: computed at the first step, handed out ever after.
  function ofMemory(model, cache, name, memory) {
    const held = cache && cache.held[name];
    const pair = held || ["k_proj", "v_proj"].map((part) => linear(model, `${name}.${part}`, memory));
    if (cache) cache.held[name] = pair;
    return pair;
  }

  // Look back (the causal mask hides what comes later), look across at the source, think it over.
  function decoderLayer(model, name, x, memory, { off, maps, cache }) {
    const [back, across, think] = ["self_attn", "cross_attn", "feed_forward"].map((part) => `${name}.${part}`);
    x = sublayer(model, `${back}_residual`, x, off, (x) => {
      const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((part) => linear(model, `${back}.${part}`, x));
      return multiHead(model, back, q, ...grow(cache, back, k, v), { causal: !off.has("causal"), off, maps });
    });
    x = sublayer(model, `${across}_residual`, x, off, (x) => {
      const q = linear(model, `${across}.q_proj`, x);
      return multiHead(model, across, q, ...ofMemory(model, cache, across, memory), { causal: false, off, maps });
    });
    return sublayer(model, `${think}_residual`, x, off, (x) => feedForward(model, think, x));
  }

  // Token ids of the target, beginning with BOS -> at every place the logits of the token that comes next.
  // With a cache, the ids are only the new ones.
  function decode(model, ids, memory, { off = new Set(), maps = null, cache = null } = {}) {
    let x = embed(model, "tgt_embedding", ids, cache ? cache.length : 0, off);
    for (let n = 0; n < model.config.n_decoder_layers; n++) {
      const name = `decoder.layers.${n}`;
      if (!off.has(name)) x = decoderLayer(model, name, x, memory, { off, maps, cache });
    }
    if (cache) cache.length += ids.length;
    return linear(model, "output", model.config.norm_first ? layerNorm(model, "decoder.norm", x) : x);
  }

  // ---------------------------------------------------------------- chapter 10: greedy decoding

  // Read the source. What is returned is handed to `next` again and again, until `ended`.
  function begin(model, ids, off = new Set()) {
    const known = switches(model);
    for (const name of off) if (!known.includes(name)) throw new Error(`there is no part named ${name}`);
    const maps = {};
    const memory = encode(model, ids, { off, maps });
    // Without the causal mask a new token changes what the earlier ones are, so that nothing of them can be kept.
    const cache = off.has("causal") ? null : newCache();
    return { model, off, memory, cache, maps, ids: [model.config.bos_id], steps: [], ended: false };
  }

  // Write one more token, the likeliest; padding and BOS are never chosen.
  function next(writing) {
    const { model, off, memory, cache, ids } = writing;
    const { pad_id, bos_id, eos_id, max_len } = model.config;
    if (!cache) for (const name in writing.maps) if (name.startsWith("decoder")) delete writing.maps[name];
    const all = decode(model, cache ? ids.slice(-1) : ids, memory, { off, maps: writing.maps, cache });
    const logits = row(all, all.rows - 1).slice();
    const open = logits.map((logit, id) => (id === pad_id || id === bos_id ? -Infinity : logit));
    const token = open.indexOf(Math.max(...open));
    if (token < 0) throw new Error("the logits are not finite numbers");
    writing.steps.push({ token, logits, probabilities: softmax(open) });
    ids.push(token);
    writing.ended = token === eos_id || writing.steps.length === max_len;
    return writing;
  }

  function greedy(model, ids, off = new Set()) {
    const writing = begin(model, ids, off);
    while (!writing.ended) next(writing);
    return writing;
  }

  // ---------------------------------------------------------------- what can be switched off, and the file of weights

  // The names of all attentions, in the order in which a text goes through them.
  function attentions({ config }) {
    const names = (tower, count, parts) =>
      Array.from({ length: count }, (_, n) => parts.map((part) => `${tower}.layers.${n}.${part}`)).flat();
    return [
      ...names("encoder", config.n_encoder_layers, ["self_attn"]),
      ...names("decoder", config.n_decoder_layers, ["self_attn", "cross_attn"]),
    ];
  }

  function switches(model) {
    const layers = [...new Set(attentions(model).map((name) => name.replace(/\.\w+$/, "")))];
    const heads = attentions(model).flatMap((name) =>
      Array.from({ length: model.config.n_heads }, (_, head) => `${name}.head.${head}`),
    );
    return ["positions", "causal", "residuals", ...layers, ...heads];
  }

  function weight(model, name) {
    const { tie_embeddings, share_vocab } = model.config;
    if (tie_embeddings && name === "output.weight") name = "tgt_embedding.weight";
    if (share_vocab && name === "tgt_embedding.weight") name = "src_embedding.weight";
    const found = model.weights[name];
    if (!found) throw new Error(`the file holds no weight ${name}`);
    return found;
  }

  // Text of base64 -> numbers of 16 bits: a sign, five bits of exponent, ten of fraction.
  function float16(text) {
    const bytes = atob(text);
    const numbers = new Float32Array(bytes.length / 2);
    for (let i = 0; i < numbers.length; i++) {
      const bits = bytes.charCodeAt(2 * i) + 256 * bytes.charCodeAt(2 * i + 1);
      const exponent = (bits >> 10) & 31;
      const size = exponent ? 2 ** (exponent - 15) * (1 + (bits & 1023) / 1024) : (bits & 1023) / 2 ** 24;
      numbers[i] = bits & 32768 ? -size : size;
    }
    return numbers;
  }

  // One character a weight: its place in `characters` counts steps from the middle; each row has a step of its own.
  function levels(text, steps, width, characters) {
    const middle = (characters.length - 1) / 2;
    const level = new Float32Array(128);
    [...characters].forEach((character, i) => (level[character.charCodeAt(0)] = i - middle));
    const numbers = new Float32Array(text.length);
    steps.forEach((step, r) => {
      for (let i = r * width; i < (r + 1) * width; i++) numbers[i] = level[text.charCodeAt(i)] * step;
    });
    return numbers;
  }

  // All that this file can compute. A value that is not listed here is refused, not guessed at.
  const KNOWN = {
    format: [1],
    activation: ["relu"],
    positions: ["sinusoidal"],
    embedding_scale: ["sqrt(d_model)"],
    norm_first: [true, false],
    tie_embeddings: [true, false],
    share_vocab: [true, false],
  };
  const SIZES = [
    ...["src_vocab_size", "tgt_vocab_size", "d_model", "n_heads", "n_encoder_layers", "n_decoder_layers", "d_ff"],
    ...["max_len", "pad_id", "bos_id", "eos_id"],
  ];

  // What models/<name>.js holds -> a model: {config, weights, source, target}, the last two being the tokens by id.
  function load(page) {
    const { manifest, weights: packed } = page;
    const { config, vocabularies, sha256, norm_eps, characters, tensors, ...rest } = manifest;
    const { dropout, ...choices } = config; // dropout is of training alone
    for (const [name, value] of Object.entries({ ...rest, ...choices })) {
      if (SIZES.includes(name) ? !Number.isInteger(value) : !KNOWN[name]?.includes(value)) {
        throw new Error(`this engine does not know ${name} = ${JSON.stringify(value)}`);
      }
    }
    for (const name of [...SIZES, ...Object.keys(KNOWN)]) {
      if (!(name in rest) && !(name in choices)) throw new Error(`the file does not say ${name}`);
    }
    const weights = {};
    for (const [name, shape, kind] of tensors) {
      const [rows, width] = shape.length === 2 ? shape : [1, shape[0]];
      let data;
      if (kind === "float16") data = float16(packed[name]);
      else if (kind === "levels") data = levels(packed[name], float16(packed[`${name}.steps`]), width, characters);
      else throw new Error(`this engine does not know weights of kind ${kind}`);
      if (data.length !== rows * width) throw new Error(`${name} has ${data.length} numbers, not ${rows} times ${width}`);
      weights[name] = { rows, width, data };
    }
    const [source, target] = vocabularies;
    if (source.length !== config.src_vocab_size || target.length !== config.tgt_vocab_size) {
      throw new Error("the vocabularies are not as long as the model's");
    }
    return { config, weights, source, target, normEps: norm_eps };
  }

  const Engine = { load, encode, decode, newCache, begin, next, greedy, attentions, switches, softmax, encoding };
  if (typeof module === "object") module.exports = Engine; // in node, for the tests
  else globalThis.Engine = Engine; // in a page
})();
