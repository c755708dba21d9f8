"""Right answers in other styles."""

ALTERNATIVES = {
    "transformer.greedy": [
        """
        @torch.no_grad()
        def my_translate(model, src_ids, max_new_tokens):
            memory, mask = model.encode(src_ids)
            ids = src_ids.new_zeros(src_ids.size(0), max_new_tokens + 1)
            ids[:, 0] = model.config.bos_id
            for step in range(1, max_new_tokens + 1):
                scores = model.decode(ids[:, :step], memory, mask)[:, step - 1, :]
                ids[:, step] = scores.softmax(-1).argmax(-1)
            return ids
        """,
        """
        def my_translate(model, src_ids, max_new_tokens):
            memory, mask = model.encode(src_ids)
            cache = model.new_cache()
            newest = torch.ones_like(src_ids[:, :1]) * model.config.bos_id
            found = [newest]
            while len(found) < max_new_tokens + 1:
                newest = model.decode(newest, memory, mask, cache).max(dim=-1).indices
                found.append(newest)
            return torch.hstack(found)
        """,
        """
        def my_translate(model, src_ids, max_new_tokens):
            memory, mask = model.encode(src_ids)
            rows = [[model.config.bos_id] for _ in src_ids]
            for _ in range(max_new_tokens):
                logits = model.decode(torch.tensor(rows), memory, memory_mask=mask)
                rows = [row + [int(last.topk(1).indices)] for row, last in zip(rows, logits[:, -1])]
            return torch.tensor(rows)
        """,
    ],
    "transformer.cache": [
        """
        def my_fast_translate(model, src_ids, max_new_tokens):
            memory, memory_mask = model.encode(src_ids)
            best = torch.full((len(src_ids), 1), model.config.bos_id)
            ids, cache = best, model.new_cache(max_new_tokens)
            for _ in range(max_new_tokens):
                best = model.decode(best, memory, memory_mask, cache).argmax(dim=-1)
                ids = torch.cat([ids, best], dim=1)
            return ids
        """,
        """
        def my_fast_translate(model, src_ids, max_new_tokens):
            with torch.no_grad():
                memory, memory_mask = model.encode(src_ids)
                cache = model.new_cache()
                ids = torch.full((len(src_ids), 1), model.config.bos_id)
                for _ in range(max_new_tokens):
                    new = ids[:, cache.length :]
                    logits = model.decode(new, memory, memory_mask, cache=cache)
                    ids = torch.cat([ids, logits[:, -1].argmax(-1)[:, None]], dim=1)
            return ids
        """,
        """
        def my_fast_translate(model, src_ids, max_new_tokens):
            memory, memory_mask = model.encode(src_ids)
            cache = None
            ids = torch.full((len(src_ids), 1), model.config.bos_id)
            for step in range(max_new_tokens):
                cache = cache or model.new_cache()
                logits = model.decode(ids[:, step : step + 1], memory, memory_mask, cache)
                ids = torch.cat([ids, logits.argmax(-1)], dim=1)
            return ids
        """,
    ],
    "transformer.reach": [
        """
        def my_reach(function, ids, other):
            seq = ids.size(1)
            table = torch.zeros(seq, seq, dtype=torch.bool)
            before = function(ids)
            for j in range(seq):
                changed = torch.cat([ids[:, :j], other[:, j : j + 1], ids[:, j + 1 :]], dim=1)
                after = function(changed)
                for i in range(seq):
                    table[i, j] = not torch.allclose(after[0, i], before[0, i], rtol=0, atol=1e-4)
            return table
        """,
        """
        def my_reach(function, ids, other):
            swapped = torch.where(torch.eye(ids.size(1), dtype=torch.bool), other, ids)
            gap = (function(swapped) - function(ids)).abs()
            return (gap > 1e-4).any(dim=-1).T
        """,
        """
        def my_reach(function, ids, other):
            rows = []
            for i in range(ids.size(1)):
                row = []
                for j in range(ids.size(1)):
                    changed = ids.clone()
                    changed[0, j] = other[0, j]
                    row.append(bool((function(changed)[0, i] - function(ids)[0, i]).abs().max() > 1e-4))
                rows.append(row)
            return torch.tensor(rows)
        """,
    ],
}
