"""From a classifier of images of one size to a network that slides over larger ones.

A fully connected layer over a flattened map is a convolution with a kernel of the map's size, and
one over a vector is a 1x1 convolution; the mean over the map before it is a mean over windows of
the size that the map has for images of the training size. So the network yields the same scores
for those, as a map of one pixel, and a map of scores for larger images.

Source: OverFeat (arXiv:1312.6229), section 3.5; fully convolutional networks (arXiv:1411.4038),
section 3.1.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from search_spaces import graph_json
from search_spaces.graph import Graph
from search_spaces.primitives import (
    MAX_SIDE,
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    Linear,
    Multiply,
    Shape,
)
from search_spaces.strict_json import JsonError

_PLACE = ("name", "scope", "inputs")  # what a node of a document is, whatever it computes


def fully_convolutional(graph: Graph) -> Graph:
    """The network with convolutions in place of its fully connected layers.

    Names, parameters and multiply-accumulates stay; a weight of ``(out, in)`` becomes one of
    ``(out, in / side**2, side, side)`` with the same values in the same order. The output is
    ``(classes, 1, 1)`` for images of the graph's own size.

    A mean over so many parts of the map, as before the fully connected layers of VGG, becomes one
    over windows of the size that a part has for those images, or nothing where that is a pixel.

    A mean over the whole map stays one where it gates a map, as in squeeze-excite: on larger
    images the gate then sees all of the image, and scores differ from those of a sliding window.

    Raises:
        ValueError: If nothing is flattened, a map that is flattened or averaged is not square or
            not averaged in equal parts, or larger images do not yield a map of scores.
    """
    if not any(isinstance(node.primitive, Flatten) for node in graph.nodes):
        raise ValueError("network must flatten a map; without, it is fully convolutional already")
    document = graph_json.to_document(graph)
    maps, windows = _maps(graph), _windows(graph)
    for place, entry in enumerate(document["nodes"]):
        operation = _operation(graph, place, entry, maps=maps, windows=windows)
        if operation is not None:
            document["nodes"][place] = {key: entry[key] for key in _PLACE} | operation
    _drop_identities(graph, document)
    converted = _read(document)
    _check_growth(converted, document)
    return converted


def is_global_inside(graph: Graph) -> bool:
    """Whether something in a fully convolutional network sees all of a larger image."""
    return any(isinstance(node.primitive, GlobalAvgPool2d) for node in graph.nodes)


def _operation(
    graph: Graph, place: int, entry: Mapping[str, Any], *, maps: Sequence[Shape], windows: set[int]
) -> dict[str, Any] | None:
    """What a node of the document becomes, None if it stays what it is."""
    node = graph.nodes[place]
    match node.primitive:
        case Flatten():
            return {"op": Identity.op}
        case Linear():
            side = _side(maps[node.inputs[0]], node.name)
            conv = {"op": Conv2d.op, "out_channels": entry["out_features"], "bias": True}
            return {**conv, "kernel_size": side}
        case AdaptiveAvgPool2d(size=parts):
            side = _part(node.input_shapes[0], int(parts), node.name)
            if side == 1:
                return {"op": Identity.op}
            return {"op": AvgPool2d.op, "kernel_size": side, "stride": side}
        case GlobalAvgPool2d() if place in windows:
            return {"op": AvgPool2d.op, "kernel_size": _side(node.input_shapes[0], node.name)}
    return None


def _maps(graph: Graph) -> list[Shape]:
    """Shape of each value once nothing is flattened."""
    shapes: list[Shape] = []
    for node in graph.nodes:
        if isinstance(node.primitive, Linear):
            shapes.append((*node.shape, 1, 1))
        elif len(node.shape) == 3:
            shapes.append(node.shape)
        else:
            shapes.append(shapes[node.inputs[0]])
    return shapes


def _windows(graph: Graph) -> set[int]:
    """Means over the map that lead to what is flattened, and so must become windows.

    They are sought upwards from what is flattened, through maps of one pixel. What gates a map
    is not looked into.
    """
    found: set[int] = set()
    open_ends = [node.inputs[0] for node in graph.nodes if isinstance(node.primitive, Flatten)]
    seen: set[int] = set()
    while open_ends:
        place = open_ends.pop()
        node = graph.nodes[place]
        if place in seen or node.shape[1:] != (1, 1) or isinstance(node.primitive, Multiply):
            continue
        seen.add(place)
        if isinstance(node.primitive, GlobalAvgPool2d):
            found.add(place)
        else:
            open_ends += node.inputs
    return found


def _side(shape: Shape, name: str) -> int:
    _, height, width = shape
    if height != width:
        raise ValueError(f"{name}: its map must be square, got {int(height)}x{int(width)}")
    return int(height)


def _part(shape: Shape, parts: int, name: str) -> int:
    """Side of each part of a map that is averaged in so many parts down and across."""
    side = _side(shape, name)
    if side % parts:
        raise ValueError(f"{name}: its map's side must be a multiple of {parts}, got {side}")
    return side // parts


def _drop_identities(graph: Graph, document: dict[str, Any]) -> None:
    """Take out what does nothing any more, where the block around it stays what it is without."""
    nodes = graph.nodes
    kinds = {scope.path for scope in graph.scopes if scope.kind}
    idle = {
        entry["name"]
        for node, entry in zip(nodes, document["nodes"], strict=True)
        if entry["op"] == Identity.op != node.primitive.op
    }
    stands_for: dict[str, str] = {}
    for node, following in pairwise(nodes):
        inside = node.scope in kinds and following.scope == node.scope  # not what a block puts out
        if node.name in idle and inside:
            source = nodes[node.inputs[0]].name
            stands_for[node.name] = stands_for.get(source, source)
    document["nodes"] = [entry for entry in document["nodes"] if entry["name"] not in stands_for]
    for entry in (*document["nodes"], *document["scopes"]):
        entry["inputs"] = [stands_for.get(name, name) for name in entry["inputs"]]


def _check_growth(converted: Graph, document: dict[str, Any]) -> None:
    """Check that images of twice the size, or the largest there are, yield a map."""
    sides = [min(2 * int(side), MAX_SIDE) for side in converted.input_shape[1:]]
    image = document["nodes"][0]
    larger = {**image, "height": sides[0], "width": sides[1]}
    output = _read({**document, "nodes": [larger, *document["nodes"][1:]]}).output_shape
    if output[1:] == (1, 1):
        raise ValueError("network must yield a map of scores for larger images, got one pixel")


def _read(document: dict[str, Any]) -> Graph:
    try:
        return graph_json.from_document(document)
    except JsonError as error:
        raise ValueError(f"network cannot be fully convolutional: {error}") from None
