"""Networks without shortcuts: AlexNet, VGG, GoogLeNet, and a Siamese network's branch."""

from collections.abc import Callable, Mapping
from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Classifier,
    ConvNormAct,
    Embedding,
    HiddenClassifier,
    Inception,
    MaxPool,
)

# arXiv:1409.1556, table 1, columns A, B, D and E: convolutions of each stage.
VGG_DEPTHS: Mapping[str, tuple[int, ...]] = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
VGG_WIDTHS = (64, 128, 256, 512, 512)

GOOGLENET_EPS = 1e-3  # of batch norm, as released

# arXiv:1409.4842, table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
INCEPTIONS: tuple[tuple[tuple[int, int, int, int, int, int], ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def alexnet() -> Architecture:
    """AlexNet on one device, for 224x224 images in colour and 1,000 classes.

    Source: "One weird trick" (arXiv:1404.5997), section 5, and its version in torchvision:
    neither groups nor local response normalisation. Deviation from the latter: dropout follows
    the hidden layers, as in the paper of 2012, and does not precede them.
    """
    pool = MaxPool(3, 2, "valid")
    return Architecture(
        title="AlexNet",
        input_shape=(3, 224, 224),
        stem=ConvNormAct(64, 11, 4, norm=False, bias=True, padding=2),
        stages=(
            (pool, ConvNormAct(192, 5, norm=False, bias=True)),
            (pool, *(ConvNormAct(width, norm=False, bias=True) for width in (384, 256, 256)), pool),
        ),
        head=HiddenClassifier(1000, map_size=6),
    )


def vgg(depths: tuple[int, ...], *, norm: bool) -> Architecture:
    """A VGG network, for 224x224 images in colour and 1,000 classes.

    Args:
        depths: Convolutions of each of the five stages; a pool ends each.
        norm: Whether batch norm follows every convolution, which keeps its bias (not in the paper).

    Source: arXiv:1409.1556, table 1.
    """
    convs = [
        [ConvNormAct(width, norm=norm, bias=True) for _ in range(depth)]
        for width, depth in zip(VGG_WIDTHS, depths, strict=True)
    ]
    pool = MaxPool(2, 2, "valid")
    return Architecture(
        title="VGG",
        input_shape=(3, 224, 224),
        stem=convs[0][0],
        stages=tuple((*blocks, pool) for blocks in (convs[0][1:], *convs[1:])),
        head=HiddenClassifier(1000),
    )


def googlenet() -> Architecture:
    """GoogLeNet without auxiliary heads, for 224x224 images in colour and 1,000 classes.

    Source: arXiv:1409.4842, table 1. Deviations, as in torchvision: batch norm after every
    convolution, no local response normalisation, 3x3 kernels in place of 5x5 ones, dropout of
    0.2 for 0.4.
    """
    first, second, third = (
        tuple(Inception(*widths, kernel_size=3, norm_eps=GOOGLENET_EPS) for widths in stage)
        for stage in INCEPTIONS
    )
    pool = MaxPool(3, 2, "ceil")
    point = ConvNormAct(64, 1, norm_eps=GOOGLENET_EPS)
    return Architecture(
        title="GoogLeNet",
        input_shape=(3, 224, 224),
        stem=ConvNormAct(64, 7, 2, norm_eps=GOOGLENET_EPS),
        stages=(
            (pool, point, ConvNormAct(192, norm_eps=GOOGLENET_EPS)),
            (pool, *first),
            (pool, *second),
            (MaxPool(2, 2, "ceil"), *third),
        ),
        head=Classifier(1000, dropout=0.2),
    )


def siamese_branch() -> Architecture:
    """One branch of a Siamese network for verification, for 105x105 images in grey.

    It ends with 4,096 features in (0, 1); two branches of equal weights are compared by their
    weighted distance, which is a task's business. There are no classes.

    Source: Koch, Zemel and Salakhutdinov, "Siamese neural networks for one-shot image
    recognition" (2015), figure 4 and section 3.1.
    """
    pool = MaxPool(2, 2, "valid")

    def conv(width: int, kernel_size: int) -> ConvNormAct:
        return ConvNormAct(width, kernel_size, norm=False, bias=True, padding=0)

    return Architecture(
        title="SiameseBranch",
        input_shape=(1, 105, 105),
        stem=conv(64, 10),
        stages=((pool, conv(128, 7)), (pool, conv(128, 4)), (pool, conv(256, 4))),
        head=Embedding(),
    )


def vggs() -> dict[str, Callable[[], Architecture]]:
    """Makers of the VGG networks, by name."""
    return {
        f"{name}{suffix}": partial(vgg, depths, norm=bool(suffix))
        for suffix in ("", "_bn")
        for name, depths in VGG_DEPTHS.items()
    }
