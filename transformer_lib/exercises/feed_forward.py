"""Exercises of chapter 6: rules, and one table at both ends."""

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def what_the_rule_gives(answer) -> dict:
    """The rule, asked of the 27 words of the chapter: units, tens and hundreds with amounts from 1 to 9."""
    kinds = torch.eye(3).repeat_interleave(9, dim=0)
    words = torch.cat([kinds, torch.arange(1.0, 10.0).repeat(3)[:, None]], dim=1)
    (unit, tens, hundred, amount), bias = answer()
    weights = torch.stack([torch.as_tensor(weight, dtype=torch.float) for weight in (unit, tens, hundred, amount)])
    given = (words @ weights + torch.as_tensor(bias, dtype=torch.float)).relu()
    fired = given.abs() > 1e-4
    return {
        "what *one* gives": given[0].item(),
        "how many of the 8 other units do not give 0": int(fired[1:9].sum()),
        "how many of the 18 tens and hundreds do not give 0": int(fired[9:].sum()),
    }


def layers() -> list[tuple]:
    """Tokens, and the matrices and biases of a network."""
    return [
        (
            torch.randn(batch, seq, d_model),
            torch.randn(d_model, d_ff),
            torch.randn(d_ff),
            torch.randn(d_ff, d_model),
            torch.randn(d_model),
        )
        for batch, seq, d_model, d_ff in ((1, 1, 2, 3), (2, 3, 4, 7))
    ]


def both_ends() -> list[tuple]:
    """Ids, a table and what stands between its two uses."""
    trials = []
    for batch, seq, vocab, width in ((1, 1, 3, 2), (2, 4, 7, 5)):
        matrix = torch.randn(width, width)

        def layers(x, matrix=matrix):
            return (x @ matrix).tanh() + x.mean(dim=1, keepdim=True)

        trials.append((torch.randint(vocab, (batch, seq)), torch.randn(vocab, width), layers))
    return trials


def lookups() -> list[tuple]:
    """An id alone, an id twice, then several, some of them more than once and some not at all."""
    ids = torch.randint(5, (2, 4))
    ids[:, 1] = ids[0, 0]
    return [
        (torch.tensor([[1]]), torch.randn(3, 2), torch.randn(1, 1, 3)),
        (torch.tensor([[1, 1]]), torch.randn(3, 2), torch.randn(1, 2, 3)),
        (ids, torch.randn(7, 3), torch.randn(2, 4, 7)),
    ]


def without_autograd(answer, ids: Tensor, table: Tensor, upstream: Tensor) -> dict:
    with torch.no_grad():
        return {"the gradient": answer(ids, table, upstream)}


def every_row_is_reached(answer, ids: Tensor, table: Tensor, upstream: Tensor) -> bool:
    return bool(answer(ids, table, upstream).abs().amax(dim=-1).min() > 0)


# fmt: off
EXERCISES = [
    Exercise(
        name="feed-forward.rule",
        title="A rule for one word",
        level="warm-up",
        minutes=3,
        statement="""
            Write a hidden unit that knows the word *one* alone. There are 27 words: units, tens and hundreds, each with
            the amounts 1 to 9. A word is its four features, three marks of its kind, of which one is 1 and two are 0,
            and the amount. The unit takes the ReLU of a weighted sum of the features and a bias; it shall give 1 for
            *one*, and 0 for the other 26 words. Fill in the numbers; any that do it are right.
            """,
        stub='''
            def my_rule():
                """The weights of the four features, and the bias."""
                weights = [0.0, 0.0, 0.0, 0.0]  # unit, tens, hundred, amount
                bias = 0.0
                return weights, bias
            ''',
        solution='''
            def my_rule():
                """The weights of the four features, and the bias."""
                weights = [2.0, 0.0, 0.0, -1.0]  # unit, tens, hundred, amount
                bias = 0.0
                return weights, bias
            ''',
        hints=["A larger amount has to push the sum down. Let being a unit lift it just enough that an amount of 1 "
               "leaves 1."],
        why="""
            *One* gives 2 − 1 = 1, *two* gives 0, and all others stay at or below zero, where the ReLU makes a zero of
            them. Many other numbers do it as well.
            """,
        wrongs=[
            Wrong("every unit gives something; a larger amount has to push the sum down, so that an amount of 2 leaves "
                  "nothing already", "[2.0, 0.0, 0.0, -1.0]", "[1.0, 0.0, 0.0, 0.0]"),
            Wrong("the larger units give something and *one* gives nothing; the weight of the amount has the wrong "
                  "sign", "[2.0, 0.0, 0.0, -1.0]", "[-1.0, -9.0, -9.0, 1.0]"),
            Wrong("it finds the amount 1 and forgets the kind: a ten and a hundred give 1 as well; the mark of the "
                  "unit has to lift the sum, and not the bias alone",
                  code="""
                  def my_rule():
                      return [0.0, 0.0, 0.0, -1.0], 2.0
                  """),
            Wrong("the sum is not above zero for any word, so that the ReLU lets nothing through, not even *one*; "
                  "being a unit has to lift it by more", "[2.0", "[1.0"),
            Wrong("*one* gives 2 and *two* still gives something: the sum is lifted by one too much", "[2.0", "[3.0"),
            Wrong("being a unit lifts the sum by 10, and no bias takes it down again: every unit gives something, and "
                  "*one* 9; lift it by less, or let the bias take off the rest", "[2.0", "[10.0"),
            Wrong("every word gives something; only *one* may, so let the amount push the sum down and the mark of the "
                  "unit lift it",
                  code="""
                  def my_rule():
                      return [0.0, 0.0, 0.0, 1.0], 0.0
                  """),
        ],
        inputs=lambda: [()],
        use=what_the_rule_gives,
    ),
    Exercise(
        name="feed-forward.network",
        title="Build the network",
        level="build it",
        minutes=4,
        statement="""
            Write equation 2 as a function before you read on. The matrices have the shapes of the table: a token is a
            row, so the product is `x @ w1`. There is no dropout and no residual connection in it.
            """,
        stub='''
            def my_feed_forward(x, w1, b1, w2, b2):
                """Tokens, (batch, seq, d_model), and the same out.

                w1, b1: (d_model, d_ff), (d_ff)
                w2, b2: (d_ff, d_model), (d_model)
                """
                ...
            ''',
        solution="""
            def my_feed_forward(x, w1, b1, w2, b2):
                hidden = (x @ w1 + b1).relu()  # (batch, seq, d_ff)
                return hidden @ w2 + b2
            """,
        hints=[
            "Two lines: the hidden units, as in `before_relu` and `hidden` above; and what they add.",
        ],
        why="""
            `x @ w1` works on the last axis and takes all others for a batch. So the function needs no word about
            sentences, and no token sees another.
            """,
        wrongs=[
            Wrong("there is no ReLU, and two matrices in a row are only one matrix", "(x @ w1 + b1).relu()",
                  "(x @ w1 + b1)"),
            Wrong("a second ReLU stands at the end, so that nothing can be made smaller; what the rules add may be "
                  "negative", "hidden @ w2 + b2", "(hidden @ w2 + b2).relu()"),
            Wrong("the ReLU stands at the end; it belongs in the middle, behind the conditions",
                  code="""
                  def my_feed_forward(x, w1, b1, w2, b2):
                      return ((x @ w1 + b1) @ w2 + b2).relu()
                  """),
            Wrong("the ReLU is applied to the tokens; it belongs behind the first matrix and its bias",
                  "(x @ w1 + b1).relu()", "x.relu() @ w1 + b1"),
            Wrong("the first bias comes after the ReLU, where it can no longer hold a rule down",
                  "(x @ w1 + b1).relu()", "(x @ w1).relu() + b1"),
            Wrong("the first bias is missing: the rules have no threshold", "x @ w1 + b1", "x @ w1"),
            Wrong("the second bias is missing", "hidden @ w2 + b2", "hidden @ w2"),
            Wrong("both biases are missing",
                  code="""
                  def my_feed_forward(x, w1, b1, w2, b2):
                      return (x @ w1).relu() @ w2
                  """),
            Wrong("x is added to what the network returns; the frame around it does that, and equation 2 does not",
                  "return hidden", "return x + hidden"),
            Wrong("the activation is GELU; equation 2 has ReLU", "(x @ w1 + b1).relu()", "F.gelu(x @ w1 + b1)"),
            Wrong("the hidden units share one softmax; each rule stands for itself, with a ReLU",
                  "(x @ w1 + b1).relu()", "(x @ w1 + b1).softmax(dim=-1)"),
            Wrong("the matrices are turned once too often: `nn.Linear` and `F.linear` keep them the other way round, "
                  "(out, in), and here they are (in, out), so that `x @ w1` fits",
                  code="""
                  def my_feed_forward(x, w1, b1, w2, b2):
                      return F.linear(F.linear(x, w1, b1).relu(), w2, b2)
                  """),
            Wrong("the hidden units go through a sigmoid; equation 2 has the ReLU, max(0, x)",
                  "(x @ w1 + b1).relu()", "(x @ w1 + b1).sigmoid()"),
            Wrong("the `max` of Python compares one number with another; for a tensor it is `relu()` or "
                  "`clamp(min=0)`", "(x @ w1 + b1).relu()", "max(0, x @ w1 + b1)"),
            Wrong("a bracket ends too early: the product binds more strongly than the sum, so that it is `b1` that "
                  "is multiplied by `w2`", "hidden @ w2 + b2", "(x @ w1).relu() + b1 @ w2 + b2"),
            Wrong("the tokens themselves go through a ReLU too, and are overwritten by it; it belongs on the hidden "
                  "units alone", "x @ w1 + b1", "x.relu_() @ w1 + b1"),
        ],
        inputs=layers,
    ),
    Exercise(
        name="feed-forward.table",
        title="One table, two factors",
        level="find the bug",
        minutes=6,
        statement="""
            This function shall run a model with a tied table, as in this section: the embeddings that enter are rows of
            the table times $\\sqrt{d_{model}}$, and a logit is the dot product of a final vector with a row as it is.
            `layers` stands for all that lies between, without positions. Two things are wrong with it. Mend both.
            """,
        stub='''
            def my_logits(ids, table, layers):
                """(batch, seq), (vocab, d_model) -> (batch, seq, vocab)."""
                scaled = table * math.sqrt(table.size(0))
                final = layers(scaled[ids])  # (batch, seq, d_model)
                return final @ scaled.T
            ''',
        solution='''
            def my_logits(ids, table, layers):
                """(batch, seq), (vocab, d_model) -> (batch, seq, vocab)."""
                embedded = table[ids] * math.sqrt(table.size(1))
                final = layers(embedded)  # (batch, seq, d_model)
                return final @ table.T
            ''',
        hints=[
            "Which axis of the table is as long as a token is wide?",
            "With a vocabulary of 37,000 and a width of 512: how large are the logits of the stub, compared with those "
            "of the section?",
        ],
        why="""
            A factor that belongs to one use of the table has to stay out of the other. Here it made all logits
            $\\sqrt{V}$ times too large, and a model that has learned nothing was sure of something: its first loss
            would have told, which the next section looks at.
            """,
        wrongs=[
            Wrong("the output still uses the scaled table, and the logits are too large by the root of d_model",
                  code="""
                  def my_logits(ids, table, layers):
                      scaled = table * math.sqrt(table.size(1))
                      return layers(scaled[ids]) @ scaled.T
                  """),
            Wrong("`*=` writes into the table itself, so that both ends have the scaled one, and every later call a "
                  "larger one; make a new tensor, with `*`",
                  code="""
                  def my_logits(ids, table, layers):
                      scaled = table
                      scaled *= math.sqrt(table.size(1))
                      return layers(scaled[ids]) @ table.T
                  """),
            Wrong("the factor is still the root of the vocabulary, the number of rows; it is the root of the width",
                  "table.size(1)", "table.size(0)"),
            Wrong("the factor stands at the output, and belongs at the input",
                  code="""
                  def my_logits(ids, table, layers):
                      return layers(table[ids]) @ table.T * math.sqrt(table.size(1))
                  """),
            Wrong("there is no factor any more; the embeddings that enter are rows times the root of d_model",
                  " * math.sqrt(table.size(1))", ""),
            Wrong("the embeddings are multiplied by d_model itself, and not by its root", "math.sqrt(table.size(1))",
                  "table.size(1)"),
            Wrong("the embeddings are divided by the root of d_model; that is what attention does with its scores, and "
                  "here it is a factor", "table[ids] * math", "table[ids] / math"),
            Wrong("the logits are divided by the root of d_model; here a logit is a dot product as it is",
                  "final @ table.T", "final @ table.T / math.sqrt(table.size(1))"),
            Wrong("these are probabilities; logits are the scores before the softmax", "final @ table.T",
                  "(final @ table.T).softmax(dim=-1)"),
            Wrong("both mistakes are still there: the factor is the root of the number of rows, and the output uses "
                  "the scaled table",
                  code="""
                  def my_logits(ids, table, layers):
                      scaled = table * math.sqrt(len(table))
                      return layers(scaled[ids]) @ scaled.T
                  """),
        ],
        inputs=both_ends,
    ),
    Exercise(
        name="feed-forward.tied",
        title="The gradient of a table with two uses",
        level="one that hurts",
        minutes=20,
        statement="""
            Take a tied model in which nothing lies between the two ends: the embeddings are rows of the table times
            $\\sqrt{d_{model}}$, and the logits are their dot products with all rows of the same table, without a bias.
            `upstream` is the gradient of the loss with respect to the logits. Return the gradient of the loss with
            respect to the table. Write it as a formula, with matrix products, and with loops if you like; autograd is
            switched off when yours is checked.
            """,
        stub='''
            def my_table_gradient(ids, table, upstream):
                """Gradient of the table, (vocab, d_model).

                ids: (batch, seq), some of them more than once
                table: (vocab, d_model)
                upstream: (batch, seq, vocab)
                """
                ...
            ''',
        solution="""
            def my_table_gradient(ids, table, upstream):
                root = math.sqrt(table.size(1))
                ids, upstream = ids.flatten(), upstream.flatten(0, 1)
                as_output = upstream.T @ (table[ids] * root)
                to_rows = (upstream @ table) * root  # (batch * seq, d_model)
                as_input = torch.zeros_like(table).index_add(0, ids, to_rows)
                return as_output + as_input
            """,
        hints=[
            "A table that is used twice gets two gradients, and they are added. Do first as if the output had a table "
            "of its own, then as if the input had.",
            "Of logits `x @ table.T` the gradient of the table is `upstream.T @ x`, and that of `x` is "
            "`upstream @ table`. The second belongs to the rows that were looked up; a row that was looked up twice "
            "gets both: `gradient[ids] += ...` would keep one of them, and `index_add` adds them all.",
            "Looking up is a product with one-hot vectors; so the way back is a product with the same, transposed.",
        ],
        why="""
            The output reaches every row, also those of words that were not read; the lookup adds something to the rows
            that were read, once for each time. An assignment `gradient[ids] = ...` keeps only the last of them. The
            factor stands in both terms, once each.
            """,
        wrongs=[
            Wrong("the term of the input is missing: the rows that were looked up get something from there too",
                  "as_output + as_input", "as_output"),
            Wrong("the term of the output is missing, where the table is used as well and every row is reached",
                  "as_output + as_input", "as_input"),
            Wrong("a row that is looked up several times keeps one of its gradients only; an assignment by index "
                  "overwrites, or adds once, and they have to be summed",
                  code="""
                  def my_table_gradient(ids, table, upstream):
                      root = math.sqrt(table.size(1))
                      ids, upstream = ids.flatten(), upstream.flatten(0, 1)
                      gradient = upstream.T @ table[ids] * root
                      last = {int(i): row for i, row in zip(ids, upstream @ table * root)}
                      for i, row in last.items():
                          gradient[i] += row
                      return gradient
                  """),
            Wrong("`index_add` wants one row of ids, with a row of the gradient for each; these are still (batch, "
                  "seq), so flatten both first",
                  code="""
                  def my_table_gradient(ids, table, upstream):
                      root = math.sqrt(table.size(1))
                      x = table[ids] * root
                      gradient = upstream.flatten(0, 1).T @ x.flatten(0, 1)
                      to_rows = upstream @ table * root
                      return gradient.index_add(0, ids, to_rows)
                  """),
            Wrong("the factor, the root of d_model, is missing in the term of the output: what is multiplied there is "
                  "the scaled embedding", "(table[ids] * root)", "table[ids]"),
            Wrong("the factor, the root of d_model, is missing in the term of the input: it stands between the row and "
                  "the embedding", "(upstream @ table) * root", "upstream @ table"),
            Wrong("the factor, the root of d_model, is missing in both terms", "math.sqrt(table.size(1))", "1.0"),
            Wrong("the factor is the root of the vocabulary, the number of rows; it is the root of the width",
                  "table.size(1)", "table.size(0)"),
            Wrong("the factor is squared; each of the two terms has it once", "math.sqrt(table.size(1))",
                  "table.size(1)"),
            Wrong("the two terms are averaged; the gradients of two uses are added", "as_output + as_input",
                  "(as_output + as_input) / 2"),
            Wrong("autograd is switched off here; write the gradient as a formula",
                  code="""
                  def my_table_gradient(ids, table, upstream):
                      table = table.clone().requires_grad_()
                      logits = table[ids] * math.sqrt(table.size(1)) @ table.T
                      return torch.autograd.grad(logits, table, upstream)[0]
                  """),
            Wrong("the factor stands twice in the term of the input: the table that makes the logits is not scaled",
                  "(upstream @ table) * root", "(upstream @ table) * root**2"),
            Wrong("the gradient is divided by the number of tokens; it is a sum over them",
                  "as_output + as_input", "(as_output + as_input) / len(ids)"),
        ],
        inputs=lookups,
        use=without_autograd,
        laws=[Law("tied, every row of the table receives a gradient", every_row_is_reached)],
    ),
]
