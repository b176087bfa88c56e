"""A trained network for other images and classes: what stays, what is fitted anew, and why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from estimators.data import ImageData, Split
from estimators.probing import Features, LinearClassifier, features, fit, with_classifier
from nas.errors import usage_error
from nas.loading import build_meta, find, read_weights
from search_spaces import architecture as architecture_format
from search_spaces.architecture import Architecture, lower
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.portions import beginning, stage_modules
from search_spaces.primitives import Linear
from search_spaces.reference import REFERENCES
from search_spaces.reference.adaptation import adapted
from search_spaces.strict_json import JsonError

MODES = ("auto", "linear", "probe", "last", "full")
PROBED_IMAGES = 2_000  # training images that classifiers on stages are fitted to
FEW, MANY = 1_000, 5_000  # training images

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
# What published weights expect of images: mean and deviation of each channel, from 0 to 1.
IMAGENET: Normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE: Normalisation = (
    (127 / 255, 127 / 255, 127 / 255),
    (128 / 255, 128 / 255, 128 / 255),
)  # the released preprocessing of EfficientNet-Lite
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: grey of a colour, as Pillow has it


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


@dataclass(frozen=True, slots=True)
class Probed:
    """A linear classifier on the features of one stage.

    Attributes:
        stage: From 1 on; what follows the last one is the input of the last layer.
        channels: Number of features.
        accuracy: Share of the validation images it classifies rightly.
    """

    stage: int
    channels: int
    accuracy: float


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

    Grey images become colour ones of three equal channels; of colour ones the luma is taken for a
    network of one channel.

    Raises:
        NasError: If the channels are others (exit code 2).
    """
    have, want = images.input_shape[0], source.architecture.input_shape[0]
    if have != want and {have, want} != {1, 3}:
        raise usage_error(
            f"data must have {want} channels for {source.name}, or 1 or 3, got {have}"
        )
    own_mean, own_std, mean, std = (
        torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
        for values in (images.mean, images.std, source.mean, source.std)
    )

    def converted(split: Split) -> Split:
        pixels = split.images * own_std + own_mean
        if have < want:
            pixels = pixels.expand(-1, want, -1, -1)
        elif have > want:
            luma = torch.tensor(LUMA, dtype=torch.float32).reshape(1, -1, 1, 1)
            pixels = (pixels * luma).sum(dim=1, keepdim=True)
        return Split((pixels - mean) / std, split.labels)

    train, validation, test = map(converted, (images.train, images.validation, images.test))
    return replace(
        images, train=train, validation=validation, test=test, mean=source.mean, std=source.std
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """What is done with a network, and why.

    Attributes:
        mode: One of ``MODES``, not ``auto``.
        stages: Of the network: those kept (``probe``), or those trained (``last``, ``full``).
        why: The reason, for people.
    """

    mode: str
    stages: int
    why: str


def choose(curve: Sequence[Probed], *, training_images: int, validation_images: int) -> Choice:
    """What ``auto`` stands for.

    The curve says how similar the images are to those the network was trained on: they are where
    the features of the last layer are the best, or not to be told from the best by one standard
    error. Few similar images ask for a new last layer, few others for one on an earlier stage's
    features. Many ask for all weights at a tenth of the rate; between ``FEW`` and ``MANY``
    similar images for the later half of the stages.

    Args:
        curve: A classifier for each stage and for the last layer, in their order.
        training_images: How many there are.
        validation_images: How many the curve was read on.
    """
    last, best = curve[-1], max(curve, key=lambda probed: probed.accuracy)
    error = math.sqrt(best.accuracy * (1 - best.accuracy) / validation_images)
    similar = last.accuracy >= best.accuracy - error
    stages = len(curve) - 1
    seen = (
        f"the last features are the best ({last.accuracy:.3f})"
        if similar
        else f"stage {best.stage} is better than the last features "
        f"({best.accuracy:.3f} and {last.accuracy:.3f})"
    )
    count = f"{training_images:,} training images are"
    if training_images < FEW:
        mode, kept = ("linear", stages) if similar else ("probe", best.stage)
        return Choice(mode, kept, f"{count} fewer than {FEW:,}, and {seen}")
    if training_images < MANY and similar:
        return Choice("last", max(1, stages // 2), f"{count} fewer than {MANY:,}, and {seen}")
    enough = f"{count} at least {MANY if similar else FEW:,}"
    return Choice("full", stages, f"{enough}, and {seen}")


@final
class Transfer:
    """One trained network and the images it is to be used for.

    Attributes:
        architecture: The network with the classes of the images.
        images: What it reads; see ``fitted_images``.
        size: Height and width that it reads.
    """

    def __init__(
        self, source: Source, images: ImageData, *, size: tuple[int, int] | None, device: str
    ) -> None:
        """Adapt the network.

        Args:
            source: The trained network.
            images: The data, as they were read.
            size: Height and width that the network is to read; None for what it was trained on.
            device: A torch device.

        Raises:
            NasError: If network and images do not fit (exit code 2).
        """
        channels, *own = source.architecture.input_shape
        self.size: tuple[int, int] = (own[0], own[1]) if size is None else size
        try:
            self.architecture = adapted(
                source.architecture,
                name=source.name,
                input_shape=(channels, *self.size),
                num_classes=len(images.classes),
            )
        except ValueError as error:
            raise usage_error(str(error)) from error
        self.images = fitted_images(images, source)
        self._graph = lower(self.architecture)
        self._layer = last_layer(self._graph)
        self._device = device
        self._weights = self._kept(source)

    def _kept(self, source: Source) -> dict[str, Tensor]:
        """The weights of the source but for its last layer, which is zero.

        Raises:
            NasError: If a layer depends on the size of the images (exit code 2).
        """
        weights = {}
        for name, value in build_meta(self._graph).state_dict().items():
            if name.startswith(f"{self._layer}."):
                weights[name] = torch.zeros_like(value, device="cpu")
            elif source.weights[name].shape != value.shape:
                height, width = source.architecture.input_shape[1:]
                raise usage_error(f"{source.name} can read images of {height}x{width} only")
            else:
                weights[name] = source.weights[name]
        return weights

    def curve(self, seed: int) -> tuple[Probed, ...]:
        """A linear classifier on the features of each stage, and on those of the last layer.

        It is fitted to at most ``PROBED_IMAGES`` training images, drawn at random, and read on as
        many validation images.
        """
        train, validation = (
            _some(split, seed) for split in (self.images.train, self.images.validation)
        )
        modules = (*stage_modules(self.architecture), self._layer)
        here, there = self._features(modules, train), self._features(modules, validation)
        return tuple(
            Probed(
                place,
                here[name].shape[1],
                self._fitted((here[name], train.labels), (there[name], validation.labels)).accuracy,
            )
            for place, name in enumerate(modules, start=1)
        )

    def linear(self) -> dict[str, Tensor]:
        """The network's weights with a new last layer; all others stay."""
        return with_classifier(self._weights, self._layer, self._classifier(self._layer))

    def probe(self, stages: int) -> tuple[Architecture, dict[str, Tensor]]:
        """The network up to a stage, with a linear classifier on its features."""
        module = stage_modules(self.architecture)[stages - 1]
        first = beginning(self.architecture, stages, num_classes=len(self.images.classes))
        graph = lower(first)
        names = build_meta(graph).state_dict()
        weights = {name: self._weights[name] for name in names if name in self._weights}
        return first, with_classifier(weights, last_layer(graph), self._classifier(module))

    def _classifier(self, module: str) -> LinearClassifier:
        train, validation = self.images.train, self.images.validation
        here, there = self._features((module,), train), self._features((module,), validation)
        return self._fitted((here[module], train.labels), (there[module], validation.labels))

    def _features(self, modules: Sequence[str], split: Split) -> dict[str, Features]:
        model = build(self._graph)
        model.load_state_dict(self._weights)
        return features(
            model.to(self._device), modules, split.images, size=self.size, device=self._device
        )

    def _fitted(
        self, train: tuple[Features, Tensor], validation: tuple[Features, Tensor]
    ) -> LinearClassifier:
        return fit(train, validation, len(self.images.classes))


def _some(split: Split, seed: int) -> Split:
    if len(split) <= PROBED_IMAGES:
        return split
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    chosen = order[:PROBED_IMAGES]
    return Split(split.images[chosen], split.labels[chosen])
