"""Right answers in other styles."""

ALTERNATIVES = {
    "todays-parts.turn": [
        """
        def my_turn(x, offset):
            half = x.size(-1) // 2
            position = torch.arange(offset, offset + x.size(1)).double()
            omega = 10000.0 ** (-torch.arange(half).double() / half)
            turn = torch.polar(torch.ones(len(position), half).double(), torch.outer(position, omega))
            z = torch.complex(x[..., :half].double(), x[..., half:].double()) * turn
            return torch.cat([z.real, z.imag], dim=-1).to(x.dtype)
        """,
        """
        def my_turn(x, offset):
            d = x.size(-1)
            out = torch.empty_like(x)
            for p in range(x.size(1)):
                for j in range(d // 2):
                    angle = (p + offset) * 10000 ** (-2 * j / d)
                    c, s = math.cos(angle), math.sin(angle)
                    a, b = x[:, p, j], x[:, p, j + d // 2]
                    out[:, p, j] = a * c - b * s
                    out[:, p, j + d // 2] = b * c + a * s
            return out
        """,
        """
        def my_turn(x, offset):
            d = x.shape[-1]
            inv_freq = 1.0 / 10000 ** (torch.arange(0, d, 2).float() / d)
            freqs = torch.outer(torch.arange(x.shape[1]).float() + offset, inv_freq)
            emb = torch.cat((freqs, freqs), dim=-1)
            x1, x2 = x[..., : d // 2], x[..., d // 2 :]
            return x * emb.cos() + torch.cat((-x2, x1), dim=-1) * emb.sin()
        """,
        """
        def my_turn(x, offset):
            from transformer_lib.modern import rotate
            return rotate(x, offset)
        """,
    ],
    "todays-parts.groups": [
        """
        def my_grouped(q, k, v):
            batch, heads, q_len, d_head = q.shape
            groups = k.size(1)
            q = q.view(batch, groups, heads // groups, q_len, d_head)
            scores = q @ k.unsqueeze(2).mT / math.sqrt(d_head)
            return (scores.softmax(-1) @ v.unsqueeze(2)).view(batch, heads, q_len, d_head)
        """,
        """
        def my_grouped(q, k, v):
            group = torch.arange(q.size(1)) // (q.size(1) // k.size(1))
            return F.scaled_dot_product_attention(q, k[:, group], v[:, group])
        """,
        """
        def my_grouped(q, k, v):
            size = q.size(1) // k.size(1)
            heads = []
            for h in range(q.size(1)):
                weights = (q[:, h] @ k[:, h // size].mT / q.size(-1) ** 0.5).softmax(-1)
                heads.append(weights @ v[:, h // size])
            return torch.stack(heads, dim=1)
        """,
        """
        def my_grouped(q, k, v):
            def shared(x):
                x = x[:, :, None].expand(-1, -1, q.size(1) // k.size(1), -1, -1)
                return x.reshape(x.size(0), -1, *x.shape[3:])
            return F.scaled_dot_product_attention(q, shared(k), shared(v))
        """,
    ],
    "todays-parts.routes": [
        """
        def my_routes(logits, top_k, room):
            probs = F.softmax(logits, dim=-1)
            share, chosen = probs.topk(top_k)
            share = share / share.sum(-1, keepdim=True) ** (top_k > 1)
            queue = chosen.T.flatten()
            place = F.one_hot(queue, probs.size(1)).cumsum(0).gather(1, queue[:, None])
            kept = (place <= room).view(top_k, -1).T
            return torch.zeros_like(probs).scatter(1, chosen, share * kept)
        """,
        """
        def my_routes(logits, top_k, room):
            order = logits.argsort(dim=1, descending=True)[:, :top_k]
            best = logits.softmax(dim=1).max(dim=1, keepdim=True).values
            if top_k > 1:
                best = logits.gather(1, order).softmax(dim=1)
            table = torch.zeros(logits.shape)
            queues = {e: [] for e in range(logits.size(1))}
            for c in range(top_k):
                for t in range(logits.size(0)):
                    queues[int(order[t, c])].append((t, c))
            for e, queue in queues.items():
                for t, c in queue[:room]:
                    table[t, e] = best[t, c]
            return table
        """,
        """
        def my_routes(logits, top_k, room):
            rank = logits.argsort(1, descending=True).argsort(1)
            masked = logits.masked_fill(rank >= top_k, -torch.inf).softmax(1)
            if top_k == 1:
                masked = logits.softmax(1)
            before = torch.zeros(logits.size(1))
            out = torch.zeros_like(masked)
            for c in range(top_k):
                mine = (rank == c).float()
                place = before + mine.cumsum(0)
                out = out + masked * mine * (place <= room)
                before = before + mine.sum(0)
            return out
        """,
    ],
}
