"""From measurements to what an audit says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, final

import numpy as np

from nas.audit.sample import family
from nas.audit.statistics import (
    Interval,
    Numbers,
    expected_regret,
    not_told_apart,
    regret,
    seed_noise,
    tau_b,
    tau_difference,
    tau_interval,
    top_half,
    within,
)
from nas.audit.subjects import COSTS
from nas.children import Child
from nas.limits import Objective
from nas.plan import FINALISTS

SCHEMA_VERSION = 1
CANNOT_TELL = "cannot tell"
TOP_SHARE = 8  # one in so many of the children is trained, for regrets; at least as many as a
# search has finalists


@final
@dataclass(frozen=True, slots=True)
class Scored:
    """What an estimator says of the children that were trained.

    Attributes:
        label: What it is called.
        rewards: One figure a child, larger is better; shape (children,).
        seconds: Mean for a child; 0 for what is known without looking.
    """

    label: str
    rewards: Numbers
    seconds: float


def ranking(
    trained: Sequence[Child],
    scores: Sequence[Sequence[float]],
    estimators: Sequence[Scored],
    *,
    objective: Objective,
) -> dict[str, Any]:
    """How each estimator ranks children that were trained in full.

    Args:
        trained: The children.
        scores: What each of them reached, one figure per seed.
        estimators: What was said of them.
        objective: What they reached.
    """
    truth = np.array([objective.reward(float(np.mean(one))) for one in scores])
    costs = [
        Scored(name, np.array([float(getattr(child, name)) for child in trained]), 0.0)
        for name in COSTS
    ]
    noise, freedom = seed_noise(scores)
    count = max(FINALISTS, len(trained) // TOP_SHARE)
    families = [family(child.genotype) for child in trained]
    return {
        "children": len(trained),
        "noise": None if freedom == 0 else noise,
        "ceiling": _ceiling(scores, objective),
        "blind_regret": expected_regret(truth, count),
        "regret_of": count,
        "families": sorted({*families} - {""}),
        "estimators": [
            _estimator(one, truth, costs, families=families, count=count)
            for one in (*costs, *estimators)
        ],
    }


def finalists(
    found: Sequence[tuple[int, Child, Sequence[float]]],
    objective: Objective,
    *,
    noise: float,
    freedom: int,
) -> list[dict[str, Any]]:
    """Finalists by mean over all their seeds, with those marked that may be the best.

    Args:
        found: Trial, network and scores of each.
        objective: What the scores are of.
        noise: Of a score over seeds.
        freedom: How many degrees of freedom it was told from.
    """
    means = np.array([objective.reward(float(np.mean(scores))) for _, _, scores in found])
    kept = not_told_apart(means, [len(scores) for _, _, scores in found], noise, freedom)
    rows = [
        {
            "trial": trial,
            "params": child.params,
            "macs": child.macs,
            "mean": float(np.mean(scores)),
            "seeds": len(scores),
            "may_be_best": bool(one),
        }
        for (trial, child, scores), one in zip(found, kept, strict=True)
    ]
    return sorted(rows, key=lambda row: (not row["may_be_best"], row["params"], row["macs"]))


def _ceiling(scores: Sequence[Sequence[float]], objective: Objective) -> float | None:
    """Mean tau between seeds of full training: what one such training says of another."""
    seeds = min(len(one) for one in scores)
    columns = np.array([one[:seeds] for one in scores]).T * objective.reward(1.0)
    taus = [tau_b(one, other) for one, other in combinations(columns, 2)]
    return _number(float(np.mean(taus))) if taus else None


def _estimator(
    one: Scored,
    truth: Numbers,
    costs: Sequence[Scored],
    *,
    families: Sequence[str],
    count: int,
) -> dict[str, Any]:
    half = top_half(truth)
    same = within(families)
    several = len(set(families)) > 1
    return {
        "estimator": one.label,
        "seconds": one.seconds,
        "tau": _interval(tau_interval(truth, one.rewards, rng=_rng())),
        "tau_top_half": _number(tau_b(truth[half], one.rewards[half])),
        "tau_within": _number(tau_b(truth, one.rewards, same)) if several else None,
        "tau_between": _number(tau_b(truth, one.rewards, ~same)) if several else None,
        "regret": regret(truth, one.rewards, count),
        **{f"minus_{cost.label}": _minus(one, cost, truth) for cost in costs},
    }


def _minus(one: Scored, cost: Scored, truth: Numbers) -> dict[str, Any] | None:
    """How much better than a cost alone; None for the cost itself."""
    if one.label == cost.label:
        return None
    found = tau_difference(truth, one.rewards, cost.rewards, rng=_rng())
    verdict = "better" if found.value > 0 else "worse"
    return {**_interval(found), "verdict": verdict if found.excludes_zero else CANNOT_TELL}


def _rng() -> np.random.Generator:
    """The bootstrap of every figure: equal figures have equal intervals."""
    return np.random.default_rng(0)


def _interval(found: Interval) -> dict[str, Any]:
    return {name: _number(value) for name, value in asdict(found).items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def best_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the ranking amounts to, in a sentence."""
    better = [
        row["estimator"]
        for row in rows
        if all((row[f"minus_{cost}"] or {}).get("verdict") == "better" for cost in COSTS)
    ]
    if better:
        return f"better than parameters and MACs alone: {', '.join(better)}"
    return "no estimator is known to be better than parameters and MACs alone"
