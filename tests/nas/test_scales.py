"""The worst and the ideal value of each objective."""

import math

import numpy as np
import pytest

from estimators.data import ImageData, from_arrays
from estimators.task import Classification
from nas.children import Children
from nas.errors import NasError
from nas.limits import Limits, Objective
from nas.scales import cost_scales, scaled, scales
from search_spaces.space import SearchSpace

COSTS = (Objective("params", "minimize"), Objective("macs", "minimize"))


@pytest.fixture
def data(images: tuple[np.ndarray, np.ndarray]) -> ImageData:
    return from_arrays(*images)


def found(mini: type[SearchSpace], limits: Limits, *more: Objective) -> dict[str, object]:
    space = mini((1, 8, 8), 2)
    children = Children(space, limits)
    return dict(
        cost_scales(
            (*COSTS, *more), space=space, children=children, limits=limits, seed=1, device="cpu"
        )
    )


def test_a_metric_with_bounds_has_them_and_one_without_has_that_of_a_guess(
    data: ImageData,
) -> None:
    objectives = Objective("accuracy", "maximize"), Objective("log_loss", "minimize"), *COSTS
    assert scales(objectives, images=data, task=Classification(2)) == {
        "accuracy": (0.0, 1.0),
        "log_loss": (pytest.approx(math.log(2)), 0.0),
    }


def test_the_worst_cost_is_the_limit_or_that_of_the_largest_draw(mini: type[SearchSpace]) -> None:
    space = mini((1, 8, 8), 2)
    children = Children(space, Limits())
    largest = max(
        (children.child(space.genome.unrank(at)) for at in range(space.genome.size)),
        key=lambda child: child.params,
    )
    assert found(mini, Limits()) == {"params": (largest.params, 0), "macs": (largest.macs, 0)}
    limited = found(mini, Limits(max_params=largest.params - 1))
    assert limited["params"] == (largest.params - 1, 0)
    assert limited["macs"] != (largest.macs, 0)  # of those within the limits


def test_a_device_that_cannot_compute_the_space_is_named(
    mini: type[SearchSpace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.scales.network_latency_ms", lambda *_, **__: math.inf)
    with pytest.raises(NasError, match="cpu cannot compute networks of this space") as caught:
        found(mini, Limits(), Objective("latency_ms", "minimize"))
    assert caught.value.exit_code == 5


def test_latency_is_measured_where_there_is_no_limit(mini: type[SearchSpace]) -> None:
    goal = Objective("latency_ms", "minimize")
    assert found(mini, Limits(max_latency_ms=3.0), goal)["latency_ms"] == (3.0, 0.0)
    worst, ideal = found(mini, Limits(), goal)["latency_ms"]  # type: ignore[misc]
    assert worst > ideal == 0.0


def test_what_was_derived_before_is_taken_over() -> None:
    known = {"params": (9.0, 0.0), "macs": (7.0, 1.0)}
    assert [one.scale for one in scaled(COSTS, known)] == [(9.0, 0.0), (7.0, 1.0)]
    assert scaled(COSTS, known)[1].share(4.0) == 0.5
