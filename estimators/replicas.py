"""Several threads that compute one step of training, each on a piece of the batch."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Self, TypeVar, final

import torch
from torch import Tensor, nn

_Piece = TypeVar("_Piece")


@final
class Replicas:
    """A network and copies of it that share its parameters, to compute at the same time.

    Threads within an operation wait for each other at its end, hundreds of times in a step; these
    wait once. Each copy has buffers of its own, so that the network's own follow the pieces that it
    saw itself, and until the end of a step gradients of its own.

    A context; inside, parameters may change in place, and nothing else may compute with the
    network. Each copy is a thread, of as many threads within an operation as this one has.

    Args:
        model: The network; its parameters' gradients become those of all pieces.
        count: How many compute at once, the network itself among them, at least 1.

    Attributes:
        models: The network and its copies.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        self.models = (model, *(_twin(model) for _ in range(count - 1)))
        # Threads begin with their first piece. Each is told how many compute in an operation: torch
        # tells OpenMP so only at the first operation of its own, after convolutions of oneDNN.
        self._pool = ThreadPoolExecutor(
            max(1, count - 1),
            initializer=torch.set_num_threads,
            initargs=(torch.get_num_threads(),),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def map(
        self, function: Callable[[nn.Module, _Piece], Tensor], pieces: Sequence[_Piece]
    ) -> list[Tensor]:
        """What a function returns for each piece; gradients that it leaves are added up.

        They are added in the order of the pieces, so that the sum is the same each time.

        Args:
            function: Computes a piece with the network or a copy, and its gradients. It may not
                draw from torch's global generator, which all threads share.
            pieces: In their order; as many as compute at once are in the works together.
        """
        for model in self.models[1:]:
            model.zero_grad()  # what an error left
        results = []
        for first in range(0, len(pieces), len(self.models)):
            results += self._at_once(function, pieces[first : first + len(self.models)])
        return results

    def _at_once(
        self, function: Callable[[nn.Module, _Piece], Tensor], pieces: Sequence[_Piece]
    ) -> list[Tensor]:
        others = [
            self._pool.submit(function, model, piece)
            for model, piece in zip(self.models[1:], pieces[1:], strict=False)
        ]
        try:
            results = [function(self.models[0], pieces[0])]
        finally:
            wait(others)
        results += [other.result() for other in others]
        for model in self.models[1:]:
            _move_gradients(model, self.models[0])
        return results


def _twin(model: nn.Module) -> nn.Module:
    """A copy whose parameters are views of the same numbers, with gradients of their own."""
    same = {
        id(one): nn.Parameter(one.detach(), requires_grad=one.requires_grad)
        for one in model.parameters()
    }
    return copy.deepcopy(model, same)


def _move_gradients(source: nn.Module, target: nn.Module) -> None:
    """Add the gradients of a copy, which then has none."""
    for there, here in zip(source.parameters(), target.parameters(), strict=True):
        if there.grad is not None:
            here.grad = there.grad if here.grad is None else here.grad.add_(there.grad)
            there.grad = None
