"""Which weights the networks at the end of a run have, and where they come from."""

import time
from pathlib import Path
from typing import final

from estimators.estimator import EvaluationError
from nas.device import device_here
from nas.errors import NasError
from nas.finalists import Finalist
from nas.journal import Journal
from nas.plan import FINAL, training_seed
from nas.preparation import Prepared
from nas.readings import FINAL_TRAINING, WEIGHTS, Kept, Reading, Who
from nas.record import Record
from nas.result import Recipe, Trained
from nas.rivals import Rival
from nas.weights import keep, still_there
from nas.workers import LOST


@final
class FinalWeights:
    """Weights from the fresh scores, a final training, or a training for want of any.

    Args:
        folder: The run folder, locked by this process.
        prepared: All that the run needs.
        record: Of the run; the journal keeps it up to date.
        journal: Receives what is trained here.
    """

    def __init__(
        self, folder: Path, prepared: Prepared, *, record: Record, journal: Journal
    ) -> None:
        self._folder, self._prepared, self._plan = folder, prepared, prepared.plan
        self._record, self._journal = record, journal

    def is_to_finish(self, who: Who) -> bool:
        """Whether a network still has to be trained to the end."""
        if self._prepared.recipe is None:
            return False
        done = self.final_training(who)
        if done is None or done.failed in LOST:  # a machine's fault is not the network's
            return True
        return not done.failed and self._kept(who, FINAL_TRAINING) is None

    def has_weights(self, best: Finalist) -> bool:
        """Whether a winner has weights of any of its trainings, so that none is needed for them."""
        ordinal = best.trial.ordinal
        kept = (self._kept(ordinal, place) for place in (FINAL_TRAINING, WEIGHTS))
        return best.weights is not None or any(one is not None for one in kept)

    def final_training(self, who: Who) -> Reading | None:
        """What the final training of a network left; None if there was none."""
        return self._record.readings.get((who, FINAL_TRAINING))

    def of(self, best: Finalist) -> Trained:
        """A finalist with the weights that it is exported with, the better ones that it has.

        Raises:
            NasError: If it has none, and a training for them diverges (exit code 3).
        """
        child, ordinal = best.child, best.trial.ordinal
        final, recipe = self.final_training(ordinal), self._prepared.judge.recipe
        if final is not None and final.weights is not None and self._is_better(final, best):
            kept, recipe, score = final.weights, final.recipe, _score(final, best.metric)
        elif best.weights is None:
            kept, recipe, score = self._trained(best)
        elif recipe.get("folds", 1) != 1:
            kept, score = best.weights, best.mean
        else:
            kept, score = best.weights, max(best.scores, key=self._plan.verdict.reward)
        return Trained(ordinal, child.architecture, child.graph, kept, recipe, score)

    def of_published(self, rival: Rival) -> Trained | None:
        """A published network with the weights of its final training; None if it has none."""
        final, kept = self.final_training(rival.name), self._kept(rival.name, FINAL_TRAINING)
        if final is None or kept is None:
            return None
        score = _score(final, self._plan.verdict.metric)
        return Trained(rival.name, rival.architecture, rival.graph, kept, final.recipe, score)

    def _is_better(self, final: Reading, best: Finalist) -> bool:
        """Whether the final training left weights that are not worse on validation images."""
        if final.failed or self._kept(best.trial.ordinal, FINAL_TRAINING) is None:
            return False
        if best.weights is None or self._prepared.judge.recipe.get("folds", 1) != 1:
            return True  # the weights of a fold have seen validation images
        reward = self._plan.verdict.reward
        return reward(_score(final, best.metric)) >= max(map(reward, best.scores))

    def _trained(self, best: Finalist) -> tuple[Kept, Recipe, float]:
        """A winner, trained by ``Training`` as its own estimator trains nothing.

        Returns:
            Its weights, the recipe they come from, and its score with them.

        Raises:
            NasError: If that training diverges (exit code 3).
        """
        prepared, ordinal = self._prepared, best.trial.ordinal
        training = prepared.training()
        known, kept = self._record.readings.get((ordinal, WEIGHTS)), None
        if known is not None and (kept := self._kept(ordinal, WEIGHTS)) is not None:
            return kept, training.recipe, _score(known, best.metric)
        seed, fidelity = training_seed(self._plan.seed, FINAL, ordinal), self._plan.fidelity
        begin = time.monotonic()
        try:
            evaluation = training.evaluate(
                best.child.graph,
                fidelity=fidelity,
                seed=seed,
                device=device_here(self._plan.device),
            )
        except EvaluationError as error:
            raise NasError(
                f"final training of trial {ordinal} failed: {error}", exit_code=3
            ) from error
        assert evaluation.weights is not None  # noqa: S101 - training returns weights
        kept = keep(self._folder, f"{ordinal}-weights", evaluation.weights)
        self._journal.append(
            "final_training",
            ordinal=ordinal,
            seed=seed,
            fidelity=fidelity,
            recipe=dict(training.recipe),
            metrics=dict(evaluation.metrics),
            weights=kept.document(),
            cause="",
            seconds=round(time.monotonic() - begin, 6),
        )
        return kept, training.recipe, evaluation.metrics[best.metric]

    def _kept(self, who: Who, place: int) -> Kept | None:
        """What a training beside the fresh scores has left, if it is still there."""
        known = self._record.readings.get((who, place))
        kept = None if known is None else known.weights
        return kept if kept is not None and still_there(self._folder, kept) else None


def _score(reading: Reading, metric: str) -> float:
    """A metric of a training that has not failed.

    Raises:
        NasError: If the journal has none (exit code 4).
    """
    if metric not in reading.metrics:
        raise NasError(f"journal: a final training has no {metric}", exit_code=4)
    return reading.metrics[metric]
