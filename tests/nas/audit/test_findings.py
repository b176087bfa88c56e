"""What an audit says of estimators whose quality is known."""

from typing import Any

import numpy as np
import pytest

from nas.audit.findings import Scored, best_of, finalists, ranking
from nas.audit.sample import SEVERAL, family
from nas.children import Child
from nas.limits import Objective
from search_spaces.genome import Genotype

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=40)


def child(params: int, families: tuple[str, ...] = ()) -> Any:
    answers = tuple((f"stage{place}.family", name) for place, name in enumerate(families))
    return Child(Genotype(answers), None, None, str(params), params, 2 * params)  # type: ignore[arg-type]


def found(direction: str = "maximize", *, families: bool = False) -> dict[str, Any]:
    objective = Objective("metric", direction)  # type: ignore[arg-type]
    sizes = RNG.permutation(40)
    children = [
        child(int(size) + 1, (("dense" if place % 2 else "fractal"),) if families else ())
        for place, size in enumerate(sizes)
    ]
    turned = TRUTH * objective.reward(1.0)
    scores = [[float(one), float(one) + 0.01] for one in turned]
    noise = RNG.normal(size=40)
    return ranking(
        children,
        scores,
        [Scored("good", TRUTH + 0.05 * noise, 1.0), Scored("noise", noise, 1.0)],
        objective=objective,
    )


def row(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in document["estimators"] if one["estimator"] == name)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_good_estimator_is_told_from_size_and_noise_is_not(direction: str) -> None:
    document = found(direction)
    good, noise = row(document, "good"), row(document, "noise")
    assert good["minus_params"]["verdict"] == good["minus_macs"]["verdict"] == "better"
    assert noise["minus_params"]["verdict"] == "cannot tell"
    assert good["regret"] == 0 < noise["regret"]
    assert good["tau"]["value"] > 0.9
    assert document["ceiling"] == pytest.approx(1)
    assert document["regret_of"] == 5
    assert best_of(document["estimators"]) == "better than parameters and MACs alone: good"


def test_equal_figures_have_equal_intervals() -> None:
    document = found()
    assert row(document, "params")["tau"] == row(document, "macs")["tau"]
    # Paired: the same children in both, every time.
    assert row(document, "params")["minus_macs"] == {
        "value": 0,
        "low": 0,
        "high": 0,
        "verdict": "cannot tell",
    }


def test_where_nothing_is_better_than_size_that_is_said() -> None:
    rows = [one for one in found()["estimators"] if one["estimator"] != "good"]
    assert best_of(rows) == "no estimator is known to be better than parameters and MACs alone"


def test_families_are_compared_within_and_between() -> None:
    assert row(found(), "good")["tau_within"] is None
    document = found(families=True)
    assert document["families"] == ["dense", "fractal"]
    assert row(document, "good")["tau_within"] > 0.9
    assert row(document, "good")["tau_between"] > 0.9


@pytest.mark.parametrize(
    ("families", "name"),
    [
        ((), ""),
        (("dense", "mbconv", "dense"), "dense"),
        (("dense", "mbconv"), SEVERAL),
        (("dense", "mbconv", "fractal"), SEVERAL),
    ],
)
def test_the_family_of_a_child_is_that_of_most_stages(families: tuple[str, ...], name: str) -> None:
    assert family(child(1, families).genotype) == name


def test_finalists_that_may_be_best_come_first_and_the_smallest_of_them_first() -> None:
    rows = finalists(
        [(7, child(300), [0.9, 0.9]), (8, child(20), [0.89, 0.9]), (9, child(1), [0.5, 0.5])],
        Objective("accuracy", "maximize"),
        noise=0.01,
        freedom=20,
    )
    assert [(one["trial"], one["may_be_best"]) for one in rows] == [
        (8, True),
        (7, True),
        (9, False),
    ]
