"""Linear classifiers on the features of a trained network that stays as it is."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from estimators.lazy_images import Images, batches
from estimators.resizing import resized

BATCH = 128
# Inverse strengths of the penalty on squared weights that are tried.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
ITERATIONS = 200

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """Scores of classes as a linear function of features.

    Attributes:
        weight: ``(classes, features)``.
        bias: ``(classes,)``.
        strength: Inverse strength of the penalty it was fitted with.
        accuracy: Share of the validation images it classifies rightly.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    accuracy: float


@torch.inference_mode()
def features(
    model: nn.Module,
    modules: Sequence[str],
    images: Images,
    *,
    size: tuple[int, ...],
    device: str,
    maps: bool = False,
) -> dict[str, Features]:
    """What modules of a network put out, computed once for each image, in eval mode.

    Args:
        model: The network, on ``device``; left in eval mode.
        modules: Paths of modules; of one that is a linear layer its *input* is taken.
        images: ``(images, channels, height, width)``, normalised for the network.
        size: Height and width that the network reads; images are resized.
        device: A torch device.
        maps: Whether to keep feature maps, ``(images, channels, height, width)``; else their mean
            over the map is kept, ``(images, channels)``.
    """
    model.eval().to(memory_format=torch.channels_last)
    held: dict[str, Tensor] = {}
    kept: dict[str, list[Tensor]] = {name: [] for name in modules}
    hooks = [_watch(model.get_submodule(name), name, held) for name in modules]
    try:
        for part in batches(images, BATCH):
            batch = part.to(device, memory_format=torch.channels_last)
            model(resized(batch, size))
            for name, values in held.items():
                pooled = values if maps or values.ndim == 2 else values.mean(dim=(2, 3))
                kept[name].append(pooled.float().cpu())
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts).numpy() for name, parts in kept.items()}


def _watch(module: nn.Module, name: str, held: dict[str, Tensor]) -> Any:
    if isinstance(module, nn.Linear):

        def before(_: nn.Module, inputs: tuple[Tensor]) -> None:
            held[name] = inputs[0]

        return module.register_forward_pre_hook(before)

    def after(_: nn.Module, __: object, output: Tensor) -> None:
        held[name] = output

    return module.register_forward_hook(after)


def fit(
    train: tuple[Features, Tensor], validation: tuple[Features, Tensor], classes: int
) -> LinearClassifier:
    """The linear classifier that is best on the validation images, of several penalties.

    Multinomial logistic regression on features brought to mean 0 and deviation 1, which the
    weights returned undo. Of equals the one with the stronger penalty is taken.

    Args:
        train: Features, ``(images, features)``, and labels to fit to.
        validation: Those that choose the penalty.
        classes: Number of classes, each among the training labels.
    """
    mean, std = train[0].mean(axis=0), train[0].std(axis=0)
    scale = np.where(std > 1e-6, std, 1.0)
    inputs, targets = (train[0] - mean) / scale, train[1].numpy()
    best: LinearClassifier | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=ITERATIONS)
        # Threads that wait for each other beside other work cost more than they save.
        with threadpool_limits(1), warnings.catch_warnings():
            # A classifier that could still come closer to its optimum is one nevertheless.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs, targets)
        weight, bias = _of_every_class(model, classes)
        weight = weight / scale
        bias = bias - weight @ mean
        found = validation[0] @ weight.T + bias
        accuracy = float((found.argmax(axis=1) == validation[1].numpy()).mean())
        if best is None or accuracy > best.accuracy:
            best = LinearClassifier(
                torch.from_numpy(weight.astype(np.float32)),
                torch.from_numpy(bias.astype(np.float32)),
                strength,
                accuracy,
            )
    assert best is not None  # noqa: S101 - there are strengths
    return best


def _of_every_class(
    model: LogisticRegression, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and biases with a row for each class; for two scikit-learn has one row for both."""
    weight, bias = np.asarray(model.coef_, float), np.asarray(model.intercept_, float)
    if classes == 2:
        return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def with_classifier(
    weights: Mapping[str, Tensor], name: str, classifier: LinearClassifier
) -> dict[str, Tensor]:
    """A state dict whose linear layer ``name`` is that classifier."""
    replaced = {f"{name}.weight": classifier.weight, f"{name}.bias": classifier.bias}
    return {**weights, **replaced}
