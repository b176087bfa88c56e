"""How one block is drawn: its boxes, and who reads whom.

A box is a layer with the normalisations and activations around it, a join, or a whole inner
block. An inner block of few boxes that occurs once is opened, one of a single box always; all
others are boxes here and drawn by themselves.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from nas.drawing.repeats import repeats
from search_spaces.graph import Graph, Node
from search_spaces.primitives import (
    Activation,
    BatchNorm2d,
    Dropout,
    Flatten,
    Identity,
    Primitive,
    Shape,
    SidePad2d,
    ZeroPad2d,
)
from search_spaces.schedule import Body, Call

MOST_JOINED = 8  # primitives in one box
LARGEST_OPENED = 10  # boxes of an inner block that is drawn where it stands

_LIGHT = (Activation, BatchNorm2d, Dropout, Flatten, Identity, SidePad2d, ZeroPad2d)


@dataclass(frozen=True, slots=True)
class Piece:
    """A box in the drawing of a block: primitives that follow each other, or a whole block.

    Attributes:
        name: Path inside the block of what it stands for.
        primitives: What it computes, in order; empty for an inner block and for several.
        title: Title of the inner block, or of those that are repeated; else empty.
        count: How many units it stands for: more than one where a pattern is repeated.
        reads: Positions in the graph of what it reads, in order.
        outputs: Positions in the graph of what it puts out; the last one is seen outside.
        input_shape: Shape of the first value that it reads.
        shape: Shape of its output.
        params: Parameters.
        macs: Multiply-accumulates for one image.
    """

    name: str
    primitives: tuple[Primitive, ...]
    title: str
    count: int
    reads: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shape: Shape
    shape: Shape
    params: int
    macs: int

    @property
    def pattern(self) -> tuple[object, ...]:
        """What boxes have in common that differ in numbers only."""
        kinds = tuple(
            (one.op, one.kind) if isinstance(one, Activation) else one.op for one in self.primitives
        )
        return kinds, self.title, self.count > 1


@dataclass(frozen=True, slots=True)
class Figure:
    """How one block is drawn.

    Attributes:
        path: Path of the block's module.
        title: Name of its class in generated source.
        inputs: Positions in the graph of what it reads.
        pieces: Its boxes, in the order in which they compute.
        opened: Titles of the inner blocks that are drawn where they stand.
        closed: Inner blocks that are boxes here, and drawn by themselves.
        arguments: What the block was called with, by name.
        input_shapes: Shapes of its inputs.
        shape: Shape of its output.
        params: Parameters.
        macs: Multiply-accumulates for one image.
    """

    path: str
    title: str
    inputs: tuple[int, ...]
    pieces: tuple[Piece, ...]
    opened: tuple[str, ...]
    closed: tuple[Body, ...]
    arguments: Mapping[str, int]
    input_shapes: tuple[Shape, ...]
    shape: Shape
    params: int
    macs: int

    @property
    def pattern(self) -> tuple[object, ...]:
        """What blocks have in common that are drawn once for all of them."""
        places = {position: -1 - place for place, position in enumerate(self.inputs)}
        parts: list[object] = [self.title]
        for place, piece in enumerate(self.pieces):
            reads = dict.fromkeys(places[read] for read in piece.reads)
            parts.append((piece.pattern, tuple(reads)))
            places |= dict.fromkeys(piece.outputs, place)
        return tuple(parts)


@final
class Figures:
    """How the blocks of one graph are drawn; each is worked out once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, Figure] = {}  # by path

    def used(self, call: Call) -> Iterator[Figure]:
        """The figure of a block, then those of the inner blocks that are drawn by themselves."""
        figure = self.of(call)
        yield figure
        for body in figure.closed:
            yield from self.used(_call(body))

    def of(self, call: Call) -> Figure:
        """How a call is drawn; a primitive that stands by itself is a block of its own."""
        path = path_of(call)
        if path not in self._known:
            target = call.target
            if isinstance(target, Body):
                pieces, opened, closed = self._pieces(target)
                title, arguments = target.scope.title, target.scope.arguments
            else:
                name = path.rpartition(".")[2]
                pieces, opened, closed = [self._piece([call], name)], [], []
                title, arguments = type(target.primitive).__name__, {}
            self._known[path] = Figure(
                path=path,
                title=title,
                inputs=call.inputs,
                pieces=tuple(_joined(pieces)),
                opened=tuple(dict.fromkeys(opened)),
                closed=tuple(closed),
                arguments=arguments,
                input_shapes=tuple(self._graph.nodes[read].shape for read in call.inputs),
                shape=self._graph.nodes[call.output].shape,
                params=sum(node.cost.params for node in nodes_of([call])),
                macs=sum(node.cost.macs for node in nodes_of([call])),
            )
        return self._known[path]

    def _pieces(self, body: Body) -> tuple[list[Piece], list[str], list[Body]]:
        """Boxes before primitives are joined; titles of opened inner blocks; closed ones."""
        calls = list(flat(body.calls))
        patterns = [self._pattern(call) for call in calls]
        pieces: list[Piece] = []
        opened: list[str] = []
        closed: list[Body] = []
        often, repeated = Counter(patterns), repeats(calls, patterns)
        at = 0
        while at < len(calls):
            unit, count = repeated.get(at, (1, 1))
            run = calls[at : at + unit * count]
            name = path_of(run[0])[len(body.scope.path) + 1 if body.scope.path else 0 :]
            figures = [self.of(call) for call in run if isinstance(call.target, Body)]
            alone = often[patterns[at]] == 1
            if count > 1 or not figures:
                piece = self._piece(run, name)
                title = _unit_title(run[:unit]) if count > 1 else ""
                pieces.append(replace(piece, count=count, title=title))
                closed += self._large(run)
            elif _is_single(figures[0]) or (alone and len(figures[0].pieces) <= LARGEST_OPENED):
                (figure,) = figures
                pieces += [replace(one, name=f"{name}.{one.name}") for one in figure.pieces]
                opened += [*([] if _is_single(figure) else [figure.title]), *figure.opened]
                closed += figure.closed
            else:
                pieces.append(replace(self._piece(run, name), title=figures[0].title))
                closed += self._large(run)
            at += len(run)
        return pieces, opened, closed

    def _large(self, run: Sequence[Call]) -> list[Body]:
        """The blocks in a run that are more than one box."""
        return [
            call.target
            for call in run
            if isinstance(call.target, Body) and not _is_single(self.of(call))
        ]

    def _piece(self, run: Sequence[Call], name: str) -> Piece:
        """One box for calls that follow each other."""
        made = {call.output for call in run}
        reads = dict.fromkeys(read for call in run for read in call.inputs if read not in made)
        nodes = self._graph.nodes
        target = run[0].target
        return Piece(
            name=name,
            primitives=(target.primitive,) if len(run) == 1 and isinstance(target, Node) else (),
            title="",
            count=1,
            reads=tuple(reads),
            outputs=tuple(call.output for call in run),
            input_shape=nodes[run[0].inputs[0]].shape,
            shape=nodes[run[-1].output].shape,
            params=sum(node.cost.params for node in nodes_of(run)),
            macs=sum(node.cost.macs for node in nodes_of(run)),
        )

    def _pattern(self, call: Call) -> object:
        if isinstance(call.target, Body):
            return self.of(call).pattern
        return self._piece([call], "").pattern


def flat(calls: Sequence[Call]) -> Iterator[Call]:
    """Calls, with those of plain sequences in their place."""
    for call in calls:
        if isinstance(call.target, Body) and not call.target.scope.kind:
            yield from flat(call.target.calls)
        else:
            yield call


def nodes_of(calls: Sequence[Call]) -> Iterator[Node]:
    """All primitives that calls run, also those of inner blocks."""
    for call in calls:
        if isinstance(call.target, Body):
            yield from nodes_of(call.target.calls)
        else:
            yield call.target


def path_of(call: Call) -> str:
    """Path of the module that is called."""
    return call.target.scope.path if isinstance(call.target, Body) else call.target.name


def _call(body: Body) -> Call:
    return Call(body.scope.path.rpartition(".")[2], body, body.inputs, body.output)


def _unit_title(unit: Sequence[Call]) -> str:
    """What is repeated: the blocks in it, or where there are none its primitives."""
    blocks = [call.target.scope.title for call in unit if isinstance(call.target, Body)]
    nodes = [call.target.primitive.op for call in unit if isinstance(call.target, Node)]
    return ", ".join(blocks or nodes)


def _is_single(figure: Figure) -> bool:
    return len(figure.pieces) == 1 and bool(figure.pieces[0].primitives)


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Boxes in which a layer stands with the normalisations and activations around it."""
    reads = Counter(read for piece in pieces for read in piece.reads)
    done: list[Piece] = []
    for piece in pieces:
        last = done[-1] if done else None
        if last is not None and _may_join(last, piece, reads[last.outputs[-1]]):
            done[-1] = _both(last, piece)
        else:
            done.append(piece)
    yield from done


def _may_join(first: Piece, second: Piece, readers: int) -> bool:
    if not (first.primitives and second.primitives and readers == 1):
        return False
    if len(first.primitives) == MOST_JOINED:
        return False
    same_scope = first.name.rpartition(".")[0] == second.name.rpartition(".")[0]
    if second.reads != (first.outputs[-1],) or not same_scope:
        return False
    lights = [isinstance(one, _LIGHT) for one in first.primitives]
    if not isinstance(second.primitives[0], _LIGHT):
        return all(lights)
    return all(lights) or lights[0] is False  # a box that began before its layer ends with it


def _both(first: Piece, second: Piece) -> Piece:
    named = first if any(not isinstance(one, _LIGHT) for one in first.primitives) else second
    return replace(
        first,
        name=named.name,
        primitives=first.primitives + second.primitives,
        outputs=first.outputs + second.outputs,
        shape=second.shape,
        params=first.params + second.params,
        macs=first.macs + second.macs,
    )
