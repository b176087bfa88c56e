"""What counts of an estimator: the regret of its best children, at equal total seconds.

    python benchmarks/estimator_regret.py --space mbconv --minutes 30
    python benchmarks/estimator_regret.py --space mixed --minutes 30
    python benchmarks/estimator_regret.py --space mbconv --report --table mbconv.csv

Children are drawn uniformly over the genotypes of a space, for 4,000 images of Fashion-MNIST at
14x14 pixels. Each is trained in full on several seeds, and every estimator is asked about it. One
line of a CSV is written for each training or score when it is done, so that the work can be spread
over sittings: what has a line is not done again. Seconds are processor time of one thread. A
supernet is trained in a folder beside the CSV, which has that as a line of child -1. ``--report``
needs no training; ``--table`` writes the same networks as a table for `nas bench`.

An estimator scores all children, then its first 12 in 100 are trained in full, and the best of
those is taken. At equal seconds a cheaper estimator may train more of its children, and blind
choice the most. Regrets have 95 % intervals of a percentile bootstrap over children, at equal
seconds also less that of blind choice, from the same samples.
"""

import argparse
import csv
import math
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from estimators.estimator import EvaluationError, Pretrained
from estimators.idx_files import read_idx
from estimators.published import FASHION_MNIST, SYSTEM
from nas import plugins
from nas.audit.findings import Scored, ranking
from nas.audit.sample import drawn
from nas.audit.statistics import DRAWS, expected_regret, regret
from nas.audit.subjects import COSTS, Subject, default_labels, subject
from nas.children import Child
from nas.configuration import Configuration
from nas.interrupts import Interrupts
from nas.plan import AUDIT, training_seed
from nas.preparation import Prepared, prepare
from nas.pretraining import pretrain

IMAGES, EPOCHS = 4_000, 6
SHARE = 0.12  # of the children that an estimator's choice is trained in full
FULL = "full training"
ONCE = -1  # in place of a child: what was done once for all
HEADER = ["what", "child", "seed", "params", "macs", "score", "seconds", "cause"]


class Line(NamedTuple):
    """One line of the CSV."""

    what: str
    child: int
    seed: int
    params: int
    macs: int
    score: float
    seconds: float
    cause: str


def fashion(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first images of the training split, each 2x2 pixels averaged, and their classes."""
    names = list(FASHION_MNIST.files.items())
    (images, one), (labels, other) = names[:2]
    pixels = read_idx(folder / f"{images}.gz", axes=3, digest=one)[:IMAGES].astype(np.float64)
    small = pixels.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    return small, read_idx(folder / f"{labels}.gz", axes=1, digest=other)[:IMAGES]


def read_lines(path: Path) -> list[Line]:
    """What is there, a torn last line left out."""
    if not path.exists():
        return []
    text = path.read_text()
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    return [
        Line(
            row["what"],
            int(row["child"]),
            int(row["seed"]),
            int(row["params"]),
            int(row["macs"]),
            float(row["score"]) if row["score"] else math.nan,
            float(row["seconds"]),
            row["cause"],
        )
        for row in rows
    ]


def append(path: Path, line: Line) -> None:
    """Write a line, to the disk, after whatever was torn is cut off."""
    if not path.exists():
        path.write_text(",".join(HEADER) + "\n")
    text = path.read_text()
    if not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1])
    with path.open("a", newline="") as file:
        score = "" if math.isnan(line.score) else repr(line.score)
        csv.writer(file, lineterminator="\n").writerow(line._replace(score=score))
        file.flush()
        os.fsync(file.fileno())


def measured(one: Subject, child: Child, place: int, seed: int, *, run_seed: int) -> Line:
    """Score a child, or say why that cannot be done; larger is better."""
    kind = 0 if one.label == FULL else 4
    drawn_seed = training_seed(run_seed, AUDIT, kind, place, seed)
    begin, score, cause = time.process_time(), math.nan, ""
    try:
        found = one.estimator.evaluate(
            child.graph, fidelity=one.fidelity, seed=drawn_seed, device="cpu"
        )
        score = one.objective.reward(found.metrics[one.objective.metric])
    except EvaluationError as error:
        cause = error.cause
    seconds = round(time.process_time() - begin, 3)
    return Line(one.label, place, seed, child.params, child.macs, score, seconds, cause)


def pretrained(one: Subject, prepared: Prepared, folder: Path) -> Line:
    """Train what trains once for all children, or read it if it is there; its seconds."""
    assert isinstance(one.estimator, Pretrained)  # noqa: S101 - the caller has looked
    begin = time.process_time()
    with Interrupts(0.0, print) as interrupts:
        pretrain(one.estimator, prepared, folder, interrupts=interrupts, tell=print)
    return Line(one.label, ONCE, 0, 0, 0, math.nan, round(time.process_time() - begin, 3), "")


def wanted(
    subjects: Sequence[Subject], children: Sequence[Child], seeds: int
) -> Iterator[tuple[Subject, int, int]]:
    """Child by child, so that whatever is there is about the same children."""
    for place in range(len(children)):
        for one in subjects:
            for seed in range(seeds if one.label == FULL else 1):
                yield one, place, seed


def collect(prepared: Prepared, children: Sequence[Child], options: argparse.Namespace) -> None:
    """Do what has no line yet, until the time is up."""
    torch.set_num_threads(1)
    labels = default_labels(prepared)
    if "supernet" in plugins.names("estimators") and "supernet" not in labels:
        labels.append("supernet")
    full = Subject.of(FULL, prepared.judge, prepared, fidelity=1.0)
    subjects = [full, *(subject(label, prepared) for label in labels)]
    done = {(line.what, line.child, line.seed) for line in read_lines(options.out)}
    end = time.monotonic() + 60 * options.minutes
    for one in subjects:
        if isinstance(one.estimator, Pretrained):
            folder = options.out.with_suffix(f".{one.label}")
            known = (one.label, ONCE, 0) in done
            if not known:  # what was cut short has no known time
                shutil.rmtree(folder, ignore_errors=True)
            line = pretrained(one, prepared, folder)
            if not known:
                append(options.out, line)
    for one, place, seed in wanted(subjects, children, options.seeds):
        if time.monotonic() > end:
            return
        if (one.label, place, seed) not in done:
            line = measured(one, children[place], place, seed, run_seed=prepared.plan.seed)
            append(options.out, line)
            print(*line, flush=True)


def with_interval(
    figure: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    truth: NDArray[np.float64],
    rewards: NDArray[np.float64],
    drawn_again: NDArray[np.int64],
) -> str:
    """A figure of truth and rewards, with its interval over children that are drawn again."""
    values = [figure(truth[places], rewards[places]) for places in drawn_again]
    low, high = np.quantile(values, (0.025, 0.975))
    return f"{figure(truth, rewards):.4f} [{low:.4f}, {high:.4f}]"


def report(lines: Sequence[Line], children: Sequence[Child], prepared: Prepared) -> None:
    """Print regrets, at the same number of trainings and at equal seconds, and tau."""
    by_what: dict[str, dict[int, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        by_what[line.what][line.child].append(line)
    full = by_what.pop(FULL, {})
    seeds = max((len(found) for found in full.values()), default=0)
    whole = [
        place
        for place, found in sorted(full.items())
        if len(found) == seeds
        and not any(line.cause for line in found)
        and all(len(scores.get(place, [])) == 1 for scores in by_what.values())
    ]
    if len(whole) < 6:
        print(f"{len(whole)} children are measured by everything; 6 are needed")
        return
    truth = np.array([np.mean([line.score for line in full[place]]) for place in whole])
    training = float(np.mean([line.seconds for place in whole for line in full[place]]))
    costs = {
        name: np.array([float(getattr(children[place], name)) for place in whole]) for name in COSTS
    }
    scored = [Scored(name, figures, 0.0) for name, figures in costs.items()]
    for what, found in by_what.items():
        ones = [found[place][0] for place in whole]
        rewards = np.nan_to_num(np.array([one.score for one in ones]), nan=-np.inf)
        once = sum(line.seconds for line in found.get(ONCE, []))
        seconds = float(np.mean([one.seconds for one in ones])) + once / len(whole)
        scored.append(Scored(what, rewards, seconds))
    count, number = math.ceil(SHARE * len(whole)), len(whole)
    total = max(number * one.seconds + count * training for one in scored)
    print(f"{number} children, {seeds} seeds, {training:.1f} s a training; {total:.0f} s in all")
    print(
        f"{'estimator':<18}{'s/child':>8}{f'regret of {count}':>24}{'at equal seconds':>31}"
        f"{'less blind choice':>27}"
    )
    drawn_again = np.random.default_rng(0).integers(number, size=(DRAWS, number))
    blind = min(number, int(total / training))
    for one in scored:
        more = min(number, int((total - number * one.seconds) / training))
        few, many, less = (
            with_interval(figure, truth, one.rewards, drawn_again)
            for figure in (
                lambda truth, rewards: regret(truth, rewards, count),
                lambda truth, rewards, more=more: regret(truth, rewards, more),
                lambda truth, rewards, more=more: (
                    regret(truth, rewards, more) - expected_regret(truth, blind)
                ),
            )
        )
        print(
            f"{one.label:<18}{one.seconds:>8.2f}{few:>24}{f'{many} of {more}':>31}{less:>27}",
        )
    few, many = (
        with_interval(lambda truth, _, of=of: expected_regret(truth, of), truth, truth, drawn_again)
        for of in (count, blind)
    )
    print(f"{'(blind choice)':<18}{0:>8.2f}{few:>24}{f'{many} of {blind}':>31}")
    objective = prepared.plan.verdict
    scores = [[objective.reward(line.score) for line in full[place]] for place in whole]
    found = ranking([children[place] for place in whole], scores, scored[2:], objective=objective)
    ceiling = math.nan if found["ceiling"] is None else found["ceiling"]
    noise = math.nan if found["noise"] is None else found["noise"]
    print(f"between seeds of full training: tau {ceiling:+.2f}, deviation {noise:.4f}")
    for row in found["estimators"]:
        tau, minus = row["tau"], row["minus_macs"]
        figures = [
            math.nan if tau[name] is None else tau[name] for name in ("value", "low", "high")
        ]
        interval = "tau {:+.2f} [{:+.2f}, {:+.2f}]".format(*figures)
        against = "" if minus is None else f", against MACs alone: {minus['verdict']}"
        print(f"{row['estimator']:<20}{interval}{against}")


def write_table(path: Path, lines: Sequence[Line], children: Sequence[Child]) -> None:
    """The children with a score on every seed, as `nas bench` reads them."""
    runs: dict[int, dict[int, float]] = defaultdict(dict)
    for line in lines:
        if line.what == FULL and not line.cause:
            runs[line.child][line.seed] = line.score
    seeds = max((len(found) for found in runs.values()), default=0)
    rows = [place for place, found in sorted(runs.items()) if len(found) == seeds]
    answers = [children[place].genotype.to_dict() for place in rows]
    names = list(dict.fromkeys(name for one in answers for name in one))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [
                *(f"decision:{name}" for name in names),
                "cost:macs",
                "cost:params",
                *(f"run:{seed}" for seed in range(seeds)),
            ]
        )
        for place, one in zip(rows, answers, strict=True):
            child = children[place]
            figures = [runs[place][seed] for seed in range(seeds)]
            cells = [one.get(name, "") for name in names]
            writer.writerow([*cells, child.macs, child.params, *figures])


def main() -> None:
    """Go on with a collection, or report what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="mbconv")
    parser.add_argument("--children", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--max-macs", type=int, default=3_000_000)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--data-dir", type=Path, default=SYSTEM / "fashion-mnist")
    parser.add_argument("--out", type=Path, help="by default estimators-SPACE.csv beside this file")
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--table", type=Path, help="write a table for nas bench")
    options = parser.parse_args()
    if options.out is None:
        options.out = Path(__file__).parent / f"estimators-{options.space}.csv"
    prepared = prepare(
        Configuration(
            space=options.space,
            data=fashion(options.data_dir),
            strategy="random",
            max_macs=options.max_macs,
            settings={"estimator": {"epochs": EPOCHS}},
            device="cpu",
        )
    )
    children = drawn(prepared, options.children, purpose=0)
    if not options.report:
        collect(prepared, children, options)
    lines = read_lines(options.out)
    report(lines, children, prepared)
    if options.table is not None:
        write_table(options.table, lines, children)


if __name__ == "__main__":
    main()
