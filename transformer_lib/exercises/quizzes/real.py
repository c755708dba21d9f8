"""Chapters 11 to 15: two questions for each."""

from transformer_lib.exercises.quiz import Question

QUESTIONS = [
    Question(
        text="A model that knows few words. First it says *zwanzig* with a probability of 0.6 or *ein* with 0.4. "
        "*Zwanzig* is followed by *ein* (0.5), *und* (0.3) or *drei* (0.2), *ein* by *und* (0.9) or *drei* (0.1). "
        "Then the answer ends. How probable is the answer that a beam of two finds?",
        proof="""
            first = {"zwanzig": 0.6, "ein": 0.4}
            second = {"zwanzig": {"ein": 0.5, "und": 0.3, "drei": 0.2},
                      "ein": {"und": 0.9, "drei": 0.1}}
            beam = sorted(first, key=first.get)[-2:]
            print(f"{max(first[a] * p for a in beam for p in second[a].values()):.2f}")
        """,
        right="0.36",
        why="Both beginnings are kept, and *ein und*, 0.4 · 0.9, overtakes the best with *zwanzig*, 0.6 · 0.5.",
        wrong={
            "0.30": "this is greedy decoding, which takes zwanzig and never comes back; the beam keeps ein too",
            "0.54": "this takes the first step from one answer and the second from the other",
            "0.90": "this is the last step alone; the probability of an answer is the product of all its steps",
        },
        place="11_decoding",
    ),
    Question(
        text="Four tokens have the probabilities 0.4, 0.3, 0.2 and 0.1. How many does top-p keep?",
        code="""
            import torch
            from transformer_lib import keep_top_p

            logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
            print(keep_top_p(logits, p=0.8).isfinite().sum().item())
        """,
        right="3",
        why="The likeliest two have 0.7 together, which is not enough, so the third is needed: the token that crosses "
        "the line stays in.",
        wrong={
            "2": "this drops the token that crosses the line; without it only 0.7 of the 0.8 is there",
            "4": "this goes on after 0.8 is reached; the first three have 0.9",
            "0": "this asks each token for 0.8; it is what they must reach together",
        },
        place="11_decoding",
    ),
    Question(
        text="*Cats* should be K AE T S and is said K AH T. *Physics*, with six sounds, is said rightly. What is the "
        "phoneme error of the two?",
        code="""
            from transformer_lib.data import pronunciation

            cats, physics = "K AE T S".split(), "F IH Z IH K S".split()
            entries = [pronunciation.Entry("cats", [cats]),
                       pronunciation.Entry("physics", [physics])]
            said = ["K AH T".split(), physics]
            print(f"{pronunciation.score(said, entries).phoneme_error:.2f}")
        """,
        right="0.20",
        why="Two edits, one sound changed and one missing, of 4 + 6 sounds that were to be said. Edits and sounds are "
        "summed first and divided once.",
        wrong={
            "0.25": "this is the mean of the two rates, 2 of 4 and 0 of 6; the sums are divided once",
            "0.22": "this divides by the nine sounds that were said; the ten to be said count",
            "0.10": "this counts one edit; a missing sound is one as well",
            "0.50": "this is the word error, one word of two",
        },
        place="12_pronunciation",
    ),
    Question(
        text="A model gets 20 % of 1,600 test words wrong. What is the standard error, in points (hundredths)?",
        proof="""
            p, n = 0.2, 1600
            print(f"{100 * (p * (1 - p) / n) ** 0.5:.2f}")
        """,
        right="1.00",
        why="The root of 0.2 · 0.8 is 0.4 and the root of 1,600 is 40: one hundredth. Half a point between "
        "two models is less than that.",
        wrong={
            "0.01": "this is the variance, 0.16 of 1,600, in points; the standard error is the root of it",
            "1.12": "this leaves out the factor 1 − p, which is 0.8 under the root",
            "2.50": "this is one over the root of n; p · (1 − p) stands under the root too",
        },
        place="12_pronunciation",
    ),
    Question(
        text="Byte-pair encoding reads *lid* 4 times, *lit* 3 times and *hit* 2 times, and begins with letters. "
        "Which pair is joined *second*?",
        proof="""
            cut = {("l", "i", "d"): 4, ("l", "i", "t"): 3, ("h", "i", "t"): 2}
            for _ in range(2):
                pairs = {}
                for word, seen in cut.items():
                    for pair in zip(word, word[1:]):
                        pairs[pair] = pairs.get(pair, 0) + seen
                best = max(pairs, key=pairs.get)
                joined = {}
                for word, seen in cut.items():
                    text = " ".join(word).replace(" ".join(best), "".join(best))
                    joined[tuple(text.split())] = seen
                cut = joined
            print("+".join(best))
        """,
        right="li+d",
        why="First *l* and *i* are joined, seen 7 times. Then the pairs are counted again: *li* and *d* 4 times, "
        "*li* and *t* 3, *h* and *i* 2, *i* and *t* 2.",
        wrong={
            "i+t": "this is second in the first count, with 5; once li is joined, the i of lit is gone, and 2 are left",
            "l+i": "this is the first, seen 7 times",
            "li+t": "this comes 3 times, and li+d 4 times",
            "i+d": "once li is joined, no word has an i of its own before a d",
        },
        place="13_translation",
    ),
    Question(
        text="The reference is *die Lampe und die Heizung*, the answer is *die die die die*. Which share of its single "
        "words does BLEU count as right?",
        proof="""
            said = "die die die die".split()
            wanted = "die Lampe und die Heizung".split()
            shared = sum(min(said.count(w), wanted.count(w)) for w in set(said))
            print(f"{shared / len(said):.2f}")
        """,
        right="0.50",
        why="A word counts at most as often as the reference has it, here twice, of four that were said.",
        wrong={
            "1.00": "this counts each die as right; the reference has two, and the smaller count holds",
            "0.25": "this counts die once, being one word; the reference has it twice",
            "0.40": "this divides by the five words of the reference; it is the answer's words whose share is asked",
        },
        place="13_translation",
    ),
    Question(
        text="A decoder without a cache writes ten tokens. How many positions go through each of its layers, all "
        "steps together?",
        proof="""
            import torch
            from transformer_lib import Transformer, TransformerConfig

            torch.manual_seed(0)
            model = Transformer(TransformerConfig(
                src_vocab_size=9, tgt_vocab_size=9, d_model=8, n_heads=2, d_ff=8,
                n_encoder_layers=1, n_decoder_layers=1,
            )).eval()
            seen = []
            layer = model.decoder.layers[0].self_attn.k_proj
            layer.register_forward_hook(lambda m, x, y: seen.append(y.size(1)))
            memory, mask = model.encode(torch.tensor([[3, 4]]))
            ids = torch.tensor([[1]])
            for _ in range(10):
                token = model.decode(ids, memory, mask)[:, -1:].argmax(dim=-1)
                ids = torch.cat([ids, token], dim=1)
            print(sum(seen))
        """,
        right="55",
        why="The steps take 1, 2, ..., 10 positions, n(n + 1)/2 in all, only to look at the last one. With a cache it "
        "is one a step.",
        wrong={
            "10": "this is with a cache, one position a step",
            "100": "this takes ten positions at every step; the first step has one",
            "45": "this begins with no position at all; the first step has the token that begins every target",
        },
        place="14_speed",
    ),
    Question(
        text="A softmax in two pieces, over the scores ln 2, 0 and then ln 8. What does this print?",
        code="""
            import torch

            scores = torch.tensor([2.0, 1.0, 8.0]).log()
            largest, total = torch.tensor(-torch.inf), 0.0
            for tile in scores.split(2):
                new = torch.maximum(largest, tile.max())
                total = total * (largest - new).exp() + (tile - new).exp().sum()
                largest = new
            print(f"{total:.3f}")
        """,
        right="1.375",
        why="The first tile gives 1 + 1/2, with ln 2 subtracted. When ln 8 comes, that sum is corrected by 2/8, and 1 "
        "is added: the sum of all three with ln 8 subtracted.",
        wrong={
            "2.500": "this leaves out the correction; the first sum had only ln 2 subtracted",
            "7.000": "this corrects by 8/2, the wrong way round; a larger largest makes the old terms smaller",
            "11.000": "this is 2 + 1 + 8, with nothing subtracted; such sums overflow for large scores",
            "1.000": "this is the second tile alone; the first is made smaller and kept",
        },
        place="14_speed",
    ),
    Question(
        text="A model of 1,000,000 weights is trained with Adam in 8 processes, fully sharded. How many numbers does "
        "each process hold between two steps?",
        proof="""
            weights, processes = 1_000_000, 8
            parts = 1 + 1 + 2  # the weight, its gradient, Adam's two means
            print(f"{parts * weights // processes:,}")
        """,
        right="500,000",
        why="For each weight there are four numbers: itself, its gradient and Adam's two running means. FSDP deals out "
        "all of them, an eighth to each process.",
        wrong={
            "4,000,000": "this is DDP, where each process holds everything",
            "125,000": "this is the weights alone; gradients and the two running means of Adam are held too",
            "3,125,000": "this shards the weights and nothing else; gradients and Adam's means are sharded as well",
            "250,000": "this is weights and gradients; Adam keeps two running means for each weight",
        },
        place="15_more_than_one_machine",
    ),
    Question(
        text="Two workers learn from 30 and from 10 tokens. PyTorch averages their gradients. By which number must "
        "each divide its summed loss, so that the step is that of one process?",
        proof="""
            import torch

            weight = torch.tensor(1.0, requires_grad=True)
            hands = [torch.full((30,), 2.0), torch.full((10,), 4.0)]
            wanted = (torch.cat(hands) * weight).mean()
            for divisor in (10, 20, 30, 40):
                parts = [(hand * weight).sum() / divisor for hand in hands]
                if torch.stack(parts).mean() == wanted:
                    print(f"both by {divisor}")
        """,
        right="both by 20",
        why="By the mean number of tokens of all workers. The average of the two is then half the sum of both, over "
        "20: the sum over 40.",
        wrong={
            "by 30 and by 10": "this is a mean of means, in which the second worker's tokens count three times",
            "both by 40": "this divides by 2 once too often; PyTorch averages the gradients already",
            "both by 2": "this is the number of workers, by which PyTorch divides already; the tokens are forgotten",
        },
        place="15_more_than_one_machine",
    ),
]
