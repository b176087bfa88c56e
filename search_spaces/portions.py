"""The beginning and the end of a network, as networks of their own.

Their modules are named as in the whole, but that the stages of an end are counted from 0: so
weights go from one to the other by name.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, Skip

T = TypeVar("T")


def stage_modules(architecture: Architecture) -> tuple[str, ...]:
    """Path of the module that puts out each stage's feature maps."""
    if _threads(architecture):
        return tuple(
            f"stage{place}_block{len(blocks) - 1}"
            for place, blocks in enumerate(architecture.stages)
        )
    return tuple(f"stages.{place}" for place in range(len(architecture.stages)))


def beginning(architecture: Architecture, stages: int, *, num_classes: int) -> Architecture:
    """Stem and first stages, whose features are averaged over the map and scored.

    Args:
        architecture: The whole network.
        stages: How many, from 1 to all.
        num_classes: Number of scores.

    Raises:
        ValueError: If there are not as many stages.
    """
    if not 1 <= stages <= len(architecture.stages):
        raise ValueError(f"stages must be from 1 to {len(architecture.stages)}, got {stages}")
    return replace(architecture, stages=architecture.stages[:stages], head=Classifier(num_classes))


def end(architecture: Architecture, stages: int) -> Architecture:
    """Last stages and head, which read the feature maps of the stage before them.

    Args:
        architecture: The whole network.
        stages: How many of its stages, from 0 for the head alone, fewer than all.

    Raises:
        ValueError: If there are not as many stages, or blocks read two feature maps, so that no
            place divides the network.
    """
    if _threads(architecture):
        raise ValueError("a network whose blocks read two feature maps has no end of its own")
    first = len(architecture.stages) - stages
    if not 1 <= first <= len(architecture.stages):
        raise ValueError(f"stages must be from 0 to {len(architecture.stages) - 1}, got {stages}")
    before = f"stages.{first - 1}."
    maps = [node for node in lower(architecture).nodes if node.name.startswith(before)]
    channels, height, width = (int(side) for side in maps[-1].shape)
    return replace(
        architecture,
        input_shape=(channels, height, width),
        stem=Skip(),
        stages=architecture.stages[first:] or ((Skip(),),),
    )


def end_values(architecture: Architecture, stages: int, whole: Mapping[str, T]) -> dict[str, T]:
    """What belongs to the end of a network, such as weights, under the end's own names."""
    first = len(architecture.stages) - stages
    parts = {"head.": "head."}
    parts |= {f"stages.{first + place}.": f"stages.{place}." for place in range(stages)}
    return {
        ours + name.removeprefix(theirs): value
        for theirs, ours in parts.items()
        for name, value in whole.items()
        if name.startswith(theirs)
    }


def whole_values(
    architecture: Architecture, stages: int, whole: Mapping[str, T], ending: Mapping[str, T]
) -> dict[str, T]:
    """``whole`` with the values of its end in their places; undoes ``end_values``."""
    names = end_values(architecture, stages, {name: name for name in whole})
    return {**whole, **{names[name]: value for name, value in ending.items()}}


def _threads(architecture: Architecture) -> bool:
    return any(block.maps > 1 for stage in architecture.stages for block in stage)
