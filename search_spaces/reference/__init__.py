"""Published networks as architectures; ``REFERENCES`` makes each by name, as published."""

from collections.abc import Callable, Mapping
from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.reference import classics, densenet, mobilenet, resnet
from search_spaces.reference.darts import darts_v2
from search_spaces.reference.efficientnet import COEFFICIENTS, efficientnet, efficientnet_lite0
from search_spaces.reference.fractalnet import fractalnet

FAMILIES: Mapping[str, Mapping[str, Callable[[], Architecture]]] = {
    "AlexNet": {"alexnet": classics.alexnet},
    "VGG": classics.vggs(),
    "GoogLeNet": {"googlenet": classics.googlenet},
    "ResNet": resnet.resnets(),
    "ResNeXt": resnet.resnexts(),
    "SENet": resnet.senets(),
    "DenseNet": densenet.members(),
    "MobileNet": {
        "mobilenet_v1": mobilenet.mobilenet_v1,
        "mobilenet_v2": mobilenet.mobilenet_v2,
    },
    "DARTS": {"darts_v2": darts_v2},
    "FractalNet": {
        "fractalnet_20": partial(fractalnet, 3),
        "fractalnet_40": partial(fractalnet, 4),
    },
    "EfficientNet": {
        **{name: partial(efficientnet, name) for name in COEFFICIENTS},
        "efficientnet_lite0": efficientnet_lite0,
    },
    "Siamese": {"siamese_branch": classics.siamese_branch},
}

REFERENCES: Mapping[str, Callable[[], Architecture]] = {
    name: make for family in FAMILIES.values() for name, make in family.items()
}

__all__ = ["FAMILIES", "REFERENCES", "efficientnet", "fractalnet"]
