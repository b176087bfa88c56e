"""Who takes part, by name and options; and the baseline that goes by size."""

from collections.abc import Callable

import numpy as np
import pytest

from nas.bench.benchmark import Benchmark, CostLimit
from nas.bench.contestants import LargestFirst, contestants
from nas.bench.optuna_gp import OptunaGP
from nas.bench.peers import PEERS
from nas.bench.table import Table
from nas.errors import NasError
from strategies import DEFAULT_STRATEGY, STRATEGIES
from strategies.evolution import Evolution

Read = Callable[[str], Table]


def test_the_default_and_the_baselines_are_always_there(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small))
    names = [found.name for found in contestants(["grid", "random"], benchmark)]
    assert names == ["grid", "random", DEFAULT_STRATEGY, "largest"]
    assert [found.name for found in contestants(["largest"], benchmark)][-1] == "largest"


def test_peers_take_part_though_no_search_can_take_them(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small))
    strategy = contestants(["optuna-gp:starts=3"], benchmark)[0].make(benchmark, 10)
    assert isinstance(strategy, OptunaGP)
    assert strategy.derived() == {"starts": 3}
    assert not PEERS.keys() & STRATEGIES.keys()


def test_without_costs_there_is_no_largest(table: Read) -> None:
    benchmark = Benchmark(table("decision:a,search:x,report:x\n1,5,5\n2,5,5\n"))
    assert "largest" not in [found.name for found in contestants([], benchmark)]


def test_options_reach_the_strategy(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small))
    wanted = "evolution:population_size=3:tournament_size=2"
    strategy = contestants([wanted], benchmark)[0].make(benchmark, 10)
    assert isinstance(strategy, Evolution)
    assert strategy.derived() == {"population_size": 3, "tournament_size": 2}
    assert strategy.budget == 10
    assert strategy.features is benchmark.features


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["rndom"], "did you mean random?"),
        (["evolution:popsize=3"], "evolution.popsize: there is no 'popsize'"),
        (["evolution:3"], "must be NAME:OPTION=VALUE, got 'evolution:3'"),
        (["evolution:population_size=0"], "population_size must be at least 1, got 0"),
        (["evolution:population_size=x"], "--strategies: evolution:population_size=x: "),
        (["grid", "grid"], "grid must be named once, got it twice"),
    ],
)
def test_mistakes_are_named(table: Read, small: str, names: list[str], message: str) -> None:
    benchmark = Benchmark(table(small))
    with pytest.raises(NasError) as caught:
        contestants(names, benchmark)[0].make(benchmark, 10)
    assert message in str(caught.value)


def test_the_largest_feasible_networks_come_first_and_each_once(table: Read, small: str) -> None:
    found = table(small)
    for limit, expected in (("macs=300", [300.0, 200.0, 100.0]), ("macs=200", [200.0, 100.0])):
        benchmark = Benchmark(found, [CostLimit.parse(limit)])
        strategy = LargestFirst.on(benchmark, 10)
        asked = []
        while (proposal := strategy.ask(np.random.default_rng(0))) is not None:
            network = benchmark.feasible_network(proposal.genotype)
            asked.append(found.costs[network, 0])
        assert asked == expected


def test_of_equal_macs_more_parameters_are_larger(table: Read) -> None:
    found = table(
        "decision:a,cost:params,cost:macs,search:x,report:x\n1,5,9,0,0\n2,7,9,0,0\n3,9,8,0,0\n"
    )
    strategy = LargestFirst.on(Benchmark(found), 3)
    proposals = [strategy.ask(np.random.default_rng(0)) for _ in range(3)]
    assert [proposal.genotype["a"] for proposal in proposals if proposal] == ["2", "1", "3"]
