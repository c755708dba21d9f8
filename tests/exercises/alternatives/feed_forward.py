"""Right answers in other styles."""

ALTERNATIVES = {
    "feed-forward.rule": [
        """
        def my_rule():
            return [1, -1, -1, -1], 1
        """,
        """
        def my_rule():
            return torch.tensor([12.0, 0.0, 0.0, -1.0]), torch.tensor(-10.0)
        """,
        """
        def my_rule():
            return (20.0, 0.0, 0.0, -9.5), -9.5
        """,
        """
        def my_rule():
            weights, bias = torch.tensor([3.0, 1.0, 1.0, -1.0]), torch.tensor(-1.0)
            return weights.double(), bias.double()
        """,
    ],
    "feed-forward.network": [
        """
        def my_feed_forward(x, w1, b1, w2, b2):
            return F.linear(F.relu(F.linear(x, w1.T, b1)), w2.T, b2)
        """,
        """
        def my_feed_forward(x, w1, b1, w2, b2):
            hidden = torch.einsum("bsd,df->bsf", x, w1) + b1
            hidden = torch.clamp(hidden, min=0)
            return torch.einsum("bsf,fd->bsd", hidden, w2) + b2
        """,
        """
        def my_feed_forward(x, w1, b1, w2, b2):
            first, second = nn.Linear(*w1.shape), nn.Linear(*w2.shape)
            with torch.no_grad():
                first.weight.copy_(w1.T), first.bias.copy_(b1)
                second.weight.copy_(w2.T), second.bias.copy_(b2)
            return nn.Sequential(first, nn.ReLU(), second)(x)
        """,
        """
        def my_feed_forward(x, w1, b1, w2, b2):
            x, out = x.double(), []
            for token in x.flatten(0, 1):
                total = b2.double()
                for j in range(len(b1)):
                    fired = max(0.0, float(token @ w1[:, j].double() + b1[j]))
                    total = total + fired * w2[j]
                out.append(total)
            return torch.stack(out).view(x.shape)
        """,
    ],
    "feed-forward.table": [
        """
        def my_logits(ids, table, layers):
            x = F.embedding(ids, table) * table.shape[-1] ** 0.5
            return F.linear(layers(x), table)
        """,
        """
        def my_logits(ids, table, layers):
            one_hot = F.one_hot(ids, len(table)).to(table)
            scaled = table * math.sqrt(table.size(1))
            return torch.einsum("bsd,vd->bsv", layers(one_hot @ scaled), table)
        """,
        """
        def my_logits(ids, table, layers):
            vocab, width = table.shape
            rows = table.index_select(0, ids.flatten()).view(*ids.shape, width)
            final = layers(rows.mul(math.sqrt(width)))
            return torch.stack([(final * row).sum(dim=-1) for row in table], dim=-1)
        """,
    ],
    "feed-forward.tied": [
        """
        def my_table_gradient(ids, table, upstream):
            root = table.size(1) ** 0.5
            one_hot = F.one_hot(ids, len(table)).to(table)
            x = one_hot @ table * root
            out = torch.einsum("bsv,bsd->vd", upstream, x)
            return out + torch.einsum("bsv,bsd->vd", one_hot, upstream @ table) * root
        """,
        """
        def my_table_gradient(ids, table, upstream):
            root, gradient = math.sqrt(table.size(1)), torch.zeros_like(table)
            for row, above in zip(ids, upstream):
                for i, up in zip(row.tolist(), above):
                    gradient += root * up[:, None] * table[i]
                    gradient[i] += root * up @ table
            return gradient
        """,
        """
        def my_table_gradient(ids, table, upstream):
            wide, up = table.double(), upstream.double().reshape(-1, len(table))
            counts = torch.zeros_like(up.T)
            for place, i in enumerate(ids.reshape(-1)):
                counts[i, place] = 1.0
            both = up.T @ counts.T
            return (both + both.T) @ wide * math.sqrt(table.size(1))
        """,
    ],
}
