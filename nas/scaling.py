"""``nas scale``: the grid that a user asks for, and what a run found on it."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

from nas.construction import make_space
from nas.datasets import Data
from nas.errors import usage_error
from nas.finalists import Finalist
from nas.images import images_of
from nas.limits import Objective
from nas.loading import find
from nas.run_folder import DataOptions, write_text
from nas.scaling_chart import SURFACE, chart
from nas.showing import columns
from nas.trial import Trial
from search_spaces.architecture import Architecture, from_document, lower, to_document
from search_spaces.reference import REFERENCES
from search_spaces.reference.adaptation import adapted
from search_spaces.scaling import ALPHAS, BETAS, GAMMAS, NAMES, Coefficients, Scaled, ScalingSpace

SPACE = "scaling"
FEWEST = 8  # different networks of a grid
WIDEST = 0.99  # tolerance of a survey
MOST_REFINED = 5_000  # points of a grid that a refusal tries out
MOST_VALUES = 1_000  # of one axis
CONFIDENCE = 0.95
DIGITS = 9  # of a value on an axis

_NUMBER = r"\d{1,9}(?:\.\d{1,12})?"
_RANGE = re.compile(rf"({_NUMBER})(?::({_NUMBER})(?::({_NUMBER}))?)?")


def values(text: str, flag: str, *, step: float | None = None) -> list[float]:
    """The numbers of ``FIRST:LAST:STEP``, or one number.

    Args:
        text: What a user wrote; the last number is in, where steps reach it.
        flag: Where, for messages.
        step: What a step is where none is given; None demands one.

    Raises:
        NasError: If it is something else, or more than ``MOST_VALUES`` numbers (exit code 2).
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None or (found[2] is not None and found[3] is None and step is None):
        raise usage_error(f"{flag} must be FIRST:LAST:STEP or a number, got {text[:40]!r}")
    first = float(found[1])
    if found[2] is None:
        return [first]
    last, apart = float(found[2]), float(found[3]) if found[3] is not None else step
    if not apart or last < first:
        raise usage_error(f"{flag} must go up by steps above 0, got {text[:40]!r}")
    count = math.floor(round((last - first) / apart, DIGITS)) + 1
    if count > MOST_VALUES:
        raise usage_error(f"{flag} must be at most {MOST_VALUES} numbers, got {count}")
    return [round(first + place * apart, DIGITS) for place in range(count)]


def grid(text: str) -> dict[str, list[float]]:
    """Options of the space from ``alpha=1:1.4:0.05,beta=...``; what is left out has its default.

    Raises:
        NasError: If the text has another form (exit code 2).
    """
    axes: dict[str, list[float]] = {}
    for part in text.split(",") if text else ():
        name, equals, numbers = part.partition("=")
        name = name.strip()
        if not equals or name not in NAMES or name in axes:
            raise usage_error(
                "--grid must be alpha=1:1.4:0.05,beta=...,gamma=... and perhaps phi, each once, "
                f"got {part[:40]!r}"
            )
        axes[name] = values(numbers, f"--grid {name}")
    return axes


def share(text: str) -> float:
    """A share of ``5%`` or ``0.05``.

    Raises:
        NasError: If it is neither (exit code 2).
    """
    found = re.fullmatch(rf"({_NUMBER})(%?)", text.strip())
    if found is None:
        raise usage_error(f"--tolerance must be a share such as 5% or 0.05, got {text[:40]!r}")
    return float(found[1]) / (100 if found[2] else 1)


def base_of(source: str, size: tuple[int, int] | None) -> Architecture:
    """The network that a user names as the base, with images of another size if one is given.

    Raises:
        NasError: If there is none, it has no stages any more, or the size does not fit it (exit
            code 2).
    """
    document = find(source).winner.architecture
    if document is None:
        raise usage_error(f"--base: {source} holds a graph alone; name one with its architecture")
    try:
        base = from_document(document)
        if size is None:
            return base
        return adapted(base, name=source, input_shape=(base.input_shape[0], *size))
    except ValueError as error:
        raise usage_error(f"--base: {error}") from error


def option_of(source: str, size: tuple[int, int] | None) -> str | dict[str, Any]:
    """The same as an option of the space, which its run holds: a name, or the whole document.

    Raises:
        NasError: As ``base_of``.
    """
    if source in REFERENCES and size is None:
        return source  # for images of the data's own size
    return to_document(base_of(source, size))


def surveyed(options: Mapping[str, Any], data: Data, data_options: DataOptions) -> ScalingSpace:
    """The space of a grid, for a look at it before its run.

    Raises:
        NasError: If fewer than ``FEWEST`` different networks are within the tolerance; the message
            says what leaves more (exit code 2).
    """
    images = images_of(data, data_options)
    shape, classes = images.input_shape, len(images.classes)

    def space(**changed: Any) -> ScalingSpace:
        made = make_space(SPACE, shape, classes, {**options, **changed})
        assert isinstance(made, ScalingSpace)  # noqa: S101 - its name says so
        return made

    wide = space(tolerance=max(WIDEST, options["tolerance"]))
    tolerance = options["tolerance"]
    count = _count(wide, tolerance)
    if count >= FEWEST:
        return space()
    hints: list[tuple[str, int]] = []
    deviations = sorted(wide.deviation(one) for one in wide.networks)
    if len(deviations) >= FEWEST:
        enough = math.ceil(100 * deviations[FEWEST - 1]) / 100
        hints.append((f"--tolerance {enough:.0%}", _count(wide, enough)))
    finer, divisor = _finer(options), wide.rounding.divisor // 2
    if math.prod(map(len, finer.values())) <= MOST_REFINED:
        hints.append(("half the steps", _count(space(**finer, tolerance=WIDEST), tolerance)))
    if divisor:
        more = _count(space(divisor=divisor, tolerance=WIDEST), tolerance)
        hints.append((f"--divisor {divisor}", more))
    tried = ", ".join(f"{change} for {left}" for change, left in hints)
    raise usage_error(
        f"--grid must leave at least {FEWEST} different networks within {tolerance:.3g} of the "
        f"target, got {count} of {len(wide.networks)}; take {tried or 'a wider grid'}"
    )


def _count(space: ScalingSpace, tolerance: float) -> int:
    return sum(space.deviation(one) <= tolerance for one in space.networks)


def _finer(options: Mapping[str, Any]) -> dict[str, list[float]]:
    """The axes of a grid with a value between any two."""
    finer = {}
    for name, default in (("alpha", ALPHAS), ("beta", BETAS), ("gamma", GAMMAS)):
        axis = options.get(name, default)
        between = [round((one + other) / 2, DIGITS) for one, other in itertools.pairwise(axis)]
        finer[name] = sorted({*axis, *between})
    return finer


def note(alpha: Sequence[float], beta: Sequence[float], gamma: Sequence[float]) -> str:
    """What to say of a gamma of 1.1 beside the paper's other two; empty for anything else."""
    if list(gamma) != [1.1] or 1.2 not in alpha or 1.1 not in beta:
        return ""
    given, paper = Coefficients(1, 1.2, 1.1, 1.1), Coefficients(1, 1.2, 1.1, 1.15)
    return (
        f"gamma 1.1 with alpha 1.2 and beta 1.1 is a product of {given.formula:.3f}, not 2; the "
        f"paper's gamma is 1.15, {paper.formula:.3f}"
    )


def grid_document(space: ScalingSpace) -> dict[str, Any]:
    """The networks of a grid that are within its tolerance, with both factors of their cost."""
    base = lower(space.base)
    return {
        "base": {
            "title": space.base.title,
            "input_shape": [int(side) for side in base.input_shape],
            "params": base.params,
            "macs": base.macs,
        },
        "target": space.target,
        "tolerance": space.tolerance,
        "on": space.on,
        "divisor": space.rounding.divisor,
        "step": space.rounding.step,
        "points": sum(len(one.points) for one in space.networks),
        "different": len(space.networks),
        "networks": [_row(one) for one in space.feasible],
    }


def grid_text(document: Mapping[str, Any]) -> str:
    """The same for the eye."""
    base = document["base"]
    shape = "x".join(str(side) for side in base["input_shape"])
    held = f"{document['target']:g} within {document['tolerance']:.3g}, {document['on']}"
    rows = [
        ("alpha", "beta", "gamma", "formula", "realised", "input", "params", "MACs", "equal"),
        *(_cells(one) for one in document["networks"]),
    ]
    return "\n".join(
        [
            f"{base['title']}, input {shape}: {base['params']:,} parameters, {base['macs']:,} MACs",
            (
                f"channels in multiples of {document['divisor']}, sides of {document['step']}; "
                f"{document['points']} points are {document['different']} networks"
            ),
            f"{len(document['networks'])} of them are at {held}:",
            *columns(rows),
        ]
    )


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        *(f"{one[name]:g}" for name in NAMES[1:]),
        f"{one['formula']:.3f}",
        f"{one['realised']:.3f}",
        "x".join(str(side) for side in one["input_shape"]),
        f"{one['params']:,}",
        f"{one['macs']:,}",
        f"{len(one['equal']) or ''}",
    )


def _row(network: Scaled) -> dict[str, Any]:
    """A network with its coefficients; ``equal`` are those of others that round to the same."""
    point, *equal = network.points
    return {
        **point._asdict(),
        "formula": point.formula,
        "realised": network.realised,
        "input_shape": [int(side) for side in network.architecture.input_shape],
        "params": network.params,
        "macs": network.macs,
        "equal": [list(other[1:]) for other in equal],
    }


def concluded(
    folder: Path,
    space: ScalingSpace,
    trials: Sequence[Trial],
    finalists: Sequence[Finalist],
    *,
    objective: Objective,
) -> dict[str, Any]:
    """What ``summary.json`` has beside that of any search; the picture is written, too.

    Raises:
        NasError: If the picture cannot be written (exit code 5).
    """
    found = findings(space, trials, finalists, objective=objective)
    write_text(folder / SURFACE, chart(found))
    return {"scaling": found}


def findings(
    space: ScalingSpace,
    trials: Sequence[Trial],
    finalists: Sequence[Finalist],
    *,
    objective: Objective,
) -> dict[str, Any]:
    """What a run has found on its grid: the part ``scaling`` of ``summary.json``.

    The noise of a score is pooled over the finalists' fresh seeds. Not told apart from the best
    are the networks whose score differs from its by less than a two-sided interval of Student's
    t for that noise: finalists by their fresh means, the others by their one score. Intervals are
    over seeds of training, on the same validation images.

    Args:
        space: The space of the run.
        trials: All of them. Those that stopped below the full fidelity are left out, but for the
            finalists.
        finalists: Best first, each with at least two fresh scores.
        objective: What scores are. Trials of an estimator that has another metric are left out,
            but for the finalists.
    """
    spread, freedom = _noise([one.scores for one in finalists])
    quantile = float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
    fresh = {one.trial.ordinal: one.scores for one in finalists}
    networks = []
    for trial in trials:
        scored = trial.state == "complete" and objective.metric in trial.metrics
        if not scored and trial.ordinal not in fresh:
            continue
        scores = fresh.get(trial.ordinal) or (trial.metrics[objective.metric],)
        networks.append(
            {
                "trial": trial.ordinal,
                **_row(space.scaled(trial.genotype)),
                "score": sum(scores) / len(scores),
                "scores": list(scores),
                "fresh": trial.ordinal in fresh,
            }
        )
    best = next(one for one in networks if one["trial"] == finalists[0].trial.ordinal)
    half = quantile * spread / math.sqrt(len(best["scores"]))
    for one in networks:
        margin = quantile * spread * math.sqrt(1 / len(best["scores"]) + 1 / len(one["scores"]))
        behind = objective.reward(best["score"]) - objective.reward(one["score"])
        one["told_apart"] = behind > margin
    return {
        "target": space.target,
        "tolerance": space.tolerance,
        "on": space.on,
        "metric": objective.metric,
        "best": {**best, "interval": [best["score"] - half, best["score"] + half]},
        "not_told_apart": [
            one["trial"] for one in networks if not one["told_apart"] and one is not best
        ],
        "noise": {"deviation": spread, "degrees_of_freedom": freedom, "confidence": CONFIDENCE},
        "networks": networks,
    }


def _noise(scores: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Pooled standard deviation within groups, and its degrees of freedom."""
    freedom = sum(len(group) - 1 for group in scores)
    squares = sum((score - sum(group) / len(group)) ** 2 for group in scores for score in group)
    return math.sqrt(squares / freedom), freedom


def findings_text(document: Mapping[str, Any], folder: Path) -> str:
    """The same for the eye, in a few lines."""
    best, noise = document["best"], document["noise"]
    low, high = best["interval"]
    others = [one for one in document["networks"] if one["trial"] in document["not_told_apart"]]
    lines = [
        (
            f"scaling: {_coefficients(best)}; product {best['formula']:.3f} by the formula, "
            f"{best['realised']:.3f} realised"
        ),
        (
            f"  {document['metric']} {best['score']:.4f}, {noise['confidence']:.0%} interval "
            f"{low:.4f} to {high:.4f} over {len(best['scores'])} fresh seeds "
            f"(noise {noise['deviation']:.4f}, {noise['degrees_of_freedom']} degrees of freedom)"
        ),
        f"  not to be told from it: {len(others)} of {len(document['networks']) - 1} others"
        + ("" if not others else ", such as"),
        *(
            f"    {_coefficients(one)}: {one['score']:.4f}, "
            f"{len(one['scores'])} {'fresh seeds' if one['fresh'] else 'seed, in the search'}"
            for one in sorted(others, key=lambda one: -one["score"])[:5]
        ),
        f"  {folder / SURFACE}",
    ]
    return "\n".join(lines)


def _coefficients(row: Mapping[str, Any]) -> str:
    shown = [f"{name} {row[name]:g}" for name in NAMES[1:]]
    return ", ".join(shown if row["phi"] == 1 else [f"phi {row['phi']:g}", *shown])
