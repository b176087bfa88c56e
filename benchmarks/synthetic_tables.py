"""Tables of networks that do not exist, to judge strategies on more than one landscape.

``python benchmarks/synthetic_tables.py FOLDER`` writes one CSV for each space and level of noise,
which ``nas bench`` reads. Everything follows from the names: no two runs differ.
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
NOISE = {"exact": 0.0, "low": 0.05, "high": 0.4}  # of a run, in deviations of the scores


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


SPACES = {"cells": cells, "blocks": blocks, "gaps": gaps}


def effects(rows: Sequence[Row], rng: np.random.Generator, *, pairs: float) -> np.ndarray:
    """Additive effects of the answers and of pairs of answers, drawn independently.

    Args:
        rows: Networks.
        rng: Of the effects.
        pairs: Deviation of a pair's effect, that of an answer being 1.

    Returns:
        Mean 0, deviation 1, shape (rows,).
    """
    codes = []
    for name in rows[0]:
        number: dict[str, int] = {}
        codes.append(np.array([number.setdefault(row[name], len(number)) for row in rows]))
    total = np.zeros(len(rows))
    for column in codes:
        total += rng.normal(size=column.max() + 1)[column]
    for one, other in itertools.combinations(codes, 2):
        total += pairs * rng.normal(size=(one.max() + 1, other.max() + 1))[one, other]
    return (total - total.mean()) / total.std()


def write(path: Path, rows: Sequence[Row], columns: Mapping[str, np.ndarray]) -> None:
    """Write a table; the columns of numbers are named with their role."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"decision:{name}" for name in rows[0]), *columns])
        for at, row in enumerate(rows):
            writer.writerow([*row.values(), *(f"{values[at]:.6g}" for values in columns.values())])


def main() -> None:
    """Write every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, space in SPACES.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        rows = list(space())
        log_macs = effects(rows, rng, pairs=0.1)
        quality = 0.6 * log_macs + 0.8 * effects(rows, rng, pairs=0.3)
        score = 95.0 - 2.0 * np.logaddexp(0.0, 1.0 - quality)  # the best crowd together
        macs = np.round(1e7 * np.exp(0.5 * log_macs))
        for level, noise in NOISE.items():
            columns = {"cost:macs": macs, "cost:params": np.round(macs**0.9)}
            if noise:
                for run in range(RUNS):
                    errors = rng.normal(size=len(rows)) * noise * score.std()
                    columns[f"run:score{run}"] = score + errors
            else:
                columns |= {"search:score": score, "report:score": score}
            write(folder / f"{name}_{level}.csv", rows, columns)


if __name__ == "__main__":
    main()
