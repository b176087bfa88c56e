"""A search on Fashion-MNIST with its winner trained to the end, against five fixed networks.

    python benchmarks/fashion_mnist.py FOLDER [--seeds 3] [--hours 2] [--only NAME]

``--data digits`` shows in minutes that it runs.

For each run seed: ``nas search --space mbconv --budget 12 --max-params 300k`` with its final
training, on two workers and within two hours; and five networks that a person would write down,
each trained by ``nas train`` for as many core-seconds as that whole search took. The one with the
best validation accuracy stands for them. The search itself compares what it found with the
published networks within its limits, and its figures are those of the network that it hands over:
its line has both.

Core-seconds are processor time of all processes of a piece, sampled from ``/proc``, so that they
mean the same on a machine with other work; there, ``--hours`` must be as much longer as the machine
is slower, and the line of a search says whether it stayed within its two hours of two cores.
Every finished piece is one JSON line in FOLDER/results.jsonl and is not done again; what is known
so far lies in benchmarks/results/fashion_mnist.jsonl, to be copied there. What was
interrupted goes on where it stood, with what it has taken. ``--only`` does the pieces whose name
contains a text. At the end, what stands is summed up.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scipy.stats import t

from nas.export import Winner, export
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import BasicBlock, Classifier, ConvNormAct, MBConv

SHAPE, CLASSES, LIMIT = (1, 28, 28), 10, "300k"
CORES, HOURS = 2, 2.0
TICK = 1.0  # seconds between looks at what was spent
Piece = dict[str, Any]


def references() -> Mapping[str, Architecture]:
    """Five plain networks of less than 300k parameters, as a person would write them down."""

    def of(title: str, stem: int, *stages: tuple[Any, ...]) -> Architecture:
        return Architecture(title, SHAPE, ConvNormAct(stem), stages, Classifier(CLASSES))

    return {
        "resnet8": of(
            "ResNet8",
            16,
            (BasicBlock(16),),
            (BasicBlock(32, stride=2),),
            (BasicBlock(64, stride=2),),
        ),
        "resnet14": of(
            "ResNet14",
            16,
            (BasicBlock(16), BasicBlock(16)),
            (BasicBlock(32, stride=2), BasicBlock(32)),
            (BasicBlock(64, stride=2), BasicBlock(64)),
        ),
        "resnet20": of(
            "ResNet20",
            16,
            (BasicBlock(16),) * 3,
            (BasicBlock(32, stride=2), *(BasicBlock(32),) * 2),
            (BasicBlock(64, stride=2), *(BasicBlock(64),) * 2),
        ),
        "plain": of(
            "Plain",
            32,
            (ConvNormAct(32),),
            (ConvNormAct(64, stride=2), ConvNormAct(64)),
            (ConvNormAct(128, stride=2),),
        ),
        "mobile": of(
            "Mobile",
            24,
            (MBConv(24, expansion=4), MBConv(24, expansion=4)),
            (MBConv(40, stride=2, expansion=4), MBConv(40, expansion=4)),
            (MBConv(80, stride=2, expansion=4), MBConv(80, expansion=4)),
        ),
    }


class Sittings:
    """The pieces of one folder.

    Args:
        folder: Where; made if it is not there.
        only: Part of the names of the pieces to do in this sitting.
    """

    def __init__(self, folder: Path, only: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._only = folder, only
        self._results = folder / "results.jsonl"
        lines = self._results.read_text().splitlines() if self._results.exists() else []
        self.done: dict[str, Piece] = {one["piece"]: one for one in map(json.loads, lines)}

    def place(self, name: str) -> Path:
        """Where a piece works."""
        return self._folder / name

    def spent(self, name: str) -> tuple[float, float]:
        """Core-seconds and seconds that a piece has taken up to now."""
        times = self._folder / f"{name}.times"
        core_seconds, seconds = json.loads(times.read_text()) if times.exists() else (0.0, 0.0)
        return core_seconds, seconds

    def do(self, name: str, command: list[str], *, again: list[str]) -> Piece | None:
        """What a piece found; None if it is not for this sitting.

        Args:
            name: Of the piece; its folder is called so.
            command: Arguments of ``nas`` that begin it.
            again: Those that go on with it.
        """
        if name in self.done or self._only not in name:
            return self.done.get(name)
        before, summary = self.spent(name), self._folder / f"{name}.json"
        arguments = again if any(self.place(name).glob("*.json")) else command
        with summary.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "nas", *arguments, "--json"],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=output,
            )
            for core_seconds, seconds in _watched(process):
                spent = before[0] + core_seconds, before[1] + seconds
                (self._folder / f"{name}.times").write_text(json.dumps(spent))
        if process.returncode:
            sys.exit(f"{name} ended with {process.returncode}")
        found = json.loads(summary.read_text())
        core_seconds, seconds = self.spent(name)
        line = {"piece": name, "core_seconds": core_seconds, "seconds": seconds, **_figures(found)}
        with self._results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        self.done[name] = line
        return line


def _watched(process: subprocess.Popen[bytes]) -> Iterator[tuple[float, float]]:
    """Core-seconds and seconds of a process and all below it, until it has ended."""
    begin, seen = time.monotonic(), dict[tuple[int, int], float]()
    while True:
        over = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        seen |= _processor_time(process.pid)
        yield round(sum(seen.values()), 1), round(time.monotonic() - begin, 1)
        if over:  # what it took is known until it is waited for
            process.wait()
            return
        time.sleep(TICK)


def _processor_time(root: int) -> dict[tuple[int, int], float]:
    """Seconds that each process below one has computed, by its number and when it began."""
    table: dict[int, tuple[int, int, float]] = {}
    hertz = os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        spent = (int(fields[11]) + int(fields[12])) / hertz
        table[int(path.parent.name)] = int(fields[1]), int(fields[19]), spent
    below = {root} & set(table)
    while more := {one for one, (parent, *_) in table.items() if parent in below} - below:
        below |= more
    return {(one, table[one][1]): table[one][2] for one in below}


def _figures(found: Mapping[str, Any]) -> Piece:
    """What is kept of a summary, of a search or a training."""
    best = found.get("best", found)
    test = best["test"].get("metrics", best["test"])
    final = best.get("final_training")
    validation = best["score"] if "score" in best else best["validation"]["accuracy"]
    return {
        "params": best["params"],
        "macs": best["macs"],
        "validation": validation,
        "test": test["accuracy"],
        "epochs": found.get("epochs"),
        "final_training": final,
        **({"comparison": found["comparison"]} if "comparison" in found else {}),
    }


def work(sittings: Sittings, seed: int, options: argparse.Namespace) -> None:
    """The pieces of one run seed, in their order; each needs those before it."""
    data = ["--data", options.data, "--seed", str(seed)]
    name = f"search-{seed}"
    place, left = str(sittings.place(name)), options.hours - sittings.spent(name)[1] / 3600
    how = ["--workers", str(CORES), "--max-hours", f"{max(0.001, left):.4f}"]
    command = ["search", "--space", "mbconv", "--budget", str(options.budget)]
    command += ["--max-params", LIMIT, *data, *how, "--out", place]
    found = sittings.do(name, command, again=["resume", place, *how])
    for name, architecture in references().items():
        network = sittings.place(f"network-{name}")
        if not network.exists():
            export(Winner(lower(architecture)), network)
        one = _train(sittings, f"pace-{name}", network, data, epochs=1)
        if one is None or found is None:
            continue
        epochs = max(1, int(found["core_seconds"] / one["core_seconds"]))
        _train(sittings, f"reference-{name}-{seed}", network, data, epochs=epochs)


def _train(
    sittings: Sittings, name: str, network: Path, data: list[str], *, epochs: int
) -> Piece | None:
    command = ["train", str(network), *data, "--epochs", str(epochs)]
    command += ["--set", f"train.threads={CORES}", "--out", str(sittings.place(name))]
    return sittings.do(name, command, again=command)


def _differences(done: Mapping[str, Piece], seeds: int) -> Iterator[tuple[str, float]]:
    """For each seed that is done: the chosen reference, and how much better the search is."""
    for seed in range(seeds):
        pieces = {name: done.get(f"reference-{name}-{seed}") for name in references()}
        known = {name: piece for name, piece in pieces.items() if piece is not None}
        if f"search-{seed}" in done and len(known) == len(pieces):
            chosen = max(known, key=lambda name: known[name]["validation"])
            yield chosen, done[f"search-{seed}"]["test"] - known[chosen]["test"]


def _mean(values: list[float]) -> str:
    """A mean with its 95 % interval, of normal values."""
    if len(values) < 2:
        return f"{values[0]:.4f}"
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):.4f} +- {t.ppf(0.975, len(values) - 1) * error:.4f}"


def summed_up(done: Mapping[str, Piece], seeds: int) -> Iterator[str]:
    """What stands, line by line."""
    groups: dict[str, list[Piece]] = {}
    for name, piece in done.items():
        if not name.startswith("pace"):
            groups.setdefault(name.rpartition("-")[0], []).append(piece)
    for name, pieces in groups.items():
        tests, spent = [one["test"] for one in pieces], [one["core_seconds"] for one in pieces]
        yield (
            f"{name}: test accuracy {_mean(tests)} ({', '.join(f'{one:.4f}' for one in tests)}), "
            f"{statistics.mean(spent):.0f} core-seconds each, {max(spent):.0f} at most"
        )
    allowed = 3600 * HOURS * CORES
    for piece in groups.get("search", []):
        within = "within" if piece["core_seconds"] <= allowed else "MORE than"
        yield f"{piece['piece']}: {piece['core_seconds']:.0f} core-seconds, {within} {allowed:.0f}"
    found = list(_differences(done, seeds))
    if found:
        names = ", ".join(name for name, _ in found)
        gain = _mean([value for _, value in found])
        yield f"search less the best of five by validation accuracy ({names}): {gain}"


def main() -> None:
    """Do what is left, then say what stands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--only", default="")
    parser.add_argument("--data", default="fashion-mnist")
    options = parser.parse_args()
    sittings = Sittings(options.folder, options.only)
    for seed in range(options.seeds):
        work(sittings, seed, options)
    print("\n".join(summed_up(sittings.done, options.seeds)))


if __name__ == "__main__":
    main()
