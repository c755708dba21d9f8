"""Right answers in other styles."""

ALTERNATIVES = {
    "reading.head": [
        """
        def my_removal(x, head, n_heads):
            width = x.size(-1) // n_heads
            x = x.clone()
            x[..., head * width:(head + 1) * width] = 0.0
            return x
        """,
        """
        def my_removal(x, head, n_heads):
            parts = list(x.chunk(n_heads, dim=-1))
            parts[head] = torch.zeros_like(parts[head])
            return torch.cat(parts, dim=-1)
        """,
        """
        def my_removal(x, head, n_heads):
            owner = torch.arange(x.shape[2]) // (x.shape[2] // n_heads)
            return x * (owner != head)
        """,
        """
        def my_removal(x, head, n_heads):
            batch, seq, width = x.shape
            kept = torch.ones(n_heads).double()
            kept[head] = 0
            return (x.reshape(batch, seq, n_heads, -1) * kept[:, None]).reshape(batch, seq, width)
        """,
    ],
    "reading.patch": [
        """
        def my_patched(net, module, x, place, kept):
            import contextlib

            def put(module, args, output):
                rows = torch.arange(output.size(1)) == place
                return torch.where(rows[:, None], kept, output)

            with contextlib.ExitStack() as stack:
                stack.callback(module.register_forward_hook(put).remove)
                return net(x)
        """,
        """
        def my_patched(net, module, x, place, kept):
            def put(module, args, output):
                output[:, place, :] = kept[:, place, :]

            with module.register_forward_hook(put):
                return net(x)
        """,
        """
        def my_patched(net, module, x, place, kept):
            def put(module, args, output):
                before, after = output[:, :place], output[:, place + 1:]
                return torch.cat([before, kept[:, place:place + 1], after], 1)

            handle = module.register_forward_hook(put)
            try:
                result = net(x)
            except BaseException:
                handle.remove()
                raise
            handle.remove()
            return result
        """,
    ],
    "reading.prefix": [
        """
        def my_prefix_score(ids, weights):
            found = []
            for row, tokens in enumerate(ids.tolist()):
                for i, token in enumerate(tokens):
                    after = [j + 1 for j in range(i) if tokens[j] == token]
                    if after:
                        found.append(sum(weights[row, i, j] for j in after))
            return sum(found) / len(found)
        """,
        """
        def my_prefix_score(ids, weights):
            n = ids.size(1)
            total, count = 0.0, 0
            for i in range(1, n):
                copies = (ids[:, :i] == ids[:, i:i + 1]).double()
                total += (weights[:, i, 1:i + 1] * copies).sum().item()
                count += (copies.sum(1) > 0).sum().item()
            return total / count
        """,
        """
        def my_prefix_score(ids, weights):
            place = torch.arange(ids.size(1))
            copy = (ids[:, None] == ids[..., None]) & (place < place[:, None])
            following = torch.roll(copy, 1, dims=2)
            following[:, :, 0] = False
            score = torch.einsum("bqk,bqk->bq", weights.double(), following.double())
            return float(score[copy.any(2)].sum() / copy.any(2).sum())
        """,
    ],
}
