"""Right answers in other styles."""

ALTERNATIVES = {
    "decoding.sample": [
        """
        def my_chances(logits, temperature, p):
            rows = []
            for row in (logits / temperature).softmax(-1).tolist():
                kept = [
                    share if sum(s for s in row if s > share) < p else 0.0
                    for share in row
                ]
                rows.append([share / sum(kept) for share in kept])
            return torch.tensor(rows)
        """,
        """
        def my_chances(logits, temperature, p):
            from transformer_lib.sampling import keep_top_p
            return keep_top_p(logits / temperature, p).softmax(dim=-1)
        """,
        """
        def my_chances(logits, temperature, p):
            scaled = logits.double() / temperature
            shares = F.softmax(scaled, dim=1)
            larger = shares[:, None, :] > shares[:, :, None]
            before = torch.einsum("bij,bj->bi", larger.double(), shares)
            return F.softmax(scaled.masked_fill(before >= p, -math.inf), dim=1)
        """,
        """
        def my_chances(logits, temperature, p):
            ordered, order = (logits / temperature).sort(-1, descending=True)
            sums = ordered.softmax(-1).cumsum(-1)
            dropped = torch.zeros_like(sums, dtype=torch.bool)
            dropped[:, 1:] = sums[:, :-1] >= p
            dropped = dropped.gather(-1, order.argsort(-1))
            return (logits / temperature).masked_fill(dropped, -1e9).softmax(-1)
        """,
    ],
    "decoding.beam": [
        """
        def my_beam_step(ids, log_probs, steps):
            batch, beam = log_probs.shape
            new_ids, new_log_probs, rows = [], [], []
            for i in range(batch):
                found = []
                for b in range(beam):
                    for token, step in enumerate(steps[i * beam + b].tolist()):
                        total = log_probs[i, b].item() + step
                        found.append((total, i * beam + b, token))
                found.sort(reverse=True)
                for total, row, token in found[:beam]:
                    new_ids.append([*ids[row].tolist(), token])
                    new_log_probs.append(total)
                    rows.append(row)
            return (
                torch.tensor(new_ids),
                torch.tensor(new_log_probs).view(batch, beam),
                torch.tensor(rows),
            )
        """,
        """
        def my_beam_step(ids, log_probs, steps):
            batch, beam = log_probs.shape
            totals = log_probs[:, :, None] + steps.unflatten(0, (batch, beam))
            values, places = totals.flatten(1).sort(descending=True)
            values, places = values[:, :beam], places[:, :beam]
            parents, tokens = torch.unravel_index(places, totals.shape[1:])
            old = ids.unflatten(0, (batch, beam))
            moved = old.gather(1, parents[..., None].expand(-1, -1, old.size(-1)))
            new = torch.cat([moved, tokens[..., None]], dim=-1).flatten(0, 1)
            rows = torch.arange(batch * beam).view(batch, beam).gather(1, parents)
            return new, values, rows.flatten()
        """,
        """
        def my_beam_step(ids, log_probs, steps):
            batch, beam = log_probs.shape
            own, tokens = steps.double().topk(beam, dim=-1)
            totals = (log_probs.view(-1, 1) + own).view(batch, beam * beam)
            best, places = totals.topk(beam)
            rows = places.div(beam, rounding_mode="floor")
            rows = (rows + torch.arange(batch)[:, None] * beam).reshape(-1)
            new = tokens.view(batch, -1).gather(1, places).reshape(-1, 1)
            return torch.hstack([ids.index_select(0, rows), new]), best, rows
        """,
    ],
    "decoding.length": [
        """
        def my_scores(ids, log_probs, alpha, pad_id):
            length = ids.ne(pad_id).sum(-1) - 1
            return log_probs * (6 / (5 + length)) ** alpha
        """,
        """
        def my_scores(ids, log_probs, alpha, pad_id):
            scores = torch.empty(log_probs.shape)
            for i, row in enumerate(ids.tolist()):
                for j, answer in enumerate(row):
                    n = len([token for token in answer[1:] if token != pad_id])
                    scores[i, j] = log_probs[i, j] / ((5 + n) / 6) ** alpha
            return scores
        """,
        """
        def my_scores(ids, log_probs, alpha, pad_id):
            n = (ids == 2).double().argmax(dim=-1)  # the place of EOS
            return log_probs / torch.exp(alpha * torch.log((5 + n) / 6))
        """,
        """
        def my_scores(ids, log_probs, alpha, pad_id):
            n = ids.size(-1) - 1 - (ids == pad_id).sum(dim=-1)
            penalty = torch.pow(5 + n, alpha) / 6**alpha
            return log_probs / penalty
        """,
    ],
}
