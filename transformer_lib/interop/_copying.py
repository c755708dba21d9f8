"""Parameters copied from one module to another, in either direction."""

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def adopt(target: Module, source: nn.Module, names: dict[str, str]) -> Module:
    """Copy parameters by name (`target's: source's`); take over type, device and mode."""
    target.to(next(source.parameters()))
    with torch.no_grad():
        for name, source_name in names.items():
            target.get_parameter(name).copy_(source.get_parameter(source_name))
    return target.train(source.training)
