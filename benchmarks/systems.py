"""The systems that are compared: the same sizes, the same tokens in, the same numbers out.

Every system has a `model`, `loss(batch)` (cross-entropy, summed over the real tokens, of a `Batch` with teacher
forcing) and `greedy(src_ids, length)` (exactly `length` new tokens for every sentence). Each is used as its own
documentation shows; where that leaves a choice, the faster one is taken.
"""

import importlib.util
import math
import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from transformer_lib import Transformer, TransformerConfig, greedy_decode
from transformer_lib.batching import Batch, pad_sequences
from transformer_lib.data import sentences
from transformer_lib.data.subwords import Subwords
from transformer_lib.fast import FastTransformer
from transformer_lib.loss import batch_loss
from transformer_lib.positions import sinusoidal_encoding
from transformer_lib.recipe import PACKAGED

PAD, BOS, EOS = 0, 1, 2
DROPOUT = 0.1


@dataclass(frozen=True)
class Sizes:
    """Sizes of the models and of the batches, the same for all."""

    vocab: int = 4000
    d_model: int = 256
    n_heads: int = 4
    n_layers: int = 3
    d_ff: int = 1024
    max_len: int = 160
    batch: int = 64  # sentence pairs
    lengths: tuple[int, int] = (16, 32)  # tokens of a sentence
    new_tokens: tuple[int, ...] = (32, 128)


TINY = Sizes(
    vocab=60, d_model=32, n_heads=2, n_layers=1, d_ff=64, max_len=24, batch=4, lengths=(3, 7), new_tokens=(4, 8)
)


def make_batches(sizes, lengths):
    """Return batches of random tokens for sentence pairs of the given lengths of source and target."""
    generator = torch.Generator().manual_seed(0)

    def tokens(length):
        return torch.randint(3, sizes.vocab, (length,), generator=generator).tolist()

    pairs = [(tokens(source), [BOS, *tokens(target - 1), EOS]) for source, target in lengths]
    return [as_batch(pairs[i : i + sizes.batch]) for i in range(0, len(pairs), sizes.batch)]


def uniform_lengths(number, shortest, longest):
    """Return so many lengths of source and target, each drawn on its own."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(shortest, longest + 1, (number, 2), generator=generator).tolist()


def one_batch(sizes, device="cpu"):
    """Return one batch of random tokens, of the usual lengths."""
    return make_batches(sizes, uniform_lengths(sizes.batch, *sizes.lengths))[0].to(device)


def sentence_lengths(number, longest):
    """Return the lengths of source and target of so many sentences of chapter 13, of those up to a longest."""
    subwords = Subwords.load(PACKAGED / "translate" / "subwords.json")
    part = sentences.split_by_integration(sentences.read_sentences("german")).train[::10]
    pairs = sentences.encode_pairs(part, subwords, longest)
    chosen = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1))[:number]
    # The target begins with BOS, which nobody has to say.
    return [(len(pairs[i][0]), len(pairs[i][1]) - 1) for i in chosen]


def as_batch(pairs):
    """Pad the pairs, each side to its longest."""
    return Batch(pad_sequences([src for src, _ in pairs], PAD), pad_sequences([tgt for _, tgt in pairs], PAD))


def pairs_of(batch):
    """Take the padding away again: the sentence pairs of a batch."""
    return [(src[src != PAD].tolist(), tgt[tgt != PAD].tolist()) for src, tgt in zip(*batch, strict=True)]


def train_step(system, batch, optimizer, *, bfloat16=False):
    """Make one step, as every tutorial does; return the loss per real token. With bfloat16 it is mixed precision."""
    system.model.train()
    optimizer.zero_grad()
    with torch.autocast(batch.src_ids.device.type, torch.bfloat16, enabled=bfloat16):
        loss = system.loss(batch) / (batch.tgt_ids[:, 1:] != PAD).sum()
    loss.backward()
    optimizer.step()
    return loss.detach()


class System:
    """What they have in common: AdamW as its documentation has it."""

    fused = None

    def optimizer(self):
        return torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=self.fused)


class Ours(System):
    """This library: the model of chapter 9, the loss of chapter 10, and their greedy decoding."""

    name = "this library"
    kind = Transformer
    fused = True  # as `Trainer` has it

    def __init__(self, sizes):
        config = TransformerConfig(
            src_vocab_size=sizes.vocab, tgt_vocab_size=sizes.vocab, d_model=sizes.d_model, n_heads=sizes.n_heads,
            n_encoder_layers=sizes.n_layers, n_decoder_layers=sizes.n_layers, d_ff=sizes.d_ff, max_len=sizes.max_len,
            dropout=DROPOUT, pad_id=PAD, bos_id=BOS, eos_id=EOS,
        )  # fmt: skip
        self.model = self.kind(config)

    def loss(self, batch):
        return batch_loss(self.model, batch.src_ids, batch.tgt_ids)[0]

    def greedy(self, src_ids, length):
        return greedy_decode(self.model, src_ids, max_new_tokens=length)

    def never_end(self):
        self.model.output.bias.data[EOS] = -1e9


class Fast(Ours):
    """This library made fast: the model of chapter 14 in the place of that of chapter 9."""

    name = "this library, fast"
    kind = FastTransformer


class TorchModel(nn.Module):
    """`torch.nn.Transformer` with the embeddings, positions, masks and output layer that it leaves to you."""

    def __init__(self, sizes):
        super().__init__()
        self.src_embedding = nn.Embedding(sizes.vocab, sizes.d_model)
        self.tgt_embedding = nn.Embedding(sizes.vocab, sizes.d_model)
        self.register_buffer("encoding", sinusoidal_encoding(sizes.max_len, sizes.d_model), persistent=False)
        self.dropout = nn.Dropout(DROPOUT)
        self.transformer = nn.Transformer(
            sizes.d_model, sizes.n_heads, sizes.n_layers, sizes.n_layers, sizes.d_ff, DROPOUT, batch_first=True
        )
        self.output = nn.Linear(sizes.d_model, sizes.vocab)

    def embed(self, ids, embedding):
        x = embedding(ids) * math.sqrt(embedding.embedding_dim)
        return self.dropout(x + self.encoding[: ids.size(1)])

    def encode(self, src_ids):
        return self.transformer.encoder(self.embed(src_ids, self.src_embedding), src_key_padding_mask=src_ids == PAD)

    def decode(self, tgt_ids, memory, padding):
        causal = torch.ones(tgt_ids.size(1), tgt_ids.size(1), dtype=torch.bool, device=tgt_ids.device).triu(1)
        return self.transformer.decoder(
            self.embed(tgt_ids, self.tgt_embedding), memory, tgt_mask=causal, tgt_key_padding_mask=tgt_ids == PAD,
            memory_key_padding_mask=padding, tgt_is_causal=True,
        )  # fmt: skip


class Torch(System):
    """`torch.nn.Transformer`, masked and decoded as PyTorch's translation tutorial does it."""

    name = "torch.nn.Transformer"

    def __init__(self, sizes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = TorchModel(sizes)

    def loss(self, batch):
        memory = self.model.encode(batch.src_ids)
        logits = self.model.output(self.model.decode(batch.tgt_ids[:, :-1], memory, batch.src_ids == PAD))
        return F.cross_entropy(logits.flatten(0, 1), batch.tgt_ids[:, 1:].flatten(), ignore_index=PAD, reduction="sum")

    @torch.no_grad()
    def greedy(self, src_ids, length):
        self.model.eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            memory = self.model.encode(src_ids)[:, : src_ids.size(1)]
        ids = src_ids.new_full((len(src_ids), 1), BOS)
        for _ in range(length):
            x = self.model.decode(ids, memory, src_ids == PAD)
            ids = torch.cat([ids, self.model.output(x[:, -1]).argmax(-1, keepdim=True)], dim=1)
        return ids[:, 1:]

    def never_end(self):
        self.model.output.bias.data[[PAD, BOS, EOS]] = -1e9


class Marian(System):
    """Hugging Face's Marian: the paper's model, as `transformers` runs it."""

    name = "Hugging Face Marian"

    def __init__(self, sizes):
        from transformers import MarianConfig, MarianMTModel
        from transformers.utils import logging

        logging.set_verbosity_error()
        sides = {}
        for side in ("encoder", "decoder"):
            sides |= {f"{side}_layers": sizes.n_layers, f"{side}_attention_heads": sizes.n_heads}
            sides |= {f"{side}_ffn_dim": sizes.d_ff}
        self.model = MarianMTModel(
            MarianConfig(
                vocab_size=sizes.vocab, decoder_vocab_size=sizes.vocab, d_model=sizes.d_model, **sides,
                max_position_embeddings=sizes.max_len, dropout=DROPOUT, attention_dropout=DROPOUT,
                activation_dropout=DROPOUT, activation_function="relu", scale_embedding=True,
                share_encoder_decoder_embeddings=False, tie_word_embeddings=False,
                pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS, decoder_start_token_id=BOS,
                forced_eos_token_id=None,
            )
        )  # fmt: skip

    def loss(self, batch):
        logits = self.model(
            input_ids=batch.src_ids, attention_mask=batch.src_ids != PAD, decoder_input_ids=batch.tgt_ids[:, :-1],
            use_cache=False,
        ).logits  # fmt: skip
        return F.cross_entropy(logits.flatten(0, 1), batch.tgt_ids[:, 1:].flatten(), ignore_index=PAD, reduction="sum")

    def greedy(self, src_ids, length):
        self.model.eval()
        ids = self.model.generate(
            input_ids=src_ids, attention_mask=src_ids != PAD, max_new_tokens=length, min_new_tokens=length,
            num_beams=1, do_sample=False,
        )  # fmt: skip
        return ids[:, 1:]

    def never_end(self):
        self.model.final_logits_bias[:, [PAD, BOS, EOS]] = -1e9


class XTransformers(System):
    """`x-transformers`, pre-norm and with learned positions, as it comes."""

    name = "x-transformers"

    def __init__(self, sizes):
        from x_transformers import XTransformer

        sides = {}
        for side in ("enc", "dec"):
            options = {
                "num_tokens": sizes.vocab, "depth": sizes.n_layers, "heads": sizes.n_heads,
                "max_seq_len": sizes.max_len, "attn_dim_head": sizes.d_model // sizes.n_heads,
                "ff_mult": sizes.d_ff / sizes.d_model, "ff_dropout": DROPOUT, "attn_dropout": DROPOUT,
                "ff_sublayer_dropout": DROPOUT, "attn_sublayer_dropout": DROPOUT,
                "ff_custom_activation": nn.ReLU(), "attn_flash": True,
            }  # fmt: skip
            sides |= {f"{side}_{name}": value for name, value in options.items()}
        special = {"pad_value": PAD, "ignore_index": PAD, "enc_emb_dropout": DROPOUT}
        self.model = XTransformer(dim=sizes.d_model, tie_token_emb=False, **special, **sides)

    def loss(self, batch):
        mean = self.model(batch.src_ids, batch.tgt_ids, mask=batch.src_ids != PAD)
        return mean * (batch.tgt_ids[:, 1:] != PAD).sum()

    def greedy(self, src_ids, length):
        self.model.eval()
        start = src_ids.new_full((len(src_ids), 1), BOS)
        return self.model.generate(src_ids, start, length, mask=src_ids != PAD, temperature=0.0)

    def never_end(self):
        """Without an EOS token it does not end."""


def available():
    """The systems that are installed here; the first is what the others are compared with."""
    found = [Torch, Ours, Fast]
    found += [XTransformers] if importlib.util.find_spec("x_transformers") else []
    found += [Marian] if importlib.util.find_spec("transformers") else []
    return found
