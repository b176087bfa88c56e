"""Whether scores of untrained networks help a search: on digits, in pairs.

    python benchmarks/screening.py screen|feature [--seeds 10] [--budget 12] [--max-params 40000]

``screen``: random search, of whose proposals the one that scores best is trained. ``feature``: the
predictor, which learns from the score beside decisions and costs. For each seed one search without
a score and one with each, of the same budget: children of one epoch, one at a time. Each winner is
then trained on two fresh seeds for three epochs, the same two in all searches of a seed; its figure
is the mean accuracy on validation images, which the children were compared by as well. Printed are
the paired differences to no score with 95 % intervals (Student's t over seeds), and the processor
seconds of a search.
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
from nas.configuration import Configuration
from nas.construction import prepare_estimator
from nas.engine import Search
from nas.journal import Journal
from nas.plan import FINAL, training_seed
from nas.preparation import prepare
from nas.record import Record
from nas.workers import InProcessWorkers

SCORES = {"screen": (None, "naswot", "params"), "feature": (None, "naswot", "log_synflow")}
STRATEGIES = {"screen": "random", "feature": "predictor"}
FRESH = 2  # trainings of a winner


def winner_of(
    how: str, score: str | None, *, seed: int, budget: int, most: int
) -> tuple[float, float]:
    """Mean accuracy of a search's winner, and processor seconds of the search."""
    prepared = prepare(
        Configuration(
            budget=budget,
            strategy=STRATEGIES[how],
            device="cpu",
            seed=seed,
            final_training="off",
            max_params=most,
            screen=score if how == "screen" else None,
            features=(score,) if how == "feature" and score is not None else (),
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("how", choices=SCORES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--max-params", type=int, default=40_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scores = SCORES[options.how]
    found: dict[str | None, list[float]] = {score: [] for score in scores}
    seconds: dict[str | None, list[float]] = {score: [] for score in scores}
    for seed in range(options.seeds):
        for score in scores:
            figure, took = winner_of(
                options.how, score, seed=seed, budget=options.budget, most=options.max_params
            )
            found[score].append(figure)
            seconds[score].append(took)
            print(f"seed {seed} {score}: {figure:.4f}, {took:.1f} s", flush=True)
    for score in scores:
        pairs = [mine - plain for mine, plain in zip(found[score], found[None], strict=True)]
        by = "" if score is None else f", {difference(pairs)} against none"
        print(
            f"{score}: mean {statistics.mean(found[score]):.4f}{by}, "
            f"{statistics.mean(seconds[score]):.1f} s a search"
        )
    _, one, other = scores
    pairs = [a - b for a, b in zip(found[one], found[other], strict=True)]
    print(f"{one} against {other}: {difference(pairs)}")


if __name__ == "__main__":
    main()
