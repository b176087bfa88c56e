"""The fractal block, and one of its columns alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.blocks.conv import ConvNormAct
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import MaxPool2d, Mean

MAX_COLUMNS = 8


@final
@dataclass(frozen=True, slots=True)
class FractalBlock(BlockSpec):
    """Columns of 1, 2, 4, ... convolutions, averaged wherever several of them end.

    The expansion rule is f(1) = convolution and f(c + 1) = f(c) after f(c), joined with one more
    convolution beside them; a convolution brings its batch norm and activation. Joins that follow
    each other are one mean over all columns that end there, not means of means. Convolutions are
    named ``conv<column>_<place>``, columns from the shallowest, 0, to the deepest. A mean reads
    its columns in that order.

    Attributes:
        width: Channels of every convolution.
        columns: From 1 to ``MAX_COLUMNS``; the deepest has ``2 ** (columns - 1)`` convolutions.
        kernel_size: Side of every kernel.
        pool: Side and step of the max pooling at the end of each column, before the last mean;
            sides become ``ceil(length / pool)``. 1 leaves it out.
        activation: A key of ``primitives.ACTIVATIONS``.

    Source: FractalNet (arXiv:1605.07648), section 3 and figure 1, with joins and pooling as the
    authors' released generator places them: each column is pooled, then the mean is taken.
    """

    family: ClassVar[str] = "fractal"
    variants: ClassVar[Mapping[str, str]] = {
        f"FractalBlock{columns}": f"Fractal block of {columns} columns."
        for columns in range(1, MAX_COLUMNS + 1)
    }

    width: int
    columns: int = 3
    kernel_size: int = 3
    pool: int = 2
    activation: str = "relu"

    def __post_init__(self) -> None:
        if not 1 <= self.columns <= MAX_COLUMNS:
            raise ValueError(f"columns must be from 1 to {MAX_COLUMNS}, got {self.columns}")
        _check_pool(self.pool)

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        scope.title(f"FractalBlock{self.columns}")
        layers = _Layers(scope, self)
        ends = [inputs[-1]] * self.columns  # of each column, as far as it has come
        depth = 2 ** (self.columns - 1)
        for step in range(1, depth + 1):
            ending = [column for column in range(self.columns) if step * 2**column % depth == 0]
            for column in reversed(ending):
                ends[column] = layers.conv(column, step * 2**column // depth - 1, ends[column])
                if step == depth:
                    ends[column] = layers.pool(column, ends[column])
            if len(ending) > 1:
                mean = scope.add(f"mean{step}", Mean(), *(ends[column] for column in ending))
                for column in ending:
                    ends[column] = mean
        return ends[0]


@final
@dataclass(frozen=True, slots=True)
class FractalColumn(BlockSpec):
    """One column of a fractal block.

    Its layers have the names that they have in the block, so that its weights are among the
    block's; see ``columns.column``.

    Attributes:
        width: Channels of every convolution.
        column: Number of the column from the shallowest, 0; it has ``2 ** column`` convolutions.
        kernel_size: Side of every kernel.
        pool: Side and step of the max pooling at the end; 1 leaves it out.
        activation: A key of ``primitives.ACTIVATIONS``.
    """

    family: ClassVar[str] = "fractal"

    width: int
    column: int
    kernel_size: int = 3
    pool: int = 2
    activation: str = "relu"

    def __post_init__(self) -> None:
        if not 0 <= self.column < MAX_COLUMNS:
            raise ValueError(f"column must be from 0 to {MAX_COLUMNS - 1}, got {self.column}")
        _check_pool(self.pool)

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        layers = _Layers(scope, self)
        x = inputs[-1]
        for place in range(2**self.column):
            x = layers.conv(self.column, place, x)
        return layers.pool(self.column, x)


@final
class _Layers:
    """The layers of both blocks, under the names they share."""

    def __init__(self, scope: ScopeBuilder, spec: FractalBlock | FractalColumn) -> None:
        self._scope = scope
        width = scope.argument("out_channels", spec.width)
        kernel = scope.argument("kernel", spec.kernel_size)
        self._conv = ConvNormAct(width, kernel, activation=spec.activation)
        self._pool = spec.pool

    def conv(self, column: int, place: int, x: Value) -> Value:
        """Convolution number ``place`` of a column, with batch norm and activation."""
        return self._scope.block(f"conv{column}_{place}", self._conv, x)

    def pool(self, column: int, x: Value) -> Value:
        """What ends a column."""
        if self._pool == 1:
            return x
        pool = MaxPool2d(self._pool, self._pool, ceil_mode=True)
        return self._scope.add(f"pool{column}", pool, x)


def _check_pool(pool: int) -> None:
    if pool < 1:
        raise ValueError(f"pool must be at least 1, got {pool}")
