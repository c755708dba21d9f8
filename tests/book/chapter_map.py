"""Which chapter builds which public name of the library, and why some names are never built."""

BUILT_IN = {
    "SimpleSelfAttention": 1,
    "padding_mask": 2,
    "causal_mask": 2,
    "scaled_dot_product_attention": 2,
    "MultiHeadAttention": 3,
    "sinusoidal_encoding": 4,
    "PositionalEncoding": 4,
    "layer_norm": 5,
    "LayerNorm": 5,
    "SublayerConnection": 5,
    "FeedForward": 6,
    "TokenEmbedding": 6,
    "EncoderLayer": 7,
    "Encoder": 7,
    "DecoderLayer": 8,
    "Decoder": 8,
    "Transformer": 9,
    "smoothed_targets": 10,
    "token_loss": 10,
    "noam_rate": 10,
    "cosine_rate": 10,
    "greedy_decode": 10,
    "next_log_probs": 11,
    "keep_top_k": 11,
    "keep_top_p": 11,
    "sample_decode": 11,
    "gnmt_penalty": 11,
    "beam_hypotheses": 11,
    "beam_search": 11,
    "average_weights": 12,
    "Rows": 14,
    "packed_attention": 14,
}

TRAINING = "runs the model of chapter 9; chapter 10 uses it"

NEVER_BUILT = {
    "Batch": TRAINING,
    "Evaluation": TRAINING,
    "TokenBatches": TRAINING,
    "Trainer": TRAINING,
    "Vocabulary": TRAINING,
    "evaluate": TRAINING,
    "evaluating": TRAINING,
    "exact_match": TRAINING,
    "inverse_sqrt_rate": TRAINING,
    "pad_sequences": TRAINING,
    "translate_ids": TRAINING,
    "DecoderCache": "speeds up what chapter 9 builds, and changes no result",
    "KVCache": "speeds up what chapter 9 builds, and changes no result",
    "MemoryCache": "speeds up what chapter 9 builds, and changes no result",
    "TransformerConfig": "a list of numbers with checks; chapter 9 reads it",
    "Hypotheses": "what beam_hypotheses returns",
    "FastTransformer": "the model of chapter 9 without the padding, by the parts that chapter 14 builds",
    "record_attention": "a way to look at the model, no part of it",
}

# Methods that the library's class has and the chapter's may leave out: files, and a table filled in after the fact.
LEFT_OUT = {"Transformer": {"save", "load"}, "PositionalEncoding": {"_apply", "_load_from_state_dict"}}
