"""From names, files and folders to networks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from estimators.class_figures import ClassFigures
from nas.errors import usage_error
from nas.export import ARCHITECTURE, SCHEMA_VERSION, WEIGHTS, Preprocessing, Winner
from nas.plugins import unknown
from nas.run_folder import BEST, FRONT, RUN, read_json
from search_spaces import architecture as architecture_format
from search_spaces import graph_json
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.primitives import MAX_SIDE
from search_spaces.reference import REFERENCES
from search_spaces.reference.adaptation import adapted
from search_spaces.strict_json import JsonError, check_version, member

_MEMBER = "trial-"


@dataclass(frozen=True, slots=True)
class Named:
    """Something a user named, and the network it stands for.

    Attributes:
        name: How to call it.
        winner: The network, with weights if there are any.
    """

    name: str
    winner: Winner


def load(
    source: str | Path,
    *,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    trial: int | None = None,
) -> nn.Module:
    """A network, in eval mode.

    Args:
        source: An exported folder, a run folder, an ``architecture.json``, or the name of a
            reference network. Weights lie beside ``architecture.json``; where there are none,
            and for references, they are freshly initialised.
        input_shape: ``(channels, height, width)`` of the images to adapt a reference to, by the
            rules of ``search_spaces.reference.adaptation``; None leaves it as published.
        num_classes: Number of classes to adapt a reference to; None leaves it as published.
        trial: Which member of the front, of a run for several objectives.

    Raises:
        NasError: If there is no such thing, it is damaged, or it cannot be adapted (exit code 2).
    """
    found = find(source, input_shape=input_shape, num_classes=num_classes, trial=trial)
    winner = found.winner
    model = build(winner.graph)
    if winner.weights is not None:
        model.load_state_dict(dict(winner.weights), strict=True)
    return model.eval()


def find(
    source: str | Path,
    *,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    trial: int | None = None,
) -> Named:
    """What ``source`` names; see ``load``.

    Raises:
        NasError: As for ``load``.
    """
    if str(source) in REFERENCES and trial is None:
        return _reference(str(source), input_shape, num_classes)
    if input_shape is not None or num_classes is not None:
        raise usage_error(
            "input_shape and num_classes must be left out unless a reference network is named, "
            f"{unknown(str(source), REFERENCES)}"
        )
    path = Path(source)
    if trial is not None or _is_file(path / RUN):
        member = _member_of(path, trial)
        if member is not None:
            return Named(f"{source}, trial {trial}", _read(member))
    for candidate in (path / BEST / ARCHITECTURE, path / ARCHITECTURE, path):
        if _is_file(candidate):
            return Named(str(source), _read(candidate))
    if path.is_dir():
        raise usage_error(f"{path}: holds no {ARCHITECTURE}; has its search finished?")
    raise usage_error(f"no file or folder, and {unknown(str(source), REFERENCES)}")


def _member_of(run: Path, trial: int | None) -> Path | None:
    """The description of a member of a run's front; None of a run with one winner.

    Raises:
        NasError: If it is not said which, or there is no such member (exit code 2).
    """
    members = {
        int(path.parent.name.removeprefix(_MEMBER)): path
        for path in (run / FRONT).glob(f"{_MEMBER}*/{ARCHITECTURE}")
        if path.parent.name.removeprefix(_MEMBER).isdecimal()
    }
    have = ", ".join(str(ordinal) for ordinal in sorted(members))
    if members and trial is None:
        raise usage_error(
            f"{run}: has a front of several networks; choose one by --trial ({have}), or name "
            f"its folder, such as {run / FRONT}/{_MEMBER}{min(members)}"
        )
    if members and trial not in members:
        raise usage_error(f"--trial must be a member of the front ({have}), got {trial}")
    if trial is not None and not members:
        raise usage_error(f"--trial: {run} holds no front of several networks; leave it out")
    return None if trial is None else members[trial]


def _reference(
    name: str, input_shape: tuple[int, int, int] | None, num_classes: int | None
) -> Named:
    try:
        architecture = adapted(
            REFERENCES[name](), name=name, input_shape=input_shape, num_classes=num_classes
        )
        graph = lower(architecture)
    except ValueError as error:
        raise usage_error(str(error)) from error
    return Named(name, Winner(graph, architecture_format.to_document(architecture)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise usage_error(f"cannot read {str(path)[:200]}: {error.strerror}") from error


def _read(path: Path) -> Winner:
    document = read_json(path, what="architecture")
    try:
        check_version(document, SCHEMA_VERSION, "document")
        graph = graph_json.from_document(member(document, "graph", dict, "document"))
        preprocessing = _preprocessing(document.get("preprocessing"), graph)
        figures = _figures(document.get("figures"))
        by_class = _by_class(document.get("by_class"), preprocessing)
        architecture = None
        if "architecture" in document:  # kept as it is: its space may not be installed here
            architecture = member(document, "architecture", dict, "document")
    except JsonError as error:
        raise usage_error(f"architecture: {path}: {error}") from error
    weights = None
    if (path.parent / WEIGHTS).is_file():
        weights = read_weights(path.parent / WEIGHTS, build_meta(graph))
    return Winner(graph, architecture, weights, preprocessing, figures, by_class)


def build_meta(graph: Graph) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return build(graph)


def read_weights(path: Path, model: nn.Module) -> dict[str, Tensor]:
    """Weights for ``model`` from a safetensors file; names and shapes are compared before reading.

    Raises:
        NasError: If the file is damaged, holds other names, shapes or types, or values that are
            not finite (exit code 2).
    """
    expected = model.state_dict()
    try:
        with safe_open(str(path), framework="pt") as file:
            _check_names(file, expected, path)
            weights = {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as error:
        raise usage_error(f"weights: {path}: {error}") from error
    for name, value in weights.items():
        if value.dtype != expected[name].dtype:
            raise usage_error(
                f"weights: {path}: {name} must be {expected[name].dtype}, got {value.dtype}"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise usage_error(f"weights: {path}: {name} holds values that are not finite")
    return weights


def _check_names(file: Any, expected: Mapping[str, Tensor], path: Path) -> None:
    """Check names and shapes in an open safetensors file."""
    odd = sorted(set(file.keys()) ^ set(expected))
    if odd:
        state = "missing" if odd[0] in expected else "unknown"
        raise usage_error(f"weights: {path}: {len(odd)} names differ, {odd[0][:80]} is {state}")
    for name, value in expected.items():
        shape = tuple(file.get_slice(name).get_shape())
        if shape != tuple(value.shape):
            raise usage_error(
                f"weights: {path}: {name} must have shape {tuple(value.shape)}, got {shape}"
            )


def _preprocessing(document: Any, graph: Graph) -> Preprocessing | None:
    if document is None:
        return None
    classes = member(document, "classes", list, "preprocessing")
    mean = member(document, "mean", list, "preprocessing")
    std = member(document, "std", list, "preprocessing")
    channels, scores = int(graph.input_shape[0]), int(graph.output_shape[0])
    if len(classes) != scores or not all(isinstance(name, str) for name in classes):
        raise JsonError(f"preprocessing.classes must be {scores} texts, one for each output")
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels or not all(_is_finite(value) for value in values):
            raise JsonError(f"preprocessing.{name} must be {channels} numbers, one a channel")
    size = document.get("size")
    if size is not None and not (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and 1 <= side <= MAX_SIDE for side in size)
    ):
        raise JsonError(f"preprocessing.size must be two numbers from 1 to {MAX_SIDE}, or null")
    return Preprocessing(
        tuple(classes),
        tuple(float(value) for value in mean),
        tuple(float(value) for value in std),
        None if size is None else (size[0], size[1]),
    )


def _is_finite(value: object) -> bool:
    return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]


def _figures(document: Any) -> dict[str, str] | None:
    """Lines of the model card."""
    if document is None:
        return None
    if not isinstance(document, dict) or not all(isinstance(v, str) for v in document.values()):
        raise JsonError("figures must be an object of texts")
    return document


def _by_class(document: Any, preprocessing: Preprocessing | None) -> tuple[ClassFigures, ...]:
    """Figures of each class on test images."""
    if document is None:
        return ()
    if preprocessing is None or not isinstance(document, list):
        raise JsonError("by_class must be a list, and there must be classes")
    if len(document) != len(preprocessing.classes):
        raise JsonError(f"by_class must have {len(preprocessing.classes)} entries, one a class")
    found = []
    for number, entry in enumerate(document):
        where = f"by_class.{number}"
        support = member(entry, "support", int, where)
        shares = [member(entry, name, float, where) for name in ("recall", "precision", "f1")]
        if support < 0 or not all(0 <= share <= 1 for share in shares):
            raise JsonError(f"{where} must be a count and three shares in [0, 1]")
        found.append(ClassFigures(support, *shares))
    return tuple(found)
