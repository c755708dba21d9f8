"""Exercises of chapter 13: pieces of words, and what a translation shares with a person's."""

import torch

from transformer_lib.exercises.exercise import Exercise, Wrong


def signs() -> list[str]:
    return [chr(ord("a") + i) for i in torch.randperm(26).tolist()]


def cut_words() -> tuple[dict, dict]:
    """One pair is the most frequent, and another one for whoever counts otherwise: each word once, each pair once in
    a word, in any order, or letters in place of pieces."""
    a, b, c, d, e, f, g, h, x, y = signs()[:10]
    times = int(torch.randint(1, 4, ()))
    both = x + y
    rows = [
        ([both, b, c, both, b], 5),  # the pair to be joined, `both` and b: ten times
        ([c, d], 1), ([e, c, d], 1), ([c, d, f], 1), ([a, c, d], 1),  # c and d: in the most words
        ([e, f], 8),  # e and f: most often, if a pair counts once in a word
        ([g, h], 6), ([h, g, c], 6),  # g and h: most often in any order
        ([both, d], 1),  # x and y: most often as letters
    ]  # fmt: skip
    rows = [rows[i] for i in torch.randperm(len(rows)).tolist()]
    return {"".join(cut): cut for cut, _ in rows}, {"".join(cut): times * n for cut, n in rows}


def cuts() -> list[tuple]:
    a, b, c = signs()[:3]
    return [
        ({a + b: [a, b]}, {a + b: 1}),
        ({a + b + c: [a, b, c], b + c: [b, c]}, {a + b + c: 1, b + c: 2}),
        ({a + b: [a, b], c + a + b: [c + a, b], a + b + c: [a, b + c]}, {a + b: 3, c + a + b: 1, a + b + c: 1}),
        cut_words(),
        cut_words(),
    ]


def sentences() -> list[tuple]:
    """A word said too often, answers that are too short, and answers that are longer than the references."""
    a, b, c, d, e, f, g, h, i = signs()[:9]
    return [
        ([[a, b, c, d, a]], [[a, b, c, d, e]]),
        ([[a, b, c, d], [a, b, c, d, e, a, b, g]], [[a, b, c, d, f], [a, b, c, d, e, g, h, i, a]]),
        (
            [[a, b, c, d, e, f, g, a, b], [h, i, a, b, c], [d, e, f, g, a, i, h, h, h, h]],
            [[a, b, c, d, e, f, g], [h, i, a, b], [d, e, f, g, b, i, h, a, c]],
        ),
    ]


N_GRAMS = """
    from collections import Counter

    def n_grams(tokens, n):
        starts = range(len(tokens) - n + 1)
        return Counter(tuple(tokens[i : i + n]) for i in starts)
    """

# fmt: off
EXERCISES = [
    Exercise(
        name="translation.pieces",
        title="Build one round of byte pairs",
        level="build it",
        minutes=12,
        statement="""
            Write one round. `cut` is a dictionary: for each word the list of its pieces. `seen` tells how often each
            word is seen. Count how often any two pieces stand side by side in this order, in the whole text: a word
            counts as often as it is seen, and a pair that a word holds twice counts twice. Then join the most frequent
            pair everywhere, and return the new dictionary of pieces. There are no ties: one pair is more frequent than
            all others. No word has the same piece twice side by side. Leave `cut` as it is.
            """,
        stub='''
            def my_round(cut, seen):
                """{word: pieces}, {word: number} -> {word: pieces}."""
                ...
            ''',
        solution="""
            def my_round(cut, seen):
                count = {}
                for word, pieces in cut.items():
                    for pair in zip(pieces, pieces[1:]):
                        count[pair] = count.get(pair, 0) + seen[word]
                best = max(count, key=count.get)
                new = {}
                for word, pieces in cut.items():
                    new[word], i = [], 0
                    while i < len(pieces):
                        step = 2 if tuple(pieces[i : i + 2]) == best else 1
                        new[word].append("".join(pieces[i : i + step]))
                        i += step
                return new
            """,
        hints=[
            "`zip(pieces, pieces[1:])` gives all neighbours of a word. How much does each of them add to its count?",
            "To join, walk through the pieces: where this one and the next are the pair, write both as one and go on "
            "two places, otherwise write one and go on one.",
        ],
        why="""
            This is the whole of the learning: repeat it as often as there shall be new pieces, and write down the
            pairs. To cut a new word later, the pairs are joined in it in the same order.
            """,
        wrongs=[
            Wrong("each word counts once; a word that is seen five times brings its pairs five times", "+ seen[word]",
                  "+ 1"),
            Wrong("a pair counts once in a word, however often the word holds it; count every place",
                  "zip(pieces, pieces[1:])", "set(zip(pieces, pieces[1:]))"),
            Wrong("the order of the two was lost in counting: *at* and *ta* are different pairs",
                  "in zip(pieces, pieces[1:])", "in map(tuple, map(sorted, zip(pieces, pieces[1:])))"),
            Wrong("the words are cut into letters anew, so that earlier rounds are lost; go on from the pieces",
                  code="""
                  def my_round(cut, seen):
                      count = {}
                      for word in cut:
                          for pair in zip(word, word[1:]):
                              count[pair] = count.get(pair, 0) + seen[word]
                      best = max(count, key=count.get)
                      new = {}
                      for word in cut:
                          new[word], i = [], 0
                          while i < len(word):
                              step = 2 if tuple(word[i : i + 2]) == best else 1
                              new[word].append(word[i : i + step])
                              i += step
                      return new
                  """),
            Wrong("joining by `replace` in a text also catches the end of a longer piece, or the beginning of one; "
                  "compare whole pieces", code="""
                  def my_round(cut, seen):
                      count = {}
                      for word, pieces in cut.items():
                          for pair in zip(pieces, pieces[1:]):
                              count[pair] = count.get(pair, 0) + seen[word]
                      a, b = max(count, key=count.get)
                      return {
                          word: " ".join(pieces).replace(f"{a} {b}", a + b).split()
                          for word, pieces in cut.items()
                      }
                  """),
            Wrong("the joined pieces are right, but they were written into the lists of `cut`; a copy of a dictionary "
                  "holds the same lists, so make new ones", code="""
                  def my_round(cut, seen):
                      count = {}
                      for word, pieces in cut.items():
                          for pair in zip(pieces, pieces[1:]):
                              count[pair] = count.get(pair, 0) + seen[word]
                      best = max(count, key=count.get)
                      new = cut.copy()
                      for pieces in new.values():
                          i = 0
                          while i < len(pieces) - 1:
                              if tuple(pieces[i : i + 2]) == best:
                                  pieces[i : i + 2] = ["".join(best)]
                              i += 1
                      return new
                  """),
            Wrong("in each word only the first occurrence is joined; join it everywhere", "            i += step",
                  "            i += step\n            if step == 2:\n                new[word] += pieces[i:]\n"
                  "                break"),
            Wrong("the last piece of a word gets lost where it is not joined; the walk has to go to the end",
                  "i < len(pieces)", "i < len(pieces) - 1"),
            Wrong("the second piece of the pair is written again behind the new piece; after joining go on two places",
                  "i += step", "i += 1"),
            Wrong("that is the pair; asked is the dictionary in which it is joined", "return new", "return best"),
            Wrong("the words without the pair are missing in the new dictionary; they stay as they are, and stay in "
                  "it", "    return new", "    return {word: new[word] for word in new if new[word] != cut[word]}"),
        ],
        inputs=cuts,
    ),
    Exercise(
        name="translation.brevity",
        title="Right, and half as long",
        level="warm-up",
        minutes=3,
        statement="""
            A reference has eight words. An answer consists of its first four, and nothing else. What is its BLEU,
            printed times 100? One digit behind the point is enough.
            """,
        stub="my_score = None  # a number from 0 to 100",
        solution="import math\n\nmy_score = 100 * math.exp(1 - 8 / 4)",
        hints=["How many of the answer's single words, pairs, threes and fours has the reference? And what is *r/c*?"],
        why="""
            All four shares are 1, the four of four words too: 1 of 1. What is left is the penalty, *e* to the power of
            -1. Without it the score would be 100.
            """,
        tolerance=2e-3,
        wrongs=[
            Wrong("that is BLEU without the penalty for being short, or with *r* and *c* exchanged; all shares are 1, "
                  "but half of the sentence is missing", code="my_score = 100.0"),
            Wrong("the penalty is not the share of the length; it is *e* to the power of 1 - *r/c*",
                  code="my_score = 50.0"),
            Wrong("the difference is divided by the length of the answer, 1 - *r/c*, which is -1; yours is divided by "
                  "that of the reference", code="my_score = 100 * math.exp(-0.5)"),
            Wrong("the fourth root is for the four shares alone; the penalty stands before it",
                  code="my_score = 100 * math.exp(-0.25)"),
            Wrong("the answer has one sequence of four words, and it is in the reference; so no share is zero",
                  code="my_score = 0.0"),
            Wrong("the penalty is right; BLEU is printed times 100", code="my_score = math.exp(-1)"),
            Wrong("that is *e* to the power of -2; one is taken from *r/c* first",
                  code="my_score = 100 * math.exp(-2)"),
        ],
    ),
    Exercise(
        name="translation.bleu",
        title="A score of many sentences",
        level="find the bug",
        minutes=10,
        statement="""
            This function shall compute the BLEU of a whole test, from lists of sentences that are cut into words: the
            formula above once, with counts that are summed over all sentences first, and the two lengths, *r* and *c*,
            summed as well. `n_grams` is the function from above. Each sentence has at least four words. If a share is
            0, so is the result: nothing is put in its place. Two things are wrong with the function. Mend both.
            """,
        stub='''
            def my_bleu(answers, references):
                """Two lists of sentences, lists of words -> 0 to 100."""
                scores = []
                for answer, reference in zip(answers, references):
                    product = 1.0
                    for n in range(1, 5):
                        said, right = n_grams(answer, n), n_grams(reference, n)
                        shared = sum(said[gram] for gram in said if gram in right)
                        product *= shared / said.total()
                    penalty = min(1, math.exp(1 - len(reference) / len(answer)))
                    scores.append(100 * penalty * product**0.25)
                return sum(scores) / len(scores)
            ''',
        solution='''
            def my_bleu(answers, references):
                """Two lists of sentences, lists of words -> 0 to 100."""
                product = 1.0
                for n in range(1, 5):
                    shared = total = 0
                    for answer, reference in zip(answers, references):
                        said, right = n_grams(answer, n), n_grams(reference, n)
                        shared += (said & right).total()
                        total += said.total()
                    product *= shared / total
                length, wanted = sum(map(len, answers)), sum(map(len, references))
                penalty = min(1, math.exp(1 - wanted / length))
                return 100 * penalty * product**0.25
            ''',
        hints=[
            "An n-gram that the answer has three times and the reference once is shared once. Which operator of two "
            "counters does that?",
            "The counts are summed over the sentences before anything is divided; so the loop over the sentences moves "
            "into the loop over *n*. The lengths of the penalty are sums too.",
        ],
        why="""
            In a mean of sentences one of them with no sequence of four right counts zero, whatever else it has right.
            In the sums it only adds nothing to one count of four.
            """,
        given=N_GRAMS,
        tolerance=1e-6,
        wrongs=[
            Wrong("a word said again and again no longer helps, but it is still a mean of sentences; sum the counts, "
                  "and the lengths, and divide once", code="""
                  def my_bleu(answers, references):
                      scores = []
                      for answer, reference in zip(answers, references):
                          product = 1.0
                          for n in range(1, 5):
                              said, right = n_grams(answer, n), n_grams(reference, n)
                              product *= (said & right).total() / said.total()
                          ratio = len(reference) / len(answer)
                          penalty = min(1, math.exp(1 - ratio))
                          scores.append(100 * penalty * product**0.25)
                      return sum(scores) / len(scores)
                  """),
            Wrong("the counts are summed now, but an n-gram still counts as often as the answer says it; it is shared "
                  "at most as often as the reference has it", "(said & right).total()",
                  "sum(said[gram] for gram in said if gram in right)"),
            Wrong("each n-gram counts once, however often both have it; shared is the smaller of the two counts",
                  "(said & right).total()", "len(said & right)"),
            Wrong("the shares of each sentence are averaged, one *n* after the other; sum the counts of all sentences, "
                  "and divide once", code="""
                  def my_bleu(answers, references):
                      product = 1.0
                      for n in range(1, 5):
                          shares = []
                          for answer, reference in zip(answers, references):
                              said, right = n_grams(answer, n), n_grams(reference, n)
                              shares.append((said & right).total() / said.total())
                          product *= sum(shares) / len(shares)
                      length = sum(map(len, answers))
                      wanted = sum(map(len, references))
                      penalty = min(1, math.exp(1 - wanted / length))
                      return 100 * penalty * product**0.25
                  """),
            Wrong("the shares are of the reference's n-grams, a recall; BLEU divides by how many the answer has",
                  "total += said.total()", "total += right.total()"),
            Wrong("the penalty for being short is gone", "100 * penalty *", "100 *"),
            Wrong("the penalty is that of the last sentence, whose names are left over from the loop; it takes the "
                  "sums of all lengths",
                  "length, wanted = sum(map(len, answers)), sum(map(len, references))",
                  "length, wanted = len(answer), len(reference)"),
            Wrong("the lengths in the penalty are exchanged, so that long answers pay and short ones do not",
                  "wanted / length", "length / wanted"),
            Wrong("the penalty is not limited to 1, and a long answer gets a reward",
                  "min(1, math.exp(1 - wanted / length))", "math.exp(1 - wanted / length)"),
            Wrong("the counts are summed, and the penalty is a mean over the sentences, in which one that is too long "
                  "cannot make up for one that is too short; sum the lengths too", code="""
                  def my_bleu(answers, references):
                      product = 1.0
                      for n in range(1, 5):
                          shared = total = 0
                          for answer, reference in zip(answers, references):
                              said, right = n_grams(answer, n), n_grams(reference, n)
                              shared += (said & right).total()
                              total += said.total()
                          product *= shared / total
                      penalties = [
                          min(1, math.exp(1 - len(b) / len(a)))
                          for a, b in zip(answers, references)
                      ]
                      penalty = sum(penalties) / len(penalties)
                      return 100 * penalty * product**0.25
                  """),
            Wrong("the fourth root is missing: the product of four shares is much smaller than a share",
                  "product**0.25", "product"),
            Wrong("the score is right, but it lies between 0 and 1; BLEU is printed times 100", "return 100 * penalty",
                  "return penalty"),
            Wrong("the n-grams of all sentences are put into one count before they are compared; what is shared is "
                  "decided in each sentence, and then summed", code="""
                  def my_bleu(answers, references):
                      product = 1.0
                      for n in range(1, 5):
                          said, right = Counter(), Counter()
                          for answer, reference in zip(answers, references):
                              said += n_grams(answer, n)
                              right += n_grams(reference, n)
                          product *= (said & right).total() / said.total()
                      length, wanted = sum(map(len, answers)), sum(map(len, references))
                      return 100 * min(1, math.exp(1 - wanted / length)) * product**0.25
                  """),
            Wrong("the sentences are put into one, and n-grams run from one sentence into the next; count in each "
                  "of them, and sum", code="""
                  def my_bleu(answers, references):
                      answer, reference = sum(answers, []), sum(references, [])
                      product = 1.0
                      for n in range(1, 5):
                          said, right = n_grams(answer, n), n_grams(reference, n)
                          product *= (said & right).total() / said.total()
                      penalty = min(1, math.exp(1 - len(reference) / len(answer)))
                      return 100 * penalty * product**0.25
                  """),
        ],
        inputs=sentences,
    ),
]
