"""What chapters begin with: settings that make them repeatable, the running example, the stored results."""

import pytest
import torch

from transformer_lib import causal_mask, notebook, scaled_dot_product_attention
from transformer_lib.notebook import example, results


def test_setup_makes_a_notebook_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads in ("2", None):
        if threads:
            monkeypatch.setenv("BOOK_THREADS", threads)
        else:
            monkeypatch.delenv("BOOK_THREADS")
        notebook.setup()
        assert torch.get_num_threads() == int(threads or 1)
    first = torch.randn(3)
    notebook.setup()
    assert torch.equal(torch.randn(3), first)
    assert repr(torch.tensor([1 / 3, 1e-4, 1000.0])) == "tensor([   0.333,    0.000, 1000.000])"


def test_the_running_example_is_of_one_piece() -> None:
    x, head = example.vectors(), example.attention()
    assert x.shape == (1, len(example.TOKENS), len(example.FEATURES)) and example.TOKENS[0] == "three"
    for linear, weight in ((head.query, example.QUERY), (head.key, example.KEY), (head.value, example.VALUE)):
        assert torch.equal(x @ torch.tensor(weight, dtype=x.dtype), linear(x))


def test_the_running_example_tells_the_story_of_the_book() -> None:
    x, head = example.vectors(), example.attention()
    amount = head(x)[0, :, example.FEATURES.index("amount")]
    assert [round(a, 2) for a in amount[1:3].tolist()] == [1.94, 1.94]  # cannot tell which unit is theirs
    backwards = torch.tensor([3, 1, 2, 0])  # one hundred twenty three: the same bag of words
    torch.testing.assert_close(head(x[:, backwards])[0], head(x)[0, backwards])
    masked, weights = scaled_dot_product_attention(head.query(x), head.key(x), head.value(x), causal_mask(4))
    assert round(masked[0, 1, 3].item(), 2) == 2.76 and weights[0, 2, 3] == 0


def test_the_running_example_follows_the_default_type() -> None:
    torch.set_default_dtype(torch.float64)
    assert example.vectors().dtype == torch.float64
    assert example.attention()(example.vectors()).dtype == torch.float64


def test_every_measured_result_can_be_read() -> None:
    names = sorted(path.stem for path in results.FOLDER.iterdir())
    first = ["ablation", "combination", "comparison", "speed", "trainings"]
    assert names == sorted([*first, "adapters", "families", "modern", "reading"])  # of chapters 16 to 19
    assert all(results.read(name) for name in names)
    with pytest.raises(FileNotFoundError):
        results.read("nothing")
