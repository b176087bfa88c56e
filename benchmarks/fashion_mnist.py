"""A search on Fashion-MNIST with its winner trained to the end, against five fixed networks.

    python benchmarks/fashion_mnist.py FOLDER [--seeds 3] [--budget 12] [--epochs 60] [--only NAME]

``--data digits`` shows in minutes that it runs.

For each run seed: a search of mbconv up to 300k parameters; full training of the network it found;
and five reference networks, each trained fully for a fifth of the core-seconds of both together.
Every finished piece is one JSON line in FOLDER/results.jsonl and is not done again, so that the
pieces can be spread over several sittings; a piece that was interrupted begins again. ``--only``
does the pieces whose name contains a text. At the end, what stands is summed up.

One core: whatever trains has one thread. Core-seconds are processor time of the piece's processes.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.export import Winner, export
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import BasicBlock, Classifier, ConvNormAct, MBConv

SHAPE, CLASSES, LIMIT = (1, 28, 28), 10, "300k"
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

    def do(self, name: str, command: list[str]) -> Piece | None:
        """What a piece found; None if it is not for this sitting."""
        if name in self.done or self._only not in name:
            return self.done.get(name)
        shutil.rmtree(self.place(name), ignore_errors=True)
        before = _core_seconds()
        command = [sys.executable, "-m", "nas", *command, "--out", str(self.place(name)), "--json"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ran = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
        found = {"core_seconds": _core_seconds() - before, **json.loads(ran.stdout)}
        line = {"piece": name, **_figures(found)}
        with self._results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        self.done[name] = line
        return line


def _core_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _figures(found: Mapping[str, Any]) -> Piece:
    """What is kept of a summary, of a search or a training."""
    best = found.get("best", found)
    test = best["test"].get("metrics", best["test"])
    validation = best["score"] if "score" in best else best["validation"]["accuracy"]
    return {
        "core_seconds": round(found["core_seconds"], 1),
        "params": best["params"],
        "validation": validation,
        "test": test["accuracy"],
        "epochs": found.get("epochs"),
    }


def work(sittings: Sittings, seed: int, options: argparse.Namespace) -> None:
    """The pieces of one run seed, in their order; each needs those before it."""
    data = ["--data", options.data, "--seed", str(seed)]
    search = f"search-{seed}"
    command = ["search", "--space", "mbconv", "--budget", str(options.budget), *data]
    found = sittings.do(
        search, [*command, "--max-params", LIMIT, "--workers", "0", "--final-training", "off"]
    )
    if found is None:
        return
    source, epochs = str(sittings.place(search)), str(options.epochs)
    trained = sittings.do(f"train-{seed}", ["train", source, *data, "--epochs", epochs])
    if trained is None:
        return
    hours = (found["core_seconds"] + trained["core_seconds"]) / len(references()) / 3600
    for name, architecture in references().items():
        network = sittings.place(f"network-{name}")
        if not network.exists():
            export(Winner(lower(architecture)), network)
        sittings.do(
            f"reference-{name}-{seed}",
            ["train", str(network), *data, "--max-hours", f"{hours:.6f}"],
        )


def main() -> None:
    """Do what is left, then say what stands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--only", default="")
    parser.add_argument("--data", default="fashion-mnist")
    options = parser.parse_args()
    sittings = Sittings(options.folder, options.only)
    for seed in range(options.seeds):
        work(sittings, seed, options)
    groups: dict[str, list[Piece]] = {}
    for name, piece in sittings.done.items():
        groups.setdefault(name.rpartition("-")[0], []).append(piece)
    for name, pieces in groups.items():
        tests = [piece["test"] for piece in pieces]
        seconds = statistics.mean(piece["core_seconds"] for piece in pieces)
        print(
            f"{name}: test accuracy {statistics.mean(tests):.4f}, mean of {len(tests)} "
            f"({', '.join(f'{one:.4f}' for one in tests)}), {seconds:.0f} core-seconds each"
        )


if __name__ == "__main__":
    main()
