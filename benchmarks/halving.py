"""Evolution with and without successive halving for equal processor time, on a small Fashion-MNIST.

    python benchmarks/halving.py [--seeds 5] [--budget 12] [--epochs 9] [--images 1000]

Without halving ``budget`` children are trained in full; with it as many more as cost the same by
the rungs. Both winners, trained on a part of the training images, are scored on the 10,000 test
images, which no search has seen; all images are averaged to 14x14. Prints processor seconds of the
whole run of each, fresh scores and export included, and the paired difference of test accuracy
with its 95 % t-interval. Debian's package dataset-fashion-mnist has the images.
"""

import argparse
import gzip
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

import nas
from estimators.resizing import resized
from estimators.task import Classification
from nas.halving import cost_share, rungs_of
from nas.limits import Limits, Objective
from nas.loading import find
from nas.plan import Plan

FOLDER = Path("/usr/share/datasets/fashion-mnist")
FACTOR = 3
MAX_MACS = 600_000


def main() -> None:
    """Run pairs of searches, one seed after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    share = share_of(options.budget, options.epochs)
    differences, ratios = [], []
    for seed in range(options.seeds):
        plain = searched(options, seed=seed, budget=options.budget, halving=None)
        halved = searched(options, seed=seed, budget=round(options.budget / share), halving=FACTOR)
        differences.append(halved[0] - plain[0])
        ratios.append(halved[1] / plain[1])
        print(
            f"seed {seed}: test accuracy {plain[0]:.4f} without, {halved[0]:.4f} with halving; "
            f"{plain[1]:.0f} s and {halved[1]:.0f} s",
            flush=True,
        )
    mean, count = statistics.mean(differences), len(differences)
    half = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(differences) / count**0.5
    low, high = mean - half, mean + half
    print(f"halving minus plain: {mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")
    print(f"processor seconds with halving over those without: {statistics.mean(ratios):.2f}")


def share_of(budget: int, epochs: int) -> float:
    """Training of a child with halving, in units of a whole one."""
    wide = Plan(
        budget,
        0,
        Objective("accuracy", "maximize"),
        Limits(),
        halving=FACTOR,
        rungs=rungs_of(FACTOR, budget=FACTOR * budget, fidelity=1.0, recipe={"epochs": epochs}),
    )
    return cost_share(wide)


def searched(
    options: argparse.Namespace, *, seed: int, budget: int, halving: int | None
) -> tuple[float, float]:
    """Accuracy of the winner on all test images, and processor seconds of the run."""
    images, labels = read("train")
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = nas.search(
            space="mbconv",
            data=(images[: options.images], labels[: options.images]),
            budget=budget,
            halving=halving,
            seed=seed,
            max_macs=MAX_MACS,
            workers=0,
            references="off",
            out=Path(folder) / "run",
            settings={"estimator": {"epochs": options.epochs}},
        )
        seconds = time.process_time() - begin
        return accuracy(result), seconds


def accuracy(result: nas.Result) -> float:
    """Of the winner, as it was exported, on the test images."""
    images, labels = read("t10k")
    said = find(result.folder).winner.preprocessing
    assert said is not None  # noqa: S101 - the run says what its images were
    pixels = torch.from_numpy(images).float().unsqueeze(1) / 255
    pixels = (pixels - said.mean[0]) / said.std[0]
    model = result.model
    size = tuple(int(side) for side in result.best.child.graph.input_shape[1:])
    with torch.inference_mode():
        outputs = torch.cat([model(resized(part, size)) for part in pixels.split(500)])
    return Classification(10).measure(outputs, torch.from_numpy(labels).long())["accuracy"]


def read(part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images of half the size and labels, of one of the two files."""
    with gzip.open(FOLDER / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(FOLDER / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    halves = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    return halves, labels.copy()


if __name__ == "__main__":
    main()
