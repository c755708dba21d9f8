"""Right answers in other styles."""

ALTERNATIVES = {
    "translation.pieces": [
        """
        def my_round(cut, seen):
            from collections import Counter
            neighbours = Counter()
            for word, pieces in cut.items():
                for pair in zip(pieces, pieces[1:]):
                    neighbours[pair] += seen[word]
            [((one, other), _)] = neighbours.most_common(1)
            joined = {}
            for word, pieces in cut.items():
                text = " " + "  ".join(pieces) + " "
                text = text.replace(f" {one}  {other} ", f" {one}{other} ")
                joined[word] = text.split()
            return joined
        """,
        """
        def my_round(cut, seen):
            text = []
            for word, number in seen.items():
                for _ in range(number):
                    text += [*cut[word], None]
            pairs = [p for p in zip(text, text[1:]) if None not in p]
            best = max(set(pairs), key=pairs.count)

            def join(pieces):
                if len(pieces) < 2:
                    return list(pieces)
                if (pieces[0], pieces[1]) == best:
                    return [pieces[0] + pieces[1], *join(pieces[2:])]
                return [pieces[0], *join(pieces[1:])]

            return {word: join(pieces) for word, pieces in cut.items()}
        """,
        """
        def my_round(cut, seen):
            import copy
            names = sorted({piece for pieces in cut.values() for piece in pieces})
            counts = torch.zeros(len(names), len(names))
            for word, pieces in cut.items():
                for i in range(len(pieces) - 1):
                    row, column = map(names.index, pieces[i : i + 2])
                    counts[row, column] += seen[word]
            row, column = divmod(counts.argmax().item(), len(names))
            new = copy.deepcopy(cut)
            for pieces in new.values():
                for i in reversed(range(len(pieces) - 1)):
                    if pieces[i : i + 2] == [names[row], names[column]]:
                        pieces[i : i + 2] = [names[row] + names[column]]
            return new
        """,
    ],
    "translation.bleu": [
        """
        def my_bleu(answers, references):
            from sacrebleu.metrics import BLEU
            bleu = BLEU(tokenize="none", smooth_method="none", force=True)
            said = [" ".join(words) for words in answers]
            return bleu.corpus_score(said, [[" ".join(r) for r in references]]).score
        """,
        """
        def my_bleu(answers, references):
            shared, total = torch.zeros(4), torch.zeros(4)
            for answer, reference in zip(answers, references):
                for n in range(1, 5):
                    right = n_grams(reference, n)
                    for gram, number in n_grams(answer, n).items():
                        shared[n - 1] += min(number, right[gram])
                        total[n - 1] += number
            c = sum(len(answer) for answer in answers)
            r = sum(len(reference) for reference in references)
            shares = (shared / total).double()
            return 100 * min(1.0, math.e ** (1 - r / c)) * shares.log().mean().exp()
        """,
        """
        def my_bleu(answers, references):
            logs = 0.0
            for n in (1, 2, 3, 4):
                said = [n_grams(answer, n) for answer in answers]
                left = [s - n_grams(r, n) for s, r in zip(said, references)]
                total = sum(s.total() for s in said)
                logs += math.log(1 - sum(x.total() for x in left) / total) / 4
            c, r = (sum(map(len, part)) for part in (answers, references))
            return 100 * math.exp(logs + (1 - r / c if c < r else 0))
        """,
    ],
}
