"""Block specs, one kind a file; ``BLOCKS`` lists them by the name that documents use."""

from collections.abc import Mapping

from search_spaces.blocks.cell import (
    ActConvNorm,
    ActSeparable,
    Cell,
    CellStem,
    FactorizedReduction,
    TwiceSeparable,
)
from search_spaces.blocks.classifier import Classifier
from search_spaces.blocks.conv import ConvNormAct
from search_spaces.blocks.dense import DenseLayer, Transition
from search_spaces.blocks.depthwise_separable import DepthwiseSeparable
from search_spaces.blocks.fractal import FractalBlock, FractalColumn
from search_spaces.blocks.heads import Embedding, HiddenClassifier
from search_spaces.blocks.inception import Inception
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.pool import AvgPool, MaxPool
from search_spaces.blocks.residual import BasicBlock, Bottleneck
from search_spaces.blocks.skip import Skip, Zero
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.blocks.stem import Stem
from search_spaces.lowering import BlockSpec

BLOCKS: Mapping[str, type[BlockSpec]] = {
    cls.__name__: cls
    for cls in (
        Stem,
        ConvNormAct,
        DepthwiseSeparable,
        MBConv,
        BasicBlock,
        Bottleneck,
        DenseLayer,
        Transition,
        FractalBlock,
        FractalColumn,
        Inception,
        Cell,
        CellStem,
        ActConvNorm,
        FactorizedReduction,
        ActSeparable,
        TwiceSeparable,
        SqueezeExcite,
        MaxPool,
        AvgPool,
        Skip,
        Zero,
        Classifier,
        HiddenClassifier,
        Embedding,
    )
}

__all__ = [
    "BLOCKS",
    "ActConvNorm",
    "ActSeparable",
    "AvgPool",
    "BasicBlock",
    "Bottleneck",
    "Cell",
    "CellStem",
    "Classifier",
    "ConvNormAct",
    "DenseLayer",
    "DepthwiseSeparable",
    "Embedding",
    "FactorizedReduction",
    "FractalBlock",
    "FractalColumn",
    "HiddenClassifier",
    "Inception",
    "MBConv",
    "MaxPool",
    "Skip",
    "SqueezeExcite",
    "Stem",
    "Transition",
    "TwiceSeparable",
    "Zero",
]
