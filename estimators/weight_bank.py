"""One set of weights for all networks of a space."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.slots import Dimension, Segment, Segments, Slot, slots

# Where a part lies in a shared tensor: slices and positions, one for each dimension.
Index = tuple[slice | Tensor, ...]

SEPARATE, ELASTIC = SHARINGS = ("separate", "elastic")


@final
class WeightBank:
    """Shared weights, by slot; see ``search_spaces.slots``.

    It holds what the networks so far have needed and grows as others come: ``reserve`` before
    their parts are looked at. A new value is a function of seed, slot and shape alone, so that
    one and the same sequence of networks gives one and the same bank. Weights of convolutions and
    linear layers are drawn as PyTorch draws them, from the inputs of the whole slot (He et al.,
    arXiv:1502.01852, with PyTorch's factor); biases are 0, scales of batch norms 1. There are
    no running statistics: those of one network mean nothing to another.

    Args:
        sharing: ``separate`` or ``elastic``.
        seed: Decides initial values.
        device: Where it lies.

    Raises:
        ValueError: If ``sharing`` is another word.
    """

    def __init__(self, *, sharing: str, seed: int = 0, device: str = "cpu") -> None:
        if sharing not in SHARINGS:
            raise ValueError(f"sharing must be {' or '.join(SHARINGS)}, got {sharing!r}")
        self.sharing = sharing
        self._seed, self._device = seed, device
        self._tensors: dict[str, Tensor] = {}
        self._wholes: dict[str, Slot] = {}

    @property
    def values(self) -> int:
        """Weights in all."""
        return sum(tensor.numel() for tensor in self._tensors.values())

    def slots(self, graph: Graph) -> dict[str, Slot]:
        """What a network takes, by the names of its parameters."""
        return slots(graph, elastic=self.sharing == ELASTIC)

    def reserve(self, wanted: Iterable[Slot]) -> None:
        """Make room for what is wanted; values that are there keep their place in their slot."""
        for slot in wanted:
            whole = self._wholes.get(slot.key)
            larger = slot if whole is None else _union(whole, slot)
            if larger != whole:
                self._tensors[slot.key] = self.relaid(
                    self._tensors.get(slot.key), whole, larger, fill=self._fresh(larger)
                )
                self._wholes[slot.key] = larger

    def whole(self, key: str) -> Slot:
        """All there is of a slot.

        Raises:
            KeyError: If nothing was reserved under that key.
        """
        return self._wholes[key]

    def index(self, slot: Slot) -> Index:
        """Where a part of a slot lies in the shared tensor.

        Raises:
            KeyError: If it was not reserved.
        """
        return _index(self._wholes[slot.key], slot)

    def tensor(self, key: str) -> Tensor:
        """The shared tensor of a slot itself.

        Raises:
            KeyError: If nothing was reserved under that key.
        """
        return self._tensors[key]

    def take(self, slot: Slot) -> Tensor:
        """A part of a slot: a view where it lies in one piece, else a copy."""
        return self._tensors[slot.key][self.index(slot)]

    def put(self, slot: Slot, value: Tensor) -> None:
        """Write a part of a slot."""
        self._tensors[slot.key][self.index(slot)] = value

    def state_dict(self, graph: Graph) -> dict[str, Tensor]:
        """The weights of one network, as ``build(graph)`` loads them; copies, on the CPU.

        Running statistics are those of a fresh network. What was never reserved has its initial
        values; the bank stays as it is.
        """
        with torch.random.fork_rng(devices=[]):
            state = dict(build(graph).state_dict())
        for name, slot in self.slots(graph).items():
            state[name] = self._extracted(slot)
        return state

    def documents(self) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
        """Layout as plain JSON values, and the tensors as arrays; on a CPU they share memory."""
        layout = {
            key: [
                size if isinstance(size, int) else [[one.source, one.length] for one in size]
                for size in whole.dimensions
            ]
            for key, whole in self._wholes.items()
        }
        arrays = {key: tensor.cpu().numpy() for key, tensor in self._tensors.items()}
        return {"sharing": self.sharing, "seed": self._seed, "slots": layout}, arrays

    @classmethod
    def of(
        cls, layout: Mapping[str, Any], tensors: Mapping[str, Tensor], *, device: str = "cpu"
    ) -> "WeightBank":
        """The bank that ``documents`` described; it takes the tensors, on ``device``, as they are.

        Raises:
            ValueError: If they do not belong together.
        """
        bank = cls(sharing=layout["sharing"], seed=layout["seed"], device=device)
        for key, sizes in layout["slots"].items():
            dimensions: list[Dimension] = [
                size if isinstance(size, int) else tuple(Segment(*one) for one in size)
                for size in sizes
            ]
            whole = Slot(key, tuple(dimensions))
            if key not in tensors or tuple(tensors[key].shape) != whole.shape:
                raise ValueError(f"{key} must have shape {whole.shape}")
            bank._wholes[key], bank._tensors[key] = whole, tensors[key]
        return bank

    @staticmethod
    def relaid(old: Tensor | None, before: Slot | None, after: Slot, *, fill: Tensor) -> Tensor:
        """A tensor in a larger layout.

        Args:
            old: In the layout ``before``; None for nothing.
            before: The smaller layout.
            after: The larger one.
            fill: Values of what is new, in the larger layout; becomes the result.
        """
        if old is not None and before is not None:
            fill[_index(after, before)] = old
        return fill

    def _extracted(self, slot: Slot) -> Tensor:
        whole = self._wholes.get(slot.key)
        larger = slot if whole is None else _union(whole, slot)
        if larger == whole:
            return self.take(slot).to("cpu", copy=True, memory_format=torch.contiguous_format)
        known = self._tensors.get(slot.key)
        tensor = self.relaid(known, whole, larger, fill=self._fresh(larger))
        part = tensor[_index(larger, slot)]
        return part.to("cpu", copy=True, memory_format=torch.contiguous_format)

    def _fresh(self, whole: Slot) -> Tensor:
        shape = whole.shape
        if len(shape) == 1:
            return torch.full(shape, float(whole.key.endswith(".weight")), device=self._device)
        name = f"{self._seed} {whole.key} {shape}".encode()
        seed = int.from_bytes(blake2b(name, digest_size=8).digest(), "big") >> 1
        bound = float(np.prod(shape[1:])) ** -0.5
        generator = torch.Generator().manual_seed(seed)
        fresh = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        return fresh.to(self._device)


def _union(first: Slot, second: Slot) -> Slot:
    """The layout that holds both: sources in the order in which they came."""
    if _covers(first, second):
        return first
    sizes: list[Dimension] = []
    for one, other in zip(first.dimensions, second.dimensions, strict=True):
        if isinstance(one, int) or isinstance(other, int):
            assert isinstance(one, int) and isinstance(other, int)  # noqa: S101, PT018 - kernels
            sizes.append(max(one, other))
            continue
        lengths = {segment.source: segment.length for segment in one}
        for segment in other:
            lengths[segment.source] = max(segment.length, lengths.get(segment.source, 0))
        sizes.append(tuple(Segment(*item) for item in lengths.items()))
    return Slot(first.key, tuple(sizes))


def _covers(whole: Slot, part: Slot) -> bool:
    """Whether a layout has room for a part."""
    for size, wanted in zip(whole.dimensions, part.dimensions, strict=True):
        if isinstance(size, int) or isinstance(wanted, int):
            assert isinstance(size, int) and isinstance(wanted, int)  # noqa: S101, PT018 - kernels
            if size < wanted:
                return False
        elif size != wanted:
            lengths = {segment.source: segment.length for segment in size}
            if any(lengths.get(segment.source, 0) < segment.length for segment in wanted):
                return False
    return True


def _index(whole: Slot, part: Slot) -> Index:
    index: list[slice | Tensor] = []
    for size, wanted in zip(whole.dimensions, part.dimensions, strict=True):
        if isinstance(size, int) or isinstance(wanted, int):
            assert isinstance(size, int) and isinstance(wanted, int)  # noqa: S101, PT018 - kernels
            start = (size - 1) // 2 - (wanted - 1) // 2
            index.append(slice(start, start + wanted))
        else:
            index.append(_channels(size, wanted))
    if sum(isinstance(one, Tensor) for one in index) > 1:  # out and in: to be spread over both
        index[0] = _positions(index[0])[:, None]
        index[1] = _positions(index[1])[None, :]
    return tuple(index)


def _channels(whole: Segments, part: Segments) -> slice | Tensor:
    starts: dict[str, int] = {}
    total = 0
    for segment in whole:
        starts[segment.source] = total
        total += segment.length
    pieces: list[list[int]] = []
    for segment in part:
        start = starts[segment.source]
        if pieces and pieces[-1][1] == start:
            pieces[-1][1] += segment.length
        else:
            pieces.append([start, start + segment.length])
    if len(pieces) == 1:
        return slice(*pieces[0])
    return torch.cat([torch.arange(*piece) for piece in pieces])


def _positions(one: slice | Tensor) -> Tensor:
    return one if isinstance(one, Tensor) else torch.arange(one.start, one.stop)
