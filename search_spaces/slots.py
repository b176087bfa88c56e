"""Which part of shared weights each layer of a network takes.

Networks of one space share weights by *slot*: a layer at its place in a block at its place. The
place is made of the path and of the kinds of blocks on it, so that families never share by
accident, and blocks of a stage are counted by kind: ``stages.2.DenseLayer.1.grow_conv``. What
stands between them, such as a pool that only some networks have, does not shift the rest. Inside
a cell layers are named by their edge. Names in state dicts stay those of the graph.

A slot is **separate**, one for each form that its block can have, or **elastic**: one for all of
them. Each layer then takes a part of the largest one. Every value knows the channels it is made of,
as segments: the first so many channels of a source. A convolution's outputs are the first ones of
its slot; what reads a concatenation takes the union of the segments that were concatenated,
wherever their own neighbours end. Depthwise convolutions and batch norms have no channels of
their own, but those of what they read. Kernels are cropped around their centre. A convolution
with groups is cut nowhere: each cardinality and width has weights of its own.

Source: SPOS (arXiv:1904.00420), section 3.2, for separate ones; for elastic ones Once-for-All
(arXiv:1908.09791), section 3.3 (kernels, width and depth). Deviations: kernels are cropped without
a learned transformation; channels stay in the order in which they were trained.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import final

from search_spaces.graph import Graph, Node, Scope, join, owner
from search_spaces.primitives import (
    Activation,
    Add,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Input,
    Linear,
    Mean,
    Multiply,
)

_DIGEST_BYTES = 6


@dataclass(frozen=True, slots=True)
class Segment:
    """The first ``length`` channels of ``source``."""

    source: str
    length: int


Segments = tuple[Segment, ...]
# A kernel's side is a number: it is cropped around its centre.
Dimension = Segments | int


@dataclass(frozen=True, slots=True)
class Slot:
    """What one parameter of a network takes from shared weights.

    Attributes:
        key: Name of the shared parameter.
        dimensions: What it takes of each dimension.
    """

    key: str
    dimensions: tuple[Dimension, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameter."""
        return tuple(
            size if isinstance(size, int) else sum(segment.length for segment in size)
            for size in self.dimensions
        )


def slots(graph: Graph, *, elastic: bool) -> dict[str, Slot]:
    """The slot of each parameter, by its name in the state dict.

    Args:
        graph: A network.
        elastic: Whether networks share the parts of one slot; see the module.
    """
    places = _places(graph)
    if elastic:
        return _Elastic(graph, places).slots
    return dict(_separate(graph, places))


def _places(graph: Graph) -> dict[str, str]:
    """What slots call each scope, by its path."""
    places = {"": ""}
    kinds = {scope.path: scope.kind for scope in graph.scopes}
    counts: Counter[tuple[str, str]] = Counter()
    for scope in graph.scopes[1:]:
        parent, _, name = scope.path.rpartition(".")
        place = places[parent]
        if name.isdigit() and scope.kind and not kinds[parent]:
            number = counts[parent, scope.kind]
            counts[parent, scope.kind] += 1
            places[scope.path] = join(place, f"{scope.kind}.{number}")
        else:
            places[scope.path] = join(place, f"{name}.{scope.kind}" if scope.kind else name)
    return places


def _separate(graph: Graph, places: Mapping[str, str]) -> Iterator[tuple[str, Slot]]:
    scopes = {scope.path: scope for scope in graph.scopes}
    blocks: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if isinstance(node.primitive, Conv2d | BatchNorm2d | Linear):
            blocks.setdefault(owner(node.scope, scopes), []).append(node)
    for layers in blocks.values():
        form = _form(layers)
        for layer in layers:
            name = layer.name.rpartition(".")[2]
            key = f"{join(places[layer.scope], name)}@{form}"
            for parameter, shape in _shapes(layer).items():
                whole = tuple((Segment("", size),) for size in shape)
                yield f"{layer.name}.{parameter}", Slot(f"{key}.{parameter}", whole)


def _form(layers: list[Node]) -> str:
    """A digest of the layers of a block that hold weights."""
    state = blake2b(digest_size=_DIGEST_BYTES)
    for layer in layers:
        operation = layer.primitive
        kernel = ""
        if isinstance(operation, Conv2d):
            kernel = f"{int(operation.kernel_size)} {int(operation.groups)} {operation.dilation:d}"
        shapes = " ".join(str(shape) for shape in _shapes(layer).values())
        state.update(f"{layer.name.rpartition('.')[2]} {kernel} {shapes};".encode())
    return state.hexdigest()


def _shapes(layer: Node) -> dict[str, tuple[int, ...]]:
    """Shape of each parameter of a layer."""
    operation, channels = layer.primitive, int(layer.input_shapes[0][0])
    if isinstance(operation, Conv2d):
        out, side = int(operation.out_channels), int(operation.kernel_size)
        weight = (out, channels // int(operation.groups), side, side)
        return {"weight": weight, "bias": (out,)} if operation.bias else {"weight": weight}
    if isinstance(operation, Linear):
        out = int(operation.out_features)
        return {"weight": (out, channels), "bias": (out,)}
    return {"weight": (channels,), "bias": (channels,)}


@final
class _Elastic:
    """One walk through a network, value by value.

    Attributes:
        slots: Of each parameter.
    """

    def __init__(self, graph: Graph, places: Mapping[str, str]) -> None:
        self.slots: dict[str, Slot] = {}
        self._graph, self._places = graph, places
        self._made_of: list[Segments] = []
        self._gates = dict(_gates(graph))
        ends = _ends(graph)
        for position, node in enumerate(graph.nodes):
            self._made_of.append(self._outputs(position, node))
            for scope in ends.get(position, ()):
                self._leave(scope)

    def _outputs(self, position: int, node: Node) -> Segments:
        """Add the slots of one node; what its output is made of."""
        reads = [self._made_of[source] for source in node.inputs]
        key = join(self._places[node.scope], node.name.rpartition(".")[2])
        match node.primitive:
            case Conv2d() if node.primitive.groups > 1:
                return self._grouped(node, reads[0], key)
            case Conv2d() | Linear():
                out: Segments = (Segment(key, int(node.shape[0])),)
                if position in self._gates:
                    out = self._made_of[self._gates[position]]
                self._add(node, (out, reads[0]), key)
                return out
            case BatchNorm2d():
                self._add(node, (reads[0],), key)
        return _passed_on(node, reads, key)

    def _grouped(self, node: Node, read: Segments, key: str) -> Segments:
        """The same for a depthwise convolution, or one of several groups."""
        assert isinstance(node.primitive, Conv2d)  # noqa: S101 - the caller has looked
        channels, groups = int(node.shape[0]), int(node.primitive.groups)
        if channels == groups == _in(node):
            self._add(node, (read, (Segment("", 1),)), f"{key}/depthwise")
            return read
        key = f"{key}/{_in(node)}x{channels}x{groups}"
        out = (Segment(key, channels),)
        self._add(node, (out, (Segment("", _in(node) // groups),)), key)
        return out

    def _add(self, node: Node, channels: tuple[Segments, ...], key: str) -> None:
        operation, kernel = node.primitive, tuple[int, ...]()
        if isinstance(operation, Conv2d):
            kernel = (int(operation.kernel_size),) * 2
            if operation.dilation > 1:
                key = f"{key}/dilation{int(operation.dilation)}"
        self.slots[f"{node.name}.weight"] = Slot(f"{key}.weight", (*channels, *kernel))
        if not isinstance(operation, Conv2d) or operation.bias:
            self.slots[f"{node.name}.bias"] = Slot(f"{key}.bias", channels[:1])

    def _leave(self, scope: Scope) -> None:
        """Name the output of a block in a sequence by the sequence.

        So whatever block is the last one, and whatever its family, what follows reads the first
        channels of the same source. Concatenations stay what they are.
        """
        segments = self._made_of[-1]
        if len(segments) == 1:
            parent = self._places[scope.path.rpartition(".")[0]]
            self._made_of[-1] = (Segment(parent, segments[0].length),)


def _in(node: Node) -> int:
    return int(node.input_shapes[0][0])


def _passed_on(node: Node, reads: list[Segments], key: str) -> Segments:
    """What the output of a node without channels of its own is made of."""
    channels = int(node.shape[0])
    match node.primitive:
        case Input():
            return (Segment("", channels),)
        case Concat():
            return _concatenation(reads)
        case Flatten() if channels != _in(node):
            pixels = channels // _in(node)
            return tuple(Segment(f"{one.source}*{pixels}", one.length * pixels) for one in reads[0])
        case Mean():  # named by its shallowest column, whatever columns there are beside it
            return max(reads, key=len)
        case Add() if len(reads) > 1:
            return _sum(reads, key)
    return reads[0]


def _concatenation(reads: list[Segments]) -> Segments:
    """All segments; a source that comes again is another one."""
    seen: Counter[str] = Counter()
    segments = []
    for segment in (segment for read in reads for segment in read):
        again = f"+{seen[segment.source]}" if segment.source in seen else ""
        seen[segment.source] += 1
        segments.append(Segment(segment.source + again, segment.length))
    return tuple(segments)


def _sum(reads: list[Segments], key: str) -> Segments:
    """What a sum is made of: channels of its own, cut as those of its most divided part."""
    first = max(reads, key=len)
    if all(read == first for read in reads):
        return first
    return tuple(
        Segment(f"{key}/{place}" if len(first) > 1 else key, segment.length)
        for place, segment in enumerate(first)
    )


def _gates(graph: Graph) -> Iterator[tuple[int, int]]:
    """Layers whose outputs scale the channels of another value, with that value.

    Their channels are those of what they scale, as in squeeze-excite.
    """
    for node in graph.nodes:
        if isinstance(node.primitive, Multiply):
            scaled, gate = node.inputs
            while isinstance(graph.nodes[gate].primitive, Activation | Dropout | Identity):
                gate = graph.nodes[gate].inputs[0]
            operation = graph.nodes[gate].primitive
            plain = isinstance(operation, Conv2d) and operation.groups == 1
            if scaled < gate and (plain or isinstance(operation, Linear)):
                yield gate, scaled


def _ends(graph: Graph) -> dict[int, list[Scope]]:
    """Blocks in a plain sequence that hold convolutions, by their last node, inner ones first."""
    scopes = {scope.path: scope for scope in graph.scopes}
    last: dict[str, int] = {}
    convolving: set[str] = set()
    for position, node in enumerate(graph.nodes):
        path = node.scope
        while path:
            last[path] = position
            if isinstance(node.primitive, Conv2d):
                convolving.add(path)
            path = path.rpartition(".")[0]
    ends: dict[int, list[Scope]] = {}
    for path in reversed([scope.path for scope in graph.scopes]):
        parent = path.rpartition(".")[0]
        if path in convolving and scopes[path].kind and parent and not scopes[parent].kind:
            ends.setdefault(last[path], []).append(scopes[path])
    return ends
