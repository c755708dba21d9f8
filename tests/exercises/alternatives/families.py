"""Right answers in other styles."""

ALTERNATIVES = {
    "families.bits": [
        "my_bits = 0.9",
        "my_bits = 2.5 * math.log2(math.e) / 4",
        "my_bits = torch.tensor(2.5 * 300 / 1200 / 0.6931)",
    ],
    "families.stream": [
        """
        def my_stream(source, target):
            ids = list(source) + list(target[:-1])
            return ids, [0] * len(source) + list(target[1:])
        """,
        """
        def my_stream(source, target):
            ids, targets = [], []
            stream = source + target
            for i in range(len(stream) - 1):
                ids.append(stream[i])
                targets.append(stream[i + 1] if i >= len(source) else 0)
            return ids, targets
        """,
        """
        def my_stream(source, target):
            stream = torch.tensor([*source, *target])
            asked = torch.arange(len(stream) - 1) >= len(source)
            return stream[:-1].tolist(), (stream[1:] * asked).tolist()
        """,
    ],
    "families.corrupt": [
        """
        def my_corrupt(ids, chosen, dice, others, mask_id):
            inputs, targets = ids.clone(), torch.zeros_like(ids)
            targets[chosen] = ids[chosen]
            inputs[chosen & (dice < 0.9)] = others[chosen & (dice < 0.9)]
            inputs[chosen & (dice < 0.8)] = mask_id
            return inputs, targets
        """,
        """
        def my_corrupt(ids, chosen, dice, others, mask_id):
            inputs, targets = ids.tolist(), ids.tolist()
            for b in range(ids.size(0)):
                for i in range(ids.size(1)):
                    if not chosen[b, i]:
                        targets[b][i] = 0
                    elif dice[b, i] < 0.8:
                        inputs[b][i] = mask_id
                    elif dice[b, i] < 0.9:
                        inputs[b][i] = others[b, i].item()
            return torch.tensor(inputs), torch.tensor(targets)
        """,
        """
        def my_corrupt(ids, chosen, dice, others, mask_id):
            new = torch.where(dice < 0.8, torch.full_like(ids, mask_id), others)
            new = torch.where(dice < 0.9, new, ids)
            return torch.where(chosen, new, ids), ids * chosen.long()
        """,
    ],
}
