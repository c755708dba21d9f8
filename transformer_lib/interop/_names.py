"""Which part of ours is which part of theirs, and the loading of tensors that bear our names."""

import re
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from transformer_lib.layers import LayerNorm

Module = TypeVar("Module", bound=nn.Module)

# Theirs: ours, as patterns of whole parts of a name. What is the same on both sides is left out.
TORCH_ENCODER = {
    "linear1": "feed_forward.fc1",
    "activation": "feed_forward.activation",
    "dropout": "feed_forward.dropout",
    "linear2": "feed_forward.fc2",
    "norm1": "self_attn_residual.norm",
    "dropout1": "self_attn_residual.dropout",
    "norm2": "feed_forward_residual.norm",
    "dropout2": "feed_forward_residual.dropout",
}
TORCH_DECODER = TORCH_ENCODER | {
    "multihead_attn": "cross_attn",
    "norm2": "cross_attn_residual.norm",
    "dropout2": "cross_attn_residual.dropout",
    "norm3": "feed_forward_residual.norm",
    "dropout3": "feed_forward_residual.dropout",
}
BART = {
    r"^model\.": "",
    "self_attn_layer_norm": "self_attn_residual.norm",
    "encoder_attn": "cross_attn",
    "encoder_attn_layer_norm": "cross_attn_residual.norm",
    "fc1": "feed_forward.fc1",
    "fc2": "feed_forward.fc2",
    "final_layer_norm": "feed_forward_residual.norm",
}
MARIAN = BART | {  # it was written after BART
    "shared": "src_embedding",
    r"encoder\.embed_tokens": "src_embedding",
    r"decoder\.embed_tokens": "tgt_embedding",
    "lm_head": "output",
    "final_logits_bias": "output.bias",
}
BERT = {
    r"^bert\.": "",
    r"LayerNorm\.gamma": "LayerNorm.weight",  # as TensorFlow and the first files of BERT say
    r"LayerNorm\.beta": "LayerNorm.bias",
    r"encoder\.layer": "layers",
    r"attention\.self\.(q|k|v)\w+": r"self_attn.\1_proj",  # query, key, value
    r"attention\.output\.dense": "self_attn.out_proj",
    r"attention\.output\.LayerNorm": "self_attn_residual.norm",
    r"intermediate\.dense": "feed_forward.fc1",
    r"output\.dense": "feed_forward.fc2",
    r"output\.LayerNorm": "feed_forward_residual.norm",
}
GPT2 = {
    r"^transformer\.": "",
    "h": "layers",
    "ln_1": "self_attn_residual.norm",
    r"attn\.c_attn\.": "self_attn.in_proj_",
    r"attn\.c_proj": "self_attn.out_proj",
    "ln_2": "feed_forward_residual.norm",
    r"mlp\.c_fc": "feed_forward.fc1",
    r"mlp\.c_proj": "feed_forward.fc2",
    "ln_f": "norm",
}
BERT_WHOLE = BERT | {
    "^layers": "encoder.layers",
    r"embeddings\.word_embeddings": "embedding",
    r"embeddings\.position_embeddings": "positions",
    r"embeddings\.token_type_embeddings": "types",
    r"embeddings\.LayerNorm": "embedding_norm",
    r"cls\.predictions\.transform\.dense": "transform",
    r"cls\.predictions\.transform\.LayerNorm": "transform_norm",
    r"cls\.predictions\.(decoder\.)?(weight|bias)": r"output.\2",
}
GPT2_WHOLE = GPT2 | {
    r"self_attn_residual\.norm": "self_attn_norm",
    r"feed_forward_residual\.norm": "feed_forward_norm",
    "wte": "embedding",
    "wpe": "positions",
    "lm_head": "output",
}
LLAMA = {
    r"^model\.": "",
    "embed_tokens": "embedding",
    r"self_attn\.o_proj": "self_attn.out_proj",
    "mlp": "feed_forward",
    "input_layernorm": "self_attn_norm",
    "post_attention_layernorm": "feed_forward_norm",
    "lm_head": "output",
    r"block_sparse_moe\.gate": "feed_forward.router.gate",  # from here on Mixtral's
    "block_sparse_moe": "feed_forward",
    **{"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"},
}


def rename(tensors: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Give each tensor, or module, its new name."""
    renamed: dict[str, Any] = {}
    for name, x in tensors.items():
        for theirs, ours in names.items():
            name = re.sub(rf"\b{theirs}\b", ours, name)
        renamed[name] = x
    return renamed


def place(tensors: dict[str, Tensor], names: dict[str, str], unused: str = "") -> dict[str, Tensor]:
    """Give each tensor its new name, but for those whose names fit the pattern `unused`, which are left out.

    Raises:
        ValueError: if two that differ get the same name.
    """
    placed: dict[str, Tensor] = {}
    for theirs, x in tensors.items():
        (ours,) = rename({theirs: x}, names)
        if not re.fullmatch(unused, theirs) and not torch.equal(placed.setdefault(ours, x), x):
            raise ValueError(f"{theirs} and another tensor, which differs, are both to be {ours}")
    return placed


def split_in_proj(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut the projections of query, key and value apart, which torch and GPT-2 keep in one tensor."""
    parts = {name: x for name, x in tensors.items() if "in_proj_" not in name}
    for name in tensors.keys() - parts.keys():
        for letter, third in zip("qkv", tensors[name].chunk(3), strict=False):
            parts[name.replace("in_proj_", f"{letter}_proj.")] = third
    return parts


def adopt(module: nn.Module, source: nn.Module, names: dict[str, str]) -> None:
    """Let each part of a new module have what its part of `source` has beside weights: mode, dropout, eps, heads."""
    for name, part in rename(dict(source.named_modules(remove_duplicate=False)), names).items():
        try:
            ours = module.get_submodule(name).train(part.training)
        except AttributeError:  # such as the projection of queries, which torch keeps in one tensor with others
            continue
        for setting in vars(part).keys() & {"eps", "dropout", "p", "num_heads"}:
            setattr(ours, "n_heads" if setting == "num_heads" else setting, getattr(part, setting))


def set_eps(module: nn.Module, eps: float) -> None:
    """Let all norms inside have this `eps`."""
    for part in module.modules():
        if isinstance(part, LayerNorm):
            part.eps = eps


def fill(module: Module, tensors: dict[str, Tensor], tied: bool) -> Module:
    """Load a model that was made on the meta device, with `embedding` and `output`, which may be one matrix.

    Raises:
        ValueError: if they are to be one, and differ; RuntimeError: as `load`.
    """
    table = tensors.get("embedding.weight")
    if tied and table is not None and not torch.equal(tensors.setdefault("output.weight", table), table):
        raise ValueError("the output layer differs from the embedding, to which the config ties it")
    load(module, tensors)
    if tied:
        module.output.weight = module.embedding.weight
    return module.eval()


def load(module: Module, tensors: dict[str, Tensor]) -> Module:
    """Let copies of `tensors` take the place of the parameters of a new module, with their type and device.

    Raises:
        RuntimeError: torch's own, which names all that are missing, surplus or of another shape.
    """
    module.load_state_dict(tensors, assign=True)
    for parameter in module.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    return module
