"""How one network is trained to the end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

from estimators.data import ImageData
from estimators.parameter_groups import FACTORS_OF_ONE, FamilyFactors
from estimators.ways import AUTO, PRECISIONS

# Published sets of photographs, whose images mean the same when mirrored. Digits and letters do
# not, and of data of a user's own nobody but the user knows.
PHOTOGRAPHS = frozenset({"fashion-mnist", "cifar10", "cifar100"})
MOST_EPOCHS, LEAST_EPOCHS = 100, 10  # by default
MOST_IMAGES = 3_000_000  # that they see in all
THREADED = 2**15  # pixels of a batch, from which on several threads pay
MOST_THREADS = 256
# Least and largest values of options that are numbers.
RANGES: Mapping[str, tuple[float, float]] = {
    "epochs": (1, 1_000_000),
    "batch_size": (2, 1_000_000),
    "learning_rate": (1e-9, 10),
    "weight_decay": (0, 10),
    "warmup": (0, 0.99),
    "clip": (0, 1e9),
    "label_smoothing": (0, 0.99),
    "shift": (0, 0.99),
    "erasing": (0, 1),
    "mixup": (0, 10),
    "cutmix": (0, 10),
    "drop_path": (0, 0.99),
    "stochastic_depth": (0, 0.99),
    "average": (0, 0.99),
    "patience": (0, 1_000_000),
    "threads": (1, MOST_THREADS),
}
# Parts that earlier recipes had not, with what they mean there.
_SINCE = {"threads": 1, "precision": AUTO, **FACTORS_OF_ONE}
CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "class_weights": ("none", "balanced"),
    "precision": (AUTO, *PRECISIONS),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FullRecipe(FamilyFactors):
    """How one network is trained to the end; ``docs/training.md`` says what each part brings.

    Factors of families multiply those that ``FullTraining`` is handed.

    Attributes:
        epochs: Passes over the training images, at least 1.
        batch_size: Images per step, at least 2; fewer where there are fewer images.
        optimizer: ``adamw`` (arXiv:1711.05101), or ``sgd`` with Nesterov momentum 0.9.
        learning_rate: Peak rate, from 1e-9 to 10.
        weight_decay: From 0 to 10, of weights; biases and norms have none.
        warmup: Share of the steps, from 0 to 0.99, over which the rate rises; then it falls along
            half a cosine to zero.
        clip: Largest norm of all gradients together; 0 for any.
        label_smoothing: Share of each label that goes to all classes, from 0 to 0.99.
        shift: Largest shift of an image as a share of its side, from 0 to 0.99.
        flip: Whether images are mirrored, left and right; wrong for digits and letters.
        trivial: Whether images go through TrivialAugment.
        erasing: Probability, from 0 to 1, that a rectangle of an image is erased.
        mixup: Alpha of MixUp, from 0 to 10; 0 for none.
        cutmix: Alpha of CutMix, likewise.
        drop_path: Probability, from 0 to 0.99, that an input of a mean is dropped; see
            ``Paths.draw``.
        stochastic_depth: Probability, from 0 to 0.99, that the last residual branch is left out.
        average: Share of the training, from 0 to 0.99, over which weights are averaged,
            exponentially; 0 takes the last weights as they are.
        patience: Epochs without a better validation loss after which training stops; 0 for never.
        class_weights: ``none``, or ``balanced``: classes count the same in the loss.
        merge_validation: Whether validation images are trained on, too; not with ``patience``.
        threads: What computes on a CPU, from 1 to 256. Batches are cut into pieces for them
            (``batch_gradients.pieces``), which batch norms see: another number is another curve.
        precision: What convolutions and linear layers compute in while training, ``float32`` or
            ``bfloat16``; weights, statistics of batch norms and scores are float32. ``auto`` is
            for whoever has timed them (``in_faster_precision``), and float32 where nobody has.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int
    batch_size: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    clip: float = 5.0
    label_smoothing: float = 0.1
    shift: float = 0.08
    flip: bool = False
    trivial: bool = False
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    drop_path: float = 0.0
    stochastic_depth: float = 0.0
    average: float = 0.01
    patience: int = 0
    class_weights: Literal["none", "balanced"] = "none"
    merge_validation: bool = False
    threads: int = 1
    precision: str = AUTO

    def __post_init__(self) -> None:
        self.check_range()
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most}, got {value}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}"
                )
        if self.merge_validation and self.patience:
            raise ValueError(
                "merge_validation must be off with patience: training cannot stop by images that "
                "it is trained on"
            )

    def document(self) -> dict[str, Any]:
        """All parts by name, as files have it; without parts of ``_SINCE`` that are as ever.

        So what was written before there were such parts is still the same recipe.
        """
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in _SINCE or value != _SINCE[name]
        }


def default_recipe(data: ImageData, *, epochs: int | None = None, cpus: int = 1) -> FullRecipe:
    """The recipe for some data: photographs of published sets are mirrored, nothing else is.

    Args:
        data: What to train on.
        epochs: Passes over the training images; None for ``MOST_EPOCHS``, or for so many as see
            ``MOST_IMAGES`` where that is fewer, but not below ``LEAST_EPOCHS``.
        cpus: That may compute, a thread on each, where batches have ``THREADED`` pixels or more.
    """
    if epochs is None:
        epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, MOST_IMAGES // len(data.train)))
    batch_size = min(64, len(data.train))
    _, height, width = data.input_shape
    return FullRecipe(
        epochs=epochs,
        batch_size=batch_size,
        flip=data.name in PHOTOGRAPHS,
        threads=min(cpus, MOST_THREADS) if batch_size * height * width >= THREADED else 1,
    )
