"""The layer that readers are asked about obeys what the answer says, and its mended form what attention obeys."""

import pytest
import torch

from transformer_lib import laws
from transformer_lib.exercises.exercise import find
from transformer_lib.exercises.museum import Sealed


@pytest.fixture
def inputs():
    """Those of the chapter: three sentences of five tokens, and others that differ everywhere."""
    some = torch.arange(90.0, dtype=torch.float64).sin().view(3, 5, 6)
    return some, some.flip(-1)


def found(layer, some, changed):
    more = dict.fromkeys(["token_by_token", "every_token_counts"], (changed,))
    exercise = find("museum.sealed")
    names = exercise.run(exercise.solution)
    return {name: getattr(laws, name)(layer, some, *more.get(name, ())).holds for name in names}


def test_the_sealed_layer_obeys_what_the_answer_says(inputs):
    exercise = find("museum.sealed")
    assert found(Sealed(), *inputs) == exercise.run(exercise.solution)


def test_mended_it_breaks_one_law_and_that_it_should(inputs):
    sealed, exercise = Sealed(), find("museum.line")
    sealed.attend = exercise.run(exercise.solution)
    assert [name for name, holds in found(sealed, *inputs).items() if not holds] == ["token_by_token"]


def test_with_one_sentence_there_is_no_sign_of_the_other_sentences(inputs):
    some, _ = inputs
    with pytest.raises(ValueError, match="batch axis of at least 2"):
        laws.batch_equals_single(Sealed(), some[:1])


def test_it_obeys_causality_which_a_layer_without_a_mask_must_break(inputs):
    sealed, exercise = Sealed(), find("museum.line")
    assert laws.causality(sealed, *inputs).holds
    sealed.attend = exercise.run(exercise.solution)
    assert not laws.causality(sealed, *inputs).holds
