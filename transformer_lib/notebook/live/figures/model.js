// A trained Transformer of the book: type something, watch it answer, look into its attention, switch parts off.
//
// engine.js computes, this file draws. `data`: {model, text, switches, map, maps}: the name of the model, what it reads
// first, which switches stand open (the others are folded), the attention that is shown first, such as
// "decoder.layers.1.cross_attn.head.0", and whether the maps stand open.
Live.define("model", {
  needs: ["engine", "model"],

  compute: {
    TASKS: {
      numbers: {
        label: "A number from 0 to 999,999, in English words or in digits",
        note: "The model of chapter 10 runs here, in your browser, with all its 240,099 weights. It was trained on the " +
          "names of numbers from 0 to 999,999 and on nothing else. Outside of that its answers would be nonsense, told " +
          "with confidence, so the box takes nothing else. With a part switched off you see what that looks like.",
        joined: (pieces) => pieces.join(""),
        read: (compute, text, model) => compute.readNumber(text, model.source.slice(3)),
      },
      pronounce: {
        label: "An English word",
        note: "The model of chapter 12 runs here, in your browser, its 4.5 million weights rounded to a few dozen levels. It was " +
          "trained on 107,146 words of a dictionary of American English and on nothing else. Of words that it has not " +
          "seen it gets one in four wrong, and letters that are no word it pronounces with the same confidence.",
        joined: (pieces) => pieces.join(" "),
        read: (compute, text, model) => compute.readWord(text, model.source.slice(3), model.config.max_len),
      },
    },

    /** The English words of a number below a million, without "and" and hyphens: the tokens of chapter 10. */
    spell(number, known) {
      if (number >= 1000) {
        const rest = number % 1000;
        const thousands = [...this.spell(Math.floor(number / 1000), known), "thousand"];
        return rest ? [...thousands, ...this.spell(rest, known)] : thousands;
      }
      if (number >= 100) {
        const rest = number % 100;
        return [known[Math.floor(number / 100)], "hundred", ...(rest ? this.spell(rest, known) : [])];
      }
      if (number <= 20) return [known[number]];
      const unit = number % 10;
      return [known[18 + Math.floor(number / 10)], ...(unit ? [known[unit]] : [])]; // twenty is number 20, thirty 21
    },

    /** The number that words say, or some other if they say none. */
    value(tokens, known) {
      let [thousands, value] = [0, 0];
      for (const token of tokens) {
        const i = known.indexOf(token);
        if (token === "thousand") [thousands, value] = [thousands + 1000 * value, 0];
        else if (token === "hundred") value *= 100;
        else value += i <= 20 ? i : 10 * (i - 18);
      }
      return thousands + value;
    },

    /** A number in words or digits -> its tokens, as `read_tokens` of the library; an error says what is accepted. */
    readNumber(text, known) {
      const accepted = "Write a number from zero to 999,999, such as: three hundred twenty one, or 321.";
      const tokens = text.toLowerCase().split(/[\s,\-\u2010-\u2015]+/).filter((word) => word && word !== "and");
      if (!tokens.length) throw new Error(`There is nothing to translate. ${accepted}`);
      if (/^(-?\d+|-?\d{1,3}(,\d{3})+)$/.test(text.trim())) {
        const number = Number(text.trim().replaceAll(",", ""));
        if (number < 0 || number > 999999) throw new Error(`That number is out of range. ${accepted}`);
        return this.spell(number, known);
      }
      const strange = tokens.find((token) => !known.includes(token));
      if (strange) throw new Error(`The model does not know the word \u201c${strange.slice(0, 40)}\u201d. ${accepted}`);
      const number = this.value(tokens, known);
      if (number > 999999 || this.spell(number, known).join(" ") !== tokens.join(" ")) {
        throw new Error(`English says no number like that. ${accepted}`);
      }
      return tokens;
    },

    /** A word -> its letters, as `Pronounce.answer` of the library reads it. */
    readWord(text, known, longest) {
      const letters = [...text.trim().toLowerCase().replaceAll("\u2019", "'")];
      if (!letters.length || letters.length > longest) throw new Error(`Write a word of 1 to ${longest} letters.`);
      const strange = letters.find((letter) => !known.includes(letter));
      if (strange) {
        throw new Error(`The model does not know the letter \u201c${strange}\u201d. Write a to z, an apostrophe, a hyphen or a dot.`);
      }
      return letters;
    },
  },

  build(root, data, tools) {
    const { make, put, say, toggle } = tools;
    const compute = this.compute;
    const page = Live.models[data.model];
    const model = (page.ready ??= Engine.load(page)); // once, however many figures show it
    const task = compute.TASKS[data.model];
    const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1)} %`;
    const spoken = (id) => model.target[id];
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const off = new Set();
    let source, writing, timer;
    let chosen = 0; // the step whose probabilities are shown

    // ---- what is asked, and what it answers

    const quiet = { autocomplete: "off", spellcheck: "false", autocapitalize: "off" };
    const input = make("input", { type: "text", value: data.text, maxlength: 120, ...quiet });
    const run = make("button", { type: "submit", class: "live-button" }, "Run");
    const step = make("button", { type: "button", class: "live-button" }, "Step");
    const label = make("label", {}, make("span", {}, task.label), input);
    const form = put(make("form", { class: "live-controls live-ask" }, label, run, step));
    const refused = put(make("p", { class: "live-refused", role: "alert" }));
    put(make("p", { class: "live-note" }, task.note));
    const answer = put(make("div", { class: "live-answer" }));
    const before = put(make("p", { class: "live-before" }));
    const parts = put(make("div", { class: "live-parts" }));
    const next = put(make("div", { class: "live-next" }));

    const pieces = () => writing.ids.slice(1).filter((id) => id !== model.config.eos_id).map(spoken);
    const result = () => {
      const word = task.joined(pieces()) || "nothing";
      if (!writing.ended) return `${word} \u2026`;
      return writing.ids.at(-1) === model.config.eos_id ? word : `${word} \u2026 and no end`;
    };

    function read() {
      try {
        source = task.read(compute, input.value, model);
      } catch (error) {
        input.setAttribute("aria-invalid", "true");
        refused.textContent = error.message;
        return false;
      }
      input.removeAttribute("aria-invalid");
      refused.textContent = "";
      start();
      return true;
    }

    function start() {
      clearTimeout(timer);
      writing = Engine.begin(model, source.map((token) => model.source.indexOf(token)), off);
    }

    function advance() {
      Engine.next(writing);
      chosen = writing.steps.length - 1;
    }

    /** All the rest at once; what is shown then is the token of which it was least sure. */
    function finish() {
      while (!writing.ended) advance();
      const sure = writing.steps.map(({ token, probabilities }) => probabilities[token]);
      chosen = sure.indexOf(Math.min(...sure));
      draw();
    }

    function play() {
      advance();
      draw();
      if (!writing.ended) timer = setTimeout(play, 350);
      else say(`It writes: ${result()}.`);
    }

    let last = data.text; // what was typed when it last began
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      before.textContent = "";
      last = input.value;
      if (!read()) return;
      if (!still.matches) return play();
      finish();
      say(`It writes: ${result()}.`);
    });
    // Whoever steps on after the end, or has typed something else, begins anew.
    step.addEventListener("click", () => {
      clearTimeout(timer);
      if (writing.ended || input.value !== last) {
        if (!read()) return;
        last = input.value;
      }
      before.textContent = "";
      advance();
      draw();
      const { token, probabilities } = writing.steps[chosen];
      say(`Token ${chosen + 1}: ${spoken(token)}, with a probability of ${percent(probabilities[token])}.`);
    });

    function drawAnswer() {
      const list = make("ol", { class: "live-pieces", role: "list", "aria-label": "The tokens of the answer" });
      writing.steps.forEach(({ token }, i) => {
        const piece = make("button", { type: "button", class: "live-button", "aria-pressed": String(i === chosen) }, spoken(token));
        piece.addEventListener("click", () => {
          chosen = i;
          draw();
          answer.querySelectorAll("button")[i].focus();
        });
        list.append(make("li", {}, piece));
      });
      const asked = source.join(data.model === "numbers" ? " " : "");
      answer.replaceChildren(make("p", {}, `${asked} \u2192 `, make("strong", {}, result())), list);
    }

    function drawNext() {
      const { token, probabilities } = writing.steps[chosen];
      const best = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 5);
      const bars = tools.bars(best.map(spoken), percent);
      bars.update(best.map((id) => probabilities[id]));
      const title = make("p", {}, `What could have come as token ${chosen + 1}, where it wrote ${spoken(token)}:`);
      next.replaceChildren(title, bars.list);
    }

    // ---- switches

    const groups = {
      positions: ["positions"],
      causal: ["causal"],
      residuals: ["residuals"],
      layers: Engine.switches(model).filter((name) => /layers\.\d+$/.test(name)),
      heads: Engine.switches(model).filter((name) => name.includes("head")),
    };
    const plain = { positions: "positions", causal: "causal mask", residuals: "residuals" };
    const KIND = {
      "encoder.self_attn": "encoder, self-attention",
      "decoder.self_attn": "decoder, self-attention",
      "decoder.cross_attn": "decoder, cross-attention",
    };
    const kindOf = (name) => name.replace(/\.layers\.\d+/, "").replace(/\.head\.\d+/, "");
    const numberOf = (name, word) => Number(name.match(new RegExp(`${word}\\.(\\d+)`))[1]) + 1;
    const words = (name) =>
      plain[name] ?? (name.includes("head")
        ? `${KIND[kindOf(name)]}, layer ${numberOf(name, "layers")}, head ${numberOf(name, "head")}`
        : `${name.split(".")[0]} layer ${numberOf(name, "layers")}`);
    const toggles = {};

    function change(name, on) {
      clearTimeout(timer);
      const was = writing.ended ? result() : null;
      if (on) off.delete(name);
      else off.add(name);
      start();
      finish();
      const same = was === result();
      before.textContent = was === null ? "" : same ? `As before: ${was}` : `Before: ${was}`;
      const told = name ? `${words(name)} ${on ? "on" : "off"}` : "everything on";
      const all = off.size > 1 ? ` (${off.size} parts off)` : "";
      say(`${told[0].toUpperCase()}${told.slice(1)}${all}. It writes ${result()}${was === null || same ? "" : `, before ${was}`}.`);
    }

    function fieldset(title, names, short = words) {
      const group = make("fieldset", { class: "live-choice" }, make("legend", {}, title));
      for (const name of names) {
        toggles[name] = toggle(short(name), true, (on) => change(name, on));
        group.append(toggles[name].input.closest("label"));
      }
      return group;
    }

    function switchesOf(open) {
      const all = ["positions", "causal", "residuals"].filter((name) => open(name));
      const parts = all.length ? [fieldset("Parts", all)] : [];
      for (const [tower, title] of [["encoder", "Encoder layers"], ["decoder", "Decoder layers"]]) {
        const layers = groups.layers.filter((name) => name.startsWith(tower));
        if (open("layers")) parts.push(fieldset(title, layers, (name) => String(numberOf(name, "layers"))));
      }
      if (open("heads")) {
        for (const attention of Engine.attentions(model)) {
          const heads = groups.heads.filter((name) => name.startsWith(`${attention}.`));
          const title = `${KIND[kindOf(attention)]}, layer ${numberOf(attention, "layers")}: heads`;
          parts.push(fieldset(title, heads, (name) => String(numberOf(name, "head"))));
        }
      }
      return parts;
    }
    const wanted = data.switches ?? [];
    const reset = make("button", { type: "button", class: "live-button" }, "Reset: everything on");
    reset.addEventListener("click", () => {
      off.clear();
      for (const { input: box } of Object.values(toggles)) box.checked = true;
      change("", true);
    });
    const folded = (title, open, ...children) => {
      const details = make("details", { class: "live-more" }, make("summary", {}, title), ...children);
      details.open = open;
      return details;
    };
    parts.append(...switchesOf((group) => wanted.includes(group)), reset);
    const rest = switchesOf((group) => !wanted.includes(group));
    if (rest.length) put(folded("More parts to switch off", false, ...rest));

    // ---- attention maps

    const first = data.map ?? `${Engine.attentions(model).at(-1)}.head.0`;
    const shown = { kind: kindOf(first), layer: numberOf(first, "layers"), head: numberOf(first, "head") };
    const place = make("div", { class: "live-map" });
    const choices = make("div", { class: "live-maps" });
    const layers = () => Engine.attentions(model).filter((name) => kindOf(name) === shown.kind).length;
    const numbered = (count) => Array.from({ length: count }, (_, i) => [i + 1, String(i + 1)]);
    const heads = tools.choice("Head", numbered(model.config.n_heads), shown.head, (head) => { shown.head = head; drawMap(); });
    const kinds = tools.choice("Attention", Object.entries(KIND), shown.kind, (kind) => {
      shown.kind = kind;
      shown.layer = Math.min(shown.layer, layers());
      chooseLayer();
      drawMap();
    });
    let layer;
    function chooseLayer() {
      layer?.group.remove();
      layer = tools.choice("Layer", numbered(layers()), shown.layer, (number) => { shown.layer = number; drawMap(); });
      kinds.group.after(layer.group);
    }
    choices.append(kinds.group, heads.group);
    chooseLayer();
    const caution = "A map says where a head looks, not why the model answers as it does: whether a head matters you " +
      "learn by switching it off.";
    put(folded("Who looks at whom: every attention map", data.maps ?? false,
      choices, place, make("p", { class: "live-note" }, caution)));

    let grid, built;
    function drawMap() {
      const [tower, kind] = shown.kind.split(".");
      const layerName = `${tower}.layers.${shown.layer - 1}`;
      const map = writing.maps[`${layerName}.${kind}`]?.[shown.head - 1];
      if (!map) {
        built = null;
        place.replaceChildren(make("p", {}, "This layer is switched off: it looks at nothing."));
        return;
      }
      const read = source, inputs = writing.ids.slice(0, -1).map(spoken), written = writing.ids.slice(1).map(spoken);
      const rows = tower === "encoder" ? read : written;
      const columns = shown.kind === "decoder.self_attn" ? inputs : read;
      const key = JSON.stringify([rows, columns, tower]);
      if (key !== built) {
        grid = tools.table({ caption: "", corner: tower === "encoder" ? "token" : "writes", rows, columns });
        const upright = columns.length > 6 && columns.some((word) => word.length > 3);
        grid.frame.querySelector("table").classList.toggle("live-many", upright);
        place.replaceChildren(grid.frame);
        built = key;
      }
      const silent = off.has(`${layerName}.${kind}.head.${shown.head - 1}`) ? ", switched off" : "";
      grid.frame.querySelector(".live-caption").textContent = `Layer ${shown.layer}, head ${shown.head}${silent}`;
      const values = map.map((row) => columns.map((_, j) => row[j] ?? 0));
      grid.update(values, {
        masked: map.map((row) => columns.map((_, j) => j >= row.length)),
        describe: (i, j) => {
          const who = tower === "encoder" ? `${rows[i]}, token ${i + 1},` : `Writing ${rows[i]}, token ${i + 1}, it`;
          if (j >= map[i].length) return `${who} may not look at ${columns[j]}, token ${j + 1}: it comes later.`;
          return `${who} looks at ${columns[j]}, token ${j + 1}, with ${percent(values[i][j])}.`;
        },
      });
    }

    function draw() {
      drawAnswer();
      drawNext();
      drawMap();
    }
    if (!read()) throw new Error(`the figure begins with what its model does not read: ${data.text}`);
    finish();
    say("Choose a token of the answer, or switch a part off.", false);
  },
});
