"""Children of `mbconv` inside Ray Tune, with ASHA stopping the poor ones early."""

import sys
from pathlib import Path

from ray import tune
from ray.tune.schedulers import ASHAScheduler

import nas
from nas.configuration import Configuration
from nas.tune import tune_run

budget, folder = int(sys.argv[1]), sys.argv[2]
STEPS = 4

with tune_run(folder, Configuration(space="mbconv", budget=budget), steps=STEPS) as run:
    tuner = tune.Tuner(
        tune.with_resources(run.trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=run.searcher,
            scheduler=ASHAScheduler(metric="accuracy", mode="max", max_t=STEPS),
            num_samples=budget,
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(storage_path=str(Path(folder).resolve() / "tune"), verbose=1),
    )
    tuner.fit()

# The folder is an ordinary run: score its best children on fresh seeds, and export the winner.
result = nas.resume(folder, workers=0)
print(result.best.trial, result.test)
