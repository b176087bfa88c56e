"""Scores of untrained networks, as screens and strategies look them up."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

from estimators.data import ImageData
from estimators.estimator import STAND_IN, Estimator, Evaluation
from estimators.proxy import BASELINES, SCORES, Proxy
from estimators.task import Task
from nas.children import Children
from nas.configuration import Configuration
from nas.construction import prepare_estimator
from nas.errors import usage_error
from nas.plan import SCREENING, training_seed
from nas.plugins import unknown
from nas.workers import Job, run_job
from search_spaces.genome import Genotype

FEATURES = tuple(name for name in SCORES if name not in BASELINES)


@final
class UntrainedScore:
    """A score is a function of genotype, images and the run's seed, whatever was scored before.

    So a run that goes on chooses as it would have. It is computed in this process, by one thread
    of the CPU, wherever children are trained, and kept.

    Args:
        proxy: Prepared; larger scores are taken for better.
        task: What is asked of the images.
        children: Makes the networks.
        seed: Of the run.

    Attributes:
        name: One of ``estimators.proxy.SCORES``.
        recipe: All that scores depend on beside genotype and seed.
    """

    def __init__(self, proxy: Proxy, task: Task, *, children: Children, seed: int) -> None:
        self.recipe = proxy.recipe
        self.name = proxy.score
        self._proxy = proxy
        self._metrics = proxy.metrics(task)
        self._children = children
        self._seed = training_seed(seed, SCREENING)
        self._values: dict[Genotype, float | None] = {}

    def value(self, genotype: Genotype) -> float | None:
        """The score of a network; None if it has none, such as one that is not finite."""
        if genotype not in self._values:
            job = Job(0, self._children.child(genotype).graph, 1.0, self._seed)
            found = run_job(self._proxy, job, device="cpu", metrics=self._metrics)
            value = found.metrics[STAND_IN] if isinstance(found, Evaluation) else None
            self._values[genotype] = value
        return self._values[genotype]


@final
class ScoredChildren:
    """Children with scores of their untrained networks: a strategy's ``ScoredFeatures``.

    Args:
        children: What knows costs and limits.
        known: The scores, in the order in which a strategy gets them.
    """

    def __init__(self, children: Children, known: Sequence[UntrainedScore]) -> None:
        self._known = tuple(known)
        self.costs = children.costs
        self.feasible = children.feasible
        self.repaired = children.repaired

    def scores(self, genotype: Genotype) -> tuple[float, ...]:
        """The scores of the untrained network; NaN for one that it does not have."""
        found = (known.value(genotype) for known in self._known)
        return tuple(math.nan if value is None else value for value in found)


def untrained_score(
    name: str,
    *,
    images: ImageData,
    task: Task,
    children: Children,
    seed: int,
    recipe: Mapping[str, Any],
) -> UntrainedScore:
    """A score of a run, as an earlier session derived it or for the first time.

    Args:
        name: One of ``estimators.proxy.SCORES``.
        images: The data.
        task: What is asked of them.
        children: Of the run; a score of ranks draws those it compares with.
        seed: Of the run.
        recipe: What an earlier session derived; empty for none.

    Raises:
        NasError: If the images do not do for it (exit code 2).
    """
    proxy = Proxy(score=name, batch_size=recipe.get("batch_size"))
    prepare_estimator(proxy, images, task, children=children, seed=seed)
    return UntrainedScore(proxy, task, children=children, seed=seed)


def check_features(
    names: Sequence[str], *, strategy: Any, estimator: Estimator, objectives: int
) -> None:
    """Refuse features that mean nothing beside the other parts of a run.

    Args:
        names: Of scores.
        strategy: What makes the strategy, mostly its class.
        estimator: Of the run.
        objectives: How many there are.

    Raises:
        NasError: If a score is unknown, given twice or known already, or the strategy makes
            nothing of it (exit code 2).
    """
    for place, name in enumerate(names):
        if name in BASELINES:
            raise usage_error(f"--feature {name} is known to every strategy; leave it out")
        check_score("--feature", name, FEATURES, estimator=estimator)
        if name in names[:place]:
            raise usage_error(f"--feature must be given once for each score, got {name} twice")
    if names and not getattr(strategy, "uses_scores", False):
        if objectives > 1:
            raise usage_error(
                f"--feature is for --strategy predictor, which has one --objective, got "
                f"{objectives}; leave --feature or one of them out"
            )
        raise usage_error(
            "--feature needs a strategy that makes something of scores, such as predictor; one of "
            "your own says so by uses_scores = True"
        )


def check_score(option: str, name: str, known: Sequence[str], *, estimator: Estimator) -> None:
    """Refuse a score that is unknown or guides the search already.

    Args:
        option: What it was given to.
        name: Of the score.
        known: Those that may be given.
        estimator: Of the run.

    Raises:
        NasError: If it is refused (exit code 2).
    """
    if name not in known:
        raise usage_error(f"{option}: {unknown(name, known)}")
    if isinstance(estimator, Proxy) and estimator.score == name:
        raise usage_error(
            f"{option} must be another score than that of the estimator, got {name} for both; "
            "leave it out and take a larger --budget"
        )


def untrained_scores(
    configuration: Configuration, images: ImageData, task: Task, children: Children
) -> dict[str, UntrainedScore]:
    """Every score of untrained networks that is asked for, by name, those of a screen included.

    Args:
        configuration: What the user asks for, and what an earlier session derived.
        images: The data.
        task: What is asked of them.
        children: Of the run.

    Raises:
        NasError: If one cannot be had (exit code 2).
    """
    screen = configuration.screen
    names = [*configuration.features, *([] if screen is None else [screen])]
    return {
        name: untrained_score(
            name,
            images=images,
            task=task,
            children=children,
            seed=configuration.seed,
            recipe=configuration.untrained.get(name, {}),
        )
        for name in dict.fromkeys(names)
    }
