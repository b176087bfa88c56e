"""The plain networks inside a fractal one: trained once, good at several depths."""

from collections.abc import Iterator
from dataclasses import replace

from search_spaces.architecture import Architecture
from search_spaces.blocks import FractalBlock, FractalColumn
from search_spaces.lowering import BlockSpec


def columns(architecture: Architecture) -> int:
    """Most columns of a fractal block of the network; 0 where it has no such block."""
    return max(
        (block.columns for block in _blocks(architecture) if isinstance(block, FractalBlock)),
        default=0,
    )


def column(architecture: Architecture, number: int) -> Architecture:
    """The plain network that one column of every fractal block makes: an anytime network.

    Its state dict is a part of the whole network's, under the same names. With those weights it
    computes what the whole network computes along ``Paths.column(number)``.

    Args:
        architecture: A network with fractal blocks.
        number: From 0, the shallowest column, to ``columns(architecture) - 1``. A block of fewer
            columns gives its deepest one.

    Raises:
        ValueError: If there is no such column, or no fractal block.

    Source: FractalNet (arXiv:1605.07648), section 3: columns learn to predict alone.
    """
    most = columns(architecture)
    if most == 0:
        raise ValueError("the network must have a fractal block to have columns, got none")
    if not 0 <= number < most:
        raise ValueError(f"number must be a column from 0 to {most - 1}, got {number}")

    def alone(block: BlockSpec) -> BlockSpec:
        if not isinstance(block, FractalBlock):
            return block
        place = min(number, block.columns - 1)
        return FractalColumn(block.width, place, block.kernel_size, block.pool, block.activation)

    return replace(
        architecture,
        stem=alone(architecture.stem),
        stages=tuple(tuple(alone(block) for block in stage) for stage in architecture.stages),
    )


def _blocks(architecture: Architecture) -> Iterator[BlockSpec]:
    yield architecture.stem
    for stage in architecture.stages:
        yield from stage
