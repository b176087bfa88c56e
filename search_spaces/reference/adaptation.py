"""Reference networks for images of another size and for other classes."""

from bisect import bisect_left
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from search_spaces.architecture import Architecture, lower
from search_spaces.primitives import MAX_CHANNELS


def adapted(
    architecture: Architecture,
    *,
    name: str,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
) -> Architecture:
    """A published network for other images and classes.

    Classes change the last layer alone, channels of the image the first. Strides and pools stay
    as published, whatever the size: maps are smaller or larger throughout, and a mean over the
    map (in AlexNet and VGG over 6x6 and 7x7 parts of it) leads to layers of the same size as
    ever. Only the siamese branch, which takes the map as it is, has another linear layer.

    Args:
        architecture: The network as published.
        name: What messages call it.
        input_shape: ``(channels, height, width)`` of the images; None leaves it as published.
        num_classes: Number of classes, from 1 to ``MAX_CHANNELS``; None leaves it as published.

    Raises:
        ValueError: If the images are too small for the network, with the smallest side that is
            not; if it has no classes, or a value is out of range.
    """
    if num_classes is not None:
        architecture = replace(architecture, head=_head(architecture, name, num_classes))
    if input_shape is None or tuple(input_shape) == architecture.input_shape:
        return architecture
    return _resized(architecture, name, input_shape)


def _head(architecture: Architecture, name: str, num_classes: int) -> Any:
    head = architecture.head
    assert is_dataclass(head)  # noqa: S101 - every block spec is
    if "num_classes" not in {field.name for field in fields(head)}:
        raise ValueError(f"num_classes must be left out for {name}, which has no classes")
    if not 1 <= num_classes <= MAX_CHANNELS:
        raise ValueError(f"num_classes must be from 1 to {MAX_CHANNELS}, got {num_classes}")
    return replace(cast("Any", head), num_classes=num_classes)


def _resized(
    architecture: Architecture, name: str, input_shape: tuple[int, int, int]
) -> Architecture:
    if len(input_shape) != 3 or any(type(side) is not int for side in input_shape):
        raise ValueError(
            f"input_shape must be (channels, height, width) in whole numbers, got {input_shape}"
        )
    channels, height, width = input_shape
    resized = replace(architecture, input_shape=(channels, height, width))
    try:
        lower(resized)
    except ValueError as error:
        smallest = _smallest_side(architecture)
        if min(height, width) >= smallest or min(input_shape) < 1:
            raise ValueError(f"input_shape: {error}") from None
        raise ValueError(
            f"input_shape must have sides of at least {smallest} pixels for {name}, "
            f"got {height}x{width}"
        ) from None
    return resized


def _smallest_side(architecture: Architecture) -> int:
    """Side of the smallest square image that the network can take."""

    def fits(side: int) -> bool:
        try:
            lower(replace(architecture, input_shape=(architecture.input_shape[0], side, side)))
        except ValueError:
            return False
        return True

    sides = range(1, min(architecture.input_shape[1:]) + 1)
    return sides[bisect_left(sides, 1, hi=len(sides) - 1, key=fits)]
