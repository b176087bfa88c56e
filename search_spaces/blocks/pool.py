"""Max and average pooling as blocks."""

from dataclasses import dataclass
from typing import TypeVar, final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import AvgPool2d, MaxPool2d

Pool = TypeVar("Pool", MaxPool2d, AvgPool2d)

SAME, VALID, CEIL = PADDINGS = ("same", "valid", "ceil")


@final
@dataclass(frozen=True, slots=True)
class MaxPool(BlockSpec):
    """Largest value of each window.

    Attributes:
        kernel_size: Side of the square window.
        stride: Step of the window.
        padding: ``same``: the map is padded so that sides become ``ceil(length / stride)``, for
            odd windows and those that do not overlap; ``valid``: only whole windows count, with
            no padding; ``ceil``: a last window may reach beyond the edge.
    """

    kernel_size: int = 3
    stride: int = 1
    padding: str = SAME

    def __post_init__(self) -> None:
        _check(self.kernel_size, self.stride, self.padding)

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        pool = _pool(MaxPool2d, self.kernel_size, self.stride, padding=self.padding)
        return scope.add("pool", pool, inputs[-1])


@final
@dataclass(frozen=True, slots=True)
class AvgPool(BlockSpec):
    """Mean of each window; padding zeros count.

    Attributes:
        kernel_size: Side of the square window.
        stride: Step of the window.
        padding: As for ``MaxPool``.
    """

    kernel_size: int = 3
    stride: int = 1
    padding: str = SAME

    def __post_init__(self) -> None:
        _check(self.kernel_size, self.stride, self.padding)

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        pool = _pool(AvgPool2d, self.kernel_size, self.stride, padding=self.padding)
        return scope.add("pool", pool, inputs[-1])


def _check(kernel_size: int, stride: int, padding: str) -> None:
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got {padding!r}")
    if padding == SAME and kernel_size % 2 == 0 and kernel_size != stride:
        raise ValueError(
            f"kernel_size must be odd or the stride with padding same, got {kernel_size}; "
            "use padding valid or ceil"
        )


def _pool(cls: type[Pool], kernel_size: int, stride: int, *, padding: str) -> Pool:
    if padding == SAME and kernel_size % 2:
        return cls(kernel_size, stride, kernel_size // 2)
    return cls(kernel_size, stride, 0, padding != VALID)
