"""Chapters 16 to 19: two or three questions for each."""

from transformer_lib.exercises.quiz import Question

QUESTIONS = [
    Question(
        text="A model of subwords has a loss of 1.4 (natural logarithm) per token. A token has 3.5 characters on the "
        "average. How many bits per character is that?",
        proof="""
            import math

            print(f"{1.4 / math.log(2) / 3.5:.2f}")
        """,
        right="0.58",
        why="1.4 nats are 1.4 / ln 2 = 2.02 bits, and they pay for three and a half characters.",
        wrong={
            "2.02": "these are the bits of a token; each of them is three and a half characters",
            "0.40": "this is in nats per character; a bit is ln 2 of a nat, so there are more bits",
            "7.07": "this multiplies by the length of a token; what a token costs is shared by its characters",
        },
        place="16_three_families",
    ),
    Question(
        text="A decoder-only model reads six tokens. Then the fourth is exchanged. At how many places do the "
        "logits differ?",
        code="""
            import torch
            from transformer_lib.modern import DecoderConfig, DecoderModel

            torch.manual_seed(0)
            model = DecoderModel(DecoderConfig(vocab_size=9))
            ids = torch.tensor([[3, 4, 5, 6, 7, 8]])
            other = ids.clone()
            other[0, 3] = 8
            change = (model(ids) - model(other)).abs().amax(dim=-1)
            print((change > 0).sum().item())
        """,
        right="3",
        why="The mask lets a place see itself and what came before: the fourth place and the two behind it hear of "
        "the change, the first three do not.",
        wrong={
            "1": "the places behind the fourth look back at it, and change with it",
            "2": "the fourth place sees its own token too",
            "6": "this is a model without a causal mask, such as BERT; here nobody sees what comes later",
        },
        place="16_three_families",
    ),
    Question(
        text="BERT chooses 15 % of the tokens to be guessed. Of these it hides 80 % behind a mask, exchanges 10 % for "
        "a random token, and leaves 10 % as they are. Of 1,000 tokens, how many look different afterwards (if "
        "a random token is never the old one by chance)?",
        proof="print(round(1000 * 0.15 * (0.8 + 0.1)))",
        right="135",
        why="150 are to be guessed: 120 are hidden, 15 exchanged, and 15 stay, so that the model cannot rely on "
        "a token that is to be guessed looking strange.",
        wrong={
            "150": "these are the tokens to be guessed; a tenth of them stay as they are",
            "120": "these are hidden; the exchanged ones look different too",
            "900": "these shares are of the 15 %, not of all tokens",
        },
        place="16_three_families",
    ),
    Question(
        text="A model has 4 layers, `d_model` 64 and 8 heads, which share the keys and values of 2 groups. How many "
        "numbers does its cache keep for each token?",
        proof="print(2 * 4 * 2 * 64 // 8)",
        right="128",
        why="Keys and values (2), in 4 layers, for 2 groups, of a width of 64 / 8 = 8.",
        wrong={
            "512": "this keeps keys and values for all 8 heads; those of a group are shared",
            "64": "this leaves out the values, or the keys; both are kept",
            "32": "this is one layer; each of the four has keys and values of its own",
        },
        place="17_todays_parts",
    ),
    Question(
        text="Each token sees itself and the three before it (a window of four). From how many places *before* its "
        "own can a token of the last of three layers hear?",
        proof="""
            import torch
            from transformer_lib.modern import window_mask

            heard = window_mask(20, window=4).double()
            print(((heard @ heard @ heard)[-1] > 0).sum().item() - 1)
        """,
        right="9",
        why="Each layer reaches three places further back: what those places have heard comes along.",
        wrong={
            "3": "this is one layer; what is three places back has itself heard from further back",
            "12": "the window counts the token itself, so a layer reaches three places back and not four",
            "64": "reaches add up from layer to layer; they do not multiply",
        },
        place="17_todays_parts",
    ),
    Question(
        text="Four experts, eight tokens, and all eight like the same expert best. How many find no room?",
        code="""
            import torch
            from transformer_lib.modern import Router

            router = Router(d_model=4, n_experts=4, top_k=1, capacity=1.0)
            with torch.no_grad():
                router.gate.weight.copy_(torch.eye(4))
            tokens = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(8, -1)
            print(router(tokens).dropped)
        """,
        right="6",
        why="An even share of eight tokens is two for each expert, and a capacity of 1.0 leaves room for no more. The "
        "other three experts stay idle: this is what the load-balancing loss is for.",
        wrong={
            "0": "this is what happens without a capacity; here a queue is full after two",
            "7": "the room of an expert is a share of the tokens, not one token",
            "2": "these are kept; the other six find the queue full",
        },
        place="17_todays_parts",
    ),
    Question(
        text="A linear map of 128 features to 128 is kept as it is, and an adapter of rank 4 is trained beside it. How "
        "many numbers are trained?",
        proof='print(f"{4 * 128 + 128 * 4:,}")',
        right="1,024",
        why="Two thin matrices, 4 × 128 down and 128 × 4 up: a sixteenth of the 16,384 of the map.",
        wrong={
            "16,384": "these are the numbers of the map, which stays; only the two thin matrices are trained",
            "512": "this is one of the two matrices; there is a way down and a way up",
            "16": "this is a 4 × 4 matrix; it must reach from 128 features to 128",
        },
        place="18_real_weights",
    ),
    Question(
        text="The small GPT-2 has 124 million parameters. How many megabytes (millions of bytes) are they in 16 bits?",
        proof="print(124 * 16 // 8)",
        right="248",
        why="16 bits are two bytes for each parameter. To train it with Adam takes several times that: gradients and "
        "two running means beside the weights.",
        wrong={
            "496": "this is float32, four bytes for each",
            "124": "this is one byte for each, as in 8-bit formats",
            "1,984": "these are millions of bits; a byte has eight",
        },
        place="18_real_weights",
    ),
    Question(
        text="Two sure links are known, 0–0 and 1–1. Attention gives 0–0, 1–1 and 1–2. What is the alignment error "
        "rate (no other links are possible)?",
        proof="""
            known, found = {(0, 0), (1, 1)}, {(0, 0), (1, 1), (1, 2)}
            both = len(known & found)
            print(f"{1 - (both + both) / (len(known) + len(found)):.2f}")
        """,
        right="0.20",
        why="Both known links are found, and counted twice: 1 − 4 / (2 + 3). The third link is one too many.",
        wrong={
            "0.00": "nothing is missed, but one link too many was found, and that counts",
            "0.33": "this is the share of found links that are wrong; the known ones stand in the sum below too",
            "0.50": "this divides by the known links alone",
        },
        place="19_reading_the_model",
    ),
    Question(
        text="What does the second call print?",
        code="""
            import torch
            from torch import nn

            double = nn.Linear(1, 1, bias=False)
            nn.init.constant_(double.weight, 2.0)

            def silence(module, inputs, output):
                return torch.zeros_like(output)

            handle = double.register_forward_hook(silence)
            double(torch.ones(1))
            print(double(torch.ones(1)).item())
        """,
        right="0.0",
        why="A hook stays until `handle.remove()`. Whatever is measured on this model afterwards is measured with the "
        "part silenced.",
        wrong={
            "2.0": "the hook was never removed, and works at every call",
            "1.0": "the map doubles, and the hook puts a zero in the place of what it returns; the input is not shown",
            "None": "a hook that returns nothing leaves the output as it is; this one returns zeros",
        },
        place="19_reading_the_model",
    ),
]
