"""Contract tests that ship: one line in a plug-in's own tests runs all of them.

They need no test framework; a violated contract raises ``AssertionError`` and says what to do.
"""

import itertools
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import torch

from search_spaces import graph_json
from search_spaces.architecture import lower
from search_spaces.genome import Decision, Genome, Genotype, Option
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.modules import build
from search_spaces.space import SearchSpace
from search_spaces.strict_json import dumps, loads
from strategies.strategy import Features, Proposal, Strategy

StrategyFactory: TypeAlias = Callable[
    [Genome, int, tuple[str, ...], Features | None],
    Strategy,
]

_MAXIMIZE = ("maximize",)
_SEEDS = 3


def check_strategy(factory: StrategyFactory, *, ask_limit_ms: float = 20.0) -> None:
    """Check that a strategy keeps the contract of ``strategies.strategy.Strategy``.

    Args:
        factory: The class, or a function that constructs it with further options, called with
            genome, budget, directions and features.
        ask_limit_ms: Most milliseconds of its thread's processor time for the median ask, after
            500 trials over 40 decisions.

    Raises:
        AssertionError: If it does not; the message says which rule was broken.
    """
    _check_budgets(factory)
    _check_asks_before_tells(factory)
    _check_tells_in_any_order(factory)
    _check_same_generator(factory)
    _check_replay(factory)
    _check_foresight(factory)
    _check_exhausted_space(factory)
    _check_recommendation(factory)
    _check_several_objectives(factory)
    _check_features(factory)
    _check_derived(factory)
    _check_speed(factory, ask_limit_ms)


@final
@dataclass(frozen=True, slots=True)
class _HalfFeasible:
    """Features by which an odd sum of codes is beyond the limits."""

    genome: Genome

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        total = float(self.genome.encode(genotype).sum())
        return (total, -total)

    def feasible(self, genotype: Genotype) -> bool:
        return int(self.genome.encode(genotype).sum()) % 2 == 0

    def repaired(self, genotype: Genotype) -> Genotype:
        return next(filter(self.feasible, (genotype, *self.genome.neighbours(genotype))), genotype)


@final
class _Run:
    """Drives a strategy the way a run does, and keeps the record that a run keeps.

    Children are numbered; ask ``n`` draws from a generator of seed and ``n`` alone. Every third
    child fails. Tells come in an order shuffled by the seed.
    """

    def __init__(self, strategy: Strategy, *, seed: int) -> None:
        self.strategy = strategy
        self.seed = seed
        self.record: list[tuple[Proposal, tuple[float, ...] | None, bool]] = []
        self.proposals: list[Proposal] = []
        self._running: list[tuple[int, Proposal]] = []
        self._order = np.random.default_rng(seed)

    def ask(self) -> Proposal | None:
        """Ask once and check what comes back."""
        number = len(self.proposals)
        proposal = _ask(self.strategy, np.random.default_rng((self.seed, number)))
        if proposal is not None:
            self.record.append((proposal, None, True))
            self.proposals.append(proposal)
            self._running.append((number, proposal))
        return proposal

    def tell(self) -> None:
        """Tell about one of the running children."""
        number, proposal = self._running.pop(int(self._order.integers(len(self._running))))
        rewards = None if number % 3 == 1 else _rewards(self.strategy, proposal)
        self.record.append((proposal, rewards, False))
        self.strategy.tell(proposal, rewards)

    def go_on(self, asks: int, *, at_once: int) -> None:
        """Ask up to ``asks`` times with ``at_once`` children running; stops where asks do."""
        for _ in range(asks):
            while len(self._running) >= at_once:
                self.tell()
            if self.ask() is None:
                break

    def finish(self) -> None:
        """Tell about all that still run."""
        while self._running:
            self.tell()

    def resumed(self, fresh: Strategy) -> "_Run":
        """This run, gone on with by a fresh strategy that was handed the record."""
        other = _Run(fresh, seed=self.seed)
        for proposal, rewards, was_ask in self.record:
            answers = json.loads(json.dumps(proposal.genotype.to_dict()))
            again = Proposal(fresh.genome.genotype(answers), proposal.fidelity)
            if was_ask:
                fresh.asked(again)
            else:
                fresh.tell(again, rewards)
        other.record = list(self.record)
        other.proposals = list(self.proposals)
        other._running = list(self._running)
        other._order.bit_generator.state = self._order.bit_generator.state
        return other


def _check_budgets(factory: StrategyFactory) -> None:
    genome = _medium_genome()
    for budget, features in itertools.product((1, 3, 10, 100), (None, _HalfFeasible(genome))):
        run = _Run(factory(genome, budget, _MAXIMIZE, features), seed=budget)
        run.go_on(budget, at_once=2)
        run.finish()
        if not run.proposals:
            raise AssertionError(f"a strategy with budget {budget} must propose, got None at once")


def _check_asks_before_tells(factory: StrategyFactory) -> None:
    run = _Run(factory(_medium_genome(), 20, _MAXIMIZE, None), seed=0)
    for _ in range(20):
        if run.ask() is None:
            raise AssertionError("asks must not wait for tells, got None before any tell")
    run.finish()
    if run.ask() is None:
        raise AssertionError("asks must go on after the tells, got None")


def _check_tells_in_any_order(factory: StrategyFactory) -> None:
    for seed in range(_SEEDS):
        run = _Run(factory(_medium_genome(), 40, _MAXIMIZE, None), seed=seed)
        run.go_on(40, at_once=7)
        run.finish()


def _check_same_generator(factory: StrategyFactory) -> None:
    genome = _medium_genome()
    runs = [_Run(factory(genome, 40, _MAXIMIZE, None), seed=1) for _ in range(2)]
    for run in runs:
        run.go_on(40, at_once=3)
    if runs[0].proposals != runs[1].proposals:
        raise AssertionError(
            "proposals must be drawn from the generator handed to ask alone, "
            "got different ones from the same generators"
        )


def _check_replay(factory: StrategyFactory) -> None:
    medium, few = _medium_genome(), _crowded_genome()
    for genome, asks, at_once in ((medium, 3, 4), (medium, 20, 1), (medium, 30, 5), (few, 60, 2)):
        features = _HalfFeasible(genome) if genome is medium else None
        first = _Run(factory(genome, 40, _MAXIMIZE, features), seed=asks)
        first.go_on(asks, at_once=at_once)
        second = first.resumed(factory(genome, 40, _MAXIMIZE, features))
        for run in (first, second):
            run.go_on(15, at_once=at_once)
        if first.proposals != second.proposals:
            raise AssertionError(
                "a fresh strategy given the recorded asks and tells "
                "must go on as the first one did, "
                f"got other proposals after {asks} asks; keep no state outside the history"
            )


def _check_foresight(factory: StrategyFactory) -> None:
    genome = _medium_genome()
    calm, foreseen = (_Run(factory(genome, 20, _MAXIMIZE, None), seed=3) for _ in range(2))
    calm.go_on(12, at_once=2)
    for number in range(12):
        for other in range(2):
            foreseen.strategy.foresee(np.random.default_rng((number, other, 1)))
        foreseen.go_on(1, at_once=2)
    if calm.proposals != foreseen.proposals:
        raise AssertionError(
            "what is foreseen must change nothing that is asked later, got other proposals; "
            "keep no state outside the history"
        )


def _crowded_genome() -> Genome:
    """81 genotypes, of which a run asks most: neighbourhoods are used up."""
    return Genome(tuple(Decision.of(f"choice_{place}", (1, 2, 3)) for place in range(4)))


def _check_exhausted_space(factory: StrategyFactory) -> None:
    genome = _small_genome()
    run = _Run(factory(genome, 10, _MAXIMIZE, None), seed=5)
    run.go_on(genome.size + 100, at_once=2)
    run.finish()
    if len(run.proposals) < genome.size + 100:
        if not run.proposals:
            raise AssertionError("a strategy must propose before it ends, got None at once")
        if run.ask() is not None:
            raise AssertionError("asks must stay None after the last proposal, got another one")


def _check_recommendation(factory: StrategyFactory) -> None:
    strategy = factory(_medium_genome(), 30, _MAXIMIZE, None)
    _require_no_recommendation(strategy)
    first = _ask(strategy, np.random.default_rng(0))
    if first is not None:
        strategy.tell(first, None)
    _require_no_recommendation(strategy)
    succeeded: list[Genotype] = []
    for number in range(1, 30):
        proposal = _ask(strategy, np.random.default_rng(number))
        if proposal is None:
            break
        strategy.tell(proposal, _rewards(strategy, proposal))
        succeeded.append(proposal.genotype)
        recommended = strategy.recommend()
        if recommended not in succeeded:
            raise AssertionError(
                f"recommend must return a genotype told with rewards, got {recommended}"
            )


def _check_several_objectives(factory: StrategyFactory) -> None:
    genome, directions = _medium_genome(), ("maximize", "minimize")
    try:
        strategy = factory(genome, 30, directions, None)
    except ValueError:
        return
    run = _Run(strategy, seed=7)
    run.go_on(20, at_once=3)
    again = run.resumed(factory(genome, 30, directions, None))
    for one in (run, again):
        one.go_on(10, at_once=3)
    if run.proposals != again.proposals:
        raise AssertionError(
            "with several objectives a fresh strategy given the record must go on as the first "
            "one did, got other proposals; keep no state outside the history"
        )
    run.finish()
    told = {proposal.genotype: rewards for proposal, rewards, _ in run.record if rewards}
    mine = told[strategy.recommend()]
    for rewards in told.values():
        if rewards != mine and all(a >= b for a, b in zip(rewards, mine, strict=True)):
            raise AssertionError(
                f"recommend must return what nothing told dominates, got {mine} beside {rewards}"
            )


def _check_features(factory: StrategyFactory) -> None:
    genome = _medium_genome()
    features = _HalfFeasible(genome)
    run = _Run(factory(genome, 40, _MAXIMIZE, features), seed=8)
    run.go_on(40, at_once=2)
    for proposal in run.proposals:
        if not features.feasible(proposal.genotype):
            raise AssertionError(
                f"proposals must be feasible where half the space is, got {proposal.genotype}"
            )


def _check_derived(factory: StrategyFactory) -> None:
    run = _Run(factory(_medium_genome(), 30, _MAXIMIZE, None), seed=9)
    derived = run.strategy.derived()
    for name, value in derived.items():
        if not (name.isidentifier() and type(value) in (int, float, str)):
            raise AssertionError(
                f"derived must map keywords to int, float or str, got {name!r}: {value!r}"
            )
    run.go_on(30, at_once=2)
    again = run.strategy.derived()
    if again != derived:
        raise AssertionError(f"derived must stay as it was resolved, got {derived}, then {again}")


def _check_speed(factory: StrategyFactory, limit_ms: float) -> None:
    genome = Genome(tuple(Decision.of(f"decision_{n}", range(5)) for n in range(40)))
    strategy = factory(genome, 510, _MAXIMIZE, None)
    rng = np.random.default_rng(0)
    for _ in range(500):
        proposal = Proposal(genome.sample_options(rng))
        strategy.asked(proposal)
        strategy.tell(proposal, _rewards(strategy, proposal))
    seconds: list[float] = []
    for _ in range(9):
        start = time.thread_time()
        _ask(strategy, rng)
        seconds.append(time.thread_time() - start)
    median_ms = 1000.0 * statistics.median(seconds)
    if median_ms > limit_ms:
        raise AssertionError(
            f"ask must take at most {limit_ms} ms after 500 trials, got {median_ms:.1f} ms"
        )


def _ask(strategy: Strategy, rng: np.random.Generator) -> Proposal | None:
    try:
        proposal = strategy.ask(rng)
        if proposal is not None:
            strategy.genome.check(proposal.genotype)
    except ValueError as error:
        raise AssertionError(f"ask must return valid proposals: {error}") from error
    return proposal


def _rewards(strategy: Strategy, proposal: Proposal) -> tuple[float, ...]:
    """Smooth landscapes: codes weighted by their place, for each objective in another way."""
    codes = strategy.genome.encode(proposal.genotype)
    places = np.arange(len(codes))
    return tuple(
        float((codes * np.cos(places + at)).sum()) * proposal.fidelity
        for at in range(len(strategy.directions))
    )


def _require_no_recommendation(strategy: Strategy) -> None:
    try:
        recommended = strategy.recommend()
    except ValueError:
        return
    raise AssertionError(
        f"recommend must raise ValueError before anything succeeded, got {recommended}"
    )


def _small_genome() -> Genome:
    """Three decisions, one of them conditional; eight genotypes."""
    kernel = Decision.of("kernel", (3, 5, 7))
    depth = Decision("depth", (Option(1), Option(2, (kernel,))))
    return Genome((depth, Decision.of("norm", ("batch", "none"))))


def _medium_genome() -> Genome:
    """Types of all sorts, shared blocks under a depth; 8,647,128 genotypes."""
    blocks = tuple(
        Decision(
            f"block_{n}",
            (
                Option("skip"),
                Option("conv", (Decision.of(f"kernel_{n}", (3, 5, 7)),)),
                Option("mbconv", (Decision.of(f"expand_{n}", (1.0, 3.0, 6.0)),)),
            ),
        )
        for n in range(6)
    )
    depth = Decision("depth", tuple(Option(n, blocks[:n]) for n in (2, 4, 6)))
    width = Decision.of("width", (0.5, 0.75, 1.0, 1.25))
    attention = Decision.of("attention", (False, True))
    return Genome((width, depth, attention, *(Decision.of(f"exit_{n}", range(3)) for n in (1, 2))))


def check_space(space: SearchSpace, *, num_classes: int, samples: int = 50, built: int = 3) -> None:
    """Check that a search space keeps the contract of ``search_spaces.space.SearchSpace``.

    Args:
        space: A space for images of a size at which training a few batches is cheap.
        num_classes: What it was constructed with.
        samples: Genotypes that are lowered, written and read.
        built: How many of them are built, run forwards and backwards.

    Raises:
        AssertionError: If it does not; the message says which rule was broken.
    """
    rng = np.random.default_rng(0)
    for number in range(samples):
        genotype = space.genome.sample_options(rng)
        architecture = space.architecture(genotype)
        _require(
            architecture == space.architecture(genotype),
            f"architecture must be a function of the genotype alone, differs for {genotype}",
        )
        graph = lower(architecture)
        _require(
            graph.output_shape == (num_classes,),
            f"networks must return {num_classes} scores, got {graph.output_shape} for {genotype}",
        )
        again = graph_json.from_document(loads(dumps(graph_json.to_document(graph))))
        _require(
            digest(again) == digest(graph), f"the graph must survive JSON, differs for {genotype}"
        )
        if number < built:
            _check_trains(graph)


def _check_trains(graph: Graph) -> None:
    """Two images forwards and backwards: finite gradients for every parameter."""
    model = build(graph)
    images = torch.randn((2, *graph.input_shape), generator=torch.Generator().manual_seed(0))
    model(images).square().mean().backward()
    for name, parameter in model.named_parameters():
        _require(
            parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()),
            f"{name} must have a finite gradient",
        )


def _require(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)
