"""What counting can do: n-gram models with Kneser-Ney smoothing, to compare a language model with (chapter 16)."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence


class NGrams:
    """Guess each token from the `n - 1` before it, by counts: interpolated modified Kneser-Ney.

    From each count something is taken off, how much the counts themselves tell, and given to the guess by one token of
    context less; there a token counts as often as there are different tokens before it. The shortest context falls
    back on all tokens being equally likely. Source: Chen and Goodman, "An Empirical Study of Smoothing Techniques for
    Language Modeling", 1998, section 3 (there `p_KN` with three discounts).

    Args:
        rows: texts to count in, as ids from BOS to EOS.
        n: tokens of the longest context, and the one to guess.
        vocab_size: how many tokens there are.
    """

    def __init__(self, rows: Sequence[Sequence[int]], n: int, vocab_size: int) -> None:
        self.n, self.vocab_size = n, vocab_size
        counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(n)]  # at k: of k + 1 tokens
        for row in rows:
            counts[-1].update(self.grams(row))
        for k in range(n - 1, 0, -1):
            counts[k - 1].update(gram[1:] for gram in counts[k])  # in how many different contexts
        self.counts = counts
        self.off = [discounts(counted) for counted in counts]  # what is taken off a count of 1, of 2, of 3 and more
        self.total: list[Counter] = [Counter() for _ in range(n)]
        self.kinds: list[dict] = [defaultdict(lambda: [0, 0, 0]) for _ in range(n)]
        for counted, total, kinds in zip(counts, self.total, self.kinds, strict=True):
            for gram, count in counted.items():
                total[gram[:-1]] += count
                kinds[gram[:-1]][min(count, 3) - 1] += 1

    def grams(self, row: Sequence[int]) -> list[tuple[int, ...]]:
        """All pieces of `n` tokens that end with a token to guess; before the beginning there is BOS, again and again.

        Those that would end with one of these BOS are left out.
        """
        row = [*row[:1] * (self.n - 1), *row[1:]]  # type: ignore[operator]  # a list or a tuple
        return [tuple(row[i - self.n + 1 : i + 1]) for i in range(self.n - 1, len(row))]

    def probability(self, gram: tuple[int, ...]) -> float:
        """The probability of the last token of a piece after those before it."""
        probability = 1 / self.vocab_size
        for k in range(len(gram)):
            seen = gram[len(gram) - 1 - k :]
            total = self.total[k][seen[:-1]]
            if total == 0:  # a context that was never seen says nothing, nor does a longer one
                break
            count, off = self.counts[k][seen], self.off[k]
            given = sum(o * kind for o, kind in zip(off, self.kinds[k][seen[:-1]], strict=True))
            kept = count - off[min(count, 3) - 1] if count else 0.0
            probability = (kept + given * probability) / total
        return probability

    def bits(self, rows: Sequence[Sequence[int]]) -> float:
        """The bits that texts take, their ends included."""
        return -sum(math.log2(self.probability(gram)) for row in rows for gram in self.grams(row))


def discounts(counts: Counter) -> list[float]:
    """What to take off counts of 1, of 2 and of more, so that what was never seen gets what rare things deserve."""
    once, twice, thrice, four = (sum(count == n for count in counts.values()) for n in (1, 2, 3, 4))
    if min(once, twice, thrice) == 0:
        return [0.5, 0.5, 0.5]
    share = once / (once + 2 * twice)
    off = [1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four / thrice]
    return [max(o, 0.0) for o in off]
