"""The Gaussian process: a covariance, its gradient, and what it learns."""

import numpy as np
import pytest
from scipy import optimize

from search_spaces.genome import Decision, Genome, Option
from strategies import gaussian_process
from strategies.encodings import Encodings
from strategies.gaussian_process import (
    Array,
    GaussianProcess,
    Hyperparameters,
    Kernel,
    Points,
    fit,
)


def tree() -> Genome:
    kernel = Decision.of("kernel", (3, 7, 5))
    op = Decision("op", (Option("conv", (kernel,)), Option("pool"), Option("skip")))
    return Genome((op, *(Decision.of(f"width{n}", (1.0, 2.0, 4.0, 8.0)) for n in range(3))))


GENOME = tree()
ENCODINGS = Encodings(GENOME)


def points(count: int, *, costs: int = 2, seed: int = 0) -> Points:
    rng = np.random.default_rng(seed)
    one_hot = ENCODINGS.one_hot(ENCODINGS.draw(count, rng))
    return Points(one_hot, rng.normal(size=(count, costs)))


def medians(kernel: Kernel) -> Hyperparameters:
    return Hyperparameters.of_logs(kernel.prior_logs, kernel.decisions)


@pytest.mark.parametrize("costs", [0, 2])
def test_every_part_is_a_covariance(costs: int) -> None:
    kernel = Kernel(GENOME, costs)
    some = points(60, costs=costs)
    terms = kernel.terms(medians(kernel), some, some)
    for part in (terms.additive, terms.hamming, terms.total()):
        assert part == pytest.approx(part.T)
        assert np.linalg.eigvalsh(part).min() > -1e-9
    assert np.diag(terms.total()) == pytest.approx(kernel.variance(medians(kernel)))


def test_numbers_are_apart_by_rank_and_names_and_inactive_ones_entirely() -> None:
    def likeness(left: dict[str, object], right: dict[str, object]) -> float:
        kernel = Kernel(GENOME, 0)
        rows = [GENOME.encode(GENOME.genotype({**rest, **one})) for one in (left, right)]  # type: ignore[dict-item]
        both = Points(ENCODINGS.one_hot(np.array(rows)), np.zeros((2, 0)))
        return float(kernel.terms(medians(kernel), both, both).additive[0, 1])

    rest = {"width0": 1.0, "width1": 1.0, "width2": 1.0}
    conv = {"op": "conv", "kernel": 3}
    share = 1.0 / len(GENOME.names)
    assert likeness(conv, conv) == pytest.approx(1.0)
    assert likeness(conv, {"op": "conv", "kernel": 7}) == pytest.approx(1.0 - share)
    assert likeness(conv, {"op": "conv", "kernel": 5}) == pytest.approx(1.0 - share / 2)
    assert likeness(conv, {**conv, "width0": 4.0}) == pytest.approx(1.0 - share * 2 / 3)
    assert likeness(conv, {"op": "pool"}) == pytest.approx(1.0 - 2 * share)
    assert likeness({"op": "skip"}, {"op": "pool"}) == pytest.approx(1.0 - share)


@pytest.mark.parametrize("costs", [0, 2])
def test_the_gradient_is_that_of_the_loss(costs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, some = Kernel(GENOME, costs), points(15, costs=costs)
    scores = np.random.default_rng(1).normal(size=15)
    errors: list[float] = []

    def minimize(loss: object, centre: Array, **_: object) -> optimize.OptimizeResult:
        assert callable(loss)
        logs = centre + 0.3 * np.random.default_rng(2).normal(size=len(centre))
        steps = 1e-5 * np.eye(len(logs))
        slopes = [(loss(logs + step)[0] - loss(logs - step)[0]) / 2e-5 for step in steps]
        errors.append(float(np.abs(loss(logs)[1] - slopes).max()))
        return optimize.OptimizeResult(x=logs)

    monkeypatch.setattr(gaussian_process.optimize, "minimize", minimize)
    fit(kernel, some, scores)
    assert errors[0] < 1e-6


def test_without_noise_known_scores_are_met_and_the_rest_is_unsure() -> None:
    kernel, some = Kernel(GENOME, 2), points(8)
    scores = np.random.default_rng(3).normal(size=8)
    logs = kernel.prior_logs.copy()
    logs[-1] = np.log(1e-9)
    process = GaussianProcess(kernel, Hyperparameters.of_logs(logs, kernel.decisions), some, scores)
    mean, variance = process.predict(some)
    assert mean == pytest.approx(scores, abs=1e-3)
    assert variance.max() < 1e-3
    assert process.predict(points(50, seed=9))[1].min() > 1e-3


def test_the_share_of_noise_leads_from_the_mean_to_the_score() -> None:
    kernel, some = Kernel(GENOME, 2), points(8)
    scores = np.random.default_rng(3).normal(size=8)
    process = GaussianProcess(kernel, medians(kernel), some, scores)
    assert process.known(share=0.0) == pytest.approx(process.predict(some)[0])
    assert process.known(share=1.0) == pytest.approx(scores, abs=1e-4)


def test_what_matters_and_how_much_noise_there_is_are_found() -> None:
    # Fixed draws; only one of four decisions matters, and a tenth of the variance is noise.
    rng = np.random.default_rng(4)
    codes = ENCODINGS.draw(120, rng)
    column = GENOME.names.index("width1")
    effect = np.array([0.0, -1.5, 0.2, 1.2, -0.3])[codes[:, column]]
    scores = effect + rng.normal(size=120) * effect.std() / 3
    scores = (scores - scores.mean()) / scores.std()
    found = fit(Kernel(GENOME, 0), Points(ENCODINGS.one_hot(codes), np.zeros((120, 0))), scores)
    assert found.additive.argmax() == column
    assert 0.05 < found.noise < 0.2
