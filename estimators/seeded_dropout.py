"""Dropout that draws from a generator of its own, not from the one that all threads share."""

from typing import Any, final

import torch
from torch import Tensor, nn


@final
class SeededDropout(nn.Dropout):
    """``torch.nn.Dropout`` with a generator.

    Attributes:
        generator: What it draws from; None for torch's global one.
    """

    generator: torch.Generator | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but the generator: a copy is seeded by whoever computes with it.

        To copy one would also cost CPython 3.11 a reference to None each time (torch's issue
        188032).
        """
        return {**self.__dict__, "generator": None}

    def forward(self, x: Tensor) -> Tensor:
        """The values, of which in training each is zero with probability ``p``."""
        if not self.training or self.p == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * kept.div_(1 - self.p)


def seed_dropout(model: nn.Module, seed: int, device: torch.device) -> None:
    """Let all dropout of a network draw from one generator, which begins with a seed.

    Args:
        model: A network, in which other layers than ``SeededDropout`` stay as they are.
        seed: From 0 to 2**64 - 1.
        device: Where its feature maps are.
    """
    generator = torch.Generator(device).manual_seed(seed)
    for module in model.modules():
        if isinstance(module, SeededDropout):
            module.generator = generator
