"""The decisions a search space leaves open, and sets of answers to them.

Decisions form a tree: an option owns the decisions it opens, and what no answer opens is absent.
That makes the exact number of genotypes, numbering them, drawing them evenly and walking through
them in a shuffled order all linear in the number of decisions, however many genotypes there are.
Decisions that several options share as one object are surveyed and counted once.
"""

import difflib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeAlias, final

import numpy as np
import numpy.typing as npt

OptionValue: TypeAlias = str | int | float | bool

MAX_DEPTH = 100

_VALUE_TYPES = (str, int, float, bool)
_ROUNDS = 8
_DIGEST_BITS = 512


@final
@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """One possible answer to a decision. Compared by identity, so that sharing stays cheap.

    Attributes:
        value: What the answer is in JSON; floats are finite.
        opens: Decisions that are active once this option is chosen.
    """

    value: OptionValue
    opens: tuple["Decision", ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if type(self.value) not in _VALUE_TYPES:
            raise ValueError(f"value must be a str, int, float or bool, got {self.value!r}")
        if type(self.value) is float and not math.isfinite(self.value):
            raise ValueError(f"value must be finite, got {self.value!r}")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """A named choice between options. Compared by identity, so that sharing stays cheap.

    Attributes:
        name: How a genotype calls it.
        options: At least one; no two values are equal, where ``True``, ``1`` and ``1.0`` are.
    """

    name: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must not be empty, got ''")
        if not self.options:
            raise ValueError(f"{self.name}: options must hold at least one, got none")
        seen: set[OptionValue] = set()
        for option in self.options:
            if option.value in seen:
                raise ValueError(
                    f"{self.name}: option values must differ (True, 1 and 1.0 are equal), "
                    f"got {option.value!r} twice"
                )
            seen.add(option.value)

    @classmethod
    def of(cls, name: str, values: Iterable[OptionValue]) -> Self:
        """A decision whose options open nothing."""
        return cls(name, tuple(Option(value) for value in values))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Genotype:
    """One answer to every active decision; made by a ``Genome``, which alone knows if it is valid.

    Equal when names, order, values and the types of the values are.

    Attributes:
        answers: Names and values in the order of the tree, a decision before those it opens.
    """

    answers: tuple[tuple[str, OptionValue], ...]

    def __getitem__(self, name: str) -> OptionValue:
        for known, value in self.answers:
            if known == name:
                return value
        raise KeyError(f"{name} must be an active decision, got {self.to_dict()}")

    def __contains__(self, name: object) -> bool:
        return any(known == name for known, _ in self.answers)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Genotype):
            return NotImplemented
        return self.answers == other.answers and all(
            type(mine) is type(theirs)
            for (_, mine), (_, theirs) in zip(self.answers, other.answers, strict=True)
        )

    def __hash__(self) -> int:
        return hash(self.answers)

    def get(self, name: str) -> OptionValue | None:
        """The answer to ``name``, or None where it is not active."""
        return next((value for known, value in self.answers if known == name), None)

    def to_dict(self) -> dict[str, OptionValue]:
        """A JSON object, name to value; ``Genome.genotype`` reads it back."""
        return dict(self.answers)


@final
class Genome:
    """The tree of decisions, and all that can be done with genotypes without building a network.

    Immutable once made. A name may occur under several options if it has the same option values
    everywhere and is never active twice at the same time; what its options open may differ.

    Attributes:
        decisions: Those that are always active.
        names: Every decision name once, in the order in which a walk through the tree meets them.
        levels: Number of levels of each entry of an encoding: one for inactive, one per option.
        size: Exact number of genotypes.
    """

    __slots__ = (
        "_counts",
        "_options",
        "_positions",
        "_widths",
        "decisions",
        "levels",
        "names",
        "size",
    )

    def __init__(self, decisions: tuple[Decision, ...]) -> None:
        """Survey the tree.

        Args:
            decisions: Those that are always active; none leaves a single, empty genotype.

        Raises:
            ValueError: If a name has different options in two places, can be active twice at the
                same time, or decisions nest more than ``MAX_DEPTH`` deep.
        """
        survey = _Survey()
        survey.scope(tuple(decisions), 0)
        self.decisions = tuple(decisions)
        self.names = tuple(survey.values)
        self.levels = tuple(1 + len(values) for values in survey.values.values())
        self._widths = np.array(self.levels, dtype=np.int64) - 1
        self.size = math.prod(survey.counts[decision] for decision in self.decisions)
        self._counts = survey.counts
        self._options = survey.options
        self._positions = {
            name: {value: position for position, value in enumerate(values)}
            for name, values in survey.values.items()
        }

    def values(self, name: str) -> tuple[OptionValue, ...]:
        """The values of the options of a decision, in their order.

        Raises:
            KeyError: If no decision has that name.
        """
        return tuple(self._positions[name])

    def unrank(self, rank: int) -> Genotype:
        """Genotype number ``rank`` in lexicographic order: the first decision changes last.

        Raises:
            ValueError: If ``rank`` is not in [0, size).
        """
        _require_below("rank", rank, self.size)
        remaining, span = rank, self.size

        def choose(decision: Decision) -> int:
            nonlocal remaining, span
            rest = span // self._counts[decision]
            for position, option in enumerate(decision.options):
                span = self._options[option] * rest
                if remaining < span:
                    return position
                remaining -= span
            raise AssertionError("ranks must cover every option")

        return self.walk(choose)

    def rank(self, genotype: Genotype) -> int:
        """The number that ``unrank`` turns into ``genotype``.

        Raises:
            ValueError: If the genotype is not one of this genome.
        """
        rank, span = 0, self.size
        for decision, chosen in self._read(genotype.to_dict()):
            rest = span // self._counts[decision]
            rank += rest * sum(self._options[option] for option in decision.options[:chosen])
            span = rest * self._options[decision.options[chosen]]
        return rank

    def walk(self, choose: Callable[[Decision], int]) -> Genotype:
        """The genotype whose answers are chosen one after another, in the tree's order.

        Args:
            choose: Position of the option that a decision takes; called once for each that is
                active, after those that opened it.
        """
        answers: list[tuple[str, OptionValue]] = []
        waiting = list(reversed(self.decisions))
        while waiting:
            decision = waiting.pop()
            option = decision.options[choose(decision)]
            answers.append((decision.name, option.value))
            waiting.extend(reversed(option.opens))
        return Genotype(tuple(answers))

    def sample_genotype(self, rng: np.random.Generator) -> Genotype:
        """A draw uniform over **genotypes**: options that open much come up more often."""
        return self.unrank(_below(self.size, rng))

    def sample_options(self, rng: np.random.Generator) -> Genotype:
        """A draw uniform over the **options** of each decision: what opens much is no likelier."""
        drawn = dict(zip(self.names, rng.integers(self._widths).tolist(), strict=True))
        return self.walk(lambda decision: drawn[decision.name])

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """A genotype that answers one active decision differently.

        The decision is drawn uniformly among the active ones with at least two options, its new
        option uniformly among the others. Decisions still active keep their answers; those newly
        opened are drawn uniformly over the options of each.

        Raises:
            ValueError: If the genome has a single genotype, or the given one is not of it.
        """
        if self.size == 1:
            raise ValueError("genome must have at least two genotypes to mutate, got 1")
        active = self._read(genotype.to_dict())
        kept = {decision.name: chosen for decision, chosen in active}
        free = [decision for decision, _ in active if len(decision.options) > 1]
        changed = free[_below(len(free), rng)]
        other = _below(len(changed.options) - 1, rng)
        kept[changed.name] = other + (other >= kept[changed.name])

        def choose(decision: Decision) -> int:
            known = kept.get(decision.name)
            return _below(len(decision.options), rng) if known is None else known

        return self.walk(choose)

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """Every genotype that answers one active decision differently, in the tree's order.

        Decisions still active keep their answers; those newly opened take their first option.
        """
        active = self._read(genotype.to_dict())
        answers = {decision.name: chosen for decision, chosen in active}
        for decision, chosen in active:
            for other in range(len(decision.options)):
                if other != chosen:
                    changed = {**answers, decision.name: other}
                    yield self.walk(lambda opened: changed.get(opened.name, 0))  # noqa: B023 - used at once

    def crossover(self, first: Genotype, second: Genotype, *, rng: np.random.Generator) -> Genotype:
        """A genotype whose every active decision takes the answer of a parent that has it.

        Where both parents answer, either is as likely; where neither does, the answer is drawn
        uniformly over the options. The child can equal a parent.

        Raises:
            ValueError: If the parents are equal, or one is not of this genome.
        """
        if first == second:
            raise ValueError(f"parents must differ, got {first.to_dict()} twice")
        parents = [
            {decision.name: chosen for decision, chosen in self._read(parent.to_dict())}
            for parent in (first, second)
        ]

        def choose(decision: Decision) -> int:
            known = [parent[decision.name] for parent in parents if decision.name in parent]
            return known[_below(len(known), rng)] if known else _below(len(decision.options), rng)

        return self.walk(choose)

    def grid(self, seed: int) -> "Grid":
        """All genotypes in an order shuffled by ``seed``; see ``Grid``."""
        return Grid(self, seed)

    def encode(self, genotype: Genotype) -> npt.NDArray[np.int64]:
        """The genotype as numbers, one entry per name: 0 inactive, else 1 + position of the option.

        Returns:
            Array of shape ``(len(names),)``; entry ``i`` is less than ``levels[i]``.

        Raises:
            ValueError: If the genotype is not one of this genome.
        """
        codes = {decision.name: 1 + at for decision, at in self._read(genotype.to_dict())}
        return np.array([codes.get(name, 0) for name in self.names], dtype=np.int64)

    def decode(self, codes: npt.NDArray[np.int64]) -> Genotype:
        """The genotype that ``encode`` turned into ``codes``, of shape ``(len(names),)``.

        Raises:
            ValueError: If the codes are not those of a genotype.
        """
        if codes.shape != (len(self.names),):
            raise ValueError(f"codes must have shape ({len(self.names)},), got {codes.shape}")
        answers: dict[str, OptionValue] = {}
        for name, code in zip(self.names, codes.tolist(), strict=True):
            values = self.values(name)
            if not 0 <= code <= len(values):
                raise ValueError(f"code of {name} must be in [0, {len(values)}], got {code}")
            if code:
                answers[name] = values[code - 1]
        return self.genotype(answers)

    def genotype(self, answers: Mapping[str, OptionValue]) -> Genotype:
        """The genotype with these answers, in any order; a file's mistakes are named.

        A whole number is taken for the float option it equals, as JSON writers may drop ``.0``;
        otherwise types must agree: ``True`` is not ``1``.

        Raises:
            ValueError: If an active decision has no answer, an answer is not an option, or a name
                is unknown or not active with these answers.
        """
        return Genotype(
            tuple(
                (decision.name, decision.options[at].value) for decision, at in self._read(answers)
            )
        )

    def check(self, genotype: Genotype) -> None:
        """Check that a genotype is one of this genome.

        Raises:
            ValueError: As ``genotype`` does, or if order or types are not exactly the genome's.
        """
        if self.genotype(genotype.to_dict()) != genotype:
            raise ValueError(
                f"answers must be in the genome's order and types, got {genotype.answers}; "
                "make genotypes by Genome.genotype"
            )

    def _read(self, answers: Mapping[str, OptionValue]) -> list[tuple[Decision, int]]:
        active: list[tuple[Decision, int]] = []

        def choose(decision: Decision) -> int:
            position = self._position(decision, answers)
            active.append((decision, position))
            return position

        self.walk(choose)
        if len(active) != len(answers):
            self._refuse(answers, {decision.name for decision, _ in active})
        return active

    def _position(self, decision: Decision, answers: Mapping[str, OptionValue]) -> int:
        name = decision.name
        if name not in answers:
            raise ValueError(f"{name} must be {_listed(decision)}, got no answer")
        value = answers[name]
        if type(value) in _VALUE_TYPES:
            position = self._positions[name].get(value)
            if position is not None:
                wanted = type(decision.options[position].value)
                if type(value) is wanted or (wanted is float and type(value) is int):
                    return position
        raise ValueError(f"{name} must be {_listed(decision)}, got {value!r}")

    def _refuse(self, answers: Mapping[str, OptionValue], active: set[str]) -> None:
        name = next(name for name in answers if name not in active)
        if name in self._positions:
            raise ValueError(
                f"{name} must be left out, got {answers[name]!r}; "
                f"with these answers only {', '.join(sorted(active))} are active"
            )
        near = difflib.get_close_matches(str(name), self.names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(self.names)}"
        raise ValueError(f"answers must be to decisions of the genome, got {name!r}; {hint}")


@final
@dataclass(frozen=True, slots=True)
class Grid:
    """Every genotype exactly once, in an order shuffled by a seed, without a list of them.

    Positions are permuted by a balanced Feistel network over the next power of four, applied
    again while the result is beyond the last genotype (cycle walking, fewer than four times on
    average). The order is a function of genome size and seed alone.

    Source: Black and Rogaway, Ciphers with Arbitrary Finite Domains (CT-RSA 2002), method 2; here
    with eight rounds of BLAKE2b, which is for shuffling, not for secrecy.
    """

    genome: Genome
    seed: int

    def at(self, position: int) -> Genotype:
        """The genotype at ``position``.

        Raises:
            ValueError: If ``position`` is not in [0, genome.size).
        """
        _require_below("position", position, self.genome.size)
        rank = self._shuffle(position)
        while rank >= self.genome.size:
            rank = self._shuffle(rank)
        return self.genome.unrank(rank)

    def position(self, genotype: Genotype) -> int:
        """Where ``at`` finds ``genotype``.

        Raises:
            ValueError: If the genotype is not one of the genome.
        """
        position = self._unshuffle(self.genome.rank(genotype))
        while position >= self.genome.size:
            position = self._unshuffle(position)
        return position

    @property
    def _half_bits(self) -> int:
        return max(1, ((self.genome.size - 1).bit_length() + 1) // 2)

    def _shuffle(self, value: int) -> int:
        bits = self._half_bits
        left, right = value >> bits, value & ((1 << bits) - 1)
        for turn in range(_ROUNDS):
            left, right = right, left ^ self._scramble(right, turn)
        return left << bits | right

    def _unshuffle(self, value: int) -> int:
        bits = self._half_bits
        left, right = value >> bits, value & ((1 << bits) - 1)
        for turn in reversed(range(_ROUNDS)):
            left, right = right ^ self._scramble(left, turn), left
        return left << bits | right

    def _scramble(self, half: int, turn: int) -> int:
        bits = self._half_bits
        blocks = [
            hashlib.blake2b(f"{self.seed} {turn} {block} {half:x}".encode()).digest()
            for block in range(-(-bits // _DIGEST_BITS))
        ]
        return int.from_bytes(b"".join(blocks), "big") & ((1 << bits) - 1)


@final
class _Survey:
    """One pass over the tree, each decision object once: counts, names and their option values."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[OptionValue, ...]] = {}
        self.counts: dict[Decision, int] = {}
        self.options: dict[Option, int] = {}
        self._below: dict[Decision, frozenset[str]] = {}

    def scope(self, decisions: tuple[Decision, ...], depth: int) -> frozenset[str]:
        """The names that can be active in a set of decisions that are active together."""
        names: frozenset[str] = frozenset()
        for decision in decisions:
            found = self._decision(decision, depth)
            if names & found:
                twice = min(names & found)
                raise ValueError(f"a name must be active at most once, got {twice!r} twice at once")
            names |= found
        return names

    def _decision(self, decision: Decision, depth: int) -> frozenset[str]:
        if decision in self._below:
            return self._below[decision]
        if depth >= MAX_DEPTH:
            raise ValueError(f"decisions must nest at most {MAX_DEPTH} deep, got more")
        name = decision.name
        values = tuple(option.value for option in decision.options)
        known = self.values.setdefault(name, values)
        if [(type(value), value) for value in known] != [(type(value), value) for value in values]:
            raise ValueError(f"{name} must have the same options everywhere, got {known}, {values}")
        below: frozenset[str] = frozenset()
        for option in decision.options:
            below |= self.scope(option.opens, depth + 1)
            self.options[option] = math.prod(self.counts[opened] for opened in option.opens)
        if name in below:
            raise ValueError(f"a name must be active at most once, got {name!r} opened by itself")
        self.counts[decision] = sum(self.options[option] for option in decision.options)
        self._below[decision] = below | {name}
        return self._below[decision]


def _below(bound: int, rng: np.random.Generator) -> int:
    """A whole number uniform in [0, bound), exact for any size; no draw where only 0 is left."""
    bits = (bound - 1).bit_length()
    count = -(-bits // 8)
    while True:
        value = int.from_bytes(rng.bytes(count), "big") >> (8 * count - bits) if bits else 0
        if value < bound:
            return value


def _require_below(name: str, value: int, bound: int) -> None:
    if not 0 <= value < bound:
        raise ValueError(f"{name} must be in [0, {bound}), got {value}")


def _listed(decision: Decision) -> str:
    values = ", ".join(repr(option.value) for option in decision.options)
    return f"one of {values}" if len(decision.options) > 1 else values
