"""Published networks as architectures; ``REFERENCES`` makes each by name, as published."""

from collections.abc import Callable, Mapping
from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.reference import densenet, resnet
from search_spaces.reference.efficientnet import COEFFICIENTS, efficientnet

FAMILIES: Mapping[str, Mapping[str, Callable[[], Architecture]]] = {
    "ResNet": resnet.resnets(),
    "ResNeXt": resnet.resnexts(),
    "SENet": resnet.senets(),
    "DenseNet": densenet.members(),
    "EfficientNet": {name: partial(efficientnet, name) for name in COEFFICIENTS},
}

REFERENCES: Mapping[str, Callable[[], Architecture]] = {
    name: make for family in FAMILIES.values() for name, make in family.items()
}

__all__ = ["FAMILIES", "REFERENCES", "efficientnet"]
