"""Which images a step is taken on."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor


@final
class Order:
    """An order of the images for each pass over them, cut into batches; the odd rest is left out.

    Args:
        images: How many there are.
        batch: Images of a step, at most ``images``.
        steps: Of a pass.
        seed: Of the order of a pass, by its number.
        device: Where positions are wanted.
    """

    def __init__(
        self, images: int, batch: int, steps: int, seed: Callable[[int], int], device: str
    ) -> None:
        self._images, self._batch, self._steps = images, batch, steps
        self._seed, self._device = seed, device
        self._known: tuple[int, Tensor] | None = None  # the pass that was asked for last

    def __call__(self, step: int) -> Tensor:
        """Positions of the images of a step, ``(batch,)``."""
        turn, number = divmod(step, self._steps)
        if self._known is None or self._known[0] != turn:
            generator = torch.Generator().manual_seed(self._seed(turn))
            self._known = turn, torch.randperm(self._images, generator=generator)
        begin = number * self._batch
        return self._known[1][begin : begin + self._batch].to(self._device)
