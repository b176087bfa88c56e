"""What a drawing of a network shows: its stages, and each distinct kind of block once.

Everything is read off the graph, so that blocks of any author are drawn, and networks from files
whose search space is not installed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from search_spaces.graph import Graph, Node
from search_spaces.primitives import (
    Activation,
    BatchNorm2d,
    Dropout,
    Flatten,
    Identity,
    Primitive,
    Shape,
    ZeroPad2d,
)
from search_spaces.schedule import Body, Call, schedule

LEAST_REPEATS = 5  # units of one pattern, from which on those between the first and last are one
LONGEST_UNIT = 4  # calls in such a unit
LARGEST_INLINE = 10  # boxes of an inner block that is drawn where it stands
LARGEST_CELL = 100  # boxes that are drawn; a larger block is told in words

_LIGHT = (Activation, BatchNorm2d, Dropout, Flatten, Identity, ZeroPad2d)


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


@dataclass(frozen=True, slots=True)
class Cell:
    """A distinct kind of block.

    Attributes:
        figure: The first block of its kind.
        count: How many there are of it.
        params: Parameters of all of them together.
        macs: Multiply-accumulates of all of them together.
        piece_macs: The same for each box of the figure.
    """

    figure: Figure
    count: int
    params: int
    macs: int
    piece_macs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of a stage that follow each other and differ in numbers of channels at most.

    Attributes:
        figure: The first of them.
        cell: Position of their kind in ``Contents.cells``.
        count: How many.
        shape: Shape of what the last of them puts out.
    """

    figure: Figure
    cell: int
    count: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the network: stem, a stage, the head.

    Attributes:
        name: Path of its module.
        groups: Its blocks.
        back: For each value that it reads: how many sections above it is put out; 1 for the
            one before, or for the image.
        shape: Shape of its output.
        params: Parameters.
        macs: Multiply-accumulates for one image.
    """

    name: str
    groups: tuple[Group, ...]
    back: tuple[int, ...]
    shape: Shape
    params: int
    macs: int


@dataclass(frozen=True, slots=True)
class Contents:
    """A whole network as it is drawn.

    Attributes:
        title: Name of the network's class.
        input_shape: Of one image.
        sections: From the image to the output.
        cells: Every kind of block, in the order in which it comes first.
        params: Parameters.
        macs: Multiply-accumulates for one image.
    """

    title: str
    input_shape: Shape
    sections: tuple[Section, ...]
    cells: tuple[Cell, ...]
    params: int
    macs: int


def contents(graph: Graph) -> Contents:
    """What a drawing of the network shows."""
    return _Reader(graph).contents()


@final
class _Reader:
    """Reads one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._root = schedule(graph)
        self._figures: dict[str, Figure] = {}  # by path

    def contents(self) -> Contents:
        """Sections, with the kinds of blocks that occur in them."""
        calls = list(_parts(self._root))
        found = [figure for _, part in calls for call in part for figure in self._used(call)]
        kinds: dict[tuple[object, ...], list[Figure]] = {}
        for figure in found:
            kinds.setdefault(figure.pattern, []).append(figure)
        places = {pattern: place for place, pattern in enumerate(kinds)}
        graph = self._graph
        return Contents(
            title=self._root.scope.title,
            input_shape=graph.input_shape,
            sections=tuple(self._sections(calls, places)),
            cells=tuple(_cell(figures) for figures in kinds.values()),
            params=graph.params,
            macs=graph.macs,
        )

    # Macro view -----------------------------------------------------------------------------

    def _sections(
        self, calls: Sequence[tuple[str, list[Call]]], places: Mapping[tuple[object, ...], int]
    ) -> Iterator[Section]:
        made = {0: -1}  # position in the graph -> the section that puts it out
        for at, (name, part) in enumerate(calls):
            outside = dict.fromkeys(read for call in part for read in call.inputs if read in made)
            yield Section(
                name=name,
                groups=tuple(self._groups(part, places)),
                back=tuple(at - made[read] for read in outside),
                shape=self._graph.nodes[part[-1].output].shape,
                params=sum(node.cost.params for node in _nodes(part)),
                macs=sum(node.cost.macs for node in _nodes(part)),
            )
            made |= {call.output: at for call in part}

    def _groups(
        self, part: Sequence[Call], places: Mapping[tuple[object, ...], int]
    ) -> Iterator[Group]:
        groups: list[Group] = []
        for call in part:
            figure = self._block(call)
            cell = places[figure.pattern]
            if groups and groups[-1].cell == cell and _alike(groups[-1].figure, figure):
                last = groups[-1]
                groups[-1] = replace(last, count=last.count + 1, shape=figure.shape)
            else:
                groups.append(Group(figure, cell, 1, figure.shape))
        yield from groups

    # Blocks ---------------------------------------------------------------------------------

    def _used(self, call: Call) -> Iterator[Figure]:
        """The figure of a block, then those of the inner blocks that are drawn by themselves."""
        figure = self._block(call)
        yield figure
        for body in figure.closed:
            yield from self._used(_call(body))

    def _block(self, call: Call) -> Figure:
        """How a call is drawn; a primitive that stands by itself is a block of its own."""
        path = _path(call)
        if path not in self._figures:
            target = call.target
            if isinstance(target, Body):
                pieces, opened, closed = self._pieces(target)
                title, arguments = target.scope.title, target.scope.arguments
            else:
                name = path.rpartition(".")[2]
                pieces, opened, closed = [self._piece([call], name)], [], []
                title, arguments = type(target.primitive).__name__, {}
            self._figures[path] = Figure(
                path=path,
                title=title,
                inputs=call.inputs,
                pieces=tuple(_joined(pieces)),
                opened=tuple(dict.fromkeys(opened)),
                closed=tuple(closed),
                arguments=arguments,
                input_shapes=tuple(self._graph.nodes[read].shape for read in call.inputs),
                shape=self._graph.nodes[call.output].shape,
                params=sum(node.cost.params for node in _nodes([call])),
                macs=sum(node.cost.macs for node in _nodes([call])),
            )
        return self._figures[path]

    def _pieces(self, body: Body) -> tuple[list[Piece], list[str], list[Body]]:
        """Boxes before primitives are joined; titles of opened inner blocks; closed ones."""
        calls = list(_flat(body.calls))
        patterns = [self._pattern(call) for call in calls]
        pieces: list[Piece] = []
        opened: list[str] = []
        closed: list[Body] = []
        repeats = _repeats(calls, patterns)
        at = 0
        while at < len(calls):
            unit, count = repeats.get(at, (1, 1))
            run = calls[at : at + unit * count]
            name = _path(run[0])[len(body.scope.path) + 1 if body.scope.path else 0 :]
            figures = [self._block(call) for call in run if isinstance(call.target, Body)]
            alone = patterns.count(patterns[at]) == 1
            if count > 1 or not figures:
                piece = self._piece(run, name)
                title = _unit_title(run[:unit]) if count > 1 else ""
                pieces.append(replace(piece, count=count, title=title))
                closed += self._large(run)
            elif _is_single(figures[0]) or (alone and len(figures[0].pieces) <= LARGEST_INLINE):
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
            if isinstance(call.target, Body) and not _is_single(self._block(call))
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
            params=sum(node.cost.params for node in _nodes(run)),
            macs=sum(node.cost.macs for node in _nodes(run)),
        )

    def _pattern(self, call: Call) -> object:
        if isinstance(call.target, Body):
            return self._block(call).pattern
        return self._piece([call], "").pattern


def _parts(root: Body) -> Iterator[tuple[str, list[Call]]]:
    """The network's blocks by section: a sequence of blocks is one, so is a run of primitives."""
    loose: list[Call] = []
    for call in root.calls:
        if isinstance(call.target, Node):
            loose.append(call)
            continue
        if loose:
            yield _path(loose[0]), loose
            loose = []
        yield from _split(call)
    if loose:
        yield _path(loose[0]), loose


def _split(call: Call) -> Iterator[tuple[str, list[Call]]]:
    assert isinstance(call.target, Body)  # noqa: S101 - both callers looked
    body = call.target
    inner = [one.target for one in body.calls]
    if body.scope.kind:
        yield body.scope.path, [call]
    elif all(isinstance(one, Body) and not one.scope.kind for one in inner):
        for one in body.calls:
            yield from _split(one)
    else:
        yield body.scope.path, list(_flat(body.calls))


def _flat(calls: Sequence[Call]) -> Iterator[Call]:
    """Calls, with those of plain sequences in their place."""
    for call in calls:
        if isinstance(call.target, Body) and not call.target.scope.kind:
            yield from _flat(call.target.calls)
        else:
            yield call


def _nodes(calls: Sequence[Call]) -> Iterator[Node]:
    for call in calls:
        if isinstance(call.target, Body):
            yield from _nodes(call.target.calls)
        else:
            yield call.target


def _call(body: Body) -> Call:
    return Call(body.scope.path.rpartition(".")[2], body, body.inputs, body.output)


def _path(call: Call) -> str:
    return call.target.scope.path if isinstance(call.target, Body) else call.target.name


def _unit_title(unit: Sequence[Call]) -> str:
    """What is repeated: the blocks in it, or where there are none its primitives."""
    blocks = [call.target.scope.title for call in unit if isinstance(call.target, Body)]
    nodes = [call.target.primitive.op for call in unit if isinstance(call.target, Node)]
    return ", ".join(blocks or nodes)


def _is_single(figure: Figure) -> bool:
    return len(figure.pieces) == 1 and bool(figure.pieces[0].primitives)


def _alike(one: Figure, other: Figure) -> bool:
    """Whether two blocks of one kind differ in numbers of channels at most."""
    return _numbers(one) == _numbers(other)


def _numbers(figure: Figure) -> object:
    arguments = [value for name, value in figure.arguments.items() if "channels" not in name]
    return arguments, figure.input_shapes[-1][1:], figure.shape[1:]


def _cell(figures: Sequence[Figure]) -> Cell:
    """A kind of block from all blocks of it."""
    return Cell(
        figure=figures[0],
        count=len(figures),
        params=sum(figure.params for figure in figures),
        macs=sum(figure.macs for figure in figures),
        piece_macs=tuple(
            sum(piece.macs for piece in same)
            for same in zip(*(figure.pieces for figure in figures), strict=True)
        ),
    )


def _repeats(calls: Sequence[Call], patterns: Sequence[object]) -> dict[int, tuple[int, int]]:
    """Where a pattern is repeated: position of the second unit, its length, how many but the last.

    The first and the last unit are left out, so that they are drawn.
    """
    places = {call.output: at for at, call in enumerate(calls)}
    reads = [frozenset(places.get(read, -1 - read) for read in call.inputs) for call in calls]
    found: dict[int, tuple[int, int]] = {}
    at = 0
    while at < len(calls):
        units = {
            unit: _count(patterns, reads, at, unit)
            for unit in range(1, min(LONGEST_UNIT, len(calls) - at) + 1)
        }
        unit = max(units, key=lambda one: (units[one] * one, -one))
        if units[unit] >= LEAST_REPEATS:
            found[at + unit] = unit, units[unit] - 2
            at += unit * units[unit]
        else:
            at += 1
    return found


def _count(
    patterns: Sequence[object], reads: Sequence[frozenset[int]], start: int, unit: int
) -> int:
    """How many units of that length follow each other, each reading the one before it."""
    count = 1
    while start + (count + 1) * unit <= len(patterns):
        first = start + count * unit
        later = range(first, first + unit)
        before = range(first - unit, first)
        reaches = any(read in before for at in later for read in reads[at])
        alike = all(
            patterns[at] == patterns[at - unit] and _follows(reads[at], reads[at - unit], before)
            for at in later
        )
        if not (reaches and alike):
            break
        count += 1
    return count


def _follows(later: frozenset[int], earlier: frozenset[int], before: range) -> bool:
    """Whether a call reads what its twin in the unit before reads, that moved on, or both.

    Where the twin reads from outside, it may read the unit before instead.
    """
    unit = len(before)
    opened = any(read < 0 for read in earlier)
    return all(
        read in earlier or read - unit in earlier or (opened and read in before) for read in later
    ) and all(read in later or read + unit in later or read < 0 for read in earlier)


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
