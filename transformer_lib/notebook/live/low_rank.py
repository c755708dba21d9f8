"""What the live figure of chapter 18 starts from: a change of a matrix with few directions, and one with many."""

import torch
from torch import Tensor

from transformer_lib.notebook.live.pictures import Picture, picture
from transformer_lib.notebook.plotting import draw_matrix, new_figure


def two_changes(d_out: int = 12, d_in: int = 16, sizes: tuple[int, ...] = (10, 6, 4)) -> dict[str, Tensor]:
    """Return two changes of a matrix `(d_out, d_in)` in whole numbers, of about one size.

    The first has one direction of each of `sizes`, and a little noise; the second is noise alone.
    """
    random = torch.Generator().manual_seed(18)
    up = torch.randn(d_out, len(sizes), generator=random, dtype=torch.float64)
    down = torch.randn(len(sizes), d_in, generator=random, dtype=torch.float64)
    noise = torch.randn(2, d_out, d_in, generator=random, dtype=torch.float64)
    few = up * torch.tensor(sizes) @ down + 1.5 * noise[0]
    return {"three directions": few.round(), "random numbers": (noise[1] * few.std()).round()}


@picture
def low_rank_picture(rank: int = 1) -> Picture:
    """A change that was given, beside the nearest one of rank `rank`."""
    changes = two_changes()
    name, change = next(iter(changes.items()))
    u, s, vh = torch.linalg.svd(change, full_matrices=False)
    near = u[:, :rank] * s[:rank] @ vh[:rank]  # (d_out, d_in)
    share = (s[:rank].square().sum() / s.square().sum()).item()
    rows, columns = ([str(i) if i % 5 == 0 else "" for i in range(n)] for n in change.shape)
    most = change.abs().max().item()
    figure, places = new_figure(1, 2, width=5.4, height=2.4)
    for axes, matrix, title in zip(places, (change, near), ("the change", f"rank {rank}"), strict=True):
        draw_matrix(axes, matrix, rows, columns, title=title, decimals=None, low=-most, high=most)
    data = {"title": "Low rank", "changes": {key: value.int().tolist() for key, value in changes.items()}, "rank": rank}
    alt = f"Of a change with {name}, the nearest matrix of rank {rank} has {share:.2f}."
    return Picture(data, figure, alt)
