"""Exercises of chapter 7: a layer, a stack, and how far it reaches."""

import torch
from torch import Tensor, nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.exercises.exercise import Exercise, Law, Wrong
from transformer_lib.layers import FeedForward, LayerNorm


def parts_of_a_layer() -> list[tuple]:
    """Tokens and the parts of a layer, each with weights of its own, those of the two norms too."""
    trials = []
    for batch, seq, d_model, n_heads, d_ff in ((1, 2, 2, 1, 3), (2, 5, 6, 3, 7)):
        attention, feed_forward = MultiHeadAttention(d_model, n_heads), FeedForward(d_model, d_ff)
        norms = LayerNorm(d_model), LayerNorm(d_model)
        for part in (attention, feed_forward, *norms):
            for parameter in part.parameters():
                nn.init.normal_(parameter).requires_grad_(False)
        trials.append((torch.randn(batch, seq, d_model), attention, feed_forward, *norms))
    return trials


def makers() -> list[tuple]:
    def make_layer():
        return nn.Linear(2, 3)

    return [(make_layer, 1), (make_layer, 2), (make_layer, 5)]


def what_a_stack_holds(answer, make_layer, n_layers: int) -> dict:
    stack = answer(make_layer, n_layers)
    numbers = sum(parameter.numel() for parameter in stack.parameters())
    return {
        "how many layers it has": len(stack),
        "how many of them are different objects": len({id(layer) for layer in stack}),
        "how many numbers its parameters() find": numbers,
        "how many different starts its layers have": len({layer.weight.sum().item() for layer in stack}),
        "whether all of it can learn": all(parameter.requires_grad for parameter in stack.parameters()),
    }


def permissions() -> list[tuple]:
    """Masks of one layer, of two and of four; the rows of some permit nothing."""
    one = torch.tensor([[[False, True], [False, False]]])
    two = torch.zeros(2, 3, 3, dtype=torch.bool)
    two[0, 0, 1] = two[1, 1, 2] = two[1, 2, 0] = True
    ring = torch.eye(7, dtype=torch.bool).roll(1, dims=1)
    several = torch.stack([torch.rand(7, 7) < 0.15 for _ in range(4)])
    several[0, 0, 0] = True  # at least one looks at itself: then a diagonal added twice is one added too many
    return [(one,), (two,), (ring[None].repeat(3, 1, 1),), (several,)]


def what_is_seen_in_one_layer_is_reached(answer, masks: Tensor) -> bool:
    return bool((answer(masks) | ~masks.any(dim=0)).all())


# fmt: off
EXERCISES = [
    Exercise(
        name="encoder.layer",
        title="Build the layer in two lines",
        level="build it",
        minutes=4,
        statement="""
            Write the layer that we have just gone through by hand as one function, with its two sublayers in post-norm
            form. It gets its parts as functions: `attention(query, key, value)`, `feed_forward(x)`, and a norm for each
            of the two sublayers, `norm_1(x)` and `norm_2(x)`, which have weights of their own. There is no mask and no
            dropout.
            """,
        stub='''
            def my_layer(x, attention, feed_forward, norm_1, norm_2):
                """(batch, seq, d_model) -> (batch, seq, d_model)."""
                ...
            ''',
        solution="""
            def my_layer(x, attention, feed_forward, norm_1, norm_2):
                x = norm_1(x + attention(x, x, x))
                return norm_2(x + feed_forward(x))
            """,
        hints=[
            "One line for each sublayer, and both have the same form: the norm of a sum. What does the second line "
            "add, and to what?",
        ],
        why="""
            The second line reads what the first one wrote, and adds to it. With `x = ...` there is only one name for
            the stream, so that nothing old can be added by mistake.
            """,
        wrongs=[
            Wrong("that is pre-norm: the sublayers read norms, and the sums are left as they are; the layer by hand "
                  "takes the norm of each sum",
                  code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      normed = norm_1(x)
                      x = x + attention(normed, normed, normed)
                      return x + feed_forward(norm_2(x))
                  """, source="https://github.com/harvardnlp/annotated-transformer/issues/92"),
            Wrong("the second sum adds to the token as it came in, and what attention brought is lost from the stream; "
                  "add to the result of the first line",
                  code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      gathered = norm_1(x + attention(x, x, x))
                      return norm_2(x + feed_forward(gathered))
                  """),
            Wrong("the feed-forward network reads the tokens as they came in; it has to read what attention has "
                  "gathered, after the first norm",
                  code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      gathered = norm_1(x + attention(x, x, x))
                      return norm_2(gathered + feed_forward(x))
                  """),
            Wrong("both sublayers read the same tokens, side by side; the second has to work on what the first brought",
                  code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      return norm_2(norm_1(x + attention(x, x, x) + feed_forward(x)))
                  """),
            Wrong("neither sublayer has its residual connection: what it returns is added to what it read",
                  code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      x = norm_1(attention(x, x, x))
                      return norm_2(feed_forward(x))
                  """),
            Wrong("the first residual connection is missing: x is not added to what attention returns",
                  "x + attention", "attention"),
            Wrong("the second residual connection is missing: what the network returns replaces the token",
                  "x + feed_forward", "feed_forward"),
            Wrong("the norms act on what the sublayers return, before the sum; here each is the norm of a sum",
                  code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      x = x + norm_1(attention(x, x, x))
                      return x + norm_2(feed_forward(x))
                  """),
            Wrong("the first norm is missing", "norm_1(x + attention(x, x, x))", "x + attention(x, x, x)"),
            Wrong("the last norm is missing", "norm_2(x + feed_forward(x))", "x + feed_forward(x)"),
            Wrong("there are no norms", code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      x = x + attention(x, x, x)
                      return x + feed_forward(x)
                  """),
            Wrong("the first norm is used twice; the second has weights of its own", "norm_2(x", "norm_1(x"),
            Wrong("the two norms have changed places",
                  code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      x = norm_2(x + attention(x, x, x))
                      return norm_1(x + feed_forward(x))
                  """),
            Wrong("the network comes first: a token has to gather before there is something to think over",
                  code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      x = norm_1(x + feed_forward(x))
                      return norm_2(x + attention(x, x, x))
                  """),
            Wrong("attention gets the tokens once; it wants them three times, as query, key and value",
                  "attention(x, x, x)", "attention(x)"),
            Wrong("the network reads the sum before it was normalised; it reads what the first norm gives", code="""
                  def my_layer(x, attention, feed_forward, norm_1, norm_2):
                      gathered = x + attention(x, x, x)
                      return norm_2(norm_1(gathered) + feed_forward(gathered))
                  """),
        ],
        inputs=parts_of_a_layer,
    ),
    Exercise(
        name="encoder.stack",
        title="A stack with a fault",
        level="find the bug",
        minutes=5,
        statement="""
            This function shall make the layers of a stack, an `nn.ModuleList` or another container of torch that one
            can go through in a loop. At the start each layer shall have random weights that are its own, as each call
            of `make_layer()` gives them. The stack runs and is as deep as it should be. One thing is wrong with the
            function. Mend it.
            """,
        stub='''
            def my_stack(make_layer, n_layers):
                """An nn.ModuleList of n_layers layers."""
                layer = make_layer()
                return nn.ModuleList([layer] * n_layers)
            ''',
        solution='''
            def my_stack(make_layer, n_layers):
                """An nn.ModuleList of n_layers layers."""
                return nn.ModuleList(make_layer() for _ in range(n_layers))
            ''',
        hints=[
            "How many layers are made? Count the calls of `make_layer`.",
            "A list times a number holds the same object several times. A copy would be another object, but with the "
            "same start.",
        ],
        why="""
            `[layer] * n` is one layer with n names, and its weights get the sum of n gradients. Copies learn for
            themselves, but all start alike. A call for each layer is the simple way to have neither.
            """,
        wrongs=[
            Wrong("it is still one and the same layer, n times; make a new one for each place",
                  code="""
                  def my_stack(make_layer, n_layers):
                      layer = make_layer()
                      return nn.ModuleList(layer for _ in range(n_layers))
                  """),
            Wrong("the layers are copies: they learn for themselves, but all start with the same weights; call "
                  "`make_layer` for each",
                  code="""
                  def my_stack(make_layer, n_layers):
                      import copy
                      layer = make_layer()
                      layers = [copy.deepcopy(layer) for _ in range(n_layers)]
                      return nn.ModuleList(layers)
                  """, source="https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoder.html"),
            Wrong("this is a plain list, in which a module does not find the parameters of its layers; put it into an "
                  "`nn.ModuleList`", code="""
                  def my_stack(make_layer, n_layers):
                      return [make_layer() for _ in range(n_layers)]
                  """),
            Wrong("there is one layer too many", "range(n_layers)", "range(n_layers + 1)"),
            Wrong("there is one layer too few", "range(n_layers)", "range(n_layers - 1)"),
            Wrong("there is one layer only, whatever n_layers says", "make_layer() for _ in range(n_layers)",
                  "[make_layer()]"),
            Wrong("the list holds `make_layer` itself, and no layers; call it, with `()`", "make_layer() for",
                  "make_layer for"),
        ],
        inputs=makers,
        use=what_a_stack_holds,
    ),
    Exercise(
        name="encoder.window",
        title="How far back?",
        level="warm-up",
        minutes=3,
        statement="""
            An encoder of three layers has a mask that permits each token itself and the two before it, in every layer.
            A sentence has 100 tokens. On how many of them, itself included, can the output for the last one depend?
            """,
        stub="tokens_reached = None  # a whole number",
        solution="tokens_reached = 1 + 2 * 3",
        hints=["After one layer it is three. What do the farthest two of these three know after one layer?"],
        why="""
            Each layer reaches two tokens further back: 1 + 2 + 2 + 2. A mask that keeps each look short does not keep
            the stack from seeing far, as what was gathered in one layer is passed on in the next.
            """,
        wrongs=[
            Wrong("that is one layer; the tokens that it looks at have in the layer before looked further back",
                  code="tokens_reached = 3"),
            Wrong("that counts the tokens before it, two for a layer; its own is one more", code="tokens_reached = 6"),
            Wrong("that is three for each layer; but the first of each three was reached by the layer before",
                  code="tokens_reached = 9"),
            Wrong("that multiplies by three in each layer; most of the places are the same ones, reached on several "
                  "ways", code="tokens_reached = 27"),
            Wrong("that doubles with each layer, which takes a token that may look as far as it likes; here no look "
                  "goes further than two places", code="tokens_reached = 8"),
            Wrong("that is the reach of two layers", code="tokens_reached = 5"),
            Wrong("the whole sentence would be reached without a mask; here each layer goes two places further, and "
                  "there are three", code="tokens_reached = 100"),
        ],
    ),
    Exercise(
        name="encoder.reach",
        title="Who can know of whom?",
        level="one that hurts",
        minutes=15,
        statement="""
            Now for any masks, and another one in each layer. `masks` is boolean, (n_layers, seq, seq), the first layer
            first; a row is a query, a column a key, and `True` permits. Return a boolean table, (seq, seq): `True` at
            *i*, *j* where what the last layer says of token *i* can depend on what the first layer was given for token
            *j*. The residual connections are there, so a token always keeps what it has, even where a mask forbids it
            to look at itself.

            For example, let 1 look at 2 in the first layer, 0 look at 1 in the second, and permit nothing else. Then 0
            can depend on 2. With the two masks exchanged it cannot. (torch has no matrix product of booleans; convert
            them to numbers first.)
            """,
        stub='''
            def my_reach(masks):
                """(n_layers, seq, seq), boolean -> (seq, seq), boolean."""
                ...
            ''',
        solution="""
            def my_reach(masks):
                reach = torch.eye(masks.size(1), dtype=torch.bool)
                for mask in masks:
                    new = mask.float() @ reach.float() > 0
                    reach = reach | new
                return reach
            """,
        hints=[
            "Before the first layer a token depends on itself alone. Keep a table of who depends on whom, and let each "
            "layer change it.",
            "In a layer, *i* gets from each *k* that it may look at all that *k* depended on so far. That is a product "
            "of two tables, in which you ask only whether an entry is larger than 0.",
        ],
        why="""
            The table of a stack is a product of the tables of its layers, each with the diagonal that the residual
            connection adds, and the last layer stands on the left. So a leak need not be in a single mask: two masks
            may each be harmless, and together hand on what neither shows.
            """,
        wrongs=[
            Wrong("the residual connection is missing: a token keeps what it had, whether it may look at itself or not",
                  "reach | new", "new"),
            Wrong("the residual connection stands only at the end; each layer has one, so that what a token has "
                  "gathered stays with it where the next mask forbids", code="""
                  def my_reach(masks):
                      same = torch.eye(masks.size(1), dtype=torch.bool)
                      reach = same
                      for mask in masks:
                          reach = mask.float() @ reach.float() > 0
                      return reach | same
                  """),
            Wrong("torch has no matrix product of booleans; multiply numbers, `mask.float() @ reach.float()`, and ask "
                  "what is larger than 0", "mask.float() @ reach.float() > 0", "mask @ reach"),
            Wrong("that is what some layer permits directly; a token also gets what those it looks at have gathered "
                  "before", code="""
                  def my_reach(masks):
                      seen = masks.any(dim=0)
                      return seen | torch.eye(masks.size(1), dtype=torch.bool)
                  """),
            Wrong("that is what some layer permits directly, without the residual connection and without what is "
                  "handed on", code="""
                  def my_reach(masks):
                      return masks.any(dim=0)
                  """),
            Wrong("that is what all layers permit; one layer is enough to look, and the others hand on",
                  code="""
                  def my_reach(masks):
                      return masks.all(dim=0)
                  """),
            Wrong("the layers are taken in the wrong order: what a layer permits acts on what was gathered before it; "
                  "its mask stands on the left", "mask.float() @ reach.float()", "reach.float() @ mask.float()"),
            Wrong("rows and columns are exchanged: a row is the one that looks", "in masks:", "in masks.flip(0).mT:"),
            Wrong("queries and keys are exchanged in the masks: the row is the one that looks", "in masks:",
                  "in masks.mT:"),
            Wrong("the numbers count on how many ways something arrives; what is asked is a boolean, whether it can",
                  code="""
                  def my_reach(masks):
                      ways = torch.eye(masks.size(1))
                      for mask in masks:
                          ways = ways + mask.float() @ ways
                      return ways
                  """),
            Wrong("only the last layer is looked at", "in masks:", "in masks[-1:]:"),
            Wrong("the first layer is left out", "in masks:", "in masks[1:]:"),
            Wrong("the layers go on for ever: this is what could be reached with as many layers as one likes",
                  "in masks:", "in masks.repeat(9, 1, 1):"),
            Wrong("these are the numbers of ways, each layer with the diagonal, and not whether there is one; ask "
                  "which are larger than 0", code="""
                  def my_reach(masks):
                      same = torch.eye(masks.size(1))
                      ways = same
                      for mask in masks:
                          ways = (mask | same.bool()).float() @ ways
                      return ways
                  """),
            Wrong("the table is right, but the diagonal was written into `masks`; make a new mask, `mask | same`",
                  code="""
                  def my_reach(masks):
                      same = torch.eye(masks.size(1), dtype=torch.bool)
                      reach = same
                      for mask in masks:
                          mask |= same
                          reach = mask.float() @ reach.float() > 0
                      return reach
                  """),
        ],
        inputs=permissions,
        laws=[Law("whom a token may look at in one layer, of that one it can know",
                  what_is_seen_in_one_layer_is_reached)],
    ),
]
