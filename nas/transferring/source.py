"""What is transferred: a trained network, and images as it reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from estimators.data import ImageData
from estimators.normalisation import renormalised
from nas.errors import usage_error
from nas.loading import build_meta, find, read_weights
from search_spaces import architecture as architecture_format
from search_spaces.architecture import Architecture, lower
from search_spaces.graph import Graph
from search_spaces.primitives import Linear
from search_spaces.reference import REFERENCES
from search_spaces.strict_json import JsonError

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
# What published weights expect of images: mean and deviation of each channel, from 0 to 1.
IMAGENET: Normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE: Normalisation = (
    (127 / 255, 127 / 255, 127 / 255),
    (128 / 255, 128 / 255, 128 / 255),
)  # the released preprocessing of EfficientNet-Lite


@dataclass(frozen=True, slots=True)
class Source:
    """A trained network to build upon.

    Attributes:
        name: How to call it.
        architecture: The network, with the classes it was trained for.
        weights: Its state dict.
        mean: Per channel, of values in [0, 1]; what its images had subtracted.
        std: Per channel; what they were divided by.
    """

    name: str
    architecture: Architecture
    weights: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def source_of(
    name: str,
    weights: Path | None,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Source:
    """The trained network that a user names.

    Args:
        name: An exported folder or finished run, or a reference network.
        weights: Safetensors file with the weights of a reference network; None for those of the
            folder.
        mean: What images must have subtracted, per channel; None for what the folder says, or
            what the published weights of the reference expect.
        std: What they must be divided by, likewise.

    Raises:
        NasError: If there is no such network, it has no weights, or they do not fit (exit code 2).
    """
    if (name in REFERENCES) != (weights is not None):
        raise usage_error(
            f"--weights must name a file for the reference network {name}"
            if name in REFERENCES
            else f"--weights has a meaning with a reference network only, got {name}"
        )
    classes = None if weights is None else _classes(weights, name)
    winner = find(name, num_classes=classes).winner
    if winner.architecture is None:
        raise usage_error(f"{name} has no architecture beside its graph; export it anew")
    try:
        architecture = architecture_format.from_document(winner.architecture)
    except JsonError as error:
        raise usage_error(f"{name}: {error}") from error
    held = winner.weights
    if weights is not None:
        held = read_weights(weights, build_meta(winner.graph))
    if held is None:
        raise usage_error(f"{name} has no weights; name a finished run or what it exported")
    told: Normalisation = LITE if name == "efficientnet_lite0" else IMAGENET
    if winner.preprocessing is not None:
        told = winner.preprocessing.mean, winner.preprocessing.std
    channels = architecture.input_shape[0]
    own_mean = told[0] if mean is None else mean
    own_std = told[1] if std is None else std
    for flag, values in (("--mean", own_mean), ("--std", own_std)):
        if len(values) != channels:
            raise usage_error(f"{flag} must be {channels} numbers, one for each channel of {name}")
    return Source(name, architecture, held, own_mean, own_std)


def _classes(path: Path, name: str) -> int:
    """How many classes the weights of a reference network score.

    Raises:
        NasError: If the file cannot be read or has no such layer (exit code 2).
    """
    layer = last_layer(lower(REFERENCES[name]()))
    try:
        with safe_open(str(path), framework="pt") as file:
            return int(file.get_slice(f"{layer}.bias").get_shape()[0])
    except (SafetensorError, OSError) as error:
        raise usage_error(
            f"weights: {path}: {error}; `nas convert-weights` makes such a file"
        ) from error


def last_layer(graph: Graph) -> str:
    """Path of the layer that scores the classes.

    Raises:
        NasError: If the network does not end with a linear layer (exit code 2).
    """
    node = graph.nodes[-1]
    if not isinstance(node.primitive, Linear):
        raise usage_error("the network must end with a linear layer to be given other classes")
    return node.name


def fitted_images(images: ImageData, source: Source) -> ImageData:
    """Images as a network was trained to read them: its channels, its mean and deviation.

    Raises:
        NasError: If the channels are others (exit code 2).
    """
    channels = source.architecture.input_shape[0]
    try:
        return renormalised(images, channels=channels, mean=source.mean, std=source.std)
    except ValueError as error:
        raise usage_error(f"data: {error}, for {source.name}") from error
