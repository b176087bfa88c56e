"""Published networks as architectures; ``REFERENCES`` makes each by name."""

from collections.abc import Callable, Mapping
from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.reference.efficientnet import COEFFICIENTS, efficientnet

REFERENCES: Mapping[str, Callable[[], Architecture]] = {
    name: partial(efficientnet, name) for name in COEFFICIENTS
}

__all__ = ["REFERENCES", "efficientnet"]
