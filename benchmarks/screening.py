"""Whether screening proposals finds better networks: random search on digits, in pairs.

    python benchmarks/screening.py [--seeds 10] [--budget 12] [--max-params 40000]

For each seed one search without a screen and one by each score, of the same budget: children of
one epoch, one at a time. Each winner is then trained on two fresh seeds for three epochs, the same
two in all searches of a seed; its figure is the mean accuracy on validation images, which the
children were compared by as well. Printed are the paired differences to no screen with 95 %
intervals (Student's t over seeds), and the processor seconds of a search.
"""

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import torch
from scipy import stats

from estimators.training import Training
from nas.configuration import Configuration, prepare
from nas.construction import prepare_estimator
from nas.engine import Search
from nas.journal import Journal
from nas.plan import FINAL, training_seed
from nas.record import Record
from nas.workers import InProcessWorkers

SCREENS = (None, "naswot", "params")
FRESH = 2  # trainings of a winner


def winner_of(screen: str | None, *, seed: int, budget: int, most: int) -> tuple[float, float]:
    """Mean accuracy of a search's winner, and processor seconds of the search."""
    prepared = prepare(
        Configuration(
            budget=budget,
            strategy="random",
            device="cpu",
            seed=seed,
            final_training="off",
            max_params=most,
            screen=screen,
            settings={"estimator": {"epochs": 1}},
        )
    )
    plan, children = prepared.plan, prepared.children
    record = Record(plan.objective, budget)
    metrics = prepared.metrics(prepared.estimator)
    workers = InProcessWorkers(prepared.estimator, "cpu", metrics=metrics)
    begin = time.process_time()
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal(Path(folder) / "events.jsonl", record.apply) as journal,
    ):
        search = Search(
            plan,
            prepared.strategy,
            children=children,
            record=record,
            journal=journal,
            screen=prepared.screen,
        )
        while not search.over:
            job = search.next_job()
            if job is not None:
                workers.submit(job)
                outcome = workers.wait(0)
                assert outcome is not None  # noqa: S101 - it runs to its end
                search.settle(outcome)
    seconds = time.process_time() - begin
    graph = children.child(record.ranking()[0].genotype).graph
    judge = Training(epochs=3)
    prepare_estimator(judge, prepared.images, prepared.task, children=children, seed=seed)
    scores = [
        judge.evaluate(
            graph, fidelity=1.0, seed=training_seed(seed, FINAL, repeat), device="cpu"
        ).metrics["accuracy"]
        for repeat in range(FRESH)
    ]
    return statistics.mean(scores), seconds


def difference(values: list[float]) -> str:
    """Mean of paired differences with its interval."""
    mean, count = statistics.mean(values), len(values)
    half = stats.t.ppf(0.975, count - 1) * statistics.stdev(values) / math.sqrt(count)
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


def main() -> None:
    """Print a line for each search, then one for each score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--max-params", type=int, default=40_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str | None, list[float]] = {screen: [] for screen in SCREENS}
    seconds: dict[str | None, list[float]] = {screen: [] for screen in SCREENS}
    for seed in range(options.seeds):
        for screen in SCREENS:
            score, took = winner_of(
                screen, seed=seed, budget=options.budget, most=options.max_params
            )
            found[screen].append(score)
            seconds[screen].append(took)
            print(f"seed {seed} {screen}: {score:.4f}, {took:.1f} s", flush=True)
    for screen in SCREENS:
        pairs = [mine - plain for mine, plain in zip(found[screen], found[None], strict=True)]
        by = "" if screen is None else f", {difference(pairs)} against none"
        print(
            f"{screen}: mean {statistics.mean(found[screen]):.4f}{by}, "
            f"{statistics.mean(seconds[screen]):.1f} s a search"
        )
    pairs = [a - b for a, b in zip(found["naswot"], found["params"], strict=True)]
    print(f"naswot against params: {difference(pairs)}")


if __name__ == "__main__":
    main()
