"""Right answers in other styles."""

ALTERNATIVES = {
    "masks.causal": [
        """
        def my_causal_mask(length):
            place = torch.arange(length)
            return place[None, :] <= place[:, None]
        """,
        """
        def my_causal_mask(length):
            rows = [[j <= i for j in range(length)] for i in range(length)]
            return torch.tensor(rows)
        """,
        """
        def my_causal_mask(length):
            return ~torch.triu(torch.ones(length, length), diagonal=1).bool()
        """,
        """
        def my_causal_mask(length):
            return nn.Transformer.generate_square_subsequent_mask(length) == 0
        """,
    ],
    "masks.padding": [
        """
        def my_mask(ids, pad_id):
            batch, seq = ids.shape
            mask = torch.zeros(batch, 1, seq, seq, dtype=torch.bool)
            for b in range(batch):
                for i in range(seq):
                    for j in range(i + 1):
                        mask[b, 0, i, j] = ids[b, j] != pad_id
            return mask
        """,
        """
        def my_mask(ids, pad_id):
            from transformer_lib import causal_mask, padding_mask
            return padding_mask(ids, pad_id) & causal_mask(ids.size(1))
        """,
        """
        def my_mask(ids, pad_id):
            seq = ids.size(1)
            pads = ids.eq(pad_id).view(-1, 1, 1, seq)
            later = torch.ones(seq, seq).triu(1).bool()
            return (pads | later).logical_not()
        """,
    ],
    "masks.dead": [
        """
        def my_attention(scores, values, mask):
            alive = mask.any(dim=-1, keepdim=True)
            safe = scores.masked_fill(~mask & alive, -math.inf)
            return safe.softmax(dim=-1) * alive @ values
        """,
        """
        def my_attention(scores, values, mask):
            low = scores.masked_fill(~mask, -1e30)
            largest = low.detach().amax(-1, keepdim=True)
            shares = torch.exp(low - largest) * mask
            weights = shares / shares.sum(-1, keepdim=True).clamp(min=1e-30)
            return torch.einsum("qk,kd->qd", weights, values)
        """,
        """
        def my_attention(scores, values, mask):
            weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
            return weights.nan_to_num(0.0) @ values
        """,
        """
        def my_attention(scores, values, mask):
            rows = []
            for row, allowed in zip(scores, mask):
                weights = row[allowed].double().softmax(0)
                rows.append(weights @ values[allowed].double())
            return torch.stack(rows)
        """,
    ],
}
