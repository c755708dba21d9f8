"""Right answers in other styles."""

ALTERNATIVES = {
    "residuals.layer_norm": [
        """
        def my_layer_norm(x, weight, bias, eps=1e-5):
            var, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
            return torch.rsqrt(var + eps) * (x - mean) * weight + bias
        """,
        """
        def my_layer_norm(x, weight, bias, eps=1e-5):
            rows = []
            for row in x.double().flatten(0, -2):
                mean = sum(row) / len(row)
                variance = sum((f - mean) ** 2 for f in row) / len(row)
                rows.append((row - mean) / math.sqrt(variance + eps))
            return torch.stack(rows).view(x.shape) * weight + bias
        """,
        """
        def my_layer_norm(x, weight, bias, eps=1e-5):
            d = x.size(-1)
            deviation = x - torch.einsum("...d->...", x)[..., None] / d
            variance = torch.einsum("...d,...d->...", deviation, deviation) / d
            return torch.addcmul(bias, weight, deviation / (variance[..., None] + eps) ** 0.5)
        """,
        """
        def my_layer_norm(x, weight, bias, eps=1e-5):
            mean, std = x.mean(-1, keepdim=True), x.std(-1, unbiased=False, keepdim=True)
            return (x - mean) / torch.sqrt(std**2 + eps) * weight + bias
        """,
        """
        def my_layer_norm(x, weight, bias, eps=1e-5):
            norm = nn.LayerNorm(x.size(-1), eps=eps)
            norm.weight, norm.bias = nn.Parameter(weight), nn.Parameter(bias)
            return norm(x)
        """,
    ],
    "residuals.pre_norm": [
        """
        def my_pre_norm(x, sublayer, norm, dropout):
            normed = norm(x)
            update = sublayer(normed)
            return dropout(update) + x
        """,
        """
        def my_pre_norm(x, sublayer, norm, dropout):
            untouched = x
            for part in (norm, sublayer, dropout):
                x = part(x)
            return torch.add(untouched, x)
        """,
        """
        def my_pre_norm(x, sublayer, norm, dropout):
            out = x.clone()
            out += dropout(sublayer(norm(x.clone())))
            return out
        """,
    ],
    "residuals.gradient": [
        """
        def my_norm_gradient(x, upstream, eps=1e-5):
            d = x.size(-1)
            x, upstream = x.double(), upstream.double()
            deviation = x - x.mean(-1, keepdim=True)
            root = (deviation.square().mean(-1, keepdim=True) + eps).sqrt()
            y = deviation / root
            identity = torch.eye(d, dtype=x.dtype)
            jacobian = (identity - 1 / d - y[..., :, None] * y[..., None, :] / d) / root[..., None]
            return torch.einsum("...ij,...i->...j", jacobian, upstream)
        """,
        """
        def my_norm_gradient(x, upstream, eps=1e-5):
            mean = x.mean(-1, keepdim=True)
            var = x.var(-1, correction=0, keepdim=True)
            d = x.size(-1)
            to_var = (upstream * (x - mean)).sum(-1, keepdim=True) * -0.5 * (var + eps) ** -1.5
            to_mean = -upstream.sum(-1, keepdim=True) * (var + eps) ** -0.5
            return upstream * (var + eps) ** -0.5 + to_var * 2 * (x - mean) / d + to_mean / d
        """,
        """
        def my_norm_gradient(x, upstream, eps=1e-5):
            y = F.layer_norm(x, x.shape[-1:], eps=eps)
            rstd = torch.rsqrt(x.var(-1, correction=0) + eps)
            g = upstream - (y * upstream).mean(-1)[..., None] * y
            return (g - g.mean(-1)[..., None]) * rstd[..., None]
        """,
        """
        def my_norm_gradient(x, upstream, eps=1e-5):
            rows = []
            for token, g in zip(x.flatten(0, -2), upstream.flatten(0, -2)):
                s = torch.sqrt(((token - token.mean()) ** 2).mean() + eps)
                y = (token - token.mean()) / s
                rows.append((g - g.mean() - y * (g @ y) / len(y)) / s)
            return torch.stack(rows).reshape(x.shape)
        """,
    ],
}
