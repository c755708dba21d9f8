"""Right answers in other styles."""

ALTERNATIVES = {
    "encoder.layer": [
        """
        def my_layer(x, attention, feed_forward, norm_1, norm_2):
            gathered = attention(x, x, x)
            looked = norm_1(gathered + x)
            thought = feed_forward(looked)
            return norm_2(thought + looked)
        """,
        """
        def my_layer(x, attention, feed_forward, norm_1, norm_2):
            parts = (lambda x: attention(x, x, x), norm_1), (feed_forward, norm_2)
            for sublayer, norm in parts:
                x = norm(torch.add(x, sublayer(x)))
            return x
        """,
        """
        def my_layer(x, attention, feed_forward, norm_1, norm_2):
            return torch.stack([one_sentence(s, attention, feed_forward, norm_1, norm_2) for s in x])

        def one_sentence(x, attention, feed_forward, norm_1, norm_2):
            x = norm_1(x + attention(x[None], x[None], x[None])[0])
            rows = [norm_2(token + feed_forward(token[None, None])[0, 0]) for token in x]
            return torch.stack(rows)
        """,
        """
        def my_layer(x, attention, feed_forward, norm_1, norm_2):
            from transformer_lib import SublayerConnection
            first = SublayerConnection(x.size(-1), 0.0, norm_first=False)
            second = SublayerConnection(x.size(-1), 0.0, norm_first=False)
            first.norm, second.norm = norm_1, norm_2
            return second(first(x, lambda x: attention(query=x, key=x, value=x)), feed_forward)
        """,
    ],
    "encoder.stack": [
        """
        def my_stack(make_layer, n_layers):
            layers = nn.ModuleList()
            for _ in range(n_layers):
                layers.append(make_layer())
            return layers
        """,
        """
        def my_stack(make_layer, n_layers):
            return nn.ModuleList([make_layer() for i in range(n_layers)])
        """,
        """
        def my_stack(make_layer, n_layers):
            import copy
            layers = [copy.deepcopy(make_layer()) for _ in range(n_layers)]
            return nn.Sequential(*layers)
        """,
        """
        def my_stack(make_layer, n_layers):
            if n_layers == 0:
                return nn.ModuleList()
            return my_stack(make_layer, n_layers - 1).append(make_layer())
        """,
    ],
    "encoder.reach": [
        """
        def my_reach(masks):
            eye = torch.eye(masks.size(1))
            table = eye
            for mask in masks:
                table = ((mask | eye.bool()).float() @ table).clamp(max=1)
            return table.bool()
        """,
        """
        def my_reach(masks):
            known = [{i} for i in range(masks.size(1))]
            for mask in masks.tolist():
                known = [
                    own.union(*(known[k] for k, may in enumerate(row) if may))
                    for own, row in zip(known, mask)
                ]
            return torch.tensor([[j in own for j in range(len(known))] for own in known])
        """,
        """
        def my_reach(masks):
            steps = masks.double() + torch.eye(masks.size(-1), dtype=torch.float64)
            total = steps[0]
            for step in steps[1:]:
                total = torch.einsum("ik,kj->ij", step, total)
            return total > 0.5
        """,
        """
        def my_reach(masks):
            x = torch.rand(masks.size(1), masks.size(1), dtype=torch.float64)
            inputs = torch.eye(masks.size(1), dtype=torch.float64)
            with torch.enable_grad():
                inputs.requires_grad_()
                stream = inputs
                for mask in masks:
                    stream = stream + torch.where(mask, 1.0 + x, 0.0) @ stream
            return stream.detach() > 0
        """,
    ],
}
