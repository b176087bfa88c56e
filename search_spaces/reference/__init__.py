"""Published networks as architectures; ``REFERENCES`` makes each by name, as published."""

from collections.abc import Callable, Mapping
from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.reference.efficientnet import COEFFICIENTS, efficientnet
from search_spaces.reference.resnet import RESNETS, RESNEXTS, SE_RESNETS, members, wrn_28_10

FAMILIES: Mapping[str, Mapping[str, Callable[[], Architecture]]] = {
    "ResNet": {**members(RESNETS, "ResNet"), "wrn_28_10": wrn_28_10},
    "ResNeXt": members(RESNEXTS, "ResNeXt"),
    "SENet": members(SE_RESNETS, "SENet"),
    "EfficientNet": {name: partial(efficientnet, name) for name in COEFFICIENTS},
}

REFERENCES: Mapping[str, Callable[[], Architecture]] = {
    name: make for family in FAMILIES.values() for name, make in family.items()
}

__all__ = ["FAMILIES", "REFERENCES", "efficientnet"]
