"""Decision trees against brute force: every genotype listed, every draw counted."""

import itertools
import json
import math
import pickle
from collections import Counter
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from search_spaces.genome import (
    MAX_DEPTH,
    Decision,
    Genome,
    Genotype,
    Option,
    OptionValue,
)

Answers = tuple[tuple[str, OptionValue], ...]

# Chi-square quantiles at 1 - 1e-6 by degrees of freedom (scipy.stats.chi2.isf): a correct
# sampler fails with that probability, had the seeds not been fixed.
CHI_SQUARE = {2: 27.631, 4: 33.377, 7: 40.522}


def listed(decisions: tuple[Decision, ...]) -> list[Answers]:
    """Every genotype in lexicographic order, by brute force."""
    alternatives: list[list[Answers]] = [
        [
            ((decision.name, option.value), *opened)
            for option in decision.options
            for opened in listed(option.opens)
        ]
        for decision in decisions
    ]
    return [tuple(itertools.chain(*parts)) for parts in itertools.product(*alternatives)]


@st.composite
def genomes(draw: st.DrawFn, max_size: int = 400) -> Genome:
    """Small trees whose options share prefixes of decisions, as objects or by name."""
    numbers = itertools.count()
    values: list[OptionValue] = [2, 3.5, "a", "b", True, False]

    def scope(depth: int) -> tuple[Decision, ...]:
        return tuple(decision(depth) for _ in range(draw(st.integers(depth // 2, 2))))

    def decision(depth: int) -> Decision:
        name = f"d{next(numbers)}"
        pool = scope(depth - 1) if depth else ()
        options = []
        for value in draw(st.permutations(values))[: draw(st.integers(1, 3))]:
            opened = pool[: draw(st.integers(0, len(pool)))]
            if draw(st.booleans()):
                opened = tuple(Decision.of(d.name, [o.value for o in d.options]) for d in opened)
            options.append(Option(value, opened))
        return Decision(name, tuple(options))

    genome = Genome(scope(2))
    assume(genome.size <= max_size)
    return genome


def depth_genome() -> Genome:
    """Two depths over shared blocks: 1 * 2 + 2 * 3 = 8 genotypes."""
    first = Decision.of("first", ("a", "b"))
    second = Decision.of("second", (1, 2, 3))
    return Genome((Decision("depth", (Option(1, (first,)), Option(2, (first, second)))),))


def large_genome(names: int = 60) -> Genome:
    """A chain in which every option opens the same next decision, four options each."""
    opened: tuple[Decision, ...] = ()
    for number in reversed(range(names)):
        opened = (Decision(f"d{number}", tuple(Option(v, opened) for v in range(4))),)
    return Genome(opened)


def excess(counts: Counter[Genotype], expected: dict[Genotype, float]) -> float:
    """Pearson's statistic; infinite if something unexpected was drawn."""
    if set(counts) - set(expected):
        return math.inf
    return sum((counts[g] - mean) ** 2 / mean for g, mean in expected.items())


@settings(max_examples=60)
@given(genomes())
def test_size_and_unrank_agree_with_brute_force(genome: Genome) -> None:
    everything = listed(genome.decisions)
    assert genome.size == len(everything)
    assert [genome.unrank(rank).answers for rank in range(genome.size)] == everything
    assert [genome.rank(genome.unrank(rank)) for rank in range(genome.size)] == [
        *range(len(everything))
    ]


@settings(max_examples=40)
@given(genomes())
def test_encoding_is_injective_and_decodes(genome: Genome) -> None:
    codes = set()
    for rank in range(genome.size):
        genotype = genome.unrank(rank)
        code = genome.encode(genotype)
        assert code.dtype == np.int64
        assert code.shape == (len(genome.names),)
        assert all(0 <= entry < level for entry, level in zip(code, genome.levels, strict=True))
        assert genome.decode(code) == genotype
        codes.add(tuple(code))
    assert len(codes) == genome.size


@settings(max_examples=40)
@given(genomes())
def test_genotypes_survive_json_in_any_order(genome: Genome) -> None:
    for rank in range(min(genome.size, 50)):
        genotype = genome.unrank(rank)
        shuffled = dict(sorted(genotype.to_dict().items(), reverse=True))
        assert genome.genotype(json.loads(json.dumps(shuffled))) == genotype
        genome.check(genotype)


@settings(max_examples=60)
@given(genomes(), st.integers(0, 2**32))
def test_mutation_changes_one_decision_and_what_it_opens(genome: Genome, seed: int) -> None:
    assume(genome.size > 1)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        parent = genome.sample_options(rng)
        child = genome.mutate(parent, rng)
        genome.check(child)
        assert child != parent
        both = [name for name in child if name in parent]
        assert sum(child[name] != parent[name] for name in both) == 1


@settings(max_examples=60)
@given(genomes(), st.integers(0, 2**32))
def test_crossover_takes_every_answer_from_a_parent_that_has_it(genome: Genome, seed: int) -> None:
    assume(genome.size > 1)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        first = genome.sample_genotype(rng)
        second = genome.mutate(first, rng)
        child = genome.crossover(first, second, rng=rng)
        genome.check(child)
        for name in child:
            offered = [parent[name] for parent in (first, second) if name in parent]
            assert not offered or child[name] in offered


@settings(max_examples=40)
@given(genomes(), st.integers(-5, 2**70))
def test_grid_visits_every_genotype_once_for_any_seed(genome: Genome, seed: int) -> None:
    grid = genome.grid(seed)
    visited = [grid.at(position) for position in range(genome.size)]
    assert len(set(visited)) == genome.size
    assert [grid.position(genotype) for genotype in visited] == [*range(genome.size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000])
def test_grid_is_a_permutation_at_sizes_around_powers_of_two(size: int) -> None:
    genome = Genome((Decision.of("d", range(size)),))
    orders = [tuple(genome.grid(seed).at(i)["d"] for i in range(size)) for seed in range(5)]
    assert all(sorted(map(int, order)) == [*range(size)] for order in orders)
    if size > 15:
        assert len(set(orders)) == 5
        assert (*range(size),) not in orders


def test_grid_starts_anywhere_with_the_same_chance() -> None:
    genome = depth_genome()
    counts = Counter(genome.grid(seed).at(0) for seed in range(4000))
    expected = {genome.unrank(rank): 4000 / 8 for rank in range(8)}
    assert excess(counts, expected) < CHI_SQUARE[7]


@pytest.mark.parametrize("names", [60, 99])
def test_shared_decisions_are_counted_once_in_huge_genomes(names: int) -> None:
    genome = large_genome(names)
    assert genome.size == 4**names > 10**35
    assert len(genome.names) == names
    grid = genome.grid(3)
    assert len({grid.at(position) for position in range(200)}) == 200
    last = genome.size - 1
    assert grid.position(grid.at(last)) == last
    assert genome.rank(genome.unrank(last)) == last
    rng = np.random.default_rng(0)
    assert genome.rank(genome.mutate(genome.sample_genotype(rng), rng)) < genome.size
    assert repr(genome.decisions).count("Decision") == 1


def test_a_grid_beyond_one_digest_per_half_is_still_a_permutation() -> None:
    genome = Genome(tuple(Decision.of(f"d{number}", range(64)) for number in range(200)))
    grid = genome.grid(0)
    positions = [0, 1, genome.size // 2, genome.size - 1]
    assert [grid.position(grid.at(position)) for position in positions] == positions


def test_sample_genotype_is_uniform_over_genotypes() -> None:
    genome = depth_genome()
    rng = np.random.default_rng(11)
    counts = Counter(genome.sample_genotype(rng) for _ in range(8000))
    assert excess(counts, {genome.unrank(rank): 1000.0 for rank in range(8)}) < CHI_SQUARE[7]


def test_sample_options_is_uniform_over_the_options_of_each_decision() -> None:
    genome = depth_genome()
    rng = np.random.default_rng(12)
    counts = Counter(genome.sample_options(rng) for _ in range(8000))
    expected = {
        genome.unrank(rank): 8000 / 2 / (2 if genome.unrank(rank)["depth"] == 1 else 6)
        for rank in range(8)
    }
    assert excess(counts, expected) < CHI_SQUARE[7]
    uniform = {genome.unrank(rank): 1000.0 for rank in range(8)}
    assert excess(counts, uniform) > CHI_SQUARE[7]


def test_samples_beyond_64_bits_are_uniform_in_their_leading_part() -> None:
    genome = Genome(tuple(Decision.of(f"d{number}", range(3)) for number in range(80)))
    rng = np.random.default_rng(13)
    leading = Counter(genome.sample_genotype(rng)["d0"] for _ in range(6000))
    assert sum((leading[value] - 2000) ** 2 / 2000 for value in range(3)) < CHI_SQUARE[2]


def test_mutation_is_uniform_over_free_decisions_then_over_the_other_options() -> None:
    fixed, first = Decision.of("fixed", (0,)), Decision.of("first", ("a", "b"))
    second = Decision.of("second", (1, 2, 3))
    switch = Decision(
        "switch", (Option(value=False), Option(value=True, opens=(Decision.of("opened", (0, 1)),)))
    )
    genome = Genome((fixed, first, second, switch))
    parent = genome.genotype({"fixed": 0, "first": "a", "second": 2, "switch": False})
    rng = np.random.default_rng(14)
    counts = Counter(genome.mutate(parent, rng) for _ in range(6000))
    expected = {
        genome.genotype({**parent.to_dict(), **change}): mean
        for change, mean in (
            ({"first": "b"}, 2000.0),
            ({"second": 1}, 1000.0),
            ({"second": 3}, 1000.0),
            ({"switch": True, "opened": 0}, 1000.0),
            ({"switch": True, "opened": 1}, 1000.0),
        )
    }
    assert excess(counts, expected) < CHI_SQUARE[4]


def test_a_deeper_network_keeps_the_answers_of_the_shallow_one() -> None:
    genome = depth_genome()
    parent = genome.genotype({"depth": 1, "first": "b"})
    rng = np.random.default_rng(0)
    children = {genome.mutate(parent, rng) for _ in range(100)}
    deeper = {child for child in children if child["depth"] == 2}
    assert {child["second"] for child in deeper} == {1, 2, 3}
    assert {child["first"] for child in deeper} == {"b"}


def test_a_name_under_several_options_may_open_different_decisions() -> None:
    plain = Decision.of("op", ("conv", "pool"))
    kernel = Decision.of("kernel", (3, 5))
    rich = Decision("op", (Option("conv", (kernel,)), Option("pool")))
    genome = Genome((Decision("cell", (Option("plain", (plain,)), Option("rich", (rich,)))),))
    assert genome.size == 5
    assert genome.names == ("cell", "op", "kernel")
    parent = genome.genotype({"cell": "plain", "op": "conv"})
    rng = np.random.default_rng(0)
    children = {genome.mutate(parent, rng) for _ in range(100)}
    assert genome.genotype({"cell": "rich", "op": "conv", "kernel": 5}) in children


def test_crossover_of_equal_parents_is_refused() -> None:
    genome = depth_genome()
    parent = genome.unrank(0)
    with pytest.raises(ValueError, match="parents must differ"):
        genome.crossover(parent, genome.unrank(0), rng=np.random.default_rng(0))


def test_a_genome_of_one_genotype_cannot_mutate_but_does_everything_else() -> None:
    genome = Genome((Decision.of("only", ("this",)),))
    genotype = genome.sample_genotype(np.random.default_rng(0))
    assert genotype == genome.grid(0).at(0) == genome.unrank(0)
    with pytest.raises(ValueError, match="at least two genotypes"):
        genome.mutate(genotype, np.random.default_rng(0))
    empty = Genome(())
    assert empty.size == 1
    assert empty.encode(empty.genotype({})).shape == (0,)


def test_a_genotype_reads_like_a_mapping_of_its_active_decisions() -> None:
    genotype = depth_genome().genotype({"first": "a", "depth": 1})
    assert [*genotype] == ["depth", "first"]
    assert len(genotype) == 2
    assert genotype["depth"] == 1
    assert genotype.get("first") == "a"
    assert genotype.get("second") is None
    assert "second" not in genotype
    with pytest.raises(KeyError, match="second must be an active decision"):
        genotype["second"]


def test_genotypes_are_equal_only_if_the_types_of_their_values_are() -> None:
    whole, truth, point = (Genotype((("d", value),)) for value in (1, True, 1.0))
    assert len({whole, truth, point}) == 3
    assert whole == Genotype((("d", 1),))
    assert whole != "d"


def test_a_genome_and_its_genotypes_can_be_pickled() -> None:
    genome = large_genome(20)
    again = pickle.loads(pickle.dumps(genome))  # noqa: S301 - made in this line
    genotype = genome.unrank(123456)
    assert again.rank(pickle.loads(pickle.dumps(genotype))) == 123456  # noqa: S301 - same


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"depth": 2, "first": "a"}, "second must be one of 1, 2, 3, got no answer"),
        ({"depth": 3, "first": "a"}, "depth must be one of 1, 2, got 3"),
        ({"depth": True, "first": "a"}, "depth must be one of 1, 2, got True"),
        ({"depth": 1.0, "first": "a"}, "depth must be one of 1, 2, got 1.0"),
        ({"depth": "1", "first": "a"}, "depth must be one of 1, 2, got '1'"),
        ({"depth": [1], "first": "a"}, r"depth must be one of 1, 2, got \[1\]"),
        ({"depth": 1, "first": "a", "second": 1}, "second must be left out, got 1"),
        ({"depth": 1, "first": "a", "frist": "a"}, r"did you mean first\?"),
    ],
)
def test_mistakes_in_answers_are_named(answers: dict[str, OptionValue], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth_genome().genotype(answers)


def test_whole_numbers_are_taken_for_float_options_but_truth_is_not() -> None:
    genome = Genome((Decision.of("width", (0.5, 1.0)),))
    assert genome.genotype({"width": 1}) == genome.unrank(1)
    with pytest.raises(ValueError, match=r"width must be one of 0\.5, 1\.0, got True"):
        genome.genotype({"width": True})
    with pytest.raises(ValueError, match="order and types"):
        genome.check(Genotype((("width", 1),)))


def test_check_refuses_another_order() -> None:
    genome = Genome((Decision.of("a", (1, 2)), Decision.of("b", (1, 2))))
    with pytest.raises(ValueError, match="genome's order"):
        genome.check(Genotype((("b", 1), ("a", 1))))


def test_codes_that_are_no_genotype_are_refused() -> None:
    genome = depth_genome()
    with pytest.raises(ValueError, match="second must be left out"):
        genome.decode(np.array([1, 1, 1]))
    with pytest.raises(ValueError, match=r"code of first must be in \[0, 2\], got 3"):
        genome.decode(np.array([1, 3, 0]))
    with pytest.raises(ValueError, match="codes must have shape"):
        genome.decode(np.array([1, 1]))


def _deep() -> Genome:
    return large_genome(MAX_DEPTH + 1)


def _shared(*values: OptionValue) -> Genome:
    first, other = Decision.of("x", (1, 2)), Decision.of("x", values)
    return Genome((Decision("d", (Option(1, (first,)), Option(2, (other,)))),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Decision.of("", (1,)), "name must not be empty"),
        (lambda: Decision.of("d", ()), "options must hold at least one"),
        (lambda: Decision.of("d", (1, True)), r"option values must differ .* got True twice"),
        (lambda: Decision.of("d", (1.0, 1)), "option values must differ"),
        (lambda: Option(math.nan), "value must be finite"),
        (lambda: Option(cast("int", np.int64(3))), "value must be a str, int, float or bool"),
        (lambda: Genome((Decision.of("d", (1,)), Decision.of("d", (1,)))), "'d' twice at once"),
        (lambda: Genome((Decision("d", (Option(1, (Decision.of("d", (1,)),)),)),)), "by itself"),
        (lambda: _shared(1, 3), "x must have the same options everywhere"),
        (lambda: _shared(1, 2.0), "x must have the same options everywhere"),
        (_deep, "decisions must nest at most 100 deep"),
    ],
)
def test_mistakes_in_a_tree_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rank", [-1, 8])
def test_ranks_and_positions_outside_are_refused(rank: int) -> None:
    genome = depth_genome()
    with pytest.raises(ValueError, match=r"rank must be in \[0, 8\)"):
        genome.unrank(rank)
    with pytest.raises(ValueError, match=r"position must be in \[0, 8\)"):
        genome.grid(0).at(rank)
