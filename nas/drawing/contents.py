"""What a drawing of a network shows: its stages, and each distinct kind of block once.

Everything is read off the graph, so that blocks of any author are drawn, and networks from files
whose search space is not installed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nas.drawing.figures import Figure, Figures, flat, nodes_of, path_of
from search_spaces.graph import Graph, Node
from search_spaces.primitives import Shape
from search_spaces.schedule import Body, Call, schedule


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
    root, figures = schedule(graph), Figures(graph)
    parts = list(_parts(root))
    kinds: dict[tuple[object, ...], list[Figure]] = {}
    for _, calls in parts:
        for call in calls:
            for figure in figures.used(call):
                kinds.setdefault(figure.pattern, []).append(figure)
    places = {pattern: place for place, pattern in enumerate(kinds)}
    return Contents(
        title=root.scope.title,
        input_shape=graph.input_shape,
        sections=tuple(_merged(list(_sections(graph, figures, parts, places)))),
        cells=tuple(_cell(same) for same in kinds.values()),
        params=graph.params,
        macs=graph.macs,
    )


def _sections(
    graph: Graph,
    figures: Figures,
    parts: Sequence[tuple[str, Sequence[Call]]],
    places: Mapping[tuple[object, ...], int],
) -> Iterator[Section]:
    made = {0: -1}  # position in the graph -> the section that puts it out
    for at, (name, calls) in enumerate(parts):
        outside = dict.fromkeys(read for call in calls for read in call.inputs if read in made)
        yield Section(
            name=name,
            groups=tuple(_groups([figures.of(call) for call in calls], places)),
            back=tuple(at - made[read] for read in outside),
            shape=graph.nodes[calls[-1].output].shape,
            params=sum(node.cost.params for node in nodes_of(calls)),
            macs=sum(node.cost.macs for node in nodes_of(calls)),
        )
        made |= {call.output: at for call in calls}


def _merged(sections: Sequence[Section]) -> Iterator[Section]:
    """Sections of one block each, one for those that follow each other and are alike."""
    runs: list[list[Section]] = []
    place: dict[int, int] = {-1: -1}  # section -> the run that it belongs to; -1 is the image
    for at, section in enumerate(sections):
        if runs and _goes_on(runs[-1][-1], section):
            runs[-1].append(section)
        else:
            runs.append([section])
        place[at] = len(runs) - 1
    at = 0
    for number, run in enumerate(runs):
        group = run[0].groups[-1]
        whole = replace(group, count=len(run), shape=run[-1].shape)
        back = dict.fromkeys(number - place[at - steps] for steps in run[0].back)
        yield Section(
            name=_name([section.name for section in run]),
            groups=run[0].groups if len(run) == 1 else (whole,),
            back=tuple(back),
            shape=run[-1].shape,
            params=sum(section.params for section in run),
            macs=sum(section.macs for section in run),
        )
        at += len(run)


def _goes_on(section: Section, following: Section) -> bool:
    """Whether two sections are numbered blocks that are alike and read alike."""
    one, other = section.groups[0], following.groups[0]
    blocks = one.figure.path == section.name and other.figure.path == following.name
    numbered = section.name != _stem(section.name) == _stem(following.name) != following.name
    alike = one.cell == other.cell and _alike(one.figure, other.figure)
    return blocks and numbered and alike and section.back == following.back


def _name(names: Sequence[str]) -> str:
    """One name for sections that follow each other: ``block1-5``."""
    last = names[-1][len(_stem(names[-1])) :]
    return names[0] if len(names) == 1 else f"{names[0]}-{last}"


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _groups(figures: Sequence[Figure], places: Mapping[tuple[object, ...], int]) -> Iterator[Group]:
    """Blocks that follow each other, those that are alike together."""
    group: Group | None = None
    for figure in figures:
        cell = places[figure.pattern]
        if group is not None and group.cell == cell and _alike(group.figure, figure):
            group = replace(group, count=group.count + 1, shape=figure.shape)
            continue
        if group is not None:
            yield group
        group = Group(figure, cell, 1, figure.shape)
    if group is not None:
        yield group


def _parts(root: Body) -> Iterator[tuple[str, list[Call]]]:
    """The network's blocks by section: a sequence of blocks is one, so is a run of primitives."""
    loose: list[Call] = []
    for call in root.calls:
        if isinstance(call.target, Node):
            loose.append(call)
            continue
        if loose:
            yield path_of(loose[0]), loose
            loose = []
        yield from _split(call)
    if loose:
        yield path_of(loose[0]), loose


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
        yield body.scope.path, list(flat(body.calls))


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
