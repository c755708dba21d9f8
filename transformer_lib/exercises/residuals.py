"""Exercises of chapter 5: the sum, the norm, and where to put it."""

import torch
from torch import Tensor, nn

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def tokens_to_normalise() -> list[tuple]:
    """One token, then several, of which some hardly vary and one is constant; then with another eps."""
    x = torch.randn(2, 4, 3)
    x[:, 1] *= 3e-3
    x[1, 2] = 2.0
    weight, bias = torch.randn(3), torch.randn(3)
    return [
        (torch.tensor([[[1.0, 4.0]]]) + torch.rand(1, 1, 2), torch.randn(2), torch.randn(2)),
        (x, weight, bias),
        (torch.randn(2, 3, 5), torch.randn(5), torch.randn(5), 0.5),
    ]


def pattern_alone_counts(answer, *inputs) -> bool:
    x, weight, bias = 100 * torch.randn(2, 3, 5), torch.randn(5), torch.randn(5)
    return torch.allclose(answer(x, weight, bias), answer(3 * x + 7, weight, bias), rtol=1e-3, atol=1e-3)


def frames() -> list[tuple]:
    """Tokens, a sublayer that mixes them, a norm, and a dropout that always drops the same places."""
    trials = []
    for shape in ((1, 1, 2), (2, 3, 5)):
        width = shape[-1]
        matrix, weight, bias = torch.randn(width, width), torch.randn(width), torch.randn(width)
        kept = torch.rand(shape) < 0.5
        kept[..., 0], kept[..., 1] = True, False

        def sublayer(x, matrix=matrix):
            return (x + x.mean(dim=1, keepdim=True)) @ matrix + 1

        def norm(x, weight=weight, bias=bias):
            return nn.functional.layer_norm(x, weight.shape, weight, bias)

        def dropout(x, kept=kept):
            return 2 * x * kept

        trials.append((torch.randn(shape) + 2, sublayer, norm, dropout))
    return trials


def nothing_added_nothing_changed(answer, x: Tensor, sublayer, norm, dropout) -> bool:
    return torch.allclose(answer(x, torch.zeros_like, norm, dropout), x)


def gradients_from_above() -> list[tuple]:
    x = torch.tensor([[1.0, 2.0, 5.0]]) + torch.rand(1, 3)
    hardly_varies = 3e-3 * torch.randn(2, 5)  # eps counts there
    return [
        (x, torch.randn(1, 3)), (3 * torch.randn(2, 4, 7), torch.randn(2, 4, 7)), (hardly_varies, torch.randn(2, 5)),
    ]  # fmt: skip


def without_autograd(answer, x: Tensor, upstream: Tensor) -> dict:
    with torch.no_grad():
        return {"the gradient": answer(x, upstream)}


def stretched_token_has_small_gradient(answer, x: Tensor, upstream: Tensor) -> bool:
    x, upstream = 1e5 * x.double(), upstream.double()
    return torch.allclose(10 * answer(10 * x, upstream), answer(x, upstream), rtol=1e-3)


# fmt: off
EXERCISES = [
    Exercise(
        name="residuals.growth",
        title="Ten plus signs",
        level="warm-up",
        minutes=2,
        statement="""
            Ten sublayers stand one behind the other, each with a residual connection, $x + \\mathrm{sublayer}(x)$.
            Each sublayer returns exactly what it reads. How many times as large as at the start is the token at the
            end?
            """,
        stub="times = None  # a whole number",
        solution="times = 2**10",
        hints=["What does the second sublayer read: the token of the start, or the sum after the first?"],
        why="""
            Every sublayer reads the running sum and adds as much again, so each of the ten doubles it: 1,024. A plain
            sum of ten equal updates would give 11. Updates that grow with what they are added to are the price of the
            plus sign.
            """,
        wrongs=[
            Wrong("that is the start and ten copies of it; but the second sublayer reads the sum, which is larger "
                  "already, and adds that", code="times = 11"),
            Wrong("that counts the ten updates as if each were the token of the start, and leaves out the start itself",
                  code="times = 10"),
            Wrong("without the plus sign the token would stay as it is; here what a sublayer returns is added to it",
                  code="times = 1"),
            Wrong("that is what the last of the ten adds; the sum that it is added to counts as well",
                  code="times = 512"),
            Wrong("that is what ten sublayers add; the token of the start is still in the sum", code="times = 1023"),
            Wrong("doubled ten times is 2 to the power of 10, and this is 2 times 10", code="times = 20"),
            Wrong("ten times ten is what ten tenfold updates would add; each sublayer doubles what it reads",
                  code="times = 100"),
        ],
    ),
    Exercise(
        name="residuals.layer_norm",
        title="Build layer norm",
        level="build it",
        minutes=8,
        statement="""
            Write the formula above as a function before you read on. `x` has any number of axes; the last holds the
            features of a token. The variance is the mean of the squared deviations, as in step 3, and `eps` stands
            under the root. Use sums, means and roots, and no finished norm.
            """,
        stub='''
            def my_layer_norm(x, weight, bias, eps=1e-5):
                """(..., d_model), (d_model), (d_model) -> (..., d_model)."""
                ...
            ''',
        solution="""
            def my_layer_norm(x, weight, bias, eps=1e-5):
                deviation = x - x.mean(dim=-1, keepdim=True)
                variance = deviation.square().mean(dim=-1, keepdim=True)
                return deviation / (variance + eps).sqrt() * weight + bias
            """,
        hints=[
            "Every token has a mean of its own. `x.mean(dim=-1, keepdim=True)` has the shape (..., 1), and can be "
            "subtracted from all its features.",
            "Four lines do: the deviation from the mean; the mean of its squares; divide by the root; times weight, "
            "plus bias.",
        ],
        why="""
            Mean and variance belong to a token, weight and bias to a feature: the first two are taken over the last
            axis, the last two are spread over all others.
            """,
        wrongs=[
            Wrong("the variance is divided by d - 1, as `var` and `std` do unless you say `correction=0`; here it is "
                  "the plain mean of the squares", "deviation.square().mean(dim=-1, keepdim=True)",
                  "x.var(dim=-1, keepdim=True)", source="https://github.com/codertimo/BERT-pytorch/issues/30"),
            Wrong("eps is added to the root; it belongs under it, to the variance", "(variance + eps).sqrt()",
                  "(variance.sqrt() + eps)"),
            Wrong("two slips that often come together: `std` divides by d - 1, and eps is added outside the root",
                  "(variance + eps).sqrt()", "(x.std(dim=-1, keepdim=True) + eps)",
                  source="https://github.com/harvardnlp/annotated-transformer/issues/122"),
            Wrong("there is no eps: a token whose features are all equal is 0 divided by 0", "(variance + eps).sqrt()",
                  "variance.sqrt()"),
            Wrong("eps is always 1e-5 here, whatever the caller passes", "variance + eps", "variance + 1e-5"),
            Wrong("it divides by the variance; divide by its root", "(variance + eps).sqrt()", "(variance + eps)"),
            Wrong("the squares are summed and not averaged: the root is too large by the root of d",
                  "square().mean", "square().sum"),
            Wrong("the mean is subtracted and nothing is divided", " / (variance + eps).sqrt()", ""),
            Wrong("the mean is still in it: it is subtracted for the variance, and not from what is divided",
                  "deviation / (", "x / ("),
            Wrong("no mean is subtracted, not even for the variance (that is another norm, RMSNorm)",
                  "x - x.mean(dim=-1, keepdim=True)", "x"),
            Wrong("mean and variance run over the tokens of a sentence; they belong to one token, the last axis",
                  code="""
                  def my_layer_norm(x, weight, bias, eps=1e-5):
                      deviation = x - x.mean(dim=1, keepdim=True)
                      variance = deviation.square().mean(dim=1, keepdim=True)
                      return deviation / (variance + eps).sqrt() * weight + bias
                  """),
            Wrong("one mean and one variance are taken of all numbers in x together; without `dim=-1` the tokens share "
                  "them",
                  code="""
                  def my_layer_norm(x, weight, bias, eps=1e-5):
                      deviation = x - x.mean()
                      variance = deviation.square().mean()
                      return deviation / (variance + eps).sqrt() * weight + bias
                  """),
            Wrong("each feature is normalised over all tokens of the batch; layer norm takes the features of one token",
                  code="""
                  def my_layer_norm(x, weight, bias, eps=1e-5):
                      rows = x.flatten(0, -2)
                      deviation = x - rows.mean(dim=0)
                      variance = rows.var(dim=0, correction=0)
                      return deviation / (variance + eps).sqrt() * weight + bias
                  """),
            Wrong("mean and variance run over the sentences of the batch, axis 0, as in batch norm; they belong to one "
                  "token, the last axis",
                  code="""
                  def my_layer_norm(x, weight, bias, eps=1e-5):
                      deviation = x - x.mean(dim=0, keepdim=True)
                      variance = deviation.square().mean(dim=0, keepdim=True)
                      return deviation / (variance + eps).sqrt() * weight + bias
                  """),
            Wrong("the mean has lost its last axis and does not fit to x any more; `keepdim=True` keeps it, as a 1",
                  code="""
                  def my_layer_norm(x, weight, bias, eps=1e-5):
                      deviation = x - x.mean(dim=-1)
                      variance = deviation.square().mean(dim=-1)
                      return deviation / (variance + eps).sqrt() * weight + bias
                  """),
            Wrong("weight and bias are not used: stretch by the one, then shift by the other", " * weight + bias", ""),
            Wrong("the bias is not added", " + bias", ""),
            Wrong("the bias is added before the weight stretches it; stretch first, then shift",
                  "return deviation / (variance + eps).sqrt() * weight + bias",
                  "return (deviation / (variance + eps).sqrt() + bias) * weight"),
            Wrong("the variance is taken around 0 and not around the mean: square the deviations, and not `x` "
                  "itself", "deviation.square()", "x.square()"),
            Wrong("the deviations are not squared: their absolute values are no variance",
                  "deviation.square()", "deviation.abs()"),
        ],
        inputs=tokens_to_normalise,
        laws=[Law("only the pattern counts: a token stretched and shifted gives the same", pattern_alone_counts)],
    ),
    Exercise(
        name="residuals.pre_norm",
        title="A stream that is not plain",
        level="find the bug",
        minutes=5,
        statement="""
            This function shall be the pre-norm frame, with dropout on what the sublayer adds. It runs, and the shapes
            are right. `sublayer`, `norm` and `dropout` are functions from tokens to tokens. Two things are wrong with
            it. Mend both.
            """,
        stub='''
            def my_pre_norm(x, sublayer, norm, dropout):
                """(batch, seq, d_model) -> (batch, seq, d_model)."""
                x = norm(x)
                return dropout(x + sublayer(x))
            ''',
        solution='''
            def my_pre_norm(x, sublayer, norm, dropout):
                """(batch, seq, d_model) -> (batch, seq, d_model)."""
                return x + dropout(sublayer(norm(x)))
            ''',
        hints=[
            "If the sublayer returned zeros, what should come out? What does come out?",
            "Which of the two, the sum or the sublayer, is to get the normalised copy?",
        ],
        why="""
            The test with a sublayer that returns zeros finds both faults: with pre-norm the stream is a plain sum, so
            nothing added means nothing changed. A name that is assigned anew, `x = norm(x)`, is how the untouched
            token gets lost.
            """,
        wrongs=[
            Wrong("what is added to is the normalised copy; the stream itself has to pass untouched, so keep x and "
                  "give only the sublayer norm(x)", "x + dropout", "norm(x) + dropout"),
            Wrong("dropout still acts on the whole sum, and drops features of the stream; it belongs on what the "
                  "sublayer returns", "x + dropout(sublayer(norm(x)))", "dropout(x + sublayer(norm(x)))"),
            Wrong("that is post-norm: the norm comes after the sum; with pre-norm the sublayer reads norm(x)",
                  "x + dropout(sublayer(norm(x)))", "norm(x + dropout(sublayer(x)))",
                  source="https://github.com/harvardnlp/annotated-transformer/issues/92"),
            Wrong("the norm stands behind the sublayer; pre-norm normalises what the sublayer reads",
                  "x + dropout(sublayer(norm(x)))", "x + dropout(norm(sublayer(x)))"),
            Wrong("the residual connection is gone: x itself is not added", "x + dropout", "dropout"),
            Wrong("there is no norm left: the sublayer has to read norm(x)", "sublayer(norm(x))", "sublayer(x)"),
            Wrong("there is no dropout left; it belongs on what the sublayer returns", "dropout(sublayer(norm(x)))",
                  "sublayer(norm(x))"),
            Wrong("dropout acts on what the sublayer reads; it belongs on what the sublayer returns",
                  "dropout(sublayer(norm(x)))", "sublayer(dropout(norm(x)))"),
            Wrong("the sum is right, but `x += ...` writes into the tokens that were handed in; write `x = x + ...`",
                  "return x + dropout(sublayer(norm(x)))", "x += dropout(sublayer(norm(x)))\n    return x"),
        ],
        inputs=frames,
        laws=[Law("the stream is a plain sum, and a sublayer that returns zeros changes nothing",
                  nothing_added_nothing_changed)],
    ),
    Exercise(
        name="residuals.gradient",
        title="What comes back through a norm",
        level="one that hurts",
        minutes=20,
        statement="""
            How does a gradient pass through layer norm? Let $y$ be the layer norm of $x$ along the last axis, without
            weight and bias and with `eps` under the root. `upstream` is the gradient of the loss with respect to $y$,
            with one number for each number of $y$; return that with respect to $x$, which has the same shape. The mean
            and the variance depend on $x$ too. Derive it with pencil and paper and write it with sums, means, products
            and a root; not with autograd, which is switched off when yours is checked.
            """,
        stub='''
            def my_norm_gradient(x, upstream, eps=1e-5):
                """Gradient, (..., d_model), as x and upstream."""
                ...
            ''',
        solution="""
            def my_norm_gradient(x, upstream, eps=1e-5):
                deviation = x - x.mean(dim=-1, keepdim=True)
                variance = deviation.square().mean(dim=-1, keepdim=True)
                root = (variance + eps).sqrt()
                y = deviation / root
                shift = upstream.mean(dim=-1, keepdim=True)
                stretch = (upstream * y).mean(dim=-1, keepdim=True)
                return (upstream - shift - y * stretch) / root
            """,
        hints=[
            "There are three paths from a feature of x to the loss: through itself, through the mean, and through the "
            "variance. The first alone gives `upstream / root`.",
            "The path through the mean subtracts the mean of `upstream`. The path through the variance subtracts $y$ "
            "times the mean of `upstream * y`. Everything is divided by the root.",
        ],
        why="""
            Layer norm forgets the mean of a token and its size, so the gradient has nothing to say about either: it
            loses its mean, and its part along $y$. And it is divided by the root of the variance: through a norm, a
            stream that has grown tenfold gets back a tenth. So with a final norm the gradient that reaches a pre-norm
            stack is the smaller the larger its sum has become.
            """,
        wrongs=[
            Wrong("mean and variance were taken for constants; they depend on x, and each gives a term to subtract",
                  "(upstream - shift - y * stretch)", "upstream"),
            Wrong("the path through the variance is missing: every feature also changes by how much all are divided",
                  " - y * stretch", ""),
            Wrong("the path through the mean is missing: every feature also moves the mean that is subtracted from all",
                  " - shift", ""),
            Wrong("it is not divided by the root of the variance, by which y was made from the deviation",
                  "(upstream - shift - y * stretch) / root", "upstream - shift - y * stretch"),
            Wrong("it is divided by the variance; one root is enough", "y * stretch) / root",
                  "y * stretch) / (variance + eps)"),
            Wrong("the variance is divided by d - 1, as `var` and `std` do unless you say `correction=0`; layer norm "
                  "has the plain mean of the squares", "deviation.square().mean(dim=-1, keepdim=True)",
                  "x.var(dim=-1, keepdim=True)"),
            Wrong("the term of the variance has the wrong sign: a larger root makes y smaller", "- y * stretch",
                  "+ y * stretch"),
            Wrong("the term of the mean has the wrong sign: the mean is subtracted from every feature", "- shift",
                  "+ shift"),
            Wrong("the term of the mean has a sum where it should have a mean: a feature moves the mean by 1/d only",
                  "upstream.mean(", "upstream.sum("),
            Wrong("the term of the variance has a sum where it should have a mean, for the variance is a mean",
                  "(upstream * y).mean(", "(upstream * y).sum("),
            Wrong("both terms have sums where they should have means: the factor 1/d of mean and variance is missing",
                  code="""
                  def my_norm_gradient(x, upstream, eps=1e-5):
                      deviation = x - x.mean(dim=-1, keepdim=True)
                      root = (deviation.square().mean(-1, keepdim=True) + eps).sqrt()
                      y = deviation / root
                      stretch = (upstream * y).sum(dim=-1, keepdim=True)
                      shift = upstream.sum(dim=-1, keepdim=True)
                      return (upstream - shift - y * stretch) / root
                  """),
            Wrong("the term of the variance has deviations where it should have y, the deviation divided by the root",
                  code="""
                  def my_norm_gradient(x, upstream, eps=1e-5):
                      deviation = x - x.mean(dim=-1, keepdim=True)
                      root = (deviation.square().mean(-1, keepdim=True) + eps).sqrt()
                      stretch = (upstream * deviation).mean(dim=-1, keepdim=True)
                      shift = upstream.mean(dim=-1, keepdim=True)
                      return (upstream - shift - deviation * stretch) / root
                  """),
            Wrong("autograd is switched off here; write the gradient as a formula",
                  code="""
                  def my_norm_gradient(x, upstream, eps=1e-5):
                      x = x.clone().requires_grad_()
                      y = F.layer_norm(x, x.shape[-1:], eps=eps)
                      return torch.autograd.grad(y, x, upstream)[0]
                  """),
            Wrong("both means are taken over all tokens together; each token has its own, `dim=-1, keepdim=True`",
                  code="""
                  def my_norm_gradient(x, upstream, eps=1e-5):
                      deviation = x - x.mean(dim=-1, keepdim=True)
                      root = (deviation.square().mean(-1, keepdim=True) + eps).sqrt()
                      y = deviation / root
                      return (upstream - upstream.mean() - y * (upstream * y).mean()) / root
                  """),
            Wrong("there is no eps; it stands under the root, beside the variance, and counts where a token hardly "
                  "varies", "(variance + eps)", "variance"),
            Wrong("eps is added to the root, and belongs under it, to the variance",
                  "(variance + eps).sqrt()", "(variance.sqrt() + eps)"),
        ],
        inputs=gradients_from_above,
        use=without_autograd,
        laws=[Law("a stream ten times as large gets back a tenth", stretched_token_has_small_gradient)],
    ),
]
