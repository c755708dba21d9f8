"""The vocabulary: tokens to ids and back, and nothing else."""

import pytest

from transformer_lib.data.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("without_shape_checks")  # these are off for readers too


def test_vocabulary():
    vocabulary = Vocabulary(token for token in ["one", "two"])  # which can be read only once
    assert vocabulary.tokens == ["<pad>", "<bos>", "<eos>", "one", "two"]
    assert vocabulary.encode(token for token in ["two", "one"]) == [4, 3]
    assert vocabulary.decode(i for i in [1, 4, 3, 2, 4, 0]) == ["two", "one"]
    assert len(vocabulary) == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Vocabulary(["a", "b", "a"]), "more than once: a"),
        (lambda: Vocabulary(["a", "<pad>"]), "more than once: <pad>"),
        (lambda: Vocabulary(["one", "two"]).encode(["one", "six"]), "unknown token 'six'; .* knows one, two"),
        (lambda: Vocabulary(["one"]).decode([4]), r"token id 4 is outside the vocabulary of 4 tokens \(0 to 3\)"),
        (lambda: Vocabulary("abc"), "tokens must be a list of texts, got 'abc'; cut a text into tokens first"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
