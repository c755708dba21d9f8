"""BERT: the paper's encoder, whole, with a head that fills in what is masked."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from transformer_lib._checks import check_ids
from transformer_lib.config import ACTIVATIONS
from transformer_lib.encoder import Encoder
from transformer_lib.interop._names import BERT_WHOLE, fill, place, set_eps
from transformer_lib.interop._source import activation, require
from transformer_lib.layers import LayerNorm
from transformer_lib.masks import padding_mask

# What a masked-language model does not read: the head of the other task of the training, a buffer of old files.
UNUSED = r"bert\.pooler\..*|cls\.seq_relationship\..*|bert\.embeddings\.position_ids"


class Bert(nn.Module):
    """Token ids in, logits of every token at every place out: `BertForMaskedLM`, of the book's `Encoder`.

    Around it stand learned positions, a table that tells the first text of a pair from the second, a norm before the
    layers, and at the end a small network before the embedding serves as output layer.
    Source: Devlin et al., "BERT", 2019. Counterpart: `BertForMaskedLM` of Hugging Face.
    """

    def __init__(self, vocab_size: int, max_len: int, n_types: int, pad_id: int, encoder: Encoder, d_model: int):
        super().__init__()
        self.pad_id = pad_id
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(max_len, d_model)
        self.types = nn.Embedding(n_types, d_model)
        self.embedding_norm = LayerNorm(d_model)
        self.encoder = encoder
        self.transform, self.transform_norm = nn.Linear(d_model, d_model), LayerNorm(d_model)
        self.output = nn.Linear(d_model, vocab_size)

    def forward(
        self, ids: Int[Tensor, "batch seq"], types: Int[Tensor, "batch seq"] | None = None
    ) -> Float[Tensor, "batch seq vocab"]:
        """Return the logits of the token at every place; `types` is 0 in the first text of a pair, 1 in the second.

        Raises:
            ValueError: if `ids` is not (batch, seq) of whole numbers, or a text is longer than the table of positions.
        """
        check_ids("ids", ids)
        if ids.size(1) > (most := self.positions.num_embeddings):
            raise ValueError(f"a text of {ids.size(1)} tokens exceeds the {most} places that the model knows")
        place = self.positions.weight[: ids.size(1)]  # (seq, d_model)
        x = self.embedding(ids) + place + self.types(torch.zeros_like(ids) if types is None else types)
        x = self.encoder(self.embedding_norm(x), padding_mask(ids, self.pad_id))  # (batch, seq, d_model)
        bend = self.encoder.layers[0].feed_forward.activation
        return self.output(self.transform_norm(bend(self.transform(x))))  # (batch, seq, vocab)


def build_bert(config: dict[str, Any], tensors: dict[str, Tensor]) -> Bert:
    """A `Bert` of the settings and tensors of a `BertForMaskedLM`."""
    require(config, is_decoder=False, add_cross_attention=False, position_embedding_type="absolute")
    d_model, bend = config["hidden_size"], ACTIVATIONS[activation(config, "hidden_act", "gelu")]
    sizes = (config["num_hidden_layers"], d_model, config["num_attention_heads"], config["intermediate_size"])
    with torch.device("meta"):
        encoder = Encoder(*sizes, config.get("hidden_dropout_prob", 0.1), activation=bend)
        ends = config["max_position_embeddings"], config["type_vocab_size"], config["pad_token_id"]
        model = Bert(config["vocab_size"], *ends, encoder, d_model)
    set_eps(model, config.get("layer_norm_eps", 1e-12))
    return fill(model, place(tensors, BERT_WHOLE, UNUSED), config.get("tie_word_embeddings", True))
