"""What the engine costs beside training: gaps on a worker, time and memory for free children.

``python benchmarks/overhead.py`` prints four parts; ``--parts gaps free memory others`` picks some.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

import nas
from estimators.data import ImageData
from estimators.estimator import Checkpoint, Estimator, Evaluation, Report
from estimators.task import Task
from nas.progress import Progress
from nas.record import Record
from nas.workers import Workers
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.mbconv import MBConvSpace

SECONDS = 0.7


class Sleeper(Estimator):
    """Takes a while, notes when, and scores by size."""

    def __init__(self, *, seconds: float = 0.0, log: str = "") -> None:
        self._seconds, self._log = seconds, log

    def prepare(self, data: ImageData, task: Task) -> None:
        """Nothing."""

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        """Both options."""
        return {"estimator": "sleeper", "seconds": self._seconds, "log": self._log}

    def evaluate(
        self,
        graph: Graph,
        *,
        fidelity: float,
        seed: int,
        device: str,
        start: Checkpoint | None = None,
        report: Report | None = None,
    ) -> Evaluation:
        """Sleep; everything is as cheap as can be."""
        begin = time.time()
        if self._seconds:
            time.sleep(self._seconds)
            note(self._log, begin, seed)
        accuracy = graph.params / 1e9
        return Evaluation({"accuracy": accuracy, "log_loss": 1 - accuracy})


def note(log: str, begin: float, seed: int = 0) -> None:
    """Add when a child began and ended on this worker."""
    with Path(f"{log}-{os.getpid()}").open("a") as file:
        file.write(json.dumps([begin, time.time(), seed]) + "\n")


def spans_of(log: Path) -> list[list[tuple[float, float, int]]]:
    """Begin, end and seed of each child, in order, by worker."""
    return [
        sorted(tuple(json.loads(line)) for line in path.read_text().splitlines())
        for path in log.parent.glob(f"{log.name}-*")
    ]


def gaps(workers: list[list[tuple[float, float, int]]], skip: int = 1) -> str:
    """Time between one child's end and the next one's start, as a share of busy time.

    Args:
        workers: Children by worker.
        skip: First children of each worker that are left out.
    """
    waiting, busy, found = 0.0, 0.0, []
    for spans in workers:
        for (_, end, _), (begin, after, _) in pairwise(spans[skip:]):
            found.append(1000 * (begin - end))
            waiting, busy = waiting + begin - end, busy + after - begin
    if not found:
        return "nothing measured"
    return (
        f"{100 * waiting / busy:5.2f} % of busy time; gap {statistics.median(found):.1f} ms "
        f"median, {max(found):.1f} at most, of {len(found)}"
    )


def search(folder: Path, budget: int, *, workers: int, study: bool, **options: Any) -> nas.Result:
    """A search over mbconv on digits with children that train nothing."""
    return nas.search(
        space="mbconv",
        strategy="random",
        estimator=Sleeper,
        budget=budget,
        out=folder,
        workers=workers,
        study=study,
        references="off",
        settings={"estimator": {key: options[key] for key in ("seconds", "log") if key in options}},
        progress=options.get("progress"),
    )


def part_gaps(place: Path, children: int) -> None:
    """Children of 0.7 s on two workers, with journal and study.

    Gaps are counted while asks remain; start-up, and the tail with its fresh scores, are apart.
    """
    log = place / "ours"
    start = time.time()
    result = search(place / "run", children, workers=2, study=True, seconds=SECONDS, log=str(log))
    end = time.time()
    asked = {trial.seed for trial in result.trials}
    workers = [[span for span in spans if span[2] in asked] for spans in spans_of(log)]
    first = min(spans[0][0] for spans in workers)
    last = min(spans[-1][1] for spans in workers)  # from here on one has nothing left to do
    print(
        f"gaps    nas, two workers:      {gaps(workers)}; start-up {first - start:.1f} s, "
        f"tail {end - last:.1f} s of {end - start:.0f}"
    )


TUNE = """
import time
from pathlib import Path
from ray import tune
from overhead import note, SECONDS
def child(config):
    begin = time.time()
    time.sleep(SECONDS)
    note({log!r}, begin)
    tune.report({{"accuracy": config["x"]}})
space = {{"x": tune.uniform(0, 1), **{{f"d{{i}}": tune.choice([1, 2, 3]) for i in range(20)}}}}
tune.Tuner(
    child, param_space=space,
    tune_config=tune.TuneConfig(num_samples={children}, max_concurrent_trials=2,
                                metric="accuracy", mode="max"),
    run_config=tune.RunConfig(storage_path={place!r}, verbose=0),
).fit()
"""

OPTUNA = """
import time
import optuna
from overhead import note, SECONDS
def objective(trial):
    values = [trial.suggest_categorical(f"d{{i}}", [1, 2, 3]) for i in range(20)]
    begin = time.time()
    time.sleep(SECONDS)
    note({log!r}, begin)
    return sum(values)
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(study_name="s", storage="sqlite:///{place}/optuna.db",
                            load_if_exists=True, sampler=optuna.samplers.RandomSampler())
study.optimize(objective, n_trials={children} // 2)
"""


def part_others(place: Path, children: int) -> None:
    """The same children through Ray Tune and through Optuna, as their users would write it."""
    here = str(Path(__file__).resolve().parent)
    paths = os.pathsep.join([here, *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths}
    for name, script, processes in (("Ray Tune", TUNE, 1), ("Optuna", OPTUNA, 2)):
        log = place / name.split()[-1].lower()
        text = script.format(log=str(log), place=str(place), children=children)
        begin = time.monotonic()
        running = []
        for number in range(processes):
            command = [sys.executable, "-c", text]
            running.append(subprocess.Popen(command, stdout=-3, stderr=-3, env=environment))
            if number == 0 and processes > 1:
                time.sleep(5)  # the first one makes the database
        for process in running:
            process.wait()
        # A new process for every child leaves no gap on a worker to measure.
        workers = spans_of(log)
        spans = [span for one in workers for span in one]
        wall = max(end for _, end, _ in spans) - min(begin for begin, _, _ in spans)
        busy = sum(end - begin for begin, end, _ in spans)
        share = 100 * (2 * wall - busy) / busy
        total = time.monotonic() - begin
        found = gaps(workers) if len(workers) <= 2 else "new processes"
        print(f"gaps    {name + ':':<23}{found}; idle {share:.1f} % of busy time; {total:.0f} s")


class Times(Progress):
    """Notes time and memory at every finished trial."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.memory: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Nothing."""

    def begin(self, folder: Path, record: Record, workers: Workers) -> None:
        """Start the clock."""
        self.record = record
        self._note()

    def started(self, key: int, title: str) -> None:
        """Nothing."""

    def finished(self, trial: Any) -> None:
        """Note."""
        self._note()

    def rescored(self, finalist: Any) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def _note(self) -> None:
        self.at.append(time.perf_counter())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * resource.getpagesize() / 2**20)


def part_free(place: Path, children: int) -> None:
    """Free children in process with the journal alone, above network, cost and hash."""
    times = Times()
    search(place / "free", children, workers=0, study=False, progress=times)
    space = MBConvSpace((1, 8, 8), 10)
    rng = np.random.default_rng(0)
    alone = []
    for _ in range(children):
        genotype = space.genome.sample_genotype(rng)
        begin = time.perf_counter()
        graph = lower(space.architecture(genotype))
        _ = graph.params, graph.macs, digest(graph)
        alone.append(time.perf_counter() - begin)
    each = 1000 * (times.at[-1] - times.at[0]) / children
    network = 1000 * statistics.fmean(alone)
    print(
        f"free    {children:,} children, journal alone: {each:.2f} ms each, of which network, cost "
        f"and hash {network:.2f}: {each - network:.2f} ms above"
    )


def part_memory(place: Path, children: int) -> None:
    """Free children with journal and study: growth of memory and time."""
    times = Times()
    search(place / "memory", children, workers=0, study=True, progress=times)
    tenth = children // 10
    early = times.at[2 * tenth] - times.at[tenth]
    late = times.at[-1] - times.at[-1 - tenth]
    grown = times.memory[-1] - times.memory[tenth]
    every = 1000 * (times.at[-1] - times.at[0]) / children
    print(
        f"memory  {children:,} free children with the study: {grown:+.0f} MB from child {tenth} "
        f"on; {every:.2f} ms each, the last tenth {late / early:.2f}x the second"
    )


PARTS = {"gaps": part_gaps, "others": part_others, "free": part_free, "memory": part_memory}
COUNTS = {"gaps": 100, "others": 40, "free": 1000, "memory": 2000}


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="Of the numbers of children.")
    options = parser.parse_args()
    for name in options.parts:
        with tempfile.TemporaryDirectory() as place:
            PARTS[name](Path(place), max(10, int(options.scale * COUNTS[name])))


if __name__ == "__main__":
    main()
