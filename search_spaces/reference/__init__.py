"""Published networks as architectures; ``REFERENCES`` makes each by name."""

from collections.abc import Callable, Mapping
from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.reference.efficientnet import COEFFICIENTS, efficientnet
from search_spaces.reference.fractalnet import fractalnet

REFERENCES: Mapping[str, Callable[[], Architecture]] = {
    **{name: partial(efficientnet, name) for name in COEFFICIENTS},
    "fractalnet_20": partial(fractalnet, 3),
    "fractalnet_40": partial(fractalnet, 4),
}

__all__ = ["REFERENCES", "efficientnet", "fractalnet"]
