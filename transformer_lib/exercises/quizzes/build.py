"""Chapters 1 to 10: a question for each."""

from transformer_lib.exercises.quiz import Question

QUESTIONS = [
    Question(
        text="A query fits its three keys with the dot products 2 ln 6, 2 ln 3 and 0. What does this print?",
        code="""
            import torch
            from transformer_lib import scaled_dot_product_attention

            query = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
            key = torch.zeros(3, 4)
            key[:, 0] = torch.tensor([6.0, 3.0, 1.0]).log()
            _, weights = scaled_dot_product_attention(query, key, key)
            print(f"{weights[0, 0]:.2f}")
        """,
        right="0.60",
        why="The width is 4, so the scores are ln 6, ln 3 and 0, and *e* to their power is 6, 3 and 1. "
        "The first key gets 6 of 10.",
        wrong={
            "0.78": "this is 36 of 46, the softmax of the dot products; they are first divided by the root of the "
            "width, which is 2",
            "0.47": "this divides by the width, 4; it is the root of the width that divides",
            "0.67": "this is 6 of 9; a score of 0 counts too, for e to the power of 0 is 1",
            "0.62": "this is the share of ln 6 in the sum; the softmax first takes e to the power of each score",
        },
        place="01_self_attention",
    ),
    Question(
        text="Four words and two pads, and a model that writes. How many pairs of query and key are permitted?",
        code="""
            import torch
            from transformer_lib import causal_mask, padding_mask

            ids = torch.tensor([[5, 9, 4, 7, 0, 0]])
            mask = padding_mask(ids, pad_id=0) & causal_mask(6)
            print(mask.sum().item())
        """,
        right="18",
        why="The rows permit 1, 2, 3, 4, 4 and 4 keys. A padding mask forbids keys, so that the two queries that stand "
        "on pads still see the four words before them.",
        wrong={
            "10": "this leaves out the rows of the two pads; a padding mask speaks about keys, and pads may ask",
            "21": "this is the causal mask alone; the keys of the pads are forbidden as well",
            "24": "this is the padding mask alone; what comes later is forbidden as well",
            "27": "this is what one mask or the other permits; with & a key must be permitted by both",
        },
        place="02_masks",
    ),
    Question(
        text="Two tokens, six features, three heads. In each number the first digit is the token, the second the "
        "column. What does head 1 get?",
        code="""
            import torch

            table = torch.tensor([[10, 11, 12, 13, 14, 15],
                                  [20, 21, 22, 23, 24, 25]])
            heads = table.unflatten(-1, (3, 2)).transpose(0, 1)
            print(heads[1].tolist())
        """,
        right="[[12, 13], [22, 23]]",
        why="A head gets its own columns of *all* tokens: head 1 of three has columns 2 and 3. `unflatten` cuts each "
        "token into heads, `transpose` puts the heads first.",
        wrong={
            "[[10, 11], [20, 21]]": "this is head 0, for heads are counted from 0",
            "[[20, 21], [22, 23], [24, 25]]": "this is the second token with all its heads, what [1] is before the "
            "transpose",
            "[[14, 15], [20, 21]]": "this is a reshape straight to (heads, seq, d_head), which mixes the end of one "
            "token with the beginning of the next",
            "[[11, 14], [21, 24]]": "this deals the columns out like cards; a head gets neighbouring ones",
        },
        place="03_multi_head_attention",
    ),
    Question(
        text="The dot product of a position with itself, at a width of 8: what does this print?",
        code="""
            from transformer_lib import sinusoidal_encoding

            table = sinusoidal_encoding(max_len=50, d_model=8)
            print(f"{table[7] @ table[7]:.1f}")
        """,
        right="4.0",
        why="Eight features are four clocks, and each gives sin² + cos² = 1. So an encoding has the length "
        "√(d/2), at every position.",
        wrong={
            "8.0": "this counts 1 for each feature; it takes two, a sine and a cosine, to make 1",
            "1.0": "this is one clock; all four have a hand of length 1",
            "28.0": "this lets the product grow with the position; a hand turns and keeps its length",
        },
        place="04_positional_encoding",
    ),
    Question(
        text="A sublayer that writes nothing but zeros, in a frame of either kind. What does this print?",
        code="""
            import torch
            from transformer_lib import SublayerConnection

            x = torch.tensor([[[2.0, 6.0]]])
            for norm_first in (False, True):
                frame = SublayerConnection(2, dropout=0.0, norm_first=norm_first)
                y = frame(x, torch.zeros_like)
                print(y[0, 0].round().tolist(), end=" ")
        """,
        right="[-1.0, 1.0] [2.0, 6.0]",
        why="Post-norm is norm(x + 0), with mean 0 and variance 1: mean 4 and deviation 2 make −1 and 1. "
        "Pre-norm is x + 0: its norm stands in front of the sublayer, and the path past it is left alone.",
        wrong={
            "[2.0, 6.0] [-1.0, 1.0]": "this has them the wrong way round; norm_first=True normalises what goes into "
            "the sublayer, not the sum",
            "[-1.0, 1.0] [-1.0, 1.0]": "this normalises the sum in both; with pre-norm x itself is passed on",
            "[2.0, 6.0] [2.0, 6.0]": "this passes x on in both; post-norm normalises the sum, whatever was added",
            "[0.0, 0.0] [0.0, 0.0]": "this forgets the residual connection; what the sublayer writes is added to x",
        },
        place="05_residuals_and_layer_norm",
    ),
    Question(
        text="A sentence of four tokens goes through a feed-forward network. How many learned numbers has the network?",
        code="""
            import torch
            from transformer_lib import FeedForward

            network = FeedForward(d_model=8, d_ff=32)
            network(torch.randn(1, 4, 8))
            print(sum(p.numel() for p in network.parameters()))
        """,
        right="552",
        why="Two matrices of 8 · 32 = 256 and two biases, of 32 and 8. The length of the sentence plays no part, "
        "for all tokens go through the same network.",
        wrong={
            "512": "this is the two matrices without their biases, 32 and 8",
            "288": "this is the first matrix with its bias; a second one leads back to 8 features",
            "2208": "this is a network for each of the four tokens; they all share one",
        },
        place="06_feed_forward_and_embeddings",
    ),
    Question(
        text="In each of three layers a token may look at itself and at the one before. The gradient tells which of "
        "the ten inputs reach output 7. How many do?",
        code="""
            import torch
            from transformer_lib import Encoder

            torch.manual_seed(0)
            near = torch.ones(10, 10, dtype=torch.bool).tril().triu(-1)
            encoder = Encoder(3, d_model=8, n_heads=2, d_ff=16, dropout=0.0)
            x = torch.randn(1, 10, 8, requires_grad=True)
            encoder(x, near)[0, 7, 0].backward()
            print(x.grad[0].any(dim=-1).sum().item())
        """,
        right="4",
        why="One layer brings the neighbour, and a second brings what the neighbour had gathered in the first: one "
        "place more a layer. Inputs 4, 5, 6 and 7 reach output 7.",
        wrong={
            "2": "this is one layer; what a token gathered in one layer others can gather from it in the next",
            "3": "this is the three steps back without the token itself",
            "6": "this is two places for each of three layers; the token itself is among them every time",
            "8": "this is all that is not later; three layers of one step do not get back to the beginning",
        },
        place="07_encoder",
    ),
    Question(
        text="The decoder has five target tokens and looks at seven source tokens. What is the shape of the weights "
        "of its cross-attention?",
        code="""
            import torch
            from transformer_lib import DecoderLayer, causal_mask
            from transformer_lib import record_attention

            layer = DecoderLayer(d_model=12, n_heads=3, d_ff=24)
            target, memory = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
            with record_attention(layer) as weights:
                layer(target, memory, causal_mask(5), None)
            print(tuple(weights["cross_attn"].shape))
        """,
        right="(2, 3, 5, 7)",
        why="Batch, heads, queries, keys. The queries come from the target, keys and values from the source: "
        "rows ask, columns answer.",
        wrong={
            "(2, 3, 7, 5)": "this lets the source ask; the queries come from the target, and rows are queries",
            "(2, 3, 5, 5)": "this is the decoder's self-attention; across, the keys come from the source",
            "(2, 5, 7)": "this is one map for all heads; each of the three has its own",
            "(2, 3, 5, 4)": "this is what the heads hand over, four features each; a weight belongs to a pair",
        },
        place="08_decoder",
    ),
    Question(
        text="The output layer is tied to the target's embedding. By how many parameters does the model get smaller?",
        code="""
            from transformer_lib import Transformer, TransformerConfig

            def count(**options):
                config = TransformerConfig(
                    src_vocab_size=100, tgt_vocab_size=100, d_model=16, **options
                )
                return sum(p.numel() for p in Transformer(config).parameters())

            print(count() - count(tie_embeddings=True))
        """,
        right="1600",
        why="One matrix of 100 by 16 serves twice and is counted once. The bias of the output layer stays, and "
        "the source keeps its own embedding.",
        wrong={
            "1700": "this takes the bias of the output layer away too, one number a token; it stays",
            "3200": "this shares the source's embedding as well, which is another option, share_vocab",
            "0": "this counts the tied matrix twice; it is one and the same parameter",
        },
        place="09_transformer",
    ),
    Question(
        text="Label smoothing of 0.1 with a vocabulary of twelve. The right token is 5. What is token 7 asked to get?",
        code="""
            import torch
            from transformer_lib import smoothed_targets

            targets = torch.tensor([5])
            rows = smoothed_targets(targets, vocab_size=12, smoothing=0.1, pad_id=0)
            print(f"{rows[0, 7]:.4f}")
        """,
        right="0.0100",
        why="The tenth that the right token gives away is shared by the ten tokens that are neither right nor padding.",
        wrong={
            "0.0083": "this shares the tenth among all twelve, as torch's label_smoothing does; padding and the right "
            "token get no share here",
            "0.0091": "this shares the tenth among eleven; padding is never an answer and gets nothing",
            "0.1000": "this gives each other token the whole tenth; it is shared, so that the row sums to one",
            "0.0000": "this is the target without smoothing, which asks for a 1 and nothing else",
        },
        place="10_training",
    ),
]
