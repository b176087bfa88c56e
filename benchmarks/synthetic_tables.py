"""Tables of networks that do not exist, to judge strategies on more than one landscape.

``python benchmarks/synthetic_tables.py FOLDER`` writes CSV files, which ``nas bench`` reads, for
each space and landscape: one without noise, and two for each level of noise, as tables are
published. ``..._runs.csv`` has three runs of each network, of which one is told; ``..._mean.csv``
their mean, which is told and judged by, so that what is left of the noise in it is real.
Everything follows from the names: no two runs differ.
"""

import argparse
import csv
import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

Row = dict[str, str]
RUNS = 3
LANDSCAPES = 2  # of each space
FAILED = 0.05  # share of networks
NOISE = {"low": 0.1, "middle": 0.2, "high": 0.5}  # of a run, in spreads of the better half


def cells() -> Iterator[Row]:
    """Six edges with one of five operations each, as in a cell."""
    names = [f"edge{number}" for number in range(6)]
    for answers in itertools.product(("none", "skip", "pool", "conv1", "conv3"), repeat=6):
        yield dict(zip(names, answers, strict=True))


def blocks() -> Iterator[Row]:
    """One to four blocks; the kind of each decides whether it has a kernel and a width."""
    kinds = [("skip", "", "")]
    kinds += [("conv", kernel, "") for kernel in ("3", "5", "7")]
    kinds += [("mbconv", kernel, width) for kernel in ("3", "5", "7") for width in ("3", "6")]
    for depth in range(1, 5):
        for chosen in itertools.product(kinds, repeat=depth):
            row = {"depth": str(depth)}
            for number in range(1, 5):
                kind, kernel, width = chosen[number - 1] if number <= depth else ("", "", "")
                row |= {f"kind{number}": kind, f"kernel{number}": kernel, f"width{number}": width}
            yield row


def gaps() -> Iterator[Row]:
    """Twelve decisions with two options; every fourth network is missing."""
    for number in range(2**12):
        if zlib.crc32(str(number).encode()) % 4:
            yield {f"bit{at}": str(number >> at & 1) for at in range(12)}


def stages() -> Iterator[Row]:
    """Three stages with a depth, a width and a kernel each, all numbers."""
    answers = [("1", "2", "3"), ("32", "48", "64"), ("3", "5")]
    names = [f"{what}{stage}" for stage in range(3) for what in ("depth", "width", "kernel")]
    for chosen in itertools.product(*answers * 3):
        yield dict(zip(names, chosen, strict=True))


SPACES = {"cells": cells, "blocks": blocks, "gaps": gaps, "stages": stages}


def standardised(values: np.ndarray) -> np.ndarray:
    """Mean 0, deviation 1."""
    return (values - values.mean()) / values.std()


def effects(
    rows: Sequence[Row], rng: np.random.Generator, *, pairs: float, triples: float
) -> np.ndarray:
    """Effects of answers, and of those to two or three decisions together, drawn independently.

    Some decisions matter several times as much as others, by themselves and in pairs.

    Args:
        rows: Networks.
        rng: Of the effects.
        pairs: Deviation of what pairs add, that of the answers by themselves being 1.
        triples: Of what triples add, likewise.

    Returns:
        Mean 0, deviation 1, shape (rows,).
    """
    columns = []
    for name in rows[0]:
        number: dict[str, int] = {}
        columns.append(np.array([number.setdefault(row[name], len(number)) for row in rows]))
    weights = np.exp(0.7 * rng.normal(size=len(columns)))
    total = np.zeros(len(rows))
    for order, share in ((1, 1.0), (2, pairs), (3, triples)):
        part = np.zeros(len(rows))
        for chosen in itertools.combinations(range(len(columns)), order):
            codes = [columns[at] for at in chosen]
            drawn = rng.normal(size=[code.max() + 1 for code in codes])
            part += (weights[list(chosen)].prod() if order < 3 else 1.0) * drawn[tuple(codes)]
        total += share * standardised(part)
    return standardised(total)


def landscape(rows: Sequence[Row], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores and log-costs of networks: a trend with the cost, and effects beside it.

    Some of the worst fall far below all others, as networks do that do not learn.
    """
    log_macs = effects(rows, rng, pairs=0.1, triples=0.0)
    trend = rng.uniform(0.3, 0.8)
    beside = effects(rows, rng, pairs=rng.uniform(0.1, 0.5), triples=rng.uniform(0.05, 0.2))
    quality = trend * log_macs + np.sqrt(1.0 - trend**2) * beside
    crowded = np.logaddexp(0.0, rng.uniform(0.5, 1.5) - quality)  # the best crowd together
    failed = quality < np.quantile(quality, FAILED)
    return 95.0 - 2.0 * crowded - failed * 40.0 * rng.random(len(rows)) ** 2, log_macs


def write(path: Path, rows: Sequence[Row], columns: Mapping[str, np.ndarray]) -> None:
    """Write a table; the columns of numbers are named with their role."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"decision:{name}" for name in rows[0]), *columns])
        for at, row in enumerate(rows):
            writer.writerow([*row.values(), *(f"{values[at]:.6g}" for values in columns.values())])


def write_landscape(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write all tables of one landscape."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    score, log_macs = landscape(rows, rng)
    macs = np.round(1e7 * np.exp(0.5 * log_macs))
    costs = {"cost:macs": macs, "cost:params": np.round(macs**0.9)}
    write(
        folder / f"{name}_exact.csv", rows, {**costs, "search:score": score, "report:score": score}
    )
    better = score[score >= np.median(score)]
    spread = np.sqrt(np.mean(np.square(better - np.median(score))))
    for level, noise in NOISE.items():
        runs = score[:, None] + noise * spread * rng.normal(size=(len(rows), RUNS))
        told = {f"run:score{run}": runs[:, run] for run in range(RUNS)}
        write(folder / f"{name}_{level}_runs.csv", rows, {**costs, **told})
        mean = runs.mean(axis=1)
        columns = {**costs, "search:score": mean, "report:score": mean}
        write(folder / f"{name}_{level}_mean.csv", rows, columns)


def main() -> None:
    """Write every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, space in SPACES.items():
        rows = list(space())
        for number in range(LANDSCAPES):
            write_landscape(folder, f"{name}-{number}", rows)


if __name__ == "__main__":
    main()
