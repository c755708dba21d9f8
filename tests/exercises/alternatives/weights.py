"""Right answers in other styles."""

ALTERNATIVES = {
    "weights.split": [
        """
        def my_split(weight, bias):
            d = len(weight)
            return weight.T.reshape(3, d, d), bias.reshape(3, d)
        """,
        """
        def my_split(weight, bias):
            d = weight.shape[0]
            q, k, v = weight[:, :d], weight[:, d : 2 * d], weight[:, 2 * d :]
            weights = torch.stack([q.T, k.T, v.T])
            return weights, torch.stack([bias[:d], bias[d : 2 * d], bias[2 * d :]])
        """,
        """
        def my_split(weight, bias):
            parts = torch.split(weight.t(), len(weight))
            return torch.stack(parts).contiguous(), bias.unflatten(0, (3, -1))
        """,
        """
        def my_split(weight, bias):
            return weight.unflatten(1, (3, -1)).permute(1, 2, 0), bias.view(3, -1)
        """,
    ],
    "weights.merge": [
        """
        def my_merged(weight, down, up, alpha):
            return torch.addmm(weight, up, down, alpha=alpha / len(down))
        """,
        """
        def my_merged(weight, down, up, alpha):
            merged = weight.clone()
            for row, column in zip(down, up.T):
                merged += alpha / up.shape[1] * torch.outer(column, row)
            return merged
        """,
        """
        def my_merged(weight, down, up, alpha):
            scale = alpha / up.size(1)
            return weight + torch.einsum("or,ri->oi", up, down) * scale
        """,
    ],
    "weights.rotary": [
        """
        def my_halves(weight, n_heads):
            d_head = len(weight) // n_heads
            order = [
                head * d_head + i
                for head in range(n_heads)
                for start in (0, 1)
                for i in range(start, d_head, 2)
            ]
            return weight[order]
        """,
        """
        def my_halves(weight, n_heads):
            heads = weight.chunk(n_heads)
            return torch.cat([part for h in heads for part in (h[0::2], h[1::2])])
        """,
        """
        def my_halves(weight, n_heads):
            heads = weight.reshape(n_heads, -1, weight.shape[1])
            halves = torch.cat([heads[:, ::2], heads[:, 1::2]], dim=1)
            return halves.flatten(0, 1)
        """,
    ],
}
