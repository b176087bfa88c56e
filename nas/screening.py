"""Which of several proposals is asked for: the one whose untrained network scores best."""

from typing import final

from estimators.estimator import STAND_IN, Estimator, Evaluation
from estimators.proxy import SCORES, Proxy
from estimators.task import Task
from nas.children import Child
from nas.errors import usage_error
from nas.plan import SCREENING, training_seed
from nas.plugins import unknown
from nas.workers import Job, run_job
from search_spaces.genome import Genotype
from strategies.grid import GridSearch
from strategies.strategy import Strategy

LOOKED_AT = 8  # proposals before each ask, unless the user says otherwise


@final
class Screen:
    """Scores untrained networks, so that of several proposals the most promising one is trained.

    A score is a function of genotype, images and the run's seed, whatever was scored before: a run
    that goes on chooses as it would have. It is computed in this process, by one thread of the
    CPU, wherever children are trained.

    Args:
        proxy: Prepared; larger scores are taken for better.
        task: What is asked of the images.
        looked_at: Proposals that are drawn for each ask, at least 2.
        seed: Of the run.

    Attributes:
        score: One of ``estimators.proxy.SCORES``.
        looked_at: As above.
        recipe: All that scores depend on beside genotype and seed.
    """

    def __init__(self, proxy: Proxy, task: Task, *, looked_at: int, seed: int) -> None:
        self.recipe = proxy.recipe
        self.score = str(self.recipe["score"])
        self.looked_at = looked_at
        self._proxy = proxy
        self._metrics = proxy.metrics(task)
        self._seed = training_seed(seed, SCREENING)
        self._values: dict[Genotype, float | None] = {}

    def value(self, child: Child) -> float | None:
        """The score of a child; None if it has none, such as one that is not finite."""
        if child.genotype not in self._values:
            job = Job(0, child.graph, 1.0, self._seed)
            found = run_job(self._proxy, job, device="cpu", metrics=self._metrics)
            value = found.metrics[STAND_IN] if isinstance(found, Evaluation) else None
            self._values[child.genotype] = value
        return self._values[child.genotype]


def check_screen(score: str, *, strategy: Strategy, estimator: Estimator) -> None:
    """Refuse a screen that means nothing beside the other parts of a run.

    Raises:
        NasError: If the score is unknown, guides the search already or ranks by less than is
            asked for, or the strategy has nothing to choose from (exit code 2).
    """
    if score not in SCORES:
        raise usage_error(f"--screen: {unknown(score, SCORES)}")
    objectives = len(strategy.directions)
    if objectives > 1:  # larger networks score better, and the cheap end of the front starves
        raise usage_error(f"--screen ranks by one --objective, got {objectives}; leave one out")
    if isinstance(strategy, GridSearch):
        raise usage_error(
            "--screen needs several proposals to choose from, and grid has one at a time; "
            "leave it out, or take --strategy random"
        )
    if isinstance(estimator, Proxy) and estimator.recipe["score"] == score:
        raise usage_error(
            f"--screen must be another score than that of the estimator, got {score} for both; "
            "leave it out and take a larger --budget"
        )
