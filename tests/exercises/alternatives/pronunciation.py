"""Right answers in other styles."""

ALTERNATIVES = {
    "pronunciation.edits": [
        """
        def my_edits(answer, reference):
            if not answer or not reference:
                return len(answer) + len(reference)
            changed = my_edits(answer[1:], reference[1:])
            if answer[0] == reference[0]:
                return changed
            out = my_edits(answer[1:], reference)
            into = my_edits(answer, reference[1:])
            return 1 + min(changed, out, into)
        """,
        """
        def my_edits(answer, reference):
            from rapidfuzz.distance import Levenshtein
            return Levenshtein.distance(answer, reference)
        """,
        """
        def my_edits(answer, reference):
            rows, columns = len(answer) + 1, len(reference) + 1
            table = torch.zeros(rows, columns, dtype=torch.int64)
            table[:, 0] = torch.arange(rows)
            table[0] = torch.arange(columns)
            for i in range(1, rows):
                for j in range(1, columns):
                    same = answer[i - 1] == reference[j - 1]
                    table[i, j] = min(
                        table[i, j - 1] + 1,
                        table[i - 1, j] + 1,
                        table[i - 1, j - 1] + (not same),
                    )
            return table[-1, -1]
        """,
        """
        def my_edits(answer, reference):
            start, ways, steps = (0, 0), {(0, 0)}, 0
            while True:
                reached = set()
                for i, j in ways:
                    while (
                        i < len(answer) and j < len(reference)
                        and answer[i] == reference[j]
                    ):
                        i, j = i + 1, j + 1
                    reached.add((i, j))
                if (len(answer), len(reference)) in reached:
                    return steps
                ways = {
                    (i + a, j + b) for i, j in reached
                    for a, b in ((0, 1), (1, 0), (1, 1))
                    if i + a <= len(answer) and j + b <= len(reference)
                }
                steps += 1
        """,
    ],
    "pronunciation.rate": [
        """
        def my_phoneme_error(answers, pronunciations):
            from rapidfuzz.distance import Levenshtein
            total, length = 0, 0
            for said, ways in zip(answers, pronunciations):
                near = min(ways, key=lambda way: Levenshtein.distance(said, way))
                total += Levenshtein.distance(said, near)
                length += len(near)
            return total / length
        """,
        """
        def my_phoneme_error(answers, pronunciations):
            from transformer_lib.data.pronunciation import Entry, score
            entries = [Entry("word", tuple(ways)) for ways in pronunciations]
            return score(answers, entries).phoneme_error
        """,
        """
        def my_phoneme_error(answers, pronunciations):
            best = torch.tensor([
                min((edit_table(said, way)[-1][-1], i, len(way))
                    for i, way in enumerate(ways))
                for said, ways in zip(answers, pronunciations)
            ])
            edits, _, sounds = best.sum(dim=0)
            return edits / sounds
        """,
    ],
}
