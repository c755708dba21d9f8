"""Which chapter builds which public name of the library, and why some names are never built."""

BUILT = {
    1: "SimpleSelfAttention",
    2: "padding_mask causal_mask scaled_dot_product_attention",
    3: "MultiHeadAttention",
    4: "sinusoidal_encoding PositionalEncoding",
    5: "layer_norm LayerNorm SublayerConnection",
    6: "FeedForward TokenEmbedding",
    7: "EncoderLayer Encoder",
    8: "DecoderLayer Decoder",
    9: "Transformer",
    10: "smoothed_targets token_loss noam_rate cosine_rate greedy_decode",
    11: "next_log_probs keep_top_k keep_top_p draw_tokens sample_decode "
    "beam_step gnmt_penalty beam_is_over rank_hypotheses beam_hypotheses beam_search",
    12: "average_weights",
    14: "Rows packed_attention",
    18: "LoRA add_lora merge_lora",
    17: "RMSNorm rms_norm SwiGLU rotate alibi_bias window_mask RollingCache GroupedQueryAttention "
    "Router MixtureOfExperts load_balance DecoderBlock DecoderModel",
    16: "LanguageModel MaskedModel sample_text",
}
BUILT_IN = {name: chapter for chapter, names in BUILT.items() for name in names.split()}

TRAINING = "runs the model of chapter 9; chapter 10 uses it"
USED = "Batch Evaluation TokenBatches Trainer Vocabulary evaluate evaluating exact_match inverse_sqrt_rate"
CACHE = "speeds up what chapter 9 builds, and changes no result"
NEVER_BUILT = {
    **dict.fromkeys([*USED.split(), "pad_sequences", "translate_ids"], TRAINING),
    **dict.fromkeys(["DecoderCache", "KVCache", "MemoryCache"], CACHE),
    "TransformerConfig": "a list of numbers with checks; chapter 9 reads it",
    "Hypotheses": "what beam_hypotheses returns",
    "FastTransformer": "the model of chapter 9 without the padding, by the parts that chapter 14 builds",
    **dict.fromkeys(["record_attention", "record_routing"], "a way to look at the model, no part of it"),
    "DecoderConfig": "a list of numbers and choices with checks; chapter 17 uses it",
    "Routing": "what Router returns",
    "complete": "greedy decoding of chapter 10, for a decoder alone; chapters 17 and 18 use it",
}

# Methods that the library's class has and the chapter's may leave out: files, and a table filled in after the fact.
FILES = {"save", "load"}
LEFT_OUT = {
    "Transformer": FILES,
    "LanguageModel": FILES,
    "PositionalEncoding": {"_apply", "_load_from_state_dict"},
}
