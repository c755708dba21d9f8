"""Right answers in other styles."""

ALTERNATIVES = {
    "multi-head.attention": [
        """
        def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
            heads = []
            for q, k, v in zip(*(w.chunk(n_heads, dim=1) for w in (w_q, w_k, w_v))):
                heads.append(scaled_dot_product_attention(x @ q, x @ k, x @ v)[0])
            return torch.cat(heads, dim=-1) @ w_o
        """,
        """
        def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
            batch, seq, d_model = x.shape
            d_head = d_model // n_heads
            def split(t):
                return t.view(batch, seq, n_heads, d_head).permute(0, 2, 1, 3)
            heads = F.scaled_dot_product_attention(split(x @ w_q), split(x @ w_k), split(x @ w_v))
            return heads.permute(0, 2, 1, 3).contiguous().view(batch, seq, d_model) @ w_o
        """,
        """
        def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
            cut = [w.view(len(w), n_heads, -1) for w in (w_q, w_k, w_v)]
            q, k, v = (torch.einsum("bsm,mhd->bhsd", x, w) for w in cut)
            weights = (torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5).softmax(-1)
            return torch.einsum("bhqk,bhkd,hdm->bqm", weights, v, w_o.view(n_heads, -1, len(w_o))), weights
        """,
        """
        def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
            multi = nn.MultiheadAttention(x.size(-1), n_heads, bias=False, batch_first=True)
            with torch.no_grad():
                multi.in_proj_weight.copy_(torch.cat([w_q.T, w_k.T, w_v.T]))
                multi.out_proj.weight.copy_(w_o.T)
            return multi(x, x, x)
        """,
        """
        def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
            d_head = x.size(-1) // n_heads
            output = torch.zeros_like(x, dtype=torch.float64)
            for head in range(n_heads):
                part = slice(head * d_head, (head + 1) * d_head)
                q, k, v = (x.double() @ w[:, part].double() for w in (w_q, w_k, w_v))
                output += scaled_dot_product_attention(q, k, v)[0] @ w_o[part].double()
            return output
        """,
    ],
    "multi-head.fold": [
        """
        def my_folded_attention(q, k, v, mask):
            return scaled_dot_product_attention(q, k, v, mask[:, None])[0]
        """,
        """
        def my_folded_attention(q, k, v, mask):
            batch, n_heads, seq, d_head = q.shape
            q, k, v = (t.transpose(0, 1).reshape(n_heads * batch, seq, d_head) for t in (q, k, v))
            mask = mask.repeat(n_heads, 1, 1)
            output, _ = scaled_dot_product_attention(q, k, v, mask)
            return output.view(n_heads, batch, seq, d_head).transpose(0, 1)
        """,
        """
        def my_folded_attention(q, k, v, mask):
            batch, n_heads, seq, d_head = q.shape
            masks = mask.unsqueeze(1).expand(batch, n_heads, seq, seq).flatten(0, 1)
            flat = [t.flatten(0, 1) for t in (q, k, v)]
            return F.scaled_dot_product_attention(*flat, attn_mask=masks).view_as(q)
        """,
        """
        def my_folded_attention(q, k, v, mask):
            output = torch.empty_like(q)
            for b in range(len(q)):
                for h in range(q.size(1)):
                    output[b, h] = scaled_dot_product_attention(q[b, h], k[b, h], v[b, h], mask[b])[0]
            return output
        """,
    ],
    "multi-head.prune": [
        """
        def my_pruned(w_q, w_k, w_v, w_o, keep, n_heads):
            def cut(w):
                return w.unflatten(1, (n_heads, -1))[:, keep].flatten(1)
            return cut(w_q), cut(w_k), cut(w_v), w_o.unflatten(0, (n_heads, -1))[keep].flatten(0, 1)
        """,
        """
        def my_pruned(w_q, w_k, w_v, w_o, keep, n_heads):
            columns = [torch.cat([w.chunk(n_heads, dim=1)[i] for i in keep], dim=1) for w in (w_q, w_k, w_v)]
            rows = torch.cat([w_o.chunk(n_heads, dim=0)[i] for i in keep])
            return (*columns, rows)
        """,
        """
        def my_pruned(w_q, w_k, w_v, w_o, keep, n_heads):
            stays = torch.tensor([head in keep for head in range(n_heads)])
            stays = stays.repeat_interleave(w_o.size(0) // n_heads)
            return [w_q[:, stays], w_k[:, stays], w_v[:, stays], w_o[stays]]
        """,
    ],
}
