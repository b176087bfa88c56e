"""The last trainings: winner and published network to the end, with a recipe of their own."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from estimators.estimator import EvaluationError
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from nas.journal import Journal
from nas.preparation import Prepared
from nas.readings import Who, named, of_whom
from nas.run_folder import TRIALS
from nas.trial import Trial
from nas.weights import keep
from nas.workers import RETRIES, Failure, Job, Outcome
from search_spaces.graph import Graph

USED = 0.95  # of the time that is left, at most: test images and export come after it


def checkpoint_of(folder: Path, who: Who) -> Path:
    """Where the final training of a network keeps how far it is."""
    return folder.resolve() / TRIALS / f"{who}-final.checkpoint"


@final
@dataclass(frozen=True, slots=True)
class Contender:
    """A network that is to be trained to the end.

    Attributes:
        who: The trial that found it, or the name of a published network.
        graph: The network.
        seed: Of its training.
    """

    who: Who
    graph: Graph
    seed: int

    @property
    def name(self) -> str:
        """What it is, for the eye."""
        return named(self.who)


def affordable(
    contender: Contender, prepared: Prepared, recipe: FullRecipe, *, seconds: float
) -> int:
    """Epochs of a recipe that fit into some seconds; all of them where ``pace_of`` is 0.

    Args:
        contender: The network.
        prepared: Of the run; its device is one of this machine.
        recipe: How the network is to be trained.
        seconds: What is left, of which this takes some; may be infinite.
    """
    begin = time.monotonic()
    pace = pace_of(contender, prepared, recipe)
    left = USED * (seconds - (time.monotonic() - begin))
    return max(0, int(min(recipe.epochs, left / pace))) if pace else recipe.epochs


def pace_of(contender: Contender, prepared: Prepared, recipe: FullRecipe) -> float:
    """Seconds of an epoch of a recipe, by a few steps on this machine.

    0 where not even these can be taken: the training itself will say why.
    """
    images, task, device = prepared.images, prepared.task, prepared.plan.device
    try:
        fit = FullTraining(contender.graph, images, task, recipe, seed=0, device=device)
        return fit.seconds_per_pass()
    except EvaluationError:
        return 0.0


@final
class FinalTraining:
    """One job: a network, trained to the end. It is driven as ``Search`` is.

    A failure is recorded: a winner then keeps the weights that it has.

    Args:
        contender: The network.
        recipe: That of the estimator which does it.
        journal: Receives what came of it.
        folder: The run folder, for weights.
    """

    def __init__(
        self,
        contender: Contender,
        *,
        recipe: Mapping[str, float | int | str],
        journal: Journal,
        folder: Path,
    ) -> None:
        self._contender, self._recipe = contender, recipe
        self._journal, self._folder = journal, folder
        self._open = self._done = False
        self._losses = 0
        self._failure: Failure | None = None

    @property
    def failure(self) -> Failure | None:
        """Why it has come to a bad end; None if it has not."""
        return self._failure

    @property
    def over(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self._done

    def title(self, key: int) -> str:
        """What the job is, for the eye."""
        return f"{self._contender.name}, final training, {self._recipe['epochs']} epochs"

    def next_job(self) -> Job | None:
        """The training, unless it is in hand or done."""
        if self._open or self._done:
            return None
        self._open = True
        return Job(0, self._contender.graph, 1.0, self._contender.seed, weights=True)

    def settle(self, outcome: Outcome) -> list[Trial]:
        """Record what became of it.

        Raises:
            NasError: If the journal or the weights cannot be written.
        """
        result, who = outcome.result, self._contender.who
        self._open = False
        if isinstance(result, Failure) and result.is_lost:
            self._losses += 1
            if self._losses <= RETRIES:
                return []
        kept = None
        if not isinstance(result, Failure) and result.weights is not None:
            kept = keep(self._folder, f"{who}-final", result.weights)
        self._journal.append(
            "final_training",
            **of_whom(who),
            seed=self._contender.seed,
            fidelity=1.0,
            recipe=dict(self._recipe),
            metrics={} if isinstance(result, Failure) else dict(result.metrics),
            weights=None if kept is None else kept.document(),
            cause=result.cause if isinstance(result, Failure) else "",
            message=result.message if isinstance(result, Failure) else "",
            seconds=round(outcome.seconds, 6),
        )
        self._done = True
        self._failure = result if isinstance(result, Failure) else None
        if self._failure is None or not self._failure.is_lost:  # the next session goes on from it
            checkpoint_of(self._folder, who).unlink(missing_ok=True)
        return []
