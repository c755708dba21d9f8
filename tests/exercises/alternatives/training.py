"""Right answers in other styles."""

ALTERNATIVES = {
    "training.loss": [
        """
        def my_loss(logits, targets, pad_id):
            flat, wanted = logits.flatten(0, 1), targets.flatten()
            total = F.cross_entropy(flat, wanted, ignore_index=pad_id, reduction="sum")
            return total, (targets != pad_id).sum()
        """,
        """
        def my_loss(logits, targets, pad_id):
            total, number = logits.new_zeros(()), 0
            for row, wanted in zip(logits, targets):
                for scores, token in zip(row, wanted):
                    if token != pad_id:
                        total = total + scores.logsumexp(0) - scores[token]
                        number += 1
            return total, number
        """,
        """
        def my_loss(logits, targets, pad_id):
            log_p = logits.double().log_softmax(-1)
            right = log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
            real = (targets != pad_id).double()
            return -torch.einsum("bt,bt->", right, real), real.sum()
        """,
        """
        def my_loss(logits, targets, pad_id):
            losses = nn.CrossEntropyLoss(ignore_index=pad_id, reduction="none")(logits.transpose(1, 2), targets)
            return losses.sum(), targets.ne(pad_id).count_nonzero()
        """,
        """
        def my_loss(logits, targets, pad_id):
            from transformer_lib import token_loss
            return token_loss(logits, targets, pad_id=pad_id)
        """,
    ],
    "training.smoothing": [
        """
        def my_smoothed_loss(logits, targets, smoothing, pad_id):
            from transformer_lib import smoothed_targets
            asked = smoothed_targets(targets, logits.size(-1), smoothing, pad_id)
            log_p = logits.log_softmax(-1)
            return -(asked * log_p.masked_fill(asked == 0, 0.0)).sum()
        """,
        """
        def my_smoothed_loss(logits, targets, smoothing, pad_id):
            total = torch.zeros((), dtype=torch.float64)
            size = logits.size(-1)
            for scores, token in zip(logits.flatten(0, 1), targets.flatten().tolist()):
                if token == pad_id:
                    continue
                log_p = scores.double().log_softmax(0)
                total = total - (1 - smoothing) * log_p[token]
                for other in range(size):
                    if other not in (token, pad_id):
                        total = total - smoothing / (size - 2) * log_p[other]
            return total
        """,
        """
        def my_smoothed_loss(logits, targets, smoothing, pad_id):
            real = targets != pad_id
            log_p, wanted = logits[real].log_softmax(-1), targets[real]
            size = logits.size(-1)
            kept = log_p[:, torch.arange(size) != pad_id]
            share = smoothing / (size - 2)
            plain = F.nll_loss(log_p, wanted, reduction="sum")
            return (1 - smoothing - share) * plain - share * kept.sum()
        """,
        """
        def my_smoothed_loss(logits, targets, smoothing, pad_id):
            size = logits.size(-1)
            ids = torch.arange(size)
            right = ids == targets.unsqueeze(-1)
            asked = torch.where(right, 1 - smoothing, smoothing / (size - 2))
            counts = (ids != pad_id) & (targets != pad_id).unsqueeze(-1)
            return -(asked[counts] * logits.log_softmax(-1)[counts]).sum()
        """,
    ],
    "training.parts": [
        """
        def my_epoch(model, optimizer, parts, k):
            for i, (x, targets) in enumerate(parts):
                start = i // k * k
                in_all = sum(int((t != 0).sum()) for _, t in parts[start : start + k])
                total, number = token_loss(model(x), targets, pad_id=0)
                (total / in_all).backward()
                if (i + 1) % k == 0 or i + 1 == len(parts):
                    optimizer.step()
                    optimizer.zero_grad()
        """,
        """
        def my_epoch(model, optimizer, parts, k):
            optimizer.zero_grad(set_to_none=False)
            while parts:
                group, parts = parts[:k], parts[k:]
                losses = [token_loss(model(x), targets, pad_id=0) for x, targets in group]
                total, number = map(sum, zip(*losses))
                loss = total / number
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        def my_epoch(model, optimizer, parts, k):
            counted = 0
            optimizer.zero_grad()
            for i, (x, targets) in enumerate(parts, start=1):
                total, number = token_loss(model(x), targets, pad_id=0)
                total.backward()
                counted += number
                if i % k == 0 or i == len(parts):
                    for parameter in model.parameters():
                        parameter.grad /= counted
                    optimizer.step()
                    optimizer.zero_grad()
                    counted = 0
        """,
        """
        def my_epoch(model, optimizer, parts, k):
            for start in range(0, len(parts), k):
                xs, wanted = zip(*parts[start : start + k])
                total, number = token_loss(model(torch.cat(xs)), torch.cat(wanted), pad_id=0)
                (total / number).backward()
                optimizer.step()
                optimizer.zero_grad()
        """,
    ],
}
