"""Exercises of chapter 12: counting mistakes, and how far a count can be trusted."""

import torch

from transformer_lib.exercises.exercise import Exercise, Wrong

SOUNDS = "AA AE AH B D EH F G IH IY K L M N P R S T UW V Z".split()


def some(number: int) -> list[str]:
    """Different sounds, in any order."""
    return [SOUNDS[i] for i in torch.randperm(len(SOUNDS))[:number]]


def two_rows() -> list[tuple]:
    """The smallest first; the last one is a sound left out, one changed and one too many."""
    one, other, *_ = some(2)
    *known, new, last = some(9)
    return [
        ([one], []),
        ([one], [one]),
        ([one], [other]),
        ([one, one], [one]),
        ([one, other], [other, one]),
        (known[2:5], known),
        ("F IH S IH K".split(), "F IH Z IH K S".split()),
        ([*known[1:3], new, *known[4:], last], known),
    ]


def answers_and_pronunciations() -> list[tuple]:
    """Words that are said as on their second line, two ways equally near, one with fewer edits in the way of the higher
    rate, and words of different length."""
    a, b, c, d, e, f, g, h, i, j, k, m = some(12)
    return [
        ([[a, b]], [[[a], [a, b]]]),
        ([[a, b]], [[[a], [a, b, c]]]),
        ([[a, b]], [[[a], [a, b, c, d]]]),
        ([[a, b, c], [d]], [[[a, b]], [[d]]]),
        (
            [[a, b, c, d], [e, f], [g, h, i, a, b, c, m]],
            [[[e, f, g, h, i, j], [a, b, c, k]], [[e, f], [e, g, h]], [[g, h, j, a, k, c], [k, m, j, d, e, f, a, e]]],
        ),
    ]


EDIT_TABLE = """
    def edit_table(answer, reference):
        table = [list(range(len(reference) + 1))]
        for i, said in enumerate(answer, start=1):
            row = [i]
            for j, wanted in enumerate(reference, start=1):
                changed = table[i - 1][j - 1] + (said != wanted)
                row.append(min(row[j - 1] + 1, table[i - 1][j] + 1, changed))
            table.append(row)
        return table
    """

# fmt: off
EXERCISES = [
    Exercise(
        name="pronunciation.edits",
        title="Build the edit distance",
        level="build it",
        minutes=10,
        statement="""
            Write the function before you read on. It gets two lists of sounds and returns a whole number: the fewest
            sounds that must be changed, inserted or left out to turn the first list into the second. Either list may be
            empty. Use no library for it.
            """,
        stub='''
            def my_edits(answer, reference):
                """The edit distance of two lists of sounds."""
                ...
            ''',
        solution="""
            def my_edits(answer, reference):
                above = list(range(len(reference) + 1))
                for i, said in enumerate(answer, start=1):
                    row = [i]
                    for j, wanted in enumerate(reference, start=1):
                        changed = above[j - 1] + (said != wanted)
                        row.append(min(row[j - 1] + 1, above[j] + 1, changed))
                    above = row
                return above[-1]
            """,
        hints=[
            "Begin with the first row of the table, `0, 1, 2, ...`: one entry more than the reference has sounds. What "
            "is the first entry of the next row?",
            "A row needs only the row above. A new entry is the smallest of three numbers, two of which grow by one; "
            "the third grows only where the sounds differ.",
        ],
        why="""
            Each entry settles two beginnings for good: whatever the best way is, its last edit is one of three. So a
            table of a few dozen entries replaces a search through all ways to edit.
            """,
        wrongs=[
            Wrong("the diagonal always costs one; where the two sounds are the same it costs nothing",
                  "(said != wanted)", "1"),
            Wrong("the lists are compared place by place: one sound left out at the front makes all others wrong; an "
                  "edit may move what follows", code="""
                  def my_edits(answer, reference):
                      differ = sum(a != b for a, b in zip(answer, reference))
                      return differ + abs(len(answer) - len(reference))
                  """),
            Wrong("a change costs two here, one sound left out and one inserted; it is a single edit",
                  "(said != wanted)", "2 * (said != wanted)"),
            Wrong("the sounds were counted without their order", code="""
                  def my_edits(answer, reference):
                      from collections import Counter
                      said, wanted = Counter(answer), Counter(reference)
                      return max((said - wanted).total(),
                                 (wanted - said).total())
                  """),
            Wrong("a row begins with 0, as if sounds at the front of the answer could be left out for nothing; the "
                  "first column counts 0, 1, 2 and so on", "row = [i]", "row = [0]"),
            Wrong("the first row is all 0, as if sounds at the front of the reference cost nothing; it counts 0, 1, 2 "
                  "and so on", "list(range(len(reference) + 1))", "[0] * (len(reference) + 1)"),
            Wrong("first row and first column are all 0, as if sounds at the front of either list cost nothing; both "
                  "count 0, 1, 2 and so on", code="""
                  def my_edits(answer, reference):
                      above = [0] * (len(reference) + 1)
                      for said in answer:
                          row = [0]
                          for j, wanted in enumerate(reference, start=1):
                              changed = above[j - 1] + (said != wanted)
                              least = min(row[j - 1] + 1, above[j] + 1)
                              row.append(min(least, changed))
                          above = row
                      return above[-1]
                  """),
            Wrong("all rows are one and the same list, for `[row] * n` repeats it without a copy; make a new one for "
                  "each row, `[... for _ in range(n)]`", code="""
                  def my_edits(answer, reference):
                      m, n = len(answer), len(reference)
                      table = [[0] * (n + 1)] * (m + 1)
                      for i in range(m + 1):
                          table[i][0] = i
                      for j in range(n + 1):
                          table[0][j] = j
                      for i, said in enumerate(answer, start=1):
                          for j, wanted in enumerate(reference, start=1):
                              changed = table[i - 1][j - 1] + (said != wanted)
                              least = min(table[i - 1][j], table[i][j - 1]) + 1
                              table[i][j] = min(least, changed)
                      return table[m][n]
                  """),
            Wrong("the smallest of the three is taken before one is added, so that a step from above or from the left "
                  "is free where the two sounds are the same; only the one along the diagonal is", code="""
                  def my_edits(answer, reference):
                      above = list(range(len(reference) + 1))
                      for i, said in enumerate(answer, start=1):
                          row = [i]
                          for j, wanted in enumerate(reference, start=1):
                              least = min(row[j - 1], above[j], above[j - 1])
                              row.append(least + (said != wanted))
                          above = row
                      return above[-1]
                  """),
            Wrong("the neighbour above is forgotten: a sound of the answer can be left out, for one",
                  ", above[j] + 1", ""),
            Wrong("the neighbour to the left is forgotten: a sound can be inserted, for one", "row[j - 1] + 1, ", ""),
            Wrong("that is a rate, the edits over the length of the reference; asked is their number", code="""
                  def my_edits(answer, reference):
                      above = list(range(len(reference) + 1))
                      for i, said in enumerate(answer, start=1):
                          row = [i]
                          for j, wanted in enumerate(reference, start=1):
                              changed = above[j - 1] + (said != wanted)
                              least = min(row[j - 1] + 1, above[j] + 1)
                              row.append(min(least, changed))
                          above = row
                      return above[-1] / len(reference)
                  """),
            Wrong("`zip` ends with the shorter list: the places that it sees are compared one by one, and what is "
                  "left of the longer list is not counted", code="""
                  def my_edits(answer, reference):
                      return sum(a != b for a, b in zip(answer, reference))
                  """),
            Wrong("sets forget the order of the sounds, and how often each one occurs", code="""
                  def my_edits(answer, reference):
                      return len(set(answer) ^ set(reference))
                  """),
            Wrong("the loops end one too early, so that the last row and the last column of the table are not "
                  "filled", code="""
                  def my_edits(answer, reference):
                      m, n = len(answer), len(reference)
                      table = [[0] * (n + 1) for _ in range(m + 1)]
                      for i in range(m + 1):
                          table[i][0] = i
                      for j in range(n + 1):
                          table[0][j] = j
                      for i in range(1, m):
                          for j in range(1, n):
                              changed = table[i - 1][j - 1] + (answer[i - 1] != reference[j - 1])
                              least = min(table[i - 1][j], table[i][j - 1]) + 1
                              table[i][j] = min(least, changed)
                      return table[m][n]
                  """),
            Wrong("this is the last row of the table; its last number is asked for",
                  "return above[-1]", "return above"),
            Wrong("that is a rate, the edits over the length of the reference (or over 1, if it is empty); asked is "
                  "their number", "return above[-1]", "return above[-1] / max(1, len(reference))"),
        ],
        inputs=two_rows,
    ),
    Exercise(
        name="pronunciation.rate",
        title="A rate that depends on the company",
        level="find the bug",
        minutes=7,
        statement="""
            This function shall compute the phoneme error rate of several words. For each word it gets one answer and
            all pronunciations of the dictionary. `edit_table` is the function from above. Two things are wrong; mend
            both. The nearest pronunciation is the one with the fewest edits, and the first of them if there are
            several.
            """,
        stub='''
            def my_phoneme_error(answers, pronunciations):
                """A list of sounds for each word, and a list of such lists."""
                rates = []
                for answer, ways in zip(answers, pronunciations):
                    reference = ways[0]
                    edits = edit_table(answer, reference)[-1][-1]
                    rates.append(edits / len(reference))
                return sum(rates) / len(rates)
            ''',
        solution='''
            def my_phoneme_error(answers, pronunciations):
                """A list of sounds for each word, and a list of such lists."""
                edits = sounds = 0
                for answer, ways in zip(answers, pronunciations):
                    each = [edit_table(answer, way)[-1][-1] for way in ways]
                    edits += min(each)
                    sounds += len(ways[each.index(min(each))])
                return edits / sounds
            ''',
        hints=[
            "Say *tomato* in the dictionary's second way. What rate does the stub give?",
            "One edit in a word of one sound, none in a word of nine: how many of the ten sounds are wrong, and what "
            "does a mean of the two rates say?",
        ],
        why="""
            A mean of rates gives a sound of a short word more weight than one of a long word. And both numbers, edits
            and sounds, must be of the same pronunciation.
            """,
        given=EDIT_TABLE,
        wrongs=[
            Wrong("edits and sounds are summed, but only the first pronunciation counts yet; a word said in another "
                  "way of the dictionary's is right", "edit_table(answer, way)[-1][-1] for way in ways",
                  "edit_table(answer, way)[-1][-1] for way in ways[:1]"),
            Wrong("the nearest pronunciation counts, but it is still a mean of rates; sum all edits and all sounds "
                  "first, and divide once", code="""
                  def my_phoneme_error(answers, pronunciations):
                      rates = []
                      for answer, ways in zip(answers, pronunciations):
                          each = [edit_table(answer, way)[-1][-1] for way in ways]
                          near = ways[each.index(min(each))]
                          rates.append(min(each) / len(near))
                      return sum(rates) / len(rates)
                  """),
            Wrong("the edits are of the nearest pronunciation, and the sounds of the first; both belong to the nearest",
                  "ways[each.index(min(each))]", "ways[0]"),
            Wrong("the nearest pronunciation is taken by its rate, in which a longer one may win with more edits; the "
                  "nearest is the one with the fewest edits", code="""
                  def my_phoneme_error(answers, pronunciations):
                      edits = sounds = 0
                      for answer, ways in zip(answers, pronunciations):
                          each = [edit_table(answer, way)[-1][-1] for way in ways]
                          rates = [e / len(way) for e, way in zip(each, ways)]
                          near = rates.index(min(rates))
                          edits += each[near]
                          sounds += len(ways[near])
                      return edits / sounds
                  """),
            Wrong("it is divided by the sounds of the answers; what counts is how many were to be said",
                  "ways[each.index(min(each))]", "answer"),
            Wrong("the sounds of all pronunciations are in the denominator; only the nearest was to be said",
                  "len(ways[each.index(min(each))])", "sum(map(len, ways))"),
            Wrong("this is the word error rate, the share of answers that are none of the dictionary's", code="""
                  def my_phoneme_error(answers, pronunciations):
                      pairs = list(zip(answers, pronunciations))
                      return sum(a not in ways for a, ways in pairs) / len(pairs)
                  """),
            Wrong("these are the edits for each word; divide by the sounds", "return edits / sounds",
                  "return edits / len(answers)"),
            Wrong("the rate is right, but in percent; asked is a share of 1",
                  "return edits / sounds", "return 100 * edits / sounds"),
            Wrong("of two pronunciations that are equally near the last one is taken; it is the first that counts",
                  "ways[each.index(min(each))]", "[way for way, e in zip(ways, each) if e == min(each)][-1]"),
        ],
        inputs=answers_and_pronunciations,
    ),
    Exercise(
        name="pronunciation.words",
        title="Half the luck",
        level="warm-up",
        minutes=3,
        statement="""
            A model gets 20 % of 1,000 test words wrong. With how many test words would the standard error of that share
            be half as large, if the share stays the same?
            """,
        stub="my_words = None  # a whole number",
        solution="my_words = 4 * 1000",
        hints=["Where does *n* stand in the formula, and what is done to it?"],
        why="""
            The number of words stands under a root: to halve the luck takes four times as many, to see one digit more
            takes a hundred times as many.
            """,
        wrongs=[
            Wrong("twice the words make it smaller by the root of two only, 0.9 points", code="my_words = 2000"),
            Wrong("the root is the wrong way round: the standard error falls with the root of *n*, so *n* grows with "
                  "the square", code="my_words = 1414"),
            Wrong("that many more words; asked is how many they are together", code="my_words = 3000"),
            Wrong("with half the words the standard error grows", code="my_words = 500"),
            Wrong("with a quarter of the words the standard error is twice as large", code="my_words = 250"),
            Wrong("that makes it a quarter; half takes four times as many words", code="my_words = 16000"),
            Wrong("eight times as many make it smaller by the root of eight; half of it takes the square of two, "
                  "four times as many", code="my_words = 8000"),
        ],
    ),
]
