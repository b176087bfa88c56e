"""Which channels of a network may change places, and which only together.

Channels are counted in *groups*: those that one layer puts out. What is added or multiplied
channel by channel is one group; a concatenation is made of several. Channels of an image, of the
output, of convolutions with groups and of a map that is flattened are tied to their places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from search_spaces.graph import Graph, Node
from search_spaces.primitives import Concat, Conv2d, Flatten, Input, Join, Linear

Pieces = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Channels:
    """Groups of channels, by number.

    Attributes:
        sizes: Channels of each.
        fixed: Whether they are tied to their places.
        of: What the output of each node is made of, by its position.
        columns: What a convolution or linear layer reads column by column, by its position;
            depthwise and other grouped convolutions have no such columns.
    """

    sizes: Sequence[int]
    fixed: Sequence[bool]
    of: Sequence[Pieces]
    columns: Mapping[int, Pieces]


def channels(graph: Graph) -> Channels:
    """The groups of a network's channels."""
    walk = _Walk()
    for position, node in enumerate(graph.nodes):
        walk.of.append(walk.output(position, node))
    walk.fix(walk.of[-1])
    return walk.result()


@final
class _Walk:
    """One walk through a network; groups that turn out to be one are joined."""

    def __init__(self) -> None:
        self.of: list[Pieces] = []
        self.columns: dict[int, Pieces] = {}
        self._sizes: list[int] = []
        self._fixed: list[bool] = []
        self._parent: list[int] = []

    def output(self, position: int, node: Node) -> Pieces:
        """What a node's output is made of."""
        reads = [self.of[source] for source in node.inputs]
        size = int(node.shape[0])
        match node.primitive:
            case Input():
                return self._new(size, fixed=True)
            case Conv2d() if node.primitive.groups > 1:
                return self._grouped(node, reads[0])
            case Conv2d() | Linear():
                self.columns[position] = reads[0]
                return self._new(size)
            case Flatten() if size != int(node.input_shapes[0][0]):
                self.fix(reads[0])
                return self._new(size, fixed=True)
            case Join():
                return self._joined(node, reads)
        return reads[0]

    def fix(self, pieces: Pieces) -> None:
        """Tie groups to their places."""
        for piece in pieces:
            self._fixed[self._root(piece)] = True

    def result(self) -> Channels:
        """The groups, each under the number of the first of those that were joined."""

        def rooted(pieces: Pieces) -> Pieces:
            return tuple(self._root(piece) for piece in pieces)

        return Channels(
            self._sizes,
            [self._fixed[self._root(piece)] for piece in range(len(self._sizes))],
            [rooted(pieces) for pieces in self.of],
            {position: rooted(pieces) for position, pieces in self.columns.items()},
        )

    def _grouped(self, node: Node, read: Pieces) -> Pieces:
        """A depthwise convolution hands its channels on; another one ties both sides."""
        assert isinstance(node.primitive, Conv2d)  # noqa: S101 - the caller has looked
        size = int(node.shape[0])
        if size == int(node.input_shapes[0][0]) == int(node.primitive.groups):
            return read
        self.fix(read)
        return self._new(size, fixed=True)

    def _joined(self, node: Node, reads: Sequence[Pieces]) -> Pieces:
        """Values that meet channel by channel, tied where they are divided otherwise; or follow."""
        if isinstance(node.primitive, Concat):
            return tuple(piece for read in reads for piece in read)
        first = reads[0]
        sizes = [[self._sizes[piece] for piece in read] for read in reads]
        for read, their in zip(reads, sizes, strict=True):
            if their != sizes[0]:
                self.fix(first)
                self.fix(read)
                continue
            for mine, theirs in zip(first, read, strict=True):
                one, other = sorted((self._root(mine), self._root(theirs)))
                self._parent[other] = one
                self._fixed[one] |= self._fixed[other]
        return first

    def _new(self, size: int, *, fixed: bool = False) -> Pieces:
        number = len(self._sizes)
        self._sizes.append(size)
        self._fixed.append(fixed)
        self._parent.append(number)
        return (number,)

    def _root(self, piece: int) -> int:
        while self._parent[piece] != piece:
            piece = self._parent[piece]
        return piece
