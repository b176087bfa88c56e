"""Block specs, one a file; ``BLOCKS`` lists them by the name that documents use."""

from collections.abc import Mapping

from search_spaces.blocks.classifier import Classifier
from search_spaces.blocks.conv import ConvNormAct
from search_spaces.blocks.fractal import FractalBlock, FractalColumn
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.lowering import BlockSpec

BLOCKS: Mapping[str, type[BlockSpec]] = {
    cls.__name__: cls
    for cls in (ConvNormAct, MBConv, SqueezeExcite, FractalBlock, FractalColumn, Classifier)
}

__all__ = [
    "BLOCKS",
    "Classifier",
    "ConvNormAct",
    "FractalBlock",
    "FractalColumn",
    "MBConv",
    "SqueezeExcite",
]
