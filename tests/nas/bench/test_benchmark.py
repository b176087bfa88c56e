"""Limits, features, and what a seed makes of a table."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from nas.bench.benchmark import Benchmark, CostLimit
from nas.bench.table import Table
from nas.errors import NasError
from search_spaces.genome import Genotype

Read = Callable[[str], Table]

# Costs 1 to 4; the row a=2, b=2 is missing.
GAP = "decision:a,decision:b,cost:macs,run:one,run:two\n1,1,1,5,1\n1,2,2,1,5\n2,1,4,9,3\n"


def genotype(table: Table, **answers: str) -> Genotype:
    return table.genome.genotype(answers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("macs=25%", CostLimit("macs", 0.25, is_quantile=True)),
        ("macs=100%", CostLimit("macs", 1.0, is_quantile=True)),
        ("macs=300M", CostLimit("macs", 3e8, is_quantile=False)),
        ("latency_ms=1.5", CostLimit("latency_ms", 1.5, is_quantile=False)),
        ("macs=1e6", CostLimit("macs", 1e6, is_quantile=False)),
    ],
)
def test_limits_are_values_or_quantiles(text: str, expected: CostLimit) -> None:
    assert CostLimit.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("macs", "must be COST=VALUE or COST=N%"),
        ("=5", "must be COST=VALUE or COST=N%"),
        ("macs=", "must be COST=VALUE or COST=N%"),
        ("macs=0%", r"quantile must be in \(0 %, 100 %\]"),
        ("macs=101%", r"quantile must be in \(0 %, 100 %\]"),
        ("macs=-1", "limit must be above 0"),
        ("macs=nan", "must be finite"),
        ("macs=inf", "must be finite"),
        ("macs=many", "must be a number such as"),
        ("macs=x%", "must be a number such as"),
    ],
)
def test_limits_that_say_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CostLimit.parse(text)


def test_a_quantile_is_one_of_the_rows(table: Read, small: str) -> None:
    # Rows cost 100, 100, 200 and 300: half of them at most 150.
    benchmark = Benchmark(table(small), [CostLimit.parse("macs=50%")])
    assert benchmark.limits == {"macs": 150.0}
    assert benchmark.feasible.tolist() == [True, False, False]


def test_all_limits_hold_together(table: Read, small: str) -> None:
    limits = [CostLimit.parse("macs=300"), CostLimit.parse("params=6")]
    found = table(small)
    benchmark = Benchmark(found, limits)
    within = found.costs[benchmark.feasible].tolist()
    assert sorted(within) == [[100, 5], [200, 6]]


@pytest.mark.parametrize(
    ("limits", "message", "code"),
    [
        (["mac=5"], "--max-cost: small: there is no 'mac'; did you mean macs?", 2),
        (["macs=5", "macs=6"], "--max-cost: macs must be given once, got it twice", 2),
        (["macs=99"], "no network is within the limits; the least are macs 100", 3),
    ],
)
def test_limits_that_cannot_hold_are_named(
    table: Read, small: str, limits: list[str], message: str, code: int
) -> None:
    with pytest.raises(NasError) as caught:
        Benchmark(table(small), [CostLimit.parse(limit) for limit in limits])
    assert message in str(caught.value)
    assert caught.value.exit_code == code


def test_features_are_log_costs_and_limits(table: Read, small: str) -> None:
    found = table(small)
    features = Benchmark(found, [CostLimit.parse("macs=200")]).features
    assert features is not None
    best = genotype(found, op="conv", width="10")
    assert features.costs(best) == pytest.approx((math.log(300), math.log(7)))
    assert not features.feasible(best)
    assert features.feasible(genotype(found, op="pool", width="10"))
    assert features.feasible(features.repaired(best))


def test_what_has_no_row_is_infeasible_and_costs_what_its_neighbour_costs(table: Read) -> None:
    found = table(GAP)
    benchmark = Benchmark(found, [CostLimit.parse("macs=3")])
    missing = genotype(found, a="2", b="2")
    assert benchmark.feasible_network(missing) is None
    assert benchmark.features is not None
    assert not benchmark.features.feasible(missing)
    assert benchmark.features.costs(missing) == (math.log(2),)  # the first of two at one change
    assert benchmark.features.repaired(missing) == genotype(found, a="1", b="2")


def test_a_complete_table_without_costs_has_no_features(table: Read) -> None:
    header, rows = "decision:a,decision:b,search:x,report:x\n", "1,1,5,5\n1,2,5,5\n2,1,5,5\n"
    assert Benchmark(table(header + rows + "2,2,5,5\n")).features is None
    features = Benchmark(table(header + rows)).features
    assert features is not None
    assert features.costs(Benchmark(table(header + rows)).table.genotype(0)) == (0.0,)


def test_one_run_is_told_and_the_others_judge(table: Read) -> None:
    benchmark = Benchmark(table(GAP))
    told = np.array([benchmark.draw(seed).told for seed in range(200)])
    assert set(told[:, 0]) == {5.0, 1.0}
    for seed in range(20):
        draw = benchmark.draw(seed)
        assert (draw.told + draw.reported).tolist() == [6, 6, 12]
        assert draw.optimum == draw.reported.max()
    # Each run is told in half the seeds; below 70 or above 130 of 200 with probability 2e-5.
    assert 70 <= np.count_nonzero(told[:, 0] == 5.0) <= 130
    assert 70 <= np.count_nonzero(told[:, 0] == told[:, 1]) <= 130  # independently


def test_regret_and_rank_are_among_the_feasible(table: Read, small: str) -> None:
    found = table(small)
    benchmark = Benchmark(found, [CostLimit.parse("macs=200")])
    draw = benchmark.draw(0)
    worst = benchmark.feasible_network(genotype(found, op="conv", width="2"))
    best = benchmark.feasible_network(genotype(found, op="pool", width="10"))
    assert worst is not None
    assert best is not None
    assert (draw.optimum, draw.regret(best), draw.rank(best)) == (20.0, 0.0, 1)
    assert (draw.regret(worst), draw.rank(worst)) == (10.0, 2)


def test_the_floor_is_what_trusting_one_run_costs_an_oracle(table: Read) -> None:
    # Truly best: a=2 (mean 6), then the others (mean 3). If its 9 is told, its 3 is reported; the
    # best report is then 5 if another one told 1, else 3.
    benchmark = Benchmark(table(GAP))
    for seed in range(20):
        draw = benchmark.draw(seed)
        first, all_three = benchmark.floors(draw, [1, 3])
        best = int(np.flatnonzero(benchmark.table.told.mean(axis=1) == 6)[0])
        assert first == draw.optimum - draw.reported[best]
        assert all_three == draw.regret(int(draw.told.argmax()))


def test_without_noise_there_is_no_floor(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small.replace("3.0,20.0", "3.0,50.0")))
    assert benchmark.floors(benchmark.draw(0), [1, 2, 3]) == [0.0, 0.0, 0.0]
