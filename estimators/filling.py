"""Shared weights filled with those of one trained network: whatever it has of the space."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from estimators.weight_bank import ELASTIC, WeightBank
from search_spaces import graph_json
from search_spaces.architecture import lower
from search_spaces.channels import Channels, channels
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.primitives import BatchNorm2d, Conv2d, Linear
from search_spaces.reference import REFERENCES
from search_spaces.reference.adaptation import adapted
from search_spaces.slots import Dimension, Slot, slots
from search_spaces.strict_json import JsonError, dumps, loads, member

ARCHITECTURE, WEIGHTS, BEST = "architecture.json", "model.safetensors", "best"
LEAST_COVERED = 0.25  # of a child's weights, for a network to count as one of the space


@final
@dataclass(frozen=True, slots=True)
class Source:
    """A trained network, its channels sorted.

    Attributes:
        name: How the user called it.
        graph: The network.
        weights: A state dict of ``build(graph)``, on the CPU; computes what the network did.
        digest: Of graph and weights.
    """

    name: str
    graph: Graph
    weights: Mapping[str, Tensor]
    digest: str

    def slots(self, output_shape: tuple[int, ...]) -> dict[str, Slot]:
        """What it fills of elastic shared weights, by the names of its parameters.

        Its last layer is left out if it scores other classes than ``output_shape`` has.
        """
        found, last = slots(self.graph, elastic=True), self.graph.nodes[-1].name
        if tuple(self.graph.output_shape) == output_shape:
            return found
        return {key: slot for key, slot in found.items() if key.rpartition(".")[0] != last}


def read_source(name: str) -> Source:
    """The network that a user names; nothing is written, and nothing but tensors is read.

    Args:
        name: An exported folder, the folder of a finished run, or ``NETWORK:FILE``: a reference
            network and a safetensors file with its state dict.

    Raises:
        ValueError: If there is no such network, or the file is damaged or of another one.
    """
    network, colon, file = name.partition(":")
    try:
        if colon and network in REFERENCES:
            path = Path(file)
            graph = _reference(network, path)
        else:
            folder = Path(name)
            folder = folder / BEST if (folder / BEST / ARCHITECTURE).is_file() else folder
            path, graph = folder / WEIGHTS, _graph(folder / ARCHITECTURE)
        weights = _weights(path, graph)
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"filled_from: {name[:80]}: {error.strerror}") from error
    state = blake2b(dumps(graph_json.to_document(graph)).encode(), digest_size=16)
    for key, value in weights.items():
        state.update(f"{key} {tuple(value.shape)}\n".encode())
        state.update(value.contiguous().numpy().tobytes())
    return Source(name, graph, sorted_by_channel(graph, weights), state.hexdigest())


def sorted_by_channel(graph: Graph, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network that computes the same, the most important channels first.

    Channels that belong together, as those of a residual sum, change places together. The
    importance of a channel is the L1 norm of all weights that read it; equal ones stay in their
    order. What groups, an image or an output tie to a place stays there.

    Args:
        graph: The network.
        weights: Its state dict; stays as it is.

    Source: Once-for-All (arXiv:1908.09791), section 3.3, by the norm over the reading layer as in
    the released code. Deviation: not hidden channels of blocks alone, but all that can move.
    """
    found = channels(graph)
    orders = _orders(graph, found, weights)

    def index(pieces: Sequence[int]) -> Tensor:
        starts = torch.tensor([0, *(len(orders[piece]) for piece in pieces)]).cumsum(0)
        return torch.cat(
            [orders[piece] + start for piece, start in zip(pieces, starts, strict=False)]
        )

    result = dict(weights)
    for position, node in enumerate(graph.nodes):
        rows = found.of[position]
        if isinstance(node.primitive, Conv2d | Linear | BatchNorm2d):
            for key in _parts(node.name, weights):
                result[key] = result[key][index(rows)]
        if position in found.columns:
            key = f"{node.name}.weight"
            result[key] = result[key][:, index(found.columns[position])]
    return {key: value.contiguous() for key, value in result.items()}


def fill(bank: WeightBank, source: Source, output_shape: tuple[int, ...]) -> None:
    """Put what a network has into an elastic bank; the rest of it stays as it is initialised.

    Args:
        bank: On any device.
        source: The network.
        output_shape: Of the networks that the bank is for.
    """
    assert bank.sharing == ELASTIC  # noqa: S101 - the supernet has checked it
    taken = source.slots(output_shape)
    bank.reserve(taken.values())
    for name, slot in taken.items():
        whole = bank.take(slot)
        bank.put(slot, source.weights[name].to(whole))


def covered(source: Source, graph: Graph) -> float:
    """Share of a network's weights that a source fills, in [0, 1]."""
    output_shape = tuple(int(side) for side in graph.output_shape)
    there = {slot.key: slot for slot in source.slots(output_shape).values()}
    wanted = slots(graph, elastic=True).values()
    filled = sum(_common(there[one.key], one) for one in wanted if one.key in there)
    return filled / max(1, graph.params)


def shares_of(source: Source, children: Iterable[Graph]) -> list[float]:
    """What a network fills of some of a space, each as ``covered``; refuses one of elsewhere.

    Args:
        source: The network.
        children: Some of the space.

    Raises:
        ValueError: If it reads other images, or fills less than a quarter of every child.
    """
    shares = []
    for graph in children:
        have, want = int(source.graph.input_shape[0]), int(graph.input_shape[0])
        if have != want:
            raise ValueError(
                f"filled_from must read images of {want} channels, {source.name} reads {have}; "
                "name a network for such images"
            )
        if any(scope.kind and len(scope.inputs) > 1 for scope in graph.scopes):
            raise ValueError(
                "filled_from needs sharing elastic, which networks of cells have not; leave it out"
            )
        shares.append(covered(source, graph))
    if max(shares, default=1.0) < LEAST_COVERED:
        raise ValueError(
            f"filled_from must be like networks of the space, {source.name} has at most "
            f"{max(shares):.0%} of the weights of any of {len(shares)}; name another, or its space"
        )
    return shares


def _orders(graph: Graph, found: Channels, weights: Mapping[str, Tensor]) -> list[Tensor]:
    """The new order of each group of channels."""
    norms = [torch.zeros(size, dtype=torch.float64) for size in found.sizes]
    for position, pieces in found.columns.items():
        weight = weights[f"{graph.nodes[position].name}.weight"].double().abs()
        sums = weight.sum(dim=[axis for axis in range(weight.ndim) if axis != 1])
        parts = torch.split(sums, [found.sizes[piece] for piece in pieces])
        for piece, part in zip(pieces, parts, strict=True):
            norms[piece] += part
    return [
        torch.arange(len(norm)) if fixed else norm.argsort(descending=True, stable=True)
        for norm, fixed in zip(norms, found.fixed, strict=True)
    ]


def _parts(layer: str, weights: Mapping[str, Tensor]) -> list[str]:
    """Keys of a layer's tensors with one row a channel."""
    names = ("weight", "bias", "running_mean", "running_var")
    return [f"{layer}.{name}" for name in names if f"{layer}.{name}" in weights]


def _common(one: Slot, other: Slot) -> int:
    """How many values two parts of a slot have in common."""
    values = 1
    for mine, theirs in zip(one.dimensions, other.dimensions, strict=True):
        values *= _shared(mine, theirs)
    return values


def _shared(mine: Dimension, theirs: Dimension) -> int:
    if isinstance(mine, int) or isinstance(theirs, int):
        assert isinstance(mine, int) and isinstance(theirs, int)  # noqa: S101, PT018 - kernels
        return min(mine, theirs)
    lengths = {segment.source: segment.length for segment in mine}
    return sum(min(segment.length, lengths.get(segment.source, 0)) for segment in theirs)


def _graph(path: Path) -> Graph:
    """The network that an exported folder describes."""
    try:
        document = loads(path.read_bytes())
        return graph_json.from_document(member(document, "graph", dict, "document"))
    except OSError as error:
        raise ValueError(
            f"filled_from must be an exported folder or REFERENCE:FILE, got {path.parent}: "
            f"{path.name}: {error.strerror}"
        ) from error
    except JsonError as error:
        raise ValueError(f"filled_from: {path}: {error}") from error


def _reference(name: str, path: Path) -> Graph:
    """A reference network with as many classes as its weights score."""
    last = lower(REFERENCES[name]()).nodes[-1].name
    try:
        with safe_open(str(path), framework="pt") as file:
            classes = int(file.get_slice(f"{last}.bias").get_shape()[0])
    except (SafetensorError, OSError, IndexError) as error:
        raise ValueError(f"filled_from: {path}: {error}") from error
    return lower(adapted(REFERENCES[name](), name=name, num_classes=classes))


def _weights(path: Path, graph: Graph) -> dict[str, Tensor]:
    """A state dict in a safetensors file, checked against the network that it is for."""
    with torch.device("meta"):
        expected = build(graph).state_dict()
    weights = {}
    try:
        with safe_open(str(path), framework="pt") as file:
            odd = sorted(set(file.keys()) ^ set(expected))
            if odd:
                raise ValueError(
                    f"filled_from: {path}: is of another network, as {odd[0]:.80} tells"
                )
            for key, value in expected.items():
                shape = tuple(file.get_slice(key).get_shape())
                if shape != tuple(value.shape):
                    raise ValueError(
                        f"filled_from: {path}: {key} must have shape {tuple(value.shape)}, "
                        f"got {shape}"
                    )
                weights[key] = file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"filled_from: {path}: {error}") from error
    for key, value in weights.items():
        if value.dtype != expected[key].dtype:
            raise ValueError(f"filled_from: {path}: {key} must be {expected[key].dtype}")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"filled_from: {path}: {key} holds values that are not finite")
    return weights
