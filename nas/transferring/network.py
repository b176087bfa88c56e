"""One trained network and the images it is to be used for: what stays and what is fitted anew."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from estimators.data import ImageData, Split
from estimators.estimator import Checkpoint, EvaluationError
from estimators.memory import check_fits
from estimators.probing import Features, LinearClassifier, features, fit, with_classifier
from estimators.scoring import measure
from estimators.task import Classification
from estimators.training import Training
from nas.errors import NasError, usage_error
from nas.loading import build_meta
from nas.transferring.choice import Probed
from nas.transferring.source import Source, fitted_images, last_layer
from search_spaces.architecture import Architecture, lower
from search_spaces.modules import build
from search_spaces.portions import (
    beginning,
    end,
    end_values,
    stage_modules,
    whole_values,
)
from search_spaces.reference.adaptation import adapted

PROBED_IMAGES = 2_000  # training images that classifiers on stages are fitted to


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
        self._known: dict[tuple[int, str], Features] = {}  # by images and module

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

    def tuned(
        self, stages: int, start: Mapping[str, Tensor], training: Training, *, seed: int
    ) -> dict[str, Tensor]:
        """The network's weights after its last stages and its head were trained further.

        Where not all stages are trained, the feature maps of those before are computed once.

        Args:
            stages: How many are trained; all of them with the stem.
            start: Weights to begin with, such as those of ``linear``.
            training: How; not prepared yet.
            seed: Decides the order of images and dropout.

        Raises:
            NasError: If the network cannot be divided there (exit code 2), or the training fails
                (3).
        """
        task = Classification(len(self.images.classes))
        whole = stages == len(self.architecture.stages)
        try:
            part = self.architecture if whole else end(self.architecture, stages)
        except ValueError as error:
            raise usage_error(f"--stages: {error}") from error
        weights = dict(start) if whole else end_values(self.architecture, stages, start)
        training.prepare(self.images if whole else self._maps(stages), task)
        try:
            trained = training.evaluate(
                lower(part),
                fidelity=1.0,
                seed=seed,
                device=self._device,
                start=Checkpoint(0, weights, {}),
            ).weights
        except EvaluationError as error:
            raise NasError(f"fine-tuning failed: {error}", exit_code=3) from error
        assert trained is not None  # noqa: S101 - training returns weights
        if whole:
            return dict(trained)
        return whole_values(self.architecture, stages, start, trained)

    def _maps(self, stages: int) -> ImageData:
        """What the last stages read, as data."""
        module = stage_modules(self.architecture)[-stages - 1]
        model = self._model(self._weights)

        def computed(split: Split) -> Split:
            found = features(
                *(model, (module,), split.images), size=self.size, device=self._device, maps=True
            )
            return Split(torch.from_numpy(found[module]), split.labels)

        data = self.images
        count = len(data.train) + len(data.validation)
        try:
            check_fits(count, *computed(_first(data.train)).images.shape[1:])
        except ValueError as error:
            raise usage_error(f"--stages: feature maps: {error}; or train all stages") from error
        train = computed(data.train)
        # Nothing of a training reads the test split.
        return replace(data, train=train, validation=computed(data.validation), test=_first(train))

    def score(
        self, architecture: Architecture, weights: Mapping[str, Tensor], split: Split
    ) -> dict[str, float]:
        """Every metric of a network on one split."""
        graph = lower(architecture)
        model = build(graph)
        model.load_state_dict(dict(weights))
        task = Classification(len(self.images.classes))
        return measure(model.to(self._device), split, task, graph=graph, device=self._device)

    def _model(self, weights: Mapping[str, Tensor]) -> nn.Module:
        model = build(self._graph)
        model.load_state_dict(dict(weights))
        return model.to(self._device)

    def _classifier(self, module: str) -> LinearClassifier:
        train, validation = self.images.train, self.images.validation
        here, there = self._features((module,), train), self._features((module,), validation)
        return self._fitted((here[module], train.labels), (there[module], validation.labels))

    def _features(self, modules: Sequence[str], split: Split) -> dict[str, Features]:
        """Features of images that stay; of whole splits they are computed once."""
        keys = {name: (id(split.images), name) for name in modules}
        missing = [name for name, key in keys.items() if key not in self._known]
        found: dict[str, Features] = {}
        if missing:
            model = self._model(self._weights)
            found = features(model, missing, split.images, size=self.size, device=self._device)
        if any(split is one for one in (self.images.train, self.images.validation)):
            self._known |= {keys[name]: values for name, values in found.items()}
        return {name: found[name] if name in found else self._known[keys[name]] for name in keys}

    def _fitted(
        self, train: tuple[Features, Tensor], validation: tuple[Features, Tensor]
    ) -> LinearClassifier:
        return fit(train, validation, len(self.images.classes))


def _first(split: Split) -> Split:
    return Split(split.images[:1], split.labels[:1])


def _some(split: Split, seed: int) -> Split:
    """At most ``PROBED_IMAGES``, drawn at random; every class is among them."""
    if len(split) <= PROBED_IMAGES:
        return split
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    labels = split.labels[order].numpy()
    first = np.unique(labels, return_index=True)[1]
    others = np.setdiff1d(np.arange(len(labels)), first)[: PROBED_IMAGES - len(first)]
    chosen = order[torch.from_numpy(np.concatenate([first, others]))]
    return Split(split.images[chosen], split.labels[chosen])
