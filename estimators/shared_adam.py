"""The optimiser of shared weights: only what a step has touched is moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from estimators.weight_bank import WeightBank
from search_spaces.slots import Slot

BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Update:
    """What one step has to say of a part of a slot.

    Attributes:
        slot: The part.
        value: What ``WeightBank.take`` returned for it; changed in place.
        gradient: Of the same shape.
    """

    slot: Slot
    value: Tensor
    gradient: Tensor


@final
class SharedAdamW:
    """AdamW (arXiv:1711.05101) over a weight bank.

    Moments lie as the weights do and grow with them. A part that no gradient came for keeps its
    weights and its moments; steps are counted for each slot.

    Args:
        bank: The weights.
        weight_decay: Decoupled weight decay of weights; biases and norms have none.
    """

    def __init__(self, bank: WeightBank, *, weight_decay: float) -> None:
        self._bank, self._weight_decay = bank, weight_decay
        self._layouts: dict[str, Slot] = {}
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}
        self._steps: dict[str, Tensor] = {}

    def step(self, updates: Sequence[Update], *, learning_rate: float) -> None:
        """Move what was touched.

        Args:
            updates: At most one for each slot.
            learning_rate: Of this step.
        """
        for update in updates:
            self._grow(update.slot.key)
        weights = [update for update in updates if update.value.ndim > 1]
        others = [update for update in updates if update.value.ndim == 1]
        self._move(weights, learning_rate=learning_rate, decay=self._weight_decay)
        self._move(others, learning_rate=learning_rate, decay=0.0)

    def state(self) -> dict[str, Tensor]:
        """Everything, by name; on the CPU."""
        named: dict[str, Tensor] = {}
        for key, (first, second) in self._moments.items():
            named |= {f"first/{key}": first, f"second/{key}": second}
            named[f"steps/{key}"] = self._steps[key]
        return {name: tensor.cpu() for name, tensor in named.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what ``state`` returned, for a bank that has grown no more since.

        Raises:
            KeyError: If a part of it is missing.
        """
        for name in state:
            kind, _, key = name.partition("/")
            if kind == "first":
                self._layouts[key] = self._bank.whole(key)
                self._moments[key] = state[f"first/{key}"], state[f"second/{key}"]
                self._steps[key] = state[f"steps/{key}"]

    def _grow(self, key: str) -> None:
        whole, before = self._bank.whole(key), self._layouts.get(key)
        if whole == before:
            return
        tensor = self._bank.tensor(key)
        olds = self._moments.get(key, (None, None))
        first, second = (
            WeightBank.relaid(old, before, whole, fill=torch.zeros_like(tensor)) for old in olds
        )
        self._moments[key], self._layouts[key] = (first, second), whole
        self._steps.setdefault(key, torch.zeros(()))

    def _move(self, updates: Sequence[Update], *, learning_rate: float, decay: float) -> None:
        if not updates:
            return
        places = [self._bank.index(update.slot) for update in updates]
        wholes = [self._moments[update.slot.key] for update in updates]
        firsts = [first[place] for (first, _), place in zip(wholes, places, strict=True)]
        seconds = [second[place] for (_, second), place in zip(wholes, places, strict=True)]
        with torch.no_grad():
            adamw(
                [update.value for update in updates],
                [update.gradient for update in updates],
                *(firsts, seconds, []),
                [self._steps[update.slot.key] for update in updates],
                foreach=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=learning_rate,
                weight_decay=decay,
                eps=EPSILON,
                maximize=False,
            )
            for number, (update, place) in enumerate(zip(updates, places, strict=True)):
                if any(isinstance(one, Tensor) for one in place):  # these were copies
                    first, second = wholes[number]
                    first[place], second[place] = firsts[number], seconds[number]
                    self._bank.put(update.slot, update.value)
