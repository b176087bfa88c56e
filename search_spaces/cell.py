"""The ``cell`` space: two cells, found once and stacked many times, around DARTS."""

from itertools import combinations
from typing import final

from search_spaces.architecture import Architecture
from search_spaces.blocks import CellStem, Classifier
from search_spaces.blocks.cell import OPERATIONS
from search_spaces.genome import Decision, Genome, Genotype, Option
from search_spaces.reference.darts import cells, spread
from search_spaces.skeleton import check_images, resolutions
from search_spaces.space import SearchSpace

LARGEST_SIDE = 48  # pixels of the shorter side up to which the stem halves nothing
SMALLEST_MAP = 4  # pixels of the last map's shorter side, at the data's own resolution

COUNTS = (3, 6, 9, 14, 20)
WIDTHS = (8, 16, 24, 36, 48)
ACTIVATIONS = ("relu", "hardswish", "silu")
STEM_MULTIPLE = 3  # of the width; the released code of DARTS


@final
class CellSpace(SearchSpace):
    """Networks of normal and reduction cells in the manner of NASNet and DARTS.

    Open are the input resolution, the activation, the number of cells, the width of the first
    ones, and the normal and the reduction cell: for each node two different places to read from,
    and for each edge that is there an operation. Operations are decisions of edges: where a node
    reads from elsewhere, an edge that stays keeps its operation.

    The skeleton follows the images. At 32 pixels it is that of DARTS for CIFAR, whose published
    network is a point of the space: three stages, of which the last two begin with a reduction.
    Images of less than 16 pixels have two stages. From 49 pixels on the stem halves the map, up
    to three times.

    Args:
        input_shape: ``(channels, height, width)`` of the images; sides of at least 8 pixels.
        num_classes: Number of classes, at least 2.
        nodes: Nodes of a cell beside its inputs, from 1 to 6.

    Raises:
        ValueError: If a value is out of range.

    Source: NASNet (arXiv:1707.07012); DARTS (arXiv:1806.09055), sections 2.1 and 3.
    """

    def __init__(
        self, input_shape: tuple[int, int, int], num_classes: int, *, nodes: int = 4
    ) -> None:
        check_images(input_shape, num_classes)
        if not 1 <= nodes <= 6:
            raise ValueError(f"nodes must be from 1 to 6, got {nodes}")
        self._channels = input_shape[0]
        self._num_classes = num_classes
        self._nodes = nodes
        self._stem_halvings, self._stages = skeleton(*input_shape[1:])
        self._sizes = resolutions(*input_shape[1:])
        self._genome = Genome(
            (
                Decision.of("resolution", list(self._sizes)),
                Decision.of("activation", ACTIVATIONS),
                Decision.of("cells", COUNTS),
                Decision.of("width", WIDTHS),
                *_cell_decisions("normal", nodes),
                *_cell_decisions("reduction", nodes),
            )
        )

    @property
    def genome(self) -> Genome:
        """Resolution, activation, cells, width, then the decisions of the two kinds of cell."""
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        """See the class.

        Raises:
            ValueError: If ``genotype`` is not one of ``genome``.
        """
        self._genome.check(genotype)
        activation, width = str(genotype["activation"]), int(genotype["width"])
        height, columns = self._sizes[str(genotype["resolution"])]
        return Architecture(
            title="CellNet",
            input_shape=(self._channels, height, columns),
            stem=CellStem(STEM_MULTIPLE * width, self._stem_halvings, activation),
            stages=cells(
                self._edges(genotype, "normal"),
                self._edges(genotype, "reduction"),
                width=width,
                counts=spread(int(genotype["cells"]), self._stages),
                activation=activation,
            ),
            head=Classifier(self._num_classes),
        )

    def _edges(self, genotype: Genotype, kind: str) -> list[tuple[int, str]]:
        edges = []
        for node in range(2, 2 + self._nodes):
            answer = genotype.get(f"{kind}.node{node}.sources")
            pair = "0,1" if answer is None else str(answer)  # the first node has no choice
            for source in pair.split(","):
                operation = genotype[f"{kind}.edge{source}_{node}.operation"]
                edges.append((int(source), str(operation)))
        return edges


def skeleton(height: int, width: int) -> tuple[int, int]:
    """Halvings of the stem, from 0 to 3, and number of stages, two or three.

    Args:
        height: Pixels, at least 8.
        width: Pixels, at least 8.
    """
    side, halvings = min(height, width), 0
    while side > LARGEST_SIDE and halvings < 3:
        side, halvings = side // 2, halvings + 1
    return halvings, 3 if side // 4 >= SMALLEST_MAP else 2


def _cell_decisions(kind: str, nodes: int) -> list[Decision]:
    """For each node its sources, which open the operations of their edges."""
    decisions = []
    for node in range(2, 2 + nodes):
        operations = [
            Decision.of(f"{kind}.edge{source}_{node}.operation", OPERATIONS)
            for source in range(node)
        ]
        if node == 2:
            decisions += operations
            continue
        options = tuple(
            Option(f"{first},{second}", (operations[first], operations[second]))
            for first, second in combinations(range(node), 2)
        )
        decisions.append(Decision(f"{kind}.node{node}.sources", options))
    return decisions
