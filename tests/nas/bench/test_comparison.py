"""Statistics, and that a comparison is fair: same seeds, same noise, same order."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from nas.bench.benchmark import Benchmark
from nas.bench.comparison import Difference, Mean, compare, holm
from nas.bench.table import Table
from strategies import DEFAULT_STRATEGY

Read = Callable[[str], Table]


def test_a_mean_has_its_standard_error() -> None:
    assert Mean.of(np.array([1.0, 2.0, 3.0, 6.0])) == Mean(3.0, pytest.approx(1.080123, abs=1e-6))


def test_a_difference_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=30), rng.normal(0.4, size=30)
    found, golden = Difference.of(first, second), stats.ttest_rel(first, second)
    interval = golden.confidence_interval(0.95)
    assert found.mean == pytest.approx((first - second).mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(golden.pvalue)


def test_pairs_that_never_vary_are_equal_or_different() -> None:
    same = np.ones(5)
    assert Difference.of(same, same) == Difference(0.0, 0.0, 0.0, 1.0)
    assert Difference.of(same, same + 2) == Difference(-2.0, -2.0, -2.0, 0.0)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.04, 0.005, 0.9], [0.08, 0.015, 0.9]),
        ([0.5, 0.6], [1.0, 1.0]),
    ],
)
def test_holm_steps_down(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


def noisy_table() -> str:
    rng = np.random.default_rng(0)
    lines = ["decision:a,decision:b,decision:c,cost:macs,run:x,run:y,run:z"]
    for row in range(216):
        a, b, c = row // 36, row // 6 % 6, row % 6
        runs = ",".join(f"{score:.4f}" for score in a + b + c + rng.normal(size=3))
        lines.append(f"{a},{b},{c},{1 + a + b + c},{runs}")
    return "\n".join(lines) + "\n"


def test_whoever_asks_the_same_hears_the_same(table: Read) -> None:
    standings = compare(
        Benchmark(table(noisy_table())),
        ["random", "random:uniform=genotypes"],
        queries=[5, 20],
        seeds=6,
        progress=lambda _: None,
    )
    first, again = (standings.by_name[name] for name in ("random", "random:uniform=genotypes"))
    assert np.array_equal(first.recommended.regrets, again.recommended.regrets)
    assert len(set(first.recommended.regrets[:, 1])) > 1


def test_a_comparison_repeats_and_its_figures_belong_together(table: Read) -> None:
    done: list[int] = []
    runs = [
        compare(
            Benchmark(table(noisy_table())),
            ["evolution"],
            queries=[5, 15],
            seeds=3,
            progress=done.append,
        )
        for _ in range(2)
    ]
    assert done == [*range(1, 4)] * 2
    assert set(runs[0].by_name) == {"evolution", DEFAULT_STRATEGY, "random", "largest"}
    for name, standing in runs[0].by_name.items():
        assert np.array_equal(
            standing.recommended.regrets, runs[1].by_name[name].recommended.regrets
        )
        assert np.array_equal(standing.recommended.ranks == 1, standing.recommended.regrets == 0)
        assert (standing.recommended.regrets >= 0).all()
        assert standing.seconds_per_ask > 0


def test_a_contestant_that_ends_early_is_counted(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small))
    found = compare(benchmark, ["grid"], queries=[2, 9], seeds=3, progress=lambda _: None)
    assert found.by_name["grid"].ended_early == 3
    assert found.by_name["grid"].recommended.regrets[:, 1].tolist() == [20.0, 20.0, 20.0]
