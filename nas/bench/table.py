"""A published table of networks and their scores, from CSV."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.bench.columns import Column, read_columns
from nas.bench.decision_tree import decision_tree
from nas.errors import usage_error
from search_spaces.genome import Genome, Genotype

ROLES = ("decision", "key", "cost", "search", "report", "run")
MAX_OPTIONS = 1_000  # of one decision
_NUMERIC = ("cost", "search", "report", "run")
_COST_ORDER = ("macs", "params")  # those that ``Features`` has first


@final
@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Networks, what they cost and how good they are.

    Attributes:
        name: Of the file, without its endings.
        genome: The decisions; genotypes that have no row belong to it too.
        codes: The genotype of each row as ``genome.encode`` has it, shape (rows, decisions), in
            lexicographic order, so that the order of the file says nothing.
        rows: Where each genotype's codes are.
        networks: The network of each row, shape (rows,), numbered as they first come.
        cost_names: MACs and parameters first where the table has them, else in its order.
        costs: Shape (networks, costs), above 0.
        told: What a query can tell of each network, shape (networks, draws), larger is better: one
            draw for a search column, one for each run.
        reported: What a network is judged by if that draw was told, of the same shape: the report
            column, or the mean of the other runs.
        metric: The name of the report column, or of the first run.
    """

    name: str
    genome: Genome
    codes: NDArray[np.uint16]
    rows: Mapping[bytes, int]
    networks: NDArray[np.int64]
    cost_names: tuple[str, ...]
    costs: NDArray[np.float64]
    told: NDArray[np.float64]
    reported: NDArray[np.float64]
    metric: str

    @property
    def complete(self) -> bool:
        """Whether every genotype of the genome has a row."""
        return len(self.networks) == self.genome.size

    def row(self, genotype: Genotype) -> int | None:
        """The row of a genotype, or None where the table has none."""
        return self.rows.get(self.genome.encode(genotype).astype(np.uint16).tobytes())

    def genotype(self, row: int) -> Genotype:
        """The genotype of a row."""
        return self.genome.decode(self.codes[row].astype(np.int64))


def read_table(path: Path) -> Table:
    """The table in a CSV file, plain or gzipped.

    The header gives each column a role: ``decision:NAME`` (an empty cell: not open in this row),
    ``key:NAME`` (rows with the same key are one network; without it every row is one),
    ``cost:NAME``, and either ``search:NAME`` and ``report:NAME`` or two or more ``run:NAME``.
    Options are taken in the order of their values, so that the order of rows says nothing.

    Raises:
        NasError: If the file cannot be read or is not such a table (exit code 2); the message
            names the line.
    """
    columns = read_columns(path, ROLES)
    by_role = {role: [column for column in columns if column.role == role] for role in ROLES}
    _check_roles(path, by_role)
    numbers = {
        column.title: _numbers(path, column) for column in columns if column.role in _NUMERIC
    }
    genome, codes = _genome(path, by_role["decision"])
    _check_rows_differ(path, codes)
    networks = _networks(by_role["key"], len(codes))
    for column in columns:
        if column.role in _NUMERIC:
            _check_agree(path, column, numbers[column.title], networks=networks)
    order = np.lexsort(codes.T[::-1])
    codes = codes[order]
    networks, first = _renumbered(networks[order])
    of_network = {title: values[order][first] for title, values in numbers.items()}
    costs = sorted(by_role["cost"], key=_cost_order)
    told, reported = _signal(by_role, of_network)
    return Table(
        name=path.name.removesuffix(".gz").removesuffix(".csv"),
        genome=genome,
        codes=codes,
        rows={code.tobytes(): row for row, code in enumerate(codes)},
        networks=networks,
        cost_names=tuple(column.name for column in costs),
        costs=_side_by_side([of_network[column.title] for column in costs], rows=len(first)),
        told=told,
        reported=reported,
        metric=(*by_role["run"], *by_role["report"])[0].name,
    )


def _cost_order(column: Column) -> int:
    return _COST_ORDER.index(column.name) if column.name in _COST_ORDER else len(_COST_ORDER)


def _check_roles(path: Path, by_role: Mapping[str, Sequence[Column]]) -> None:
    count = {role: len(columns) for role, columns in by_role.items()}
    if not count["decision"]:
        raise usage_error(f"{path}: header must have a decision:NAME column, got none")
    if count["key"] > 1:
        raise usage_error(f"{path}: header must have at most one key:NAME, got {count['key']}")
    pair = (count["search"], count["report"], count["run"]) == (1, 1, 0)
    runs = (count["search"], count["report"]) == (0, 0) and count["run"] >= 2
    if not pair and not runs:
        raise usage_error(
            f"{path}: header must have one search:NAME and one report:NAME, or two or more "
            f"run:NAME, got {count['search']}, {count['report']} and {count['run']} of them"
        )


def _genome(path: Path, decisions: Sequence[Column]) -> tuple[Genome, NDArray[np.uint16]]:
    """The tree of decisions and the code of each row, as ``Genome.encode`` has it."""
    options: dict[str, list[str]] = {}
    codes: dict[str, NDArray[np.uint16]] = {}
    for column in decisions:
        values = sorted(set(column.cells) - {""}, key=_option_order)
        if not 1 <= len(values) <= MAX_OPTIONS:
            raise usage_error(
                f"{path}: {column.title} must have 1 to {MAX_OPTIONS} different answers, "
                f"got {len(values)}"
            )
        position = {"": 0, **{value: 1 + at for at, value in enumerate(values)}}
        options[column.name] = values
        codes[column.name] = np.array([position[cell] for cell in column.cells], dtype=np.uint16)
    try:
        genome = Genome(decision_tree(options, codes))
    except ValueError as error:
        raise usage_error(f"{path}: {error}") from error
    return genome, np.stack([codes[name] for name in genome.names], axis=1)


def _option_order(value: str) -> tuple[float, str]:
    """Numbers by their value, before everything else by its letters."""
    try:
        number = float(value)
    except ValueError:
        return math.inf, value
    return (number if math.isfinite(number) else math.inf), value


def _check_rows_differ(path: Path, codes: NDArray[np.uint16]) -> None:
    rows: dict[bytes, int] = {}
    for row, code in enumerate(codes):
        other = rows.setdefault(code.tobytes(), row)
        if other != row:
            raise usage_error(
                f"{path}: line {row + 2} must differ in a decision from line {other + 2}, "
                "got the same answers"
            )


def _networks(keys: Sequence[Column], rows: int) -> NDArray[np.int64]:
    """A number for each row, the same for rows of one network, counted from 0."""
    if not keys:
        return np.arange(rows, dtype=np.int64)
    number: dict[str, int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys[0].cells], dtype=np.int64)


def _renumbered(networks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Networks numbered as they first come, and the row in which each does."""
    _, first, inverse = np.unique(networks, return_index=True, return_inverse=True)
    by_appearance = np.argsort(first)
    number = np.empty_like(by_appearance)
    number[by_appearance] = np.arange(len(first))
    return number[inverse], first[by_appearance]


def _numbers(path: Path, column: Column) -> NDArray[np.float64]:
    """The cells as finite numbers; costs must be above 0."""
    least = 0.0 if column.role == "cost" else -math.inf
    try:
        values = np.fromiter(map(float, column.cells), np.float64, count=len(column.cells))
        if np.isfinite(values).all() and values.min() > least:
            return values
    except ValueError:
        pass  # found again below, with its line
    for row, cell in enumerate(column.cells):
        try:
            good = math.isfinite(float(cell)) and float(cell) > least
        except ValueError:
            good = False
        if not good:
            rule = "a finite number above 0" if column.role == "cost" else "a finite number"
            raise usage_error(
                f"{path}: line {row + 2}: {column.title} must be {rule}, got {cell[:40]!r}"
            )
    raise AssertionError("a column with a bad cell must have one that is found")


def _check_agree(
    path: Path, column: Column, values: NDArray[np.float64], *, networks: NDArray[np.int64]
) -> None:
    """Rows of one network have the same costs and scores: it is trained once."""
    first = np.unique(networks, return_index=True)[1][networks]
    others = np.flatnonzero(values != values[first])
    if len(others):
        row = int(others[0])
        raise usage_error(
            f"{path}: line {row + 2}: {column.title} must be {column.cells[first[row]][:40]} as in "
            f"line {first[row] + 2}, which has the same key, got {column.cells[row][:40]}"
        )


def _signal(
    by_role: Mapping[str, Sequence[Column]], numbers: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not by_role["run"]:
        return (
            numbers[by_role["search"][0].title][:, None],
            numbers[by_role["report"][0].title][:, None],
        )
    runs = np.stack([numbers[column.title] for column in by_role["run"]], axis=1)
    others = [np.delete(runs, told, axis=1).mean(axis=1) for told in range(runs.shape[1])]
    return runs, np.stack(others, axis=1)


def _side_by_side(columns: Sequence[NDArray[np.float64]], *, rows: int) -> NDArray[np.float64]:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0))
