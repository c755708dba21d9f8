"""Names of the layers that BART and Marian share."""

from transformer_lib.interop._ledger import Ledger

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


def bart_layers(ledger: Ledger, side: str, n_layers: int, d_model: int, d_ff: int) -> None:
    """File the layers of the `encoder` or `decoder` of BART or of Marian, which was written after it."""
    attentions = {"self_attn": "self_attn", "cross_attn": "encoder_attn"}
    if side == "encoder":
        del attentions["cross_attn"]
    for i in range(n_layers):
        layer = f"{side}.layers.{i}"
        for ours, theirs in attentions.items():
            for projection in PROJECTIONS:
                ledger.linear(f"{layer}.{ours}.{projection}", f"{layer}.{theirs}.{projection}", d_model, d_model)
            ledger.norm(f"{layer}.{ours}_residual.norm", f"{layer}.{theirs}_layer_norm", d_model)
        ledger.linear(f"{layer}.feed_forward.fc1", f"{layer}.fc1", d_ff, d_model)
        ledger.linear(f"{layer}.feed_forward.fc2", f"{layer}.fc2", d_model, d_ff)
        ledger.norm(f"{layer}.feed_forward_residual.norm", f"{layer}.final_layer_norm", d_model)
