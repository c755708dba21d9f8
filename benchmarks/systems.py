"""The systems that are compared: the same sizes, the same tokens in, the same numbers out.

Each is made of a `TransformerConfig` and is what `transformer_lib.loss.batch_loss` takes: `model(src_ids, tgt_ids)` are
the logits, unless it has a `loss` of its own. `answer(src_ids, longest)` decodes greedily, to EOS or `longest` tokens,
and after `never_end()` always to `longest`. Each is used as its own documentation shows; where that leaves a choice,
the faster one is taken.
"""

import importlib.util
import warnings
from dataclasses import dataclass

import torch
from torch import nn

from transformer_lib import Transformer, TransformerConfig, greedy_decode
from transformer_lib.data import sentences
from transformer_lib.data.batches import Batch, pad_sequences
from transformer_lib.data.subwords import Subwords
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from transformer_lib.fast import FastTransformer
from transformer_lib.interop import to_torch
from transformer_lib.layers import TokenEmbedding
from transformer_lib.loss import batch_loss
from transformer_lib.positions import PositionalEncoding
from transformer_lib.recipes.recipe import PACKAGED


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

    def config(self):
        """The configuration of a model, with dropout, and nothing tied."""
        return TransformerConfig(
            src_vocab_size=self.vocab, tgt_vocab_size=self.vocab, d_model=self.d_model, n_heads=self.n_heads,
            n_encoder_layers=self.n_layers, n_decoder_layers=self.n_layers, d_ff=self.d_ff, max_len=self.max_len,
            dropout=0.1,
        )  # fmt: skip


TINY = Sizes(
    vocab=60, d_model=32, n_heads=2, n_layers=1, d_ff=64, max_len=24, batch=4, lengths=(3, 7), new_tokens=(4, 8)
)


def make_batches(sizes, lengths):
    """Return batches of random tokens for sentence pairs of the given lengths of source and target."""
    generator = torch.Generator().manual_seed(0)

    def tokens(length):
        return torch.randint(3, sizes.vocab, (length,), generator=generator).tolist()

    pairs = [(tokens(source), [BOS_ID, *tokens(target - 1), EOS_ID]) for source, target in lengths]
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
    subwords = Subwords.load(PACKAGED / "sentences" / "subwords.json")
    part = sentences.split_by_integration(sentences.read_sentences("german")).train[::10]
    pairs = sentences.encode_pairs(part, subwords, longest)
    chosen = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1))[:number]
    # The target begins with BOS, which nobody has to say.
    return [(len(pairs[i][0]), len(pairs[i][1]) - 1) for i in chosen]


def as_batch(pairs):
    """Pad the pairs, each side to its longest."""
    return Batch(pad_sequences([src for src, _ in pairs], PAD_ID), pad_sequences([tgt for _, tgt in pairs], PAD_ID))


def pairs_of(batch):
    """Take the padding away again: the sentence pairs of a batch."""
    return [(src[src != PAD_ID].tolist(), tgt[tgt != PAD_ID].tolist()) for src, tgt in zip(*batch, strict=True)]


def adamw(model):
    """Return AdamW, fused for every system, as `Trainer` has it: otherwise a lead might come from the optimizer."""
    return torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)


def train_step(model, batch, optimizer, *, bfloat16=False):
    """Make one step, as every tutorial does; return the loss per real token. With bfloat16 it is mixed precision."""
    model.train()
    optimizer.zero_grad()
    with torch.autocast(batch.src_ids.device.type, torch.bfloat16, enabled=bfloat16):
        total, number = batch_loss(model, *batch)
        loss = total / number
    loss.backward()
    optimizer.step()
    return loss.detach()


class Ours(Transformer):
    """This library: the model of chapter 9, the loss of chapter 10, and their greedy decoding."""

    name = "this library"

    def answer(self, src_ids, longest):
        return greedy_decode(self, src_ids, max_new_tokens=longest)

    def never_end(self):
        self.output.bias.data[EOS_ID] = -1e9


class Fast(FastTransformer):
    """This library made fast: the model of chapter 14 in the place of that of chapter 9."""

    name = "this library, fast"
    answer, never_end = Ours.answer, Ours.never_end


class TorchAsItStarts(nn.Module):
    """`torch.nn.Transformer` with the parts around it that it leaves to its user, as PyTorch's tutorial uses it."""

    name = "torch.nn.Transformer"
    never_end = Ours.never_end

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.tgt_embedding = TokenEmbedding(config.tgt_vocab_size, config.d_model)
        shared = self.tgt_embedding if config.share_vocab else None
        self.src_embedding = shared or TokenEmbedding(config.src_vocab_size, config.d_model)
        self.positions = PositionalEncoding(config.d_model, config.max_len, config.dropout)
        layers = (config.n_encoder_layers, config.n_decoder_layers)
        with warnings.catch_warnings(action="ignore"):  # of nested tensors
            self.transformer = nn.Transformer(
                config.d_model, config.n_heads, *layers, config.d_ff, config.dropout, batch_first=True
            )
        self.output = nn.Linear(config.d_model, config.tgt_vocab_size)
        nn.init.zeros_(self.output.bias)
        if config.tie_embeddings:
            self.output.weight = self.tgt_embedding.weight

    def forward(self, src_ids, tgt_ids):
        padding = src_ids == PAD_ID
        return self.output(self.decode(tgt_ids, self.encode(src_ids, padding), padding))

    def encode(self, src_ids, padding):
        return self.transformer.encoder(self.positions(self.src_embedding(src_ids)), src_key_padding_mask=padding)

    def decode(self, tgt_ids, memory, padding):
        causal = torch.ones(tgt_ids.size(1), tgt_ids.size(1), dtype=torch.bool, device=tgt_ids.device).triu(1)
        x = self.positions(self.tgt_embedding(tgt_ids))
        masks = {"tgt_key_padding_mask": tgt_ids == PAD_ID, "memory_key_padding_mask": padding}
        return self.transformer.decoder(x, memory, tgt_mask=causal, **masks, tgt_is_causal=True)

    @torch.no_grad()
    def answer(self, src_ids, longest):
        """There is no cache, so every step reads all that was written."""
        self.eval()
        padding = src_ids == PAD_ID
        with warnings.catch_warnings(action="ignore"):  # of nested tensors
            memory = self.encode(src_ids, padding)
        ids = src_ids.new_full((len(src_ids), 1), BOS_ID)
        ended = torch.zeros_like(padding[:, 0])
        for _ in range(longest):
            logits = self.output(self.decode(ids, memory, padding)[:, -1])
            logits[:, [PAD_ID, BOS_ID]] = -torch.inf
            token = logits.argmax(dim=-1).masked_fill(ended, PAD_ID)
            ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
            ended |= token == EOS_ID
            if ended.all():
                break
        return ids[:, 1:]


class Torch(TorchAsItStarts):
    """The same with our random weights; and, as in the paper, post-norm stacks do not end with one more norm."""

    def __init__(self, config):
        ours = Ours(config)  # first, so that a seed gives the same weights as to ours
        super().__init__(config)
        self.begin_like(ours)

    def begin_like(self, ours):
        """Take over the weights of a model of ours."""
        for name in ("src_embedding", "tgt_embedding", "output"):
            getattr(self, name).load_state_dict(getattr(ours, name).state_dict())
        self.transformer.encoder, self.transformer.decoder = to_torch(ours.encoder), to_torch(ours.decoder)


class Marian(nn.Module):
    """Hugging Face's Marian: the paper's model, as `transformers` runs it, and its own way to generate."""

    name = "Hugging Face Marian"

    def __init__(self, config):
        from transformers import MarianConfig, MarianMTModel
        from transformers.utils import logging

        super().__init__()
        logging.set_verbosity_error()
        self.config = config
        sides = {}
        for side, layers in (("encoder", config.n_encoder_layers), ("decoder", config.n_decoder_layers)):
            sides |= {f"{side}_layers": layers, f"{side}_attention_heads": config.n_heads}
            sides |= {f"{side}_ffn_dim": config.d_ff}
        dropout = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), config.dropout)
        sizes = {"vocab_size": config.src_vocab_size, "decoder_vocab_size": config.tgt_vocab_size, **sides, **dropout}
        shared = {"share_encoder_decoder_embeddings": config.share_vocab, "tie_word_embeddings": config.tie_embeddings}
        special = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID, "forced_eos_token_id": None}
        self.marian = MarianMTModel(
            MarianConfig(
                d_model=config.d_model, max_position_embeddings=config.max_len + 1, activation_function="relu",
                scale_embedding=True, init_std=0.4 * config.d_model**-0.5,  # the library's start of the embeddings
                decoder_start_token_id=BOS_ID, **sizes, **shared, **special,
            )
        )  # fmt: skip

    def forward(self, src_ids, tgt_ids):
        mask = (src_ids != PAD_ID).long()
        return self.marian(input_ids=src_ids, attention_mask=mask, decoder_input_ids=tgt_ids, use_cache=False).logits

    @torch.no_grad()
    def answer(self, src_ids, longest):
        self.eval()
        options = {"max_new_tokens": longest, "num_beams": 1, "do_sample": False, "suppress_tokens": [PAD_ID, BOS_ID]}
        return self.marian.generate(input_ids=src_ids, attention_mask=(src_ids != PAD_ID).long(), **options)[:, 1:]

    def never_end(self):
        self.marian.final_logits_bias[:, EOS_ID] = -1e9


class XTransformers(nn.Module):
    """`x-transformers`, pre-norm and with learned positions, as it comes. It has no logits for us, and no EOS."""

    name = "x-transformers"

    def __init__(self, config):
        from x_transformers import XTransformer

        super().__init__()
        self.config = config
        sides = {}
        for side, vocab, depth in (
            ("enc", config.src_vocab_size, config.n_encoder_layers),
            ("dec", config.tgt_vocab_size, config.n_decoder_layers),
        ):
            options = {
                "num_tokens": vocab, "depth": depth, "heads": config.n_heads, "max_seq_len": config.max_len,
                "attn_dim_head": config.d_model // config.n_heads, "ff_mult": config.d_ff / config.d_model,
                "ff_custom_activation": nn.ReLU(), "attn_flash": True,
            }  # fmt: skip
            options |= dict.fromkeys(
                ("ff_dropout", "attn_dropout", "ff_sublayer_dropout", "attn_sublayer_dropout"), config.dropout
            )
            sides |= {f"{side}_{name}": value for name, value in options.items()}
        special = {"pad_value": PAD_ID, "ignore_index": PAD_ID, "enc_emb_dropout": config.dropout}
        self.model = XTransformer(dim=config.d_model, tie_token_emb=False, **special, **sides)

    def loss(self, src_ids, tgt_ids, smoothing=0.0):
        number = (tgt_ids[:, 1:] != PAD_ID).sum()
        return self.model(src_ids, tgt_ids, mask=src_ids != PAD_ID) * number, number

    def answer(self, src_ids, longest):
        self.eval()
        start = src_ids.new_full((len(src_ids), 1), BOS_ID)
        return self.model.generate(src_ids, start, longest, mask=src_ids != PAD_ID, temperature=0.0)

    def never_end(self):
        """Without an EOS token it does not end."""


def available():
    """The systems that are installed here; the first is what the others are compared with."""
    found = [TorchAsItStarts, Ours, Fast]
    found += [XTransformers] if importlib.util.find_spec("x_transformers") else []
    found += [Marian] if importlib.util.find_spec("transformers") else []
    return found
