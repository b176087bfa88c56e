"""The README's search on digits over several run seeds: test accuracy and wall time of each.

    python benchmarks/digits.py [--budget 100] [--seeds 5]

Scikit-learn's digits prove that a search runs, never its quality: three nearest neighbours
reach 0.987.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import nas


def main() -> None:
    """Run the searches and print one line each, then the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    scores = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            result = nas.search(
                space="mbconv",
                budget=options.budget,
                seed=seed,
                workers=1,
                references="off",
                out=Path(folder) / "run",
            )
        scores.append(result.test["accuracy"])
        best = result.best.trial
        print(
            f"seed {seed}: test accuracy {scores[-1]:.4f}, {best.params:,} parameters, "
            f"{best.macs:,} MACs, {result.seconds:.0f} s",
            flush=True,
        )
    error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else float("nan")
    print(f"mean test accuracy {statistics.mean(scores):.4f}, standard error {error:.4f}")


if __name__ == "__main__":
    main()
