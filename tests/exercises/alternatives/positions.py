"""Right answers in other styles."""

ALTERNATIVES = {
    "positions.encode": [
        """
        def my_encode(x, offset=0):
            batch, seq, d_model = x.shape
            table = torch.zeros(seq, d_model, dtype=torch.float64)
            for t in range(seq):
                for j in range(d_model // 2):
                    angle = (offset + t) * 10000 ** (-2 * j / d_model)
                    table[t, 2 * j] = math.sin(angle)
                    table[t, 2 * j + 1] = math.cos(angle)
            return x + table
        """,
        """
        def my_encode(x, offset=0):
            from transformer_lib.positions import PositionalEncoding
            return PositionalEncoding(x.size(2), 100)(x, offset)
        """,
        """
        def my_encode(x, offset=0):
            d_model = x.size(-1)
            position = torch.arange(offset + x.size(1)).unsqueeze(1).float()
            div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
            pe = torch.zeros(len(position), d_model)
            pe[:, 0::2] = torch.sin(position * div_term)
            pe[:, 1::2] = torch.cos(position * div_term)
            return x + pe[offset:]
        """,
        """
        def my_encode(x, offset=0):
            feature = torch.arange(x.size(2))
            speed = torch.pow(10000.0, -(feature - feature % 2).double() / x.size(2))
            angle = torch.einsum("p,f->pf", torch.arange(x.size(1)).double() + offset, speed)
            return x.double() + torch.sin(angle + feature % 2 * math.pi / 2)
        """,
    ],
    "positions.padding": [
        """
        def my_placed(x, real, table):
            output = x.clone()
            for b in range(len(x)):
                words = int(real[b].sum())
                output[b, x.size(1) - words:] += table[:words]
            return output
        """,
        """
        def my_placed(x, real, table):
            return x + table[real.cumsum(dim=1) - 1] * real[..., None]
        """,
        """
        def my_placed(x, real, table):
            pads = real.int().argmax(dim=1, keepdim=True)
            place = (torch.arange(x.size(1)) - pads).clamp(min=0)
            return x + F.embedding(place, table)
        """,
        """
        def my_placed(x, real, table):
            rows = [table[:1].expand(int(n), -1) for n in (~real).sum(dim=1)]
            rows = [torch.cat([row, table])[: x.size(1)] for row in rows]
            return x + torch.stack(rows).double()
        """,
    ],
    "positions.rotary": [
        """
        def my_rotary_scores(query, key):
            d = query.size(-1)
            stack = torch.stack([rotation(p, d).float() for p in range(query.size(1))])
            q, k = (torch.einsum("sij,bsj->bsi", stack, t) for t in (query, key))
            return torch.einsum("bqd,bkd->bqk", q, k) / math.sqrt(d)
        """,
        """
        def my_rotary_scores(query, key):
            batch, seq, d = query.shape
            angle = torch.outer(torch.arange(seq).float(), 10000.0 ** (-torch.arange(0, d, 2) / d))
            turn = torch.polar(torch.ones_like(angle), -angle)
            q, k = (torch.view_as_complex(t.unflatten(-1, (-1, 2)).contiguous()) * turn for t in (query, key))
            return (q @ k.conj().transpose(1, 2)).real / d**0.5
        """,
        """
        def my_rotary_scores(query, key):
            batch, seq, d = query.shape
            scores = torch.zeros(batch, seq, seq, dtype=torch.float64)
            for i in range(seq):
                for j in range(seq):
                    turned = key[:, j].double() @ rotation(j - i, d).T
                    scores[:, i, j] = (query[:, i] * turned).sum(dim=1) / math.sqrt(d)
            return scores
        """,
        """
        def my_rotary_scores(query, key):
            d = query.size(-1)
            speed = (10000 ** (-torch.arange(0, d, 2) / d)).repeat_interleave(2)
            angle = torch.arange(1, query.size(1) + 1)[:, None] * speed  # from 1: the same distances
            def turned(t):
                partner = torch.stack([t[..., 1::2], -t[..., 0::2]], dim=-1).flatten(-2)
                return t * angle.cos() + partner * angle.sin()
            return torch.bmm(turned(query), turned(key).transpose(1, 2)) / math.sqrt(d)
        """,
    ],
}
