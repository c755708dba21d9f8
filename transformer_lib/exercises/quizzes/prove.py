"""The bug museum and the page of proofs: what a mistake does, and which question sees it."""

from transformer_lib.exercises.quiz import Question

QUESTIONS = [
    Question(
        text="Before the first step a model finds each of its 1,000 tokens equally likely. What is its loss?",
        code="""
            import torch
            import torch.nn.functional as F

            logits = torch.zeros(1, 1000)
            print(f"{F.cross_entropy(logits, torch.tensor([7])):.2f}")
        """,
        right="6.91",
        why="The loss is minus the natural logarithm of 1/1000, ln 1000. A first loss far above it says that the model "
        "is sure of something it has not learned.",
        wrong={
            "3.00": "this is the logarithm to the base 10; the loss is counted in nats, with the natural one",
            "9.97": "this is the logarithm to the base 2, in bits; the loss is counted in nats",
            "0.00": "this takes logits of zero for no mistake; they make all tokens equally likely",
        },
        place="bug_museum",
    ),
    Question(
        text="Four tokens get their positions at once, and one by one as in bug 3. At how many of the four does the "
        "result differ?",
        code="""
            import torch
            from transformer_lib import PositionalEncoding

            positions = PositionalEncoding(8, max_len=16).eval()
            x = torch.zeros(1, 4, 8)
            whole = positions(x)
            pieces = [positions(x[:, i : i + 1]) for i in range(4)]
            print((torch.cat(pieces, dim=1) != whole).any(dim=-1).sum().item())
        """,
        right="3",
        why="Without an `offset` every piece begins at position 0, which is right for the first token alone. "
        "A loss measured on whole sentences never takes this path.",
        wrong={
            "4": "this has the first token wrong too; it does stand at position 0",
            "1": "this has one token wrong only; the second, the third and the fourth all get the position 0",
            "0": "this takes the module to count along; it knows its offset only if it is told",
        },
        place="bug_museum",
    ),
    Question(
        text="Four functions of a sequence are asked for causality: no output may depend on a later input. Which "
        "names are printed?",
        code="""
            import torch
            from transformer_lib import laws

            torch.manual_seed(0)
            x, other = torch.randn(2, 1, 5, 3)  # (1, seq, features) each
            functions = {
                "p": lambda x: x.cumsum(dim=1),
                "q": lambda x: x.roll(1, dims=1),
                "r": lambda x: x.softmax(dim=1),
                "s": lambda x: x.softmax(dim=2),
            }
            found = {n: laws.causality(f, x, other) for n, f in functions.items()}
            print(*[name for name, verdict in found.items() if verdict.holds])
        """,
        right="p s",
        why="A running sum looks back only, and a softmax over the features looks at one token only. `roll` puts the "
        "last input first, and a softmax along the sequence divides by a sum over all of it.",
        wrong={
            "p q s": "roll looks one place back, but it wraps around: the first output is the last input",
            "p r s": "a softmax along the sequence has the later inputs in its denominator, as with a mask after the "
            "softmax",
            "p": "a softmax over the features never leaves its token, so that it cannot see a later one",
            "s": "a running sum depends on earlier inputs only, which causality permits",
        },
        place="bug_museum",
    ),
    Question(
        text="Two words with the values 2 and 4, two pads with 0, and all scores are equal. The padding mask is turned "
        "by one axis, as in bug 6. What comes out?",
        code="""
            import torch
            from transformer_lib import padding_mask
            from transformer_lib import scaled_dot_product_attention

            mask = padding_mask(torch.tensor([[5, 6, 0, 0]]), pad_id=0)
            q = k = torch.zeros(1, 1, 4, 2)
            v = torch.tensor([2.0, 4.0, 0.0, 0.0]).reshape(1, 1, 4, 1)
            turned = mask.transpose(-2, -1)
            output, _ = scaled_dot_product_attention(q, k, v, turned)
            print(output.flatten().tolist())
        """,
        right="[1.5, 1.5, 0.0, 0.0]",
        why="The turned mask speaks about queries: a word may look at all four keys, pads included, and a pad at "
        "nothing, which gives zero.",
        wrong={
            "[3.0, 3.0, 3.0, 3.0]": "this is the mask as it should be, which hides the pads as keys",
            "[3.0, 3.0, 0.0, 0.0]": "this hides the pads as keys and as queries; the turned mask leaves them as keys",
            "[1.5, 1.5, 1.5, 1.5]": "this is no mask at all; the turned one forbids the queries on pads everything",
        },
        place="bug_museum",
    ),
    Question(
        text="A module has `self.dropout = nn.Dropout(0.5)`. After `module.eval()`, which line of its `forward` breaks "
        "the law that two calls agree?",
        proof="""
            import torch
            import torch.nn.functional as F
            from torch import nn

            lines = ["F.dropout(x, 0.5)", "F.dropout(x, 0.5, self.training)",
                     "F.dropout(x, 0.5, False)", "self.dropout(x)"]

            class Module(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.dropout = nn.Dropout(0.5)

                def forward(self, line, x):
                    return eval(line)

            x, module = torch.ones(1000), Module().eval()
            print(*[a for a in lines if not torch.equal(module(a, x), x)])
        """,
        right="F.dropout(x, 0.5)",
        why="The function belongs to no module and cannot know the mode: left to itself it drops. Bug 7 is its "
        "relative in the fused attention.",
        wrong={
            "F.dropout(x, 0.5, self.training)": "this function is told the mode, and eval() has set it to False",
            "F.dropout(x, 0.5, False)": "this one never drops, which is a mistake in training and none in evaluation",
            "self.dropout(x)": "eval() reaches every module inside, and nn.Dropout is one",
        },
        place="bug_museum",
    ),
    Question(
        text="A sentence of 10 tokens has a loss of 4 at each of them, one of 30 tokens a loss of 2. They are padded "
        "into one batch. What is the loss per token?",
        proof="""
            import torch

            losses = [torch.full((10,), 4.0), torch.full((30,), 2.0)]
            print(f"{torch.cat(losses).mean():.2f}")
        """,
        right="2.50",
        why="The sum over the real tokens, 40 + 60, divided once by their number, 40. So the batch has the loss of its "
        "sentences, however they are grouped.",
        wrong={
            "3.00": "this is the mean of the two means, in which a short sentence's token counts three times",
            "1.67": "this divides by 60 places; 20 of them are padding, and do not count",
            "3.50": "this has the weights the wrong way round; 30 of the 40 tokens have the loss 2",
        },
        place="bug_museum",
    ),
    Question(
        text="A model with 16 heads divides its scores by the root of `d_model`, as in bug 9. What becomes of a "
        "score that should be 1?",
        proof="""
            import torch

            n_heads, d_head = 16, 4
            product = torch.tensor(1.0) * d_head**0.5  # its score is 1
            print((product / (n_heads * d_head) ** 0.5).item())
        """,
        right="0.25",
        why="The root of `d_model` is √16 = 4 times that of `d_head`, so every score is a fourth, and the softmax "
        "less decided. Nothing crashes, and every row still sums to one.",
        wrong={
            "0.0625": "this is 1/16; it is the root of the width that divides",
            "0.5": "this is what happens with four heads, as in the museum",
            "4.0": "this is the wrong way round; the model's width is the larger one, so the scores get smaller",
        },
        place="bug_museum",
    ),
    Question(
        text="A query that may attend to nothing, its scores filled with minus a billion. What does it get?",
        code="""
            import torch

            scores = torch.tensor([9.0, 1.0, 0.0])
            values = torch.tensor([10.0, 20.0, 60.0])
            forbidden = torch.tensor([True, True, True])
            weights = scores.masked_fill(forbidden, -1e9).softmax(dim=0)
            print(f"{weights @ values:.1f}")
        """,
        right="30.0",
        why="All three scores are the same, and a softmax looks at differences only: a third for each, the mean of "
        "what was forbidden. The law asks for zeros.",
        wrong={
            "0.0": "this is what the law asks for; the fill gives equal scores, which share the weight",
            "nan": "this is what minus infinity does; -1e9 is a number, and so is what comes out",
            "10.0": "this lets the score of 9 win; the fill has overwritten it",
        },
        place="bug_museum",
    ),
    Question(
        text="A stack for the law *layers are distinct*. How many parameters does it have?",
        code="""
            from torch import nn

            layer = nn.Linear(4, 4)
            stack = nn.ModuleList([layer] * 3)
            print(sum(p.numel() for p in stack.parameters()))
        """,
        right="20",
        why="`[layer] * 3` is one layer, named three times: 16 weights and 4 biases. It looks "
        "like a stack and has the weights of one layer, which is what the law sees.",
        wrong={
            "60": "this counts three layers; the list holds one and the same object three times",
            "48": "this counts three matrices without biases; the list holds one and the same layer three times",
            "16": "this is the one matrix; nn.Linear has a bias as well",
        },
        place="bug_museum",
    ),
    Question(
        text="This attention divides by the root of the wrong size. It is compared with torch's, for one `x` as query, "
        "key and value of shape `(batch, seq, width)`. With which `x` does the comparison show it?",
        code="""
            def wrong(x):
                scores = x @ x.transpose(-2, -1) / x.size(-2) ** 0.5
                return scores.softmax(dim=-1) @ x
        """,
        proof="""
            import torch
            import torch.nn.functional as F

            def wrong(x):
                scores = x @ x.transpose(-2, -1) / x.size(-2) ** 0.5
                return scores.softmax(dim=-1) @ x

            torch.manual_seed(0)
            inputs = ["torch.randn(2, 7, 7)", "torch.zeros(2, 5, 7)",
                      "torch.randn(2, 1, 7)", "torch.randn(2, 5, 7)"]
            for text in inputs:
                x = eval(text)
                right = F.scaled_dot_product_attention(x, x, x)
                if not torch.allclose(wrong(x), right, atol=1e-5):
                    print(text)
        """,
        right="torch.randn(2, 5, 7)",
        why="Sizes that are all different, numbers that are not small, more than one token: a test that cannot fail "
        "proves nothing.",
        wrong={
            "torch.randn(2, 7, 7)": "here length and width are equal, and so are their roots",
            "torch.zeros(2, 5, 7)": "here all scores are 0, and 0 divided by either root is 0",
            "torch.randn(2, 1, 7)": "here there is one key, which gets the whole weight whatever its score",
        },
        place="bug_museum",
    ),
]
