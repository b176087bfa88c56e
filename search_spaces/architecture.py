"""A network as a person reads it: input shape, stem, stages of blocks, head."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from search_spaces.blocks import BLOCKS
from search_spaces.graph import Graph, check_class_name
from search_spaces.lowering import BlockSpec, GraphBuilder, ScopeBuilder, Value, chain
from search_spaces.strict_json import (
    JsonError,
    check_keys,
    check_version,
    fields_of,
    member,
    record,
)

SCHEMA_VERSION = 1

_KEYS = ("schema_version", "title", "input_shape", "stem", "stages", "head")


@dataclass(frozen=True, slots=True)
class Architecture:
    """What people diff, scale, store and name; ``lower`` turns it into a graph.

    Attributes:
        title: Name of the network's class in generated source, in CapWords.
        input_shape: ``(channels, height, width)`` of the images it reads.
        stem: First block.
        stages: Blocks of each stage; the first block of a stage may halve the map.
        head: Last block: from feature maps to what the task asks for.
    """

    title: str
    input_shape: tuple[int, int, int]
    stem: BlockSpec
    stages: tuple[tuple[BlockSpec, ...], ...]
    head: BlockSpec

    def __post_init__(self) -> None:
        check_class_name(self.title)
        if not self.stages or not all(self.stages):
            raise ValueError("stages must hold at least one block each")


def lower(architecture: Architecture) -> Graph:
    """The graph of primitives with inferred shapes and costs.

    Modules are named ``stem``, ``stages.<stage>.<block>`` and ``head``. Where a block reads two
    feature maps, stages are no sequences, and blocks are named ``stage<stage>_block<block>``.

    Raises:
        ValueError: If a block does not fit the shapes it is handed; the message starts with its
            path.
    """
    builder = GraphBuilder(architecture.input_shape, title=architecture.title)
    root = builder.root
    x = root.block("stem", architecture.stem, builder.image)
    if any(block.maps > 1 for stage in architecture.stages for block in stage):
        x = _threaded(architecture.stages, root, x)
    else:
        x = root.sequence("stages", partial(_stages, architecture.stages), x)
    return builder.graph(root.block("head", architecture.head, x))


def _stages(stages: tuple[tuple[BlockSpec, ...], ...], scope: ScopeBuilder) -> Value:
    value = scope.inputs[-1]
    for position, blocks in enumerate(stages):
        value = scope.sequence(str(position), chain(blocks), value)
    return value


def _threaded(stages: tuple[tuple[BlockSpec, ...], ...], root: ScopeBuilder, stem: Value) -> Value:
    """The stages with every block handed as many of the last maps as it reads."""
    maps = [stem, stem]
    for place, blocks in enumerate(stages):
        for position, block in enumerate(blocks):
            name = f"stage{place}_block{position}"
            maps = [maps[-1], root.block(name, block, *maps[-block.maps :])]
    return maps[-1]


def to_document(architecture: Architecture) -> dict[str, Any]:
    """The architecture as a JSON object; ``from_document`` reads it back."""
    return {
        "schema_version": SCHEMA_VERSION,
        "title": architecture.title,
        "input_shape": list(architecture.input_shape),
        "stem": _block_document(architecture.stem),
        "stages": [[_block_document(block) for block in stage] for stage in architecture.stages],
        "head": _block_document(architecture.head),
    }


def from_document(
    document: Any, *, blocks: Mapping[str, type[BlockSpec]] | None = None
) -> Architecture:
    """The architecture in a JSON object.

    Args:
        document: What ``to_document`` made, or an untrusted file said.
        blocks: Further block specs by class name, beside the built-in ones.

    Raises:
        JsonError: If anything is missing, unknown, of another type or out of range.
    """
    known = {**BLOCKS, **(blocks if blocks is not None else {})}
    where = "architecture"
    check_version(document, SCHEMA_VERSION, where)
    check_keys(document, _KEYS, where)
    shape = member(document, "input_shape", list, where)
    if len(shape) != 3 or not all(type(side) is int for side in shape):
        raise JsonError(f"{where}.input_shape must be three whole numbers")
    stages = member(document, "stages", list, where)
    if not all(isinstance(stage, list) for stage in stages):
        raise JsonError(f"{where}.stages must be lists of blocks")
    stem = _block(member(document, "stem", dict, where), known, f"{where}.stem")
    head = _block(member(document, "head", dict, where), known, f"{where}.head")
    built = tuple(
        tuple(_block(block, known, f"{where}.stages[{s}][{b}]") for b, block in enumerate(stage))
        for s, stage in enumerate(stages)
    )
    title = member(document, "title", str, where)
    try:
        return Architecture(title, (shape[0], shape[1], shape[2]), stem, built, head)
    except ValueError as error:
        raise JsonError(f"{where}: {error}") from None


def _block_document(block: BlockSpec) -> dict[str, Any]:
    return {"type": type(block).__name__, **fields_of(block)}


def _block(document: Any, known: Mapping[str, type[BlockSpec]], where: str) -> BlockSpec:
    kind = member(document, "type", str, where)
    if kind not in known:
        raise JsonError(f"{where}.type must be a known block, got {kind[:80]!r}")
    values = {name: value for name, value in document.items() if name != "type"}
    return record(known[kind], values, where)
