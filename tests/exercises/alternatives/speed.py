"""Right answers in other styles."""

ALTERNATIVES = {
    "speed.packed": [
        """
        def my_packed(x, real, layer):
            index = real.flatten().nonzero().squeeze(1)
            row = layer(x.flatten(0, 1).index_select(0, index).unsqueeze(0))[0]
            padded = torch.zeros(real.numel(), row.size(-1), dtype=row.dtype)
            return padded.index_copy(0, index, row).unflatten(0, real.shape)
        """,
        """
        def my_packed(x, real, layer):
            places = [(i, j) for i in range(x.size(0)) for j in range(x.size(1)) if real[i, j]]
            row = layer(torch.stack([x[place] for place in places]))
            padded = torch.zeros(x.size(0), x.size(1), row.shape[1])
            for place, vector in zip(places, row):
                padded[place] = vector
            return padded
        """,
        """
        def my_packed(x, real, layer):
            row = layer(torch.cat([sentence[here] for sentence, here in zip(x, real)]))
            mask = real.unsqueeze(-1).expand(-1, -1, row.size(-1))
            return torch.zeros(mask.shape).masked_scatter(mask, row)
        """,
        """
        def my_packed(x, real, layer):
            row = layer(x[real].double().float())
            number = real.flatten().cumsum(0) - 1
            spread = row[number.clamp(min=0)].view(*real.shape, -1)
            return torch.where(real[:, :, None], spread, 0.0)
        """,
    ],
    "speed.row": [
        """
        def my_row_mask(real):
            blocks = [torch.ones(n, n).tril().bool() for n in real.sum(1).tolist()]
            return torch.block_diag(*blocks).bool()
        """,
        """
        def my_row_mask(real):
            tokens = [(b, t) for b in range(len(real)) for t in range(real.size(1)) if real[b, t]]
            return torch.tensor([[c == b and u <= t for c, u in tokens] for b, t in tokens])
        """,
        """
        def my_row_mask(real):
            sentence, place = real.nonzero(as_tuple=True)
            same = sentence.unsqueeze(1).eq(sentence.unsqueeze(0))
            return same & (place.unsqueeze(1) >= place.unsqueeze(0))
        """,
        """
        def my_row_mask(real):
            batch, seq = real.shape
            whole = torch.kron(torch.eye(batch), torch.ones(seq, seq).tril()).bool()
            flat = real.flatten()
            return whole[flat][:, flat]
        """,
    ],
    "speed.tile": [
        """
        def my_online_softmax(scores, values, mask, tile):
            largest, total, mixed = torch.tensor(-torch.inf), torch.tensor(0.0), torch.tensor(0.0)
            for s, v, m in zip(scores.split(tile), values.split(tile), mask.split(tile)):
                if not m.any():
                    continue
                s, v = s[m], v[m]
                new = torch.maximum(largest, s.max())
                correction, weights = (largest - new).exp(), (s - new).exp()
                total, mixed = total * correction + weights.sum(), mixed * correction + weights @ v
                largest = new
            return mixed / total if total > 0 else torch.tensor(0.0)
        """,
        """
        def my_online_softmax(scores, values, mask, tile):
            scores = scores.masked_fill(~mask, -torch.inf)
            largest, total, mixed = torch.tensor(-torch.inf), 0.0, 0.0
            for s, v in zip(scores.split(tile), values.split(tile)):
                new = torch.maximum(largest, s.max())
                safe = torch.where(new.isinf(), 0.0, new)
                correction, weights = (largest - safe).exp(), (s - safe).exp()
                total, mixed = total * correction + weights.sum(), mixed * correction + weights @ v
                largest = new
            return torch.where(total > 0, mixed / total, 0.0)
        """,
        """
        def my_online_softmax(scores, values, mask, tile):
            total, mixed = torch.tensor(-torch.inf), torch.tensor(0.0).double()
            for i in range(0, len(scores), tile):
                s = scores[i:i + tile].double().masked_fill(~mask[i:i + tile], -math.inf)
                new = torch.logaddexp(total, s.logsumexp(0))
                if new > -math.inf:
                    mixed = mixed * (total - new).exp() + (s - new).exp() @ values[i:i + tile].double()
                    total = new
            return mixed
        """,
        """
        def my_online_softmax(scores, values, mask, tile):
            largest, total, mixed = None, 0.0, 0.0
            for s, v, m in zip(scores.tolist(), values.tolist(), mask.tolist()):
                if not m:
                    continue
                if largest is None or s > largest:
                    factor = 0.0 if largest is None else math.exp(largest - s)
                    total, mixed, largest = total * factor, mixed * factor, s
                total, mixed = total + math.exp(s - largest), mixed + math.exp(s - largest) * v
            return torch.tensor(mixed / total if total else 0.0)
        """,
    ],
}
