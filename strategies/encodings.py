"""Many genotypes at once, as rows of codes, so that thousands of candidates cost milliseconds."""

from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

from search_spaces.genome import Decision, Genome

Codes: TypeAlias = npt.NDArray[np.int64]


@final
class Encodings:
    """Draws and changes whole batches of genotypes of one genome.

    Rows are what ``Genome.encode`` returns: one entry per name, 0 inactive, else 1 + the position
    of the option. All rows that are returned are valid genotypes.
    """

    def __init__(self, genome: Genome) -> None:
        """Put the decisions in an order in which each comes after all that can open it."""
        self._genome = genome
        self._widths = np.array(genome.levels, dtype=np.int64) - 1
        self._columns = {name: column for column, name in enumerate(genome.names)}
        self._order = _openers_first(genome)
        self._starts = np.cumsum((0, *genome.levels[:-1]))

    def one_hot(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Rows with 1 at each level that is taken, shape ``(rows, levels of all decisions)``."""
        ones = np.zeros((len(codes), sum(self._genome.levels)))
        ones[np.arange(len(codes))[:, None], self._starts + codes] = 1.0
        return ones

    def draw(self, count: int, rng: np.random.Generator) -> Codes:
        """Draws uniform over the options of each decision, shape ``(count, names)``."""
        return self._close(rng.integers(self._widths, size=(count, len(self._widths))) + 1)

    def mutate(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Each row with one active decision answered differently.

        Decision and option are drawn as by ``Genome.mutate``. A row without a choice is returned
        as it is.

        Args:
            codes: Shape ``(rows, names)``.
            rng: The source of chance.
        """
        free = (codes > 0) & (self._widths > 1)
        column = np.where(free, rng.random(codes.shape), -1.0).argmax(axis=1)
        rows = np.flatnonzero(free[np.arange(len(codes)), column])
        column = column[rows]
        widths = self._widths[column]
        step = 1 + (rng.random(len(rows)) * (widths - 1)).astype(np.int64)
        answers = self._answers(codes, rng)
        answers[rows, column] = (answers[rows, column] - 1 + step) % widths + 1
        return self._close(answers)

    def neighbours(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Every row with every one of its active decisions answered in every other way.

        Decisions newly opened are drawn uniformly over their options.

        Args:
            codes: Shape ``(rows, names)``.
            rng: The source of chance.

        Returns:
            Shape ``(neighbours, names)``, those of the first row first.
        """
        changes = np.array(
            [(at, code) for at, width in enumerate(self._widths) for code in range(1, width + 1)],
            dtype=np.int64,
        ).reshape(-1, 2)
        row, change = np.indices((len(codes), len(changes))).reshape(2, -1)
        column, code = changes[change].T
        old = codes[row, column]
        kept = (old > 0) & (old != code)
        answers = self._answers(codes[row[kept]], rng)
        answers[np.arange(len(answers)), column[kept]] = code[kept]
        return self._close(answers)

    def _answers(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Codes with an answer, drawn uniformly, to what is inactive too."""
        drawn = rng.integers(self._widths, size=codes.shape) + 1
        return np.where(codes > 0, codes, drawn)

    def _close(self, answers: Codes) -> Codes:
        """Answers to every name, active or not, with 0 for those that nothing opens."""
        rows = len(answers)
        codes = np.zeros_like(answers)
        active = {decision: np.ones(rows, dtype=bool) for decision in self._genome.decisions}
        for decision in self._order:
            column = self._columns[decision.name]
            here = active[decision]
            codes[here, column] = answers[here, column]
            for position, option in enumerate(decision.options):
                if option.opens:
                    chosen = here & (answers[:, column] == position + 1)
                    for opened in option.opens:
                        active[opened] = active[opened] | chosen if opened in active else chosen
        return codes


def _openers_first(genome: Genome) -> list[Decision]:
    """Every decision object once, before all that its options open."""
    finished: dict[Decision, None] = {}

    def visit(decision: Decision) -> None:
        if decision not in finished:
            for option in decision.options:
                for opened in option.opens:
                    visit(opened)
            finished[decision] = None

    for decision in genome.decisions:
        visit(decision)
    return list(reversed(finished))
