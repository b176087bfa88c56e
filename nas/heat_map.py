"""A map of scores laid over its image, as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nas.errors import usage_error
from nas.plugins import unknown
from nas.predicting import Predictor, ScoreMap
from nas.run_folder import write_bytes

# From cold to hot, lighter all the way, so that it reads without colours too.
_HEAT = np.array([(24, 12, 60), (130, 30, 110), (225, 80, 60), (250, 170, 50), (255, 250, 200)])
_VEIL = 0.75  # how much of the image the hottest place covers


def write(
    path: Path, predictor: Predictor, images: Sequence[Path], *, label: str | None
) -> dict[str, Any]:
    """Write the map of an image, as a PNG file that is not there yet.

    Args:
        path: The file.
        predictor: A fully convolutional network.
        images: Exactly one file.
        label: The class; None is the most probable one of the image as a whole.

    Returns:
        What ``nas predict --json`` says of the map.

    Raises:
        NasError: If any of these is something else, or the image does not fit (exit code 2); if
            the file cannot be written (5).
    """
    classes = predictor.preprocessing.classes
    if path.suffix != ".png":
        raise usage_error(f"--map must be a file that ends in .png, got {str(path)[:200]}")
    if path.exists():
        raise usage_error(f"--map: {path} is there already; choose another name")
    if len(images) != 1:
        raise usage_error(f"--map needs exactly one image, got {len(images)}")
    if not predictor.slides:
        raise usage_error(
            "--map needs a network that was exported with `nas export --fully-convolutional`"
        )
    if label is not None and label not in classes:
        raise usage_error(f"--class: {unknown(label, classes)}")
    pixels = predictor.read(images[0])
    if label is None:
        label = classes[int(predictor.probabilities(pixels).argmax())]
    found = predictor.score_map(pixels, label)
    write_bytes(path, painted(found))
    return found.document()


def painted(found: ScoreMap) -> bytes:
    """A PNG file of the image's size: grey, with the probabilities over it.

    Probabilities are interpolated between the middles of the windows.
    """
    height, width = found.pixels.shape[1:]
    rows = _places(height, found.window[0], found.stride[0])
    columns = _places(width, found.window[1], found.stride[1])
    heat = _interpolated(found.probabilities, rows, columns)
    colours = np.stack(
        [np.interp(heat, np.linspace(0, 1, len(_HEAT)), _HEAT[:, place]) for place in range(3)],
        axis=-1,
    )
    grey = 255 * found.pixels[: 1 if len(found.pixels) < 3 else 3].mean(axis=0)[..., np.newaxis]
    cover = (_VEIL * np.sqrt(heat))[..., np.newaxis]
    blended = (1 - cover) * grey + cover * colours
    file = io.BytesIO()
    Image.fromarray(np.clip(blended + 0.5, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _places(length: int, window: int, stride: int) -> NDArray[np.float64]:
    """For each pixel, where between the places of the map it lies."""
    return (np.arange(length) + 0.5 - window / 2) / stride


def _interpolated(
    values: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bilinear between places, the nearest one beyond the outer ones."""
    across = np.stack([np.interp(columns, np.arange(values.shape[1]), row) for row in values])
    down = np.arange(values.shape[0])
    return np.stack([np.interp(rows, down, column) for column in across.T], axis=1)
