"""Scores of an exported network for image files, from the folder's data alone.

The network is built from ``architecture.json`` and the weights; ``model.py`` in the folder is
never run, as whoever made the folder may be a stranger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from estimators.image_files import read_image
from estimators.paths import is_folder
from estimators.resizing import resized
from nas.errors import usage_error
from nas.export import Preprocessing
from nas.formats.running import network_of
from nas.loading import find
from search_spaces.graph import Graph

MAX_MAP_PIXELS = 2**22  # of an image that a map is computed for


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """Where in an image a class is seen.

    Attributes:
        label: The class.
        probabilities: ``(rows, columns)`` of that class, one for each place of the window.
        window: Height and width in pixels of what one place sees: the training size.
        stride: Pixels from one place to the next, down and across.
        maximum: ``(x, y)`` in pixels: the middle of the window with the highest probability.
        pixels: The image, ``(channels, height, width)`` from 0 to 1.
    """

    label: str
    probabilities: NDArray[np.float64]
    window: tuple[int, int]
    stride: tuple[int, int]
    maximum: tuple[float, float]
    pixels: NDArray[np.float32]

    def document(self) -> dict[str, Any]:
        """What ``nas predict --json`` prints of it."""
        return {
            "label": self.label,
            "shape": list(self.probabilities.shape),
            "window": list(self.window),
            "stride": list(self.stride),
            "maximum": {
                "x": self.maximum[0],
                "y": self.maximum[1],
                "probability": float(self.probabilities.max()),
            },
        }


@final
class Predictor:
    """A network with its weights and what it asks of images.

    Attributes:
        preprocessing: Classes, mean and standard deviation.
    """

    def __init__(
        self, source: str, *, format_: str | None = None, trial: int | None = None
    ) -> None:
        """Load an exported folder or a finished run.

        Args:
            source: The folder.
            format_: ``onnx`` or ``int8``: that file of the folder; None for the network itself.
            trial: Which member of the front, of a run for several objectives.

        Raises:
            NasError: If it is damaged, has no weights, or does not say what images must be
                (exit code 2), or ONNX Runtime is needed and not installed (5).
        """
        winner = find(source, trial=trial).winner
        if winner.weights is None or winner.preprocessing is None:
            lacks = "no weights" if winner.weights is None else "no preprocessing and classes"
            raise usage_error(f"{source} has {lacks}; name a finished run or what it exported")
        self.preprocessing: Preprocessing = winner.preprocessing
        self._graph: Graph = winner.graph
        self._model: nn.Module = network_of(winner, source, format_)

    @property
    def slides(self) -> bool:
        """Whether it yields a map of scores for larger images."""
        return len(self._graph.output_shape) == 3

    def read(self, path: Path) -> NDArray[np.float32]:
        """The image in a file, as ``image_files.read_image`` has it.

        Raises:
            NasError: If it cannot be read (exit code 2).
        """
        if is_folder(path):
            raise usage_error(f"image: {path}: is a folder; name its files, such as {path}/*.png")
        try:
            return read_image(path, int(self._graph.input_shape[0]))
        except ValueError as error:
            raise usage_error(f"image: {error}") from error

    def probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of each class for the whole image, resized as for the training.

        Raises:
            NasError: If scores are not finite (exit code 2).
        """
        height, width = (int(side) for side in self._graph.input_shape[1:])
        images = self._normalised(pixels)
        if self.preprocessing.size is not None:
            images = resized(images, self.preprocessing.size)
        images = resized(images, (height, width))
        return self._softmax(images).reshape(-1)

    def score_map(self, pixels: NDArray[np.float32], label: str) -> ScoreMap:
        """Probability of one class at each place of the image, which is not resized.

        Raises:
            NasError: If the image is smaller than those of the training, or too large, or scores
                are not finite (exit code 2).
        """
        window = int(self._graph.input_shape[1]), int(self._graph.input_shape[2])
        height, width = pixels.shape[1:]
        if height < window[0] or width < window[1] or height * width > MAX_MAP_PIXELS:
            raise usage_error(
                f"--map needs an image from {window[0]}x{window[1]} (height and width) to "
                f"{MAX_MAP_PIXELS:,} pixels in all, got {height}x{width}"
            )
        found = self._softmax(self._normalised(pixels))[self.preprocessing.classes.index(label)]
        stride = _stride(self._graph)
        row, column = np.unravel_index(int(found.argmax()), found.shape)
        x = min(int(column) * stride[1] + window[1] / 2, width - window[1] / 2)
        y = min(int(row) * stride[0] + window[0] / 2, height - window[0] / 2)
        return ScoreMap(label, found, window, stride, (x, y), pixels)

    def _normalised(self, pixels: NDArray[np.float32]) -> Tensor:
        mean, std = (
            torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        return (torch.from_numpy(pixels)[None] - mean) / std

    def _softmax(self, images: Tensor) -> NDArray[np.float64]:
        """Probabilities, ``(classes, ...)``."""
        with torch.inference_mode():
            scores = self._model(images)[0].double()
        values: NDArray[np.float64] = torch.softmax(scores, dim=0).numpy()
        if not np.isfinite(values).all():
            raise usage_error("weights: the network yields scores that are not finite")
        return values


def predict(predictor: Predictor, images: Sequence[Path], *, top: int) -> dict[str, Any]:
    """What ``nas predict --json`` prints: for each file its most probable classes.

    Args:
        predictor: The network.
        images: The files.
        top: How many classes, at least 1; there may be fewer.

    Raises:
        NasError: If a file cannot be read, or scores are not finite (exit code 2).
    """
    classes = predictor.preprocessing.classes
    rows = []
    for path in images:
        found = predictor.probabilities(predictor.read(path))
        order = np.argsort(-found, kind="stable")[:top]
        best = [{"label": classes[at], "probability": float(found[at])} for at in order]
        rows.append({"file": str(path), "top": best})
    return {"images": rows}


def text(document: Mapping[str, Any]) -> str:
    """The same for the eye: a line for each file, and one for a map."""
    lines = []
    for row in document["images"]:
        best = ", ".join(f"{one['label']} {one['probability']:.4f}" for one in row["top"])
        lines.append(f"{row['file']}: {best}")
        if "map" in row:
            at = row["map"]["maximum"]
            place = f"x {at['x']:g}, y {at['y']:g}, probability {at['probability']:.4f}"
            shape = "x".join(str(side) for side in row["map"]["shape"])
            lines.append(f"map of {row['map']['label']}, {shape} places: highest at {place}")
    return "\n".join(lines)


def _stride(graph: Graph) -> tuple[int, int]:
    """Pixels of the image from one place of the output to the next: the product of all strides."""
    steps: list[int] = []
    for node in graph.nodes:
        before = max((steps[source] for source in node.inputs), default=1)
        steps.append(before * int(getattr(node.primitive, "stride", 1)))
    return steps[-1], steps[-1]
