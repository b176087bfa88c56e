"""Image files as arrays, whoever made them."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nas.errors import NasError, usage_error

MAX_PIXELS = 64 * 2**20
# Formats with decoders of Pillow's own kind: none that starts another program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_WHITE = 255


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
        NasError: If the file cannot be read, is damaged, is no such image or has too many pixels
            (exit code 2).
    """
    if channels not in _MODES:
        raise usage_error(f"images from files have 1 to 4 channels, the network reads {channels}")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # on oddities that a reader of scores cannot mend
            return _pixels(image, channels)
    except NasError as error:
        raise usage_error(f"image: {path}: {error}") from error
    except Exception as error:  # decoders raise all sorts of things at damaged files
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        what = f"{reason:.200}" if reason else type(error).__name__
        raise usage_error(f"image: {path}: cannot be read: {what}") from error


def _pixels(image: Image.Image, channels: int) -> NDArray[np.float32]:
    if image.width * image.height > MAX_PIXELS:
        raise usage_error(
            f"must have at most {MAX_PIXELS:,} pixels, got {image.width}x{image.height}"
        )
    turned = ImageOps.exif_transpose(image)
    if turned.mode in {"F", "CMYK", "LAB", "HSV", "YCbCr"}:
        if turned.mode == "F":
            raise usage_error("must hold whole numbers, got floats")
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
        raise usage_error("must have at most 16 bits a pixel, got more")
    planes = [grey] * (3 if channels > 2 else 1)
    if channels in {2, 4}:
        planes.append(np.ones_like(grey))
    return np.stack(planes).astype(np.float32)
