"""Compare three Transformers of one size on the sentences of chapter 13, and two splits and two languages.

python -m benchmarks.translation systems     # ours, torch.nn.Transformer, Hugging Face Marian: three seeds
python -m benchmarks.translation start       # torch.nn.Transformer from its own random weights
python -m benchmarks.translation splits      # split by integration, split at random, and English to Turkish

All are trained by the same loop on the same batches with one thread, the systems in turn, a few steps each, so that
a busy machine slows them alike. Ours and torch's begin with the same weights, Marian with as large ones: it is the
systems that are compared, and not how they draw random numbers. Time is CPU time. What a seed gave is written when it
has ended, to `transformer_lib/recipes/translate/comparison.json`; the same command goes on after the last one there.
"""

import argparse
import functools
import json
import platform
import time
import warnings
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn

from transformer_lib.batching import TokenBatches, pad_sequences
from transformer_lib.checkpoint import write_atomically
from transformer_lib.config import TransformerConfig
from transformer_lib.data import sentences
from transformer_lib.decoding import greedy_decode
from transformer_lib.fast import FastTransformer
from transformer_lib.interop import to_torch
from transformer_lib.layers import TokenEmbedding
from transformer_lib.positions import PositionalEncoding
from transformer_lib.schedules import cosine_rate
from transformer_lib.tasks import TASKS, Translate
from transformer_lib.training import Trainer

RESULTS = Path(__file__).parents[1] / "transformer_lib" / "recipes" / "translate" / "comparison.json"
SIZES = {"d_model": 128, "n_heads": 4, "n_encoder_layers": 3, "n_decoder_layers": 3, "d_ff": 512, "max_len": 64}
BATCH_TOKENS = 512  # half of the recipe's: on a small budget more steps are worth more than larger ones
TURN = 25  # steps that a system makes before it is the next one's turn


class Ours(FastTransformer):
    """The library's, in its quick form (chapter 14), with the way to decode that all have here."""

    def answer(self, src_ids: Tensor) -> Tensor:
        """Greedy, with the cache."""
        return greedy_decode(self, src_ids, max_new_tokens=self.config.max_len)


class TorchAsItStarts(nn.Module):
    """`torch.nn.Transformer` with the parts around it that it leaves to its user, as its documentation uses it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = TokenEmbedding(config.tgt_vocab_size, config.d_model)
        self.positions = PositionalEncoding(config.d_model, config.max_len, config.dropout)
        self.transformer = nn.Transformer(
            config.d_model,
            config.n_heads,
            config.n_encoder_layers,
            config.n_decoder_layers,
            config.d_ff,
            config.dropout,
            batch_first=True,
        )
        self.output = nn.Linear(config.d_model, config.tgt_vocab_size)
        nn.init.zeros_(self.output.bias)
        self.output.weight = self.embedding.weight

    def forward(self, src_ids: Tensor, tgt_ids: Tensor) -> Tensor:
        """Logits at every target position."""
        return self.decode(tgt_ids, self.encode(src_ids), src_ids == self.config.pad_id)

    def encode(self, src_ids: Tensor) -> Tensor:
        """The memory."""
        padding = src_ids == self.config.pad_id
        return self.transformer.encoder(self.positions(self.embedding(src_ids)), src_key_padding_mask=padding)

    def decode(self, tgt_ids: Tensor, memory: Tensor, padding: Tensor) -> Tensor:
        """Logits at every target position."""
        mask = nn.Transformer.generate_square_subsequent_mask(tgt_ids.size(1), dtype=torch.bool)
        x = self.positions(self.embedding(tgt_ids))
        x = self.transformer.decoder(x, memory, tgt_mask=mask, memory_key_padding_mask=padding, tgt_is_causal=True)
        return self.output(x)

    @torch.no_grad()
    def answer(self, src_ids: Tensor) -> Tensor:
        """Greedy; there is no cache, so every step reads all that was written."""
        self.eval()
        memory, padding = self.encode(src_ids), src_ids == self.config.pad_id
        ids = src_ids.new_full((len(src_ids), 1), self.config.bos_id)
        ended = torch.zeros(len(src_ids), dtype=torch.bool)
        for _ in range(self.config.max_len):
            logits = self.decode(ids, memory, padding)[:, -1]
            logits[:, [self.config.pad_id, self.config.bos_id]] = -torch.inf
            token = logits.argmax(dim=-1).masked_fill(ended, self.config.pad_id)
            ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
            ended |= token == self.config.eos_id
            if ended.all():
                break
        return ids[:, 1:]


class Torch(TorchAsItStarts):
    """The same with our random weights; and, as in the paper, post-norm stacks do not end with one more norm."""

    def __init__(self, config: TransformerConfig) -> None:
        ours = Ours(config)  # first, so that a seed gives the same weights as to ours
        super().__init__(config)
        self.embedding.load_state_dict(ours.src_embedding.state_dict())
        self.transformer.encoder, self.transformer.decoder = to_torch(ours.encoder), to_torch(ours.decoder)


class Marian(nn.Module):
    """Hugging Face's `MarianMTModel`, with its own way to generate."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.marian = transformers.MarianMTModel(
            transformers.MarianConfig(
                vocab_size=config.tgt_vocab_size,
                d_model=config.d_model,
                encoder_layers=config.n_encoder_layers,
                decoder_layers=config.n_decoder_layers,
                encoder_attention_heads=config.n_heads,
                decoder_attention_heads=config.n_heads,
                encoder_ffn_dim=config.d_ff,
                decoder_ffn_dim=config.d_ff,
                max_position_embeddings=config.max_len + 1,
                dropout=config.dropout,
                attention_dropout=config.dropout,
                activation_dropout=config.dropout,
                activation_function="relu",
                scale_embedding=True,
                init_std=0.4 * config.d_model**-0.5,  # the library's start of the embeddings
                pad_token_id=config.pad_id,
                bos_token_id=config.bos_id,
                eos_token_id=config.eos_id,
                decoder_start_token_id=config.bos_id,
                forced_eos_token_id=None,
            )
        )

    def forward(self, src_ids: Tensor, tgt_ids: Tensor) -> Tensor:
        """Logits at every target position."""
        mask = (src_ids != self.config.pad_id).long()
        return self.marian(input_ids=src_ids, attention_mask=mask, decoder_input_ids=tgt_ids, use_cache=False).logits

    @torch.no_grad()
    def answer(self, src_ids: Tensor) -> Tensor:
        """Greedy, with its cache."""
        mask = (src_ids != self.config.pad_id).long()
        self.eval()
        never = [[self.config.pad_id], [self.config.bos_id]]
        ids = self.marian.generate(
            input_ids=src_ids, attention_mask=mask, max_new_tokens=self.config.max_len, num_beams=1, bad_words_ids=never
        )
        return ids[:, 1:]


def spent(function, *arguments):
    """Call a function; return its answer and the CPU seconds it took."""
    start = time.process_time()
    answer = function(*arguments)
    return answer, time.process_time() - start


def translations(model, task: Translate) -> tuple[list[str], float]:
    """Greedy translations of the test part, similar lengths side by side, and the seconds of decoding alone."""
    sources = [task.subwords.encode(sentence.english) for sentence in task.split.test]
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    answers, seconds = [""] * len(sources), 0.0
    for start in range(0, len(order), 256):
        batch = order[start : start + 256]
        rows, took = spent(model.answer, pad_sequences([sources[i] for i in batch]))
        seconds += took
        for i, row in zip(batch, rows.tolist(), strict=True):
            answers[i] = task.subwords.decode([token for token in row if token != model.config.pad_id])
    return answers, seconds


def trainer_of(kind, task: Translate, seed: int, steps: int, norm_first: bool) -> Trainer:
    """A trainer with the recipe's settings at the size of this comparison."""
    torch.manual_seed(seed)
    size = len(task.subwords)
    ways = {"dropout": 0.1, "norm_first": norm_first, "tie_embeddings": True, "share_vocab": True}
    model = kind(TransformerConfig(src_vocab_size=size, tgt_vocab_size=size, **SIZES, **ways))
    batches = TokenBatches(task.train_pairs(), batch_tokens=BATCH_TOKENS, seed=seed)
    return Trainer(model, batches, rate=lambda step: cosine_rate(step, 1e-3, steps // 8, steps), smoothing=0.1)


def compare_systems(steps: int, seed: int, kinds: tuple = (Ours, Torch, Marian)) -> list[dict]:
    """Train them in turn; all post-norm, which is all that Marian has."""
    task, rows = Translate(), []
    trainers = {kind.__name__: trainer_of(kind, task, seed, steps, False) for kind in kinds}
    seconds = dict.fromkeys(trainers, 0.0)
    for stop in [*range(TURN, steps, TURN), steps]:
        for name, trainer in trainers.items():
            seconds[name] += spent(trainer.fit, stop)[1]
    for name, trainer in trainers.items():
        answers, decoding = translations(trainer.model, task)
        rows.append(
            {
                "system": name,
                "seed": seed,
                "parameters": sum(p.numel() for p in trainer.model.parameters()),
                "loss": trainer.history[-1]["loss"],
                "train_seconds": seconds[name],
                "decode_seconds": decoding,
                **sentences.score(answers, task.split.test)._asdict(),
            }
        )
    return rows


def compare_splits(steps: int, seed: int) -> list[dict]:
    """Train the library's model, pre-norm, on each split and language, in turn."""
    rows = []
    for name in ("translate", "translate_random", "translate_turkish"):
        task = TASKS[name]()
        trainer = trainer_of(Ours, task, seed, steps, True)
        seconds = spent(trainer.fit, steps)[1]
        rows.append({"task": name, "seed": seed, "train_seconds": seconds, **task.examine(trainer.model)})
    return rows


def main() -> None:
    """Run one part and write its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    start = functools.partial(compare_systems, kinds=(TorchAsItStarts,))
    parts = {"systems": compare_systems, "start": start, "splits": compare_splits}
    parser.add_argument("part", choices=tuple(parts))
    parser.add_argument("--steps", type=int, default=2500, help="steps of each training (default: 2500)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="enable_nested_tensor|The PyTorch API of nested tensors")
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions["transformers"] = transformers.__version__
    about = {"steps": options.steps, "batch_tokens": BATCH_TOKENS, "sizes": SIZES, "threads": 1, "versions": versions}
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    part = results.setdefault(options.part, {**about, "rows": []})
    if {key: part[key] for key in about} != about:
        raise SystemExit(f"{options.out} was written with other settings or versions; move it away")
    for seed in range(options.seeds):
        if any(row["seed"] == seed for row in part["rows"]):
            continue
        rows = parts[options.part](options.steps, seed)
        part["rows"] += rows
        write_atomically((json.dumps(results, indent=1) + "\n").encode(), options.out)
        print(*rows, sep="\n", flush=True)


if __name__ == "__main__":
    main()
