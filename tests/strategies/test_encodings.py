"""Batches of genotypes: all valid, drawn and changed as the genome does it one by one."""

import numpy as np
import pytest

from search_spaces.genome import Decision, Genome, Option
from strategies.encodings import Codes, Encodings


def tree() -> Genome:
    """A shared decision, a name under two options, a decision without a choice."""
    kernel = Decision.of("kernel", (3, 5, 7))
    wide = Decision("wide", (Option("no"), Option("yes", (kernel,))))
    blocks = tuple(Decision.of(f"block{n}", ("a", "b")) for n in range(2))
    op = Decision("op", (Option("pool"), Option("conv", (kernel,)), Option("cell", (wide,))))
    depth = Decision("depth", tuple(Option(n, blocks[:n]) for n in range(3)))
    return Genome((op, depth, Decision.of("fixed", ("only",))))


GENOME = tree()
ENCODINGS = Encodings(GENOME)


def test_draws_are_genotypes_and_all_of_them_come_up() -> None:
    rows = ENCODINGS.draw(3000, np.random.default_rng(0))
    drawn = {GENOME.decode(row) for row in rows}  # decode refuses what is no genotype
    assert len(drawn) == GENOME.size == (1 + 3 + 1 + 3) * (1 + 2 + 4)


def test_options_are_drawn_evenly() -> None:
    # Of 3000 draws a third takes each option, 1000 +- 26; six deviations are never seen.
    rows = ENCODINGS.draw(3000, np.random.default_rng(1))
    counts = np.bincount(rows[:, GENOME.names.index("op")], minlength=4)
    assert counts[0] == 0
    assert all(abs(count - 1000) < 156 for count in counts[1:])


def test_a_mutation_is_one_that_the_genome_can_make() -> None:
    rng = np.random.default_rng(2)
    rows = ENCODINGS.draw(300, rng)
    for row, mutant in zip(rows, ENCODINGS.mutate(rows, rng), strict=True):
        both = (row > 0) & (mutant > 0)
        assert GENOME.decode(mutant) != GENOME.decode(row)
        assert np.count_nonzero((row != mutant) & both) == 1


def test_every_mutation_comes_up() -> None:
    row = GENOME.encode(GENOME.genotype({"op": "pool", "depth": 0, "fixed": "only"}))
    mutants = ENCODINGS.mutate(np.tile(row, (500, 1)), np.random.default_rng(3))
    # op: conv with 3 kernels, cell alone or wide with 3 kernels; depth: 2 + 4
    assert len({mutant.tobytes() for mutant in mutants}) == 3 + 4 + 6


def test_where_there_is_no_choice_nothing_changes() -> None:
    genome = Genome((Decision.of("only", ("this",)),))
    encodings = Encodings(genome)
    rows = encodings.draw(4, np.random.default_rng(0))
    assert (encodings.mutate(rows, np.random.default_rng(0)) == rows).all()
    assert encodings.neighbours(rows, np.random.default_rng(0)).shape == (0, 1)


def test_neighbours_are_those_of_the_genome_but_for_what_they_open() -> None:
    rng = np.random.default_rng(4)
    for row in ENCODINGS.draw(20, rng):
        found = ENCODINGS.neighbours(row[None], rng)
        expected = [GENOME.encode(one) for one in GENOME.neighbours(GENOME.decode(row))]
        assert len(found) == len(expected)
        for neighbour in found:
            GENOME.decode(neighbour)
        assert sorted(changes(row, found)) == sorted(changes(row, np.array(expected)))


def changes(row: Codes, neighbours: Codes) -> list[list[tuple[int, int]]]:
    """For each neighbour what it answers differently: columns and codes."""
    differ = (neighbours != row) & (row > 0) & (neighbours > 0)
    return [
        [(at, int(one[at])) for at in np.flatnonzero(differ_one)]
        for one, differ_one in zip(neighbours, differ, strict=True)
    ]


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_one_hot_marks_each_level_once(rows: int) -> None:
    codes = ENCODINGS.draw(rows, np.random.default_rng(5))
    ones = ENCODINGS.one_hot(codes)
    assert ones.shape == (rows, sum(GENOME.levels))
    assert (ones.sum(axis=1) == len(GENOME.names)).all()
    starts = np.cumsum((0, *GENOME.levels[:-1]))
    assert all((one[starts + code] == 1).all() for one, code in zip(ones, codes, strict=True))
