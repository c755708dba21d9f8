"""Right answers in other styles."""

ALTERNATIVES = {
    "museum.law": [
        """
        def my_causality(f, x, other):
            place = torch.arange(x.size(1))
            before, moved = f(x), []
            for t in place[1:]:
                later = (place >= t)[None, :, None]
                gap = f(torch.where(later, other, x)) - before
                moved.append(gap.masked_fill(later, 0.0).abs().max())
            return torch.stack(moved).max()
        """,
        """
        def my_causality(f, x, other):
            furthest = 0
            for t in range(x.shape[1] - 1, 0, -1):
                changed = x.clone()
                changed[:, t:] = other[:, t:]
                for old, new in zip(f(x)[:, :t].flatten(), f(changed)[:, :t].flatten()):
                    furthest = max(furthest, abs(float(old) - float(new)))
            return float(furthest)
        """,
        """
        def my_causality(f, x, other):
            seq = x.size(1)
            cuts = [torch.cat((x[:, :t], other[:, t:]), 1) for t in range(1, seq)]
            gaps = [(f(c)[:, :t + 1] - f(x)[:, :t + 1]).abs().amax() for t, c in enumerate(cuts)]
            return max(gaps).item()
        """,
    ],
    "museum.line": [
        """
        def my_attention(x, qkv, out, n_heads):
            q, k, v = qkv(x).unflatten(-1, (3, n_heads, -1)).permute(2, 0, 3, 1, 4)
            heads = F.scaled_dot_product_attention(q, k, v)
            return out(heads.transpose(1, 2).flatten(2))
        """,
        """
        def my_attention(x, qkv, out, n_heads):
            batch, seq, d_model = x.shape
            q, k, v = qkv(x).view(batch, seq, 3, n_heads, d_model // n_heads).unbind(2)
            scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(d_model // n_heads)
            return out(torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).reshape(x.shape))
        """,
        """
        def my_attention(x, qkv, out, n_heads):
            sentences = []
            for sentence in x:
                q, k, v = qkv(sentence).chunk(3, dim=-1)
                parts = zip(q.chunk(n_heads, -1), k.chunk(n_heads, -1), v.chunk(n_heads, -1))
                heads = [(a @ b.T / a.size(-1) ** 0.5).softmax(-1) @ c for a, b, c in parts]
                sentences.append(out(torch.cat(heads, dim=-1)))
            return torch.stack(sentences)
        """,
        """
        def my_attention(x, qkv, out, n_heads):
            module = nn.MultiheadAttention(x.size(-1), n_heads, batch_first=True)
            module.in_proj_weight, module.in_proj_bias = qkv.weight, qkv.bias
            module.out_proj.weight, module.out_proj.bias = out.weight, out.bias
            return module(x, x, x)[0]
        """,
    ],
}
