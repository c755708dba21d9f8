"""A trained model in a notebook: its picture is true, and a frame or a page gets what it needs."""

import copy
import re

import pytest
import torch
from helpers import lively_model
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib import pyplot as plt

from transformer_lib import greedy_decode, record_attention
from transformer_lib.data import numbers, pronunciation
from transformer_lib.notebook.live.export import as_page
from transformer_lib.notebook.live.trained import at_rest, show_model, written
from transformer_lib.recipes.tasks import load

TEXT = "three hundred twenty one"
WORDS = numbers.english_vocabulary().tokens, numbers.german_vocabulary().tokens
ACROSS = "decoder.layers.1.cross_attn.head.2"


def test_what_is_written_is_what_greedy_decoding_writes():
    for seed in range(4):  # some of these end, others come to the end of their room
        model = lively_model(seed).eval()
        for src_ids in ([3, 4, 5], [8], [12, 3]):
            row = greedy_decode(model, torch.tensor([src_ids]), max_new_tokens=model.config.max_len)[0]
            assert written(model, src_ids) == [model.config.bos_id, *row.tolist()]


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("encoder.layers.0.self_attn", TEXT.split(), TEXT.split()),
        ("decoder.layers.1.self_attn", "drei hundert ein und zwanzig <eos>", "<bos> drei hundert ein und zwanzig"),
        ("decoder.layers.0.cross_attn", "drei hundert ein und zwanzig <eos>", TEXT),
    ],
)
def test_the_picture_is_the_map_that_it_names(name, rows, columns):
    model = load("numbers")
    rows, columns = (words.split() if isinstance(words, str) else words for words in (rows, columns))
    found = at_rest(model, WORDS, {"text": TEXT, "map": f"{name}.head.3"})
    axes = found.figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == rows
    assert [tick.get_text() for tick in axes.get_xticklabels()] == columns
    english, german = (vocabulary.index for vocabulary in WORDS)
    with record_attention(model) as maps:
        tgt_ids = [german(word) for word in "<bos> drei hundert ein und zwanzig".split()]
        model(torch.tensor([[english(word) for word in TEXT.split()]]), torch.tensor([tgt_ids]))
    weights = maps[name][0, 3]
    drawn = [float(text.get_text()) for text in axes.texts]
    torch.testing.assert_close(torch.tensor(drawn), weights.flatten(), atol=0.0051, rtol=0)
    first = f"{rows[0]} looks most at {columns[int(weights[0].argmax())]}"
    assert first in found.alt and found.alt.startswith(f"In head 4 of layer {int(name.split('.')[2]) + 1} of the ")
    plt.close(found.figure)


def test_a_notebook_gets_a_frame_with_the_weights_and_a_page_the_bare_element(monkeypatch):
    InteractiveShell.instance()  # what a notebook has
    model = load("numbers")
    before = copy.deepcopy(model.state_dict())
    for page in ("1", "0"):
        monkeypatch.setenv("BOOK_PAGE", page)
        with capture_output() as seen:
            show_model(model, WORDS, "numbers", TEXT, map=ACROSS, switches=["positions"])
        shown = [output.data for output in seen.outputs]
        assert "image/png" in shown[0]
        if page == "1":
            (bundle,) = shown
            element = bundle["application/vnd.live-figure"]
            assert '"switches": ["positions"]' in element and ACROSS in element and len(element) < 500
            assert seen.stdout == "", "the page loads the weights when somebody asks for them"
        else:
            frame = shown[1]["text/html"]
            assert all(part in frame for part in ("const Engine", "Live.define(&quot;model&quot;", "encoder.layers.0"))
            assert len(frame) < 1e6
            (told,) = re.findall(r"holds the weights of the model: the notebook grows by (\d\.\d) MB\.\n", seen.stdout)
            assert float(told) <= len(frame) / 1e6 < float(told) + 0.2 and f"{told} MB" in show_model.__doc__
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items()), "left as it was"


def test_the_size_in_the_docstring_is_that_of_the_model_that_chapter_12_shows():
    tokens = pronunciation.letter_vocabulary().tokens, pronunciation.phoneme_vocabulary().tokens
    size = len(as_page(load("pronounce"), tokens, "pronounce", levels=39)) / 1e6
    assert f"by {size:.1f} MB with that of `pronounce` at 39 levels" in " ".join(show_model.__doc__.split())


def test_a_model_of_another_name_is_not_known():
    with pytest.raises(KeyError, match="dates"):
        show_model(load("numbers"), WORDS, "dates", TEXT, map=ACROSS)
