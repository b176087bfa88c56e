"""The network of the cells that DARTS found on CIFAR, as published."""

from collections.abc import Sequence
from itertools import pairwise

from search_spaces.architecture import Architecture
from search_spaces.blocks import Cell, CellStem, Classifier

Edges = Sequence[tuple[int, str]]

# arXiv:1806.09055, figures 4 and 5, second order; as the released code lists them (DARTS_V2).
NORMAL: Edges = (
    *((0, "sep3"), (1, "sep3")),
    *((0, "sep3"), (1, "sep3")),
    *((1, "sep3"), (0, "identity")),
    *((0, "identity"), (2, "dil3")),
)
REDUCTION: Edges = (
    *((0, "max_pool"), (1, "max_pool")),
    *((2, "identity"), (1, "max_pool")),
    *((0, "max_pool"), (2, "identity")),
    *((2, "identity"), (1, "max_pool")),
)


def darts_v2() -> Architecture:
    """20 cells of 36 channels for 32x32 images of ten classes, without the auxiliary head.

    Source: arXiv:1806.09055, table 1 (3.3 million parameters), and its released code.
    Deviation: path dropout belongs to training.
    """
    return Architecture(
        title="DartsNet",
        input_shape=(3, 32, 32),
        stem=CellStem(3 * 36),
        stages=cells(NORMAL, REDUCTION, width=36, counts=spread(20, 3)),
        head=Classifier(10),
    )


def cells(
    normal: Edges,
    reduction: Edges,
    *,
    width: int,
    counts: Sequence[int],
    activation: str = "relu",
) -> tuple[tuple[Cell, ...], ...]:
    """Stages of cells; every stage but the first begins with a reduction.

    Args:
        normal: Source and operation of each edge of the normal cells; see ``Cell``.
        reduction: The same for the reduction cells.
        width: Channels of a node of the first stage; they double with each reduction.
        counts: Number of cells of each stage.
        activation: A key of ``primitives.ACTIVATIONS``.
    """

    def cell(stage: int, position: int) -> Cell:
        reduces = stage > 0 and position == 0
        sources, operations = zip(*(reduction if reduces else normal), strict=True)
        return Cell(width * 2**stage, sources, operations, reduces, activation)

    return tuple(
        tuple(cell(stage, position) for position in range(count))
        for stage, count in enumerate(counts)
    )


def spread(count: int, stages: int) -> tuple[int, ...]:
    """Cells of each stage: of 20 cells in three stages 6, 7 and 7, as in DARTS."""
    return tuple(
        end - start for start, end in pairwise(n * count // stages for n in range(stages + 1))
    )
