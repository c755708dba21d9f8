"""Right answers in other styles."""

ALTERNATIVES = {
    "decoder.across": [
        """
        def my_cross(attention, x, memory):
            return attention(query=x, key=memory, value=memory, mask=None)
        """,
        """
        def my_cross(attention, x, memory):
            q = attention.split_heads(attention.q_proj(x))
            k = attention.split_heads(attention.k_proj(memory))
            v = attention.split_heads(attention.v_proj(memory))
            found = F.scaled_dot_product_attention(q, k, v)
            return attention.out_proj(found.transpose(1, 2).flatten(2))
        """,
        """
        def my_cross(attention, x, memory):
            rows = [attention(x[:, i : i + 1], memory, memory) for i in range(x.size(1))]
            return torch.cat(rows, dim=1)
        """,
    ],
    "decoder.layer": [
        """
        def my_layer(x, memory, tgt_mask, memory_mask, self_attn, cross_attn, feed_forward, norms):
            norm_1, norm_2, norm_3 = norms
            back = norm_1(self_attn(x, x, x, tgt_mask) + x)
            across = norm_2(cross_attn(back, memory, memory, memory_mask) + back)
            return norm_3(feed_forward(across) + across)
        """,
        """
        def my_layer(x, memory, tgt_mask, memory_mask, self_attn, cross_attn, feed_forward, norms):
            sublayers = [
                lambda x: self_attn(x, x, x, tgt_mask),
                lambda x: cross_attn(x, memory, memory, memory_mask),
                feed_forward,
            ]
            for norm, sublayer in zip(norms, sublayers):
                x = norm(x + sublayer(x))
            return x
        """,
        """
        def my_layer(x, memory, tgt_mask, memory_mask, self_attn, cross_attn, feed_forward, norms):
            from transformer_lib import DecoderLayer
            layer = DecoderLayer(x.size(-1), self_attn.n_heads, 5, dropout=0.0)
            layer.self_attn, layer.cross_attn, layer.feed_forward = self_attn, cross_attn, feed_forward
            layer.self_attn_residual.norm, layer.cross_attn_residual.norm, layer.feed_forward_residual.norm = norms
            return layer(x, memory, tgt_mask, memory_mask)
        """,
        """
        def my_layer(x, memory, tgt_mask, memory_mask, self_attn, cross_attn, feed_forward, norms):
            def norm(i, x):
                x = x - x.mean(-1, keepdim=True)
                x = x / (x.var(-1, correction=0, keepdim=True) + norms[i].eps).sqrt()
                return x * norms[i].weight + norms[i].bias

            mask = torch.zeros(tgt_mask.shape).masked_fill(~tgt_mask, 1).eq(0)
            x = norm(0, x + self_attn(x, x, x, mask))
            x = norm(1, x + cross_attn(x, memory, memory, memory_mask))
            return norm(2, x + feed_forward(x))
        """,
    ],
    "decoder.padding": [
        """
        def my_lookup(x, memory, src_ids, tgt_ids, pad_id, attention):
            from transformer_lib import padding_mask
            return attention(x, memory, memory, padding_mask(src_ids, pad_id))
        """,
        """
        def my_lookup(x, memory, src_ids, tgt_ids, pad_id, attention):
            mask = src_ids.ne(pad_id).view(len(src_ids), 1, 1, -1)
            mask = mask.expand(-1, attention.n_heads, tgt_ids.size(1), -1)
            return attention(x, memory, memory, mask)
        """,
        """
        def my_lookup(x, memory, src_ids, tgt_ids, pad_id, attention):
            found = []
            for i in range(len(x)):
                kept = memory[i : i + 1, src_ids[i] != pad_id]
                found.append(attention(x[i : i + 1], kept, kept))
            return torch.cat(found)
        """,
    ],
    "decoder.past": [
        """
        def my_step(query, key, value, past_key, past_value):
            new, old = key.size(1), past_key.size(1)
            keys = torch.cat((past_key, key), 1)
            values = torch.cat((past_value, value), 1)
            scores = torch.einsum("bqd,bkd->bqk", query, keys) / math.sqrt(query.size(-1))
            later = torch.arange(old + new) > torch.arange(old, old + new)[:, None]
            weights = scores.masked_fill(later, -math.inf).softmax(-1)
            return torch.einsum("bqk,bkd->bqd", weights, values), keys, values
        """,
        """
        def my_step(query, key, value, past_key, past_value):
            keys, values, outputs = past_key, past_value, []
            for i in range(query.size(1)):
                keys = torch.cat([keys, key[:, i : i + 1]], dim=1)
                values = torch.cat([values, value[:, i : i + 1]], dim=1)
                outputs.append(F.scaled_dot_product_attention(query[:, i : i + 1], keys, values))
            return torch.cat(outputs, dim=1), keys, values
        """,
        """
        def my_step(query, key, value, past_key, past_value):
            keys, values = torch.cat([past_key, key], -2), torch.cat([past_value, value], -2)
            square = torch.ones(keys.size(1), keys.size(1), dtype=torch.bool).tril()
            mask = square[past_key.size(1) :]
            return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask), keys, values
        """,
        """
        def my_step(query, key, value, past_key, past_value):
            keys = torch.cat([past_key, key], dim=1).double()
            values = torch.cat([past_value, value], dim=1).double()
            old = past_key.size(1)
            shares = (query.double() @ keys.mT / query.size(-1) ** 0.5).exp()
            shares = shares.tril(diagonal=old)
            return [shares / shares.sum(-1, keepdim=True) @ values, keys, values]
        """,
    ],
}
