"""Right answers in other styles."""

ALTERNATIVES = {
    "self-attention.attend": [
        """
        def my_attend(query, key, value):
            output = torch.zeros(len(query), value.size(-1))
            for i in range(len(query)):
                products = torch.stack([query[i] @ one_key for one_key in key])
                shares = (products / math.sqrt(query.size(-1))).softmax(dim=0)
                for j in range(len(key)):
                    output[i] += shares[j] * value[j]
            return output
        """,
        """
        def my_attend(query, key, value):
            return F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        """,
        """
        def my_attend(query, key, value):
            powers = torch.exp(torch.einsum("qd,kd->qk", query, key) * query.shape[1] ** -0.5)
            weights = powers / powers.sum(dim=1, keepdim=True)
            return torch.einsum("qk,kv->qv", weights, value), weights
        """,
        """
        def my_attend(query, key, value):
            q, k, v = query.double() / math.sqrt(key.size(1)), key.double(), value.double()
            return ((k @ q.T).softmax(dim=0).T @ v)
        """,
        """
        def my_attend(query, key, value):
            from transformer_lib.attention import scaled_dot_product_attention
            return scaled_dot_product_attention(query, key, value)
        """,
    ],
    "self-attention.batch": [
        """
        def my_head(x, query_matrix, key_matrix, value_matrix):
            q = x @ query_matrix
            k = x @ key_matrix
            v = x @ value_matrix
            scores = q @ k.transpose(1, 2) / math.sqrt(q.size(2))
            return scores.softmax(dim=2) @ v
        """,
        """
        def my_head(x, query_matrix, key_matrix, value_matrix):
            return F.scaled_dot_product_attention(x @ query_matrix, x @ key_matrix, x @ value_matrix)
        """,
        """
        def my_head(x, query_matrix, key_matrix, value_matrix):
            rows = []
            for sentence in x.double():
                q, k, v = (sentence @ m.double() for m in (query_matrix, key_matrix, value_matrix))
                rows.append((q @ k.T / math.sqrt(query_matrix.size(1))).softmax(dim=1) @ v)
            return torch.stack(rows)
        """,
        """
        def my_head(x, query_matrix, key_matrix, value_matrix):
            q, k, v = (torch.einsum("bsw,wd->bsd", x, m) for m in (query_matrix, key_matrix, value_matrix))
            weights = (torch.einsum("bqd,bkd->bqk", q, k) / q.shape[-1] ** 0.5).softmax(-1)
            return torch.bmm(weights, v)
        """,
    ],
    "self-attention.gradient": [
        """
        def my_gradient(query, key, value):
            query.requires_grad_()
            scores = query @ key.T / math.sqrt(query.size(-1))
            (scores.softmax(dim=-1) @ value).sum().backward()
            return query.grad
        """,
        """
        def my_gradient(query, key, value):
            rows = []
            for q in query:
                w = (key @ q / math.sqrt(len(q))).softmax(dim=0)
                jacobian = torch.diag(w) - torch.outer(w, w)  # weights by scores
                rows.append(value[:, 0] @ jacobian @ key / math.sqrt(len(q)))
            return torch.stack(rows)
        """,
        """
        def my_gradient(query, key, value):
            root = query.shape[1] ** 0.5
            w = torch.einsum("qd,kd->qk", query, key).div(root).softmax(1)
            mean_key = w @ key
            together = torch.einsum("qk,k,kd->qd", w, value[:, 0], key)
            return (together - (w @ value) * mean_key) / root
        """,
    ],
}
