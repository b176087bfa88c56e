"""Colours and words for what is drawn.

Tints of a few hues, so that black text on each has a contrast above 10 : 1 and prints; those
that stand beside each other differ for colour-blind readers too, and every colour has its word on
the box as well. The page has a background of its own, for readers whose screen is dark.
"""

from collections.abc import Mapping

from search_spaces.primitives import (
    ACTIVATIONS,
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Join,
    Linear,
    MaxPool2d,
    Primitive,
    Shape,
    SidePad2d,
    ZeroPad2d,
)

PAGE, PANEL, FRAME = "#fbfbf9", "#ffffff", "#dcdcd6"
INK, MUTED, LINE, BAR, TRACK = "#20242a", "#5a616b", "#8b929c", "#3f77ad", "#e8e9e6"
TAG = "#3d4550"
CONV, GROUPED, LINEAR, POOL, JOIN, LIGHT, BLOCK = (
    "#d9e6f5",
    "#d2ece4",
    "#e6def2",
    "#f6e8c8",
    "#f5dcd5",
    "#f2f2ef",
    "#e7eaee",
)
LEGEND: Mapping[str, str] = {
    "convolution": CONV,
    "depthwise or grouped": GROUPED,
    "fully connected": LINEAR,
    "pooling": POOL,
    "join": JOIN,
    "block drawn by itself": BLOCK,
}

_WINDOWS = {Conv2d.op: "conv", MaxPool2d.op: "max pool", AvgPool2d.op: "mean pool"}
_NAMES = {
    GlobalAvgPool2d.op: "mean over the map",
    BatchNorm2d.op: "batch norm",
    Concat.op: "concatenate",
    SidePad2d.op: "zero pad",
}


def colour(primitive: Primitive) -> str:
    """Fill of the box of a primitive."""
    match primitive:
        case Conv2d(groups=groups):
            return GROUPED if groups > 1 else CONV
        case Linear():
            return LINEAR
        case MaxPool2d() | AvgPool2d() | AdaptiveAvgPool2d() | GlobalAvgPool2d():
            return POOL
        case Join():
            return JOIN
    return LIGHT


def words(primitive: Primitive) -> str:
    """What a primitive is, in a few words."""
    match primitive:
        case Conv2d() | MaxPool2d() | AvgPool2d():
            window = f"{int(primitive.kernel_size)}×{int(primitive.kernel_size)}"
            return f"{_WINDOWS[primitive.op]} {window}"
        case AdaptiveAvgPool2d(size=size):
            return f"mean pool to {int(size)}×{int(size)}"
        case Activation(kind=kind):
            return ACTIVATIONS[kind]
        case Dropout(rate=rate):
            return f"dropout {rate:g}"
        case ZeroPad2d(before=before, after=after):
            return f"zero pad {int(before)}, {int(after)}"
    return _NAMES.get(primitive.op, primitive.op.replace("_", " "))


def details(primitive: Primitive, input_shape: Shape) -> list[str]:
    """Numbers of a primitive beyond its kernel, where they are not the usual ones."""
    found = []
    stride = int(getattr(primitive, "stride", 1))
    if stride > 1:
        found.append(f"stride {stride}")
    if isinstance(primitive, Conv2d):
        if primitive.dilation > 1:
            found.append(f"dilation {int(primitive.dilation)}")
        if primitive.groups > 1:
            depthwise = primitive.groups == input_shape[0]
            found.append("depthwise" if depthwise else f"{int(primitive.groups)} groups")
    return found


def shape_text(shape: Shape) -> str:
    """A shape as ``64×28×28``."""
    return "×".join(str(int(side)) for side in shape)


def share_text(part: int, whole: int) -> str:
    """A share in per cent, with one decimal."""
    per_cent = 100 * part / max(1, whole)
    return "< 0.1 %" if 0 < per_cent < 0.05 else f"{per_cent:.1f} %"
