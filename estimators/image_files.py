"""Image files as arrays, whoever made them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64 * 2**20
# Formats with decoders of Pillow's own kind: none that starts another program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_WHITE = 255
_ORIENTATION = 0x0112  # tag of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ACROSS = frozenset(_TURNS[number] for number in (5, 6, 7, 8))  # height and width change places
_EXIF_OF_PNG = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself.

    Attributes:
        height: In pixels, turned as its EXIF data say.
        width: Likewise.
        grey: Whether it has no colours.
    """

    height: int
    width: int
    grey: bool


class _RefusedError(ValueError):
    """What ``_opened`` passes on with the file's name alone."""


def read_header(path: Path) -> Header:
    """Size and colours of an image file, without its pixels.

    EXIF data of a PNG that lie behind the pixels are not looked at.

    Raises:
        ValueError: As for ``read_image``, as far as the header shows it.
    """
    with _opened(path) as image:
        # Pillow would decode a PNG to look behind its pixels, too.
        silent = image.format == "PNG" and not _EXIF_OF_PNG & image.info.keys()
        turn = None if silent else _turn(image)
        sides = image.size if turn in _ACROSS else (image.height, image.width)
        return Header(*sides, grey=image.mode in {"1", "L", "LA"} or image.mode.startswith("I"))


def read_image(path: Path, channels: int) -> NDArray[np.float32]:
    """The pixels of an image file.

    Turned as its EXIF data say; the first frame of several; grey from colours by ITU-R 601; what
    is transparent lies on white, unless alpha is one of the channels. Grey images of 16 bits keep
    their depth.

    Args:
        path: A file in one of ``FORMATS``.
        channels: 1 grey, 2 grey and alpha, 3 red, green and blue, 4 these and alpha.

    Returns:
        ``(channels, height, width)`` from 0 to 1.

    Raises:
        ValueError: If the file cannot be read, is damaged, is no such image or has too many
            pixels.
    """
    if channels not in _MODES:
        raise ValueError(f"images from files have 1 to 4 channels, the network reads {channels}")
    with _opened(path) as image:
        return _pixels(image, channels)


def pixels_of_image(image: Image.Image) -> NDArray[np.float32]:
    """The pixels of an image in memory, as ``read_image`` has them: of 1 channel or 3.

    Raises:
        ValueError: If it cannot be decoded or has too many pixels.
    """
    grey = image.mode in {"1", "L", "LA"} or image.mode.startswith("I")
    try:
        _check(image)
        return _pixels(image, 1 if grey else 3)
    except _RefusedError:
        raise
    except Exception as error:  # of a file that is opened and not decoded yet
        raise ValueError(f"image cannot be read: {error!s:.200}") from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image in a file, not decoded yet; whatever goes wrong is told with the file's name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on oddities that a reader of scores cannot mend
            with Image.open(path, formats=FORMATS) as image:
                _check(image)
                yield image
    except _RefusedError as error:
        raise ValueError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        known = f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        what = known if path.stat().st_size else "it is empty"
        raise ValueError(f"{path}: cannot be read: {what}") from error
    except Exception as error:  # decoders raise all sorts of things at damaged files
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        what = f"{reason:.200}" if reason else type(error).__name__
        raise ValueError(f"{path}: cannot be read: {what}") from error


def _check(image: Image.Image) -> None:
    """Refuse what is not to be decoded.

    Raises:
        _RefusedError: Then.
    """
    if image.width * image.height > MAX_PIXELS:
        raise _RefusedError(
            f"must have at most {MAX_PIXELS:,} pixels, got {image.width}x{image.height}"
        )
    if image.mode == "F":
        raise _RefusedError("must hold whole numbers, got floats")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How an image is to be turned by its EXIF data; None for not at all. Pillow turns TIFF."""
    if image.format == "TIFF":
        return None
    return _TURNS.get(image.getexif().get(_ORIENTATION, 1))


def _pixels(image: Image.Image, channels: int) -> NDArray[np.float32]:
    turn = _turn(image)
    turned = image if turn is None else image.transpose(turn)
    if turned.mode in {"CMYK", "LAB", "HSV", "YCbCr"}:
        turned = turned.convert("RGB")
    if turned.mode.startswith("I"):
        return _deep(np.asarray(turned), channels)
    values = np.asarray(_flat(turned, _MODES[channels]), dtype=np.float32) / 255
    return np.ascontiguousarray(np.atleast_3d(values).transpose(2, 0, 1))


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The image in ``mode``; on white where that has no alpha."""
    if image.has_transparency_data and mode in {"L", "RGB"}:
        above = image.convert("RGBA")
        below = Image.new("RGBA", image.size, (_WHITE, _WHITE, _WHITE, _WHITE))
        image = Image.alpha_composite(below, above).convert("RGB")
    return image.convert(mode)


def _deep(values: NDArray[np.generic], channels: int) -> NDArray[np.float32]:
    """Grey of 16 bits; Pillow may hand it over in 32."""
    grey = values.astype(np.float64) / 65535
    if grey.min() < 0 or grey.max() > 1:
        raise _RefusedError("must have at most 16 bits a pixel, got more")
    planes = [grey] * (3 if channels > 2 else 1)
    if channels in {2, 4}:
        planes.append(np.ones_like(grey))
    return np.stack(planes).astype(np.float32)
