"""`Vocabulary`: the tokens of one language and the whole numbers that stand for them."""

from collections.abc import Iterable, Sequence

from transformer_lib._checks import shown

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
PAD_ID, BOS_ID, EOS_ID = 0, 1, 2  # the one place where these are decided; TransformerConfig has the same defaults


class Vocabulary:
    """Tokens and their ids: padding is 0, begin-of-sentence 1, end-of-sentence 2, then the tokens in the order given.

    Args:
        tokens: the tokens of the language, without the three special ones.

    Raises:
        ValueError: if a token comes twice or is one of the special ones, or `tokens` is one text.

    Example:
        >>> vocabulary = Vocabulary(["one", "two"])
        >>> vocabulary.encode(["two", "one"])
        [4, 3]
        >>> vocabulary.decode([4, 3, 2, 0])
        ['two', 'one']
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = [PAD, BOS, EOS, *texts(tokens)]
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ids) < len(self.tokens):
            twice = sorted({token for token in self.tokens if self.tokens.count(token) > 1})
            raise ValueError(f"each token of a vocabulary must be there once; more than once: {', '.join(twice)}")

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """Return the id of each token; nothing is added.

        Raises:
            ValueError: if a token is unknown; the message names it and what is known.
        """
        try:
            return [self.ids[token] for token in texts(tokens)]
        except KeyError as error:
            known = ", ".join(self.tokens[3:])
            raise ValueError(f"unknown token {error}; the vocabulary knows {known}") from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens up to the first end-of-sentence, without padding and begin-of-sentence.

        Raises:
            ValueError: if an id is outside the vocabulary.
        """
        tokens = []
        for i in ids:
            if not 0 <= i < len(self.tokens):
                raise ValueError(f"token id {i} is outside the vocabulary of {len(self)} tokens (0 to {len(self) - 1})")
            if i == EOS_ID:
                break
            if i not in (PAD_ID, BOS_ID):
                tokens.append(self.tokens[i])
        return tokens


def texts(tokens: Iterable[str]) -> list[str]:
    """Return the tokens as a list.

    Raises:
        ValueError: if they are one text, whose letters would pass as tokens.
    """
    if isinstance(tokens, str):
        raise ValueError(f"tokens must be a list of texts, got {shown(tokens)}; cut a text into tokens first")
    return list(tokens)
