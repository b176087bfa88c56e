"""The end of a search's trainings: published networks to compare with, and the full trainings."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from estimators.finishing import Finishing
from estimators.full_precision import in_faster_precision
from estimators.full_recipe import FullRecipe
from estimators.training import Training
from estimators.ways import AUTO, FLOAT32
from nas.device import device_here
from nas.driving import Driver
from nas.final_training import USED, Contender, FinalTraining, affordable, checkpoint_of, pace_of
from nas.final_weights import FinalWeights
from nas.finalists import Finalist
from nas.journal import Journal
from nas.plan import FINAL, training_seed
from nas.preparation import Prepared
from nas.progress import Progress
from nas.readings import FINAL_TRAINING, Who, of_whom
from nas.record import Record
from nas.rivalry import Rivalry, RivalScoring

WINNERS_SHARE = 0.5  # of the time that is left for both final trainings, at least
_COMPARISON = "comparison with published networks"


@final
class Finale:
    """Trains the winner of a search to the end, and beside it the strongest published network.

    What the record has already is not done again.

    Args:
        folder: The run folder.
        prepared: All that the run needs.
        record: Of the run; the journal keeps it up to date.
        journal: Receives what is done.
        weights: Knows what was kept.
        progress: Is told what is left out, and why.
    """

    def __init__(
        self,
        folder: Path,
        prepared: Prepared,
        *,
        record: Record,
        journal: Journal,
        weights: FinalWeights,
        progress: Progress,
    ) -> None:
        self._folder, self._prepared, self._plan = folder, prepared, prepared.plan
        self._record, self._journal, self._weights = record, journal, weights
        self._progress = progress

    def is_over(self, finalists: Sequence[Finalist]) -> bool:
        """Whether nothing is left to do.

        Args:
            finalists: All of them, best first, with their fresh scores.
        """
        if not finalists:
            return True
        rivalry, winner = self._rivalry(finalists[0]), finalists[0].trial.ordinal
        return not self._weights.is_to_finish(winner) and self._is_compared(rivalry)

    def play(self, finalists: Sequence[Finalist], driver: Driver) -> None:
        """Do what is left to do: the winner first, then what it is compared with.

        Args:
            finalists: As for ``is_over``.
            driver: Has workers and time.

        Raises:
            NasError: If the surroundings fail (exit code 5), or the record names a published
                network that is another one now (4).
            Interrupted: If a signal came.
        """
        if not finalists:
            return
        best, rivalry = finalists[0], self._rivalry(finalists[0])
        self._meet(rivalry, driver)
        if self._weights.is_to_finish(rivalry.winner):
            seed = training_seed(self._plan.seed, FINAL, rivalry.winner)
            winner, rival = Contender(rivalry.winner, best.child.graph, seed), rivalry.strongest()
            seconds = self._winners_time(rivalry, driver)
            name = None if rival is None else rival.name
            if not self._finish(winner, driver, other=name, seconds=seconds):
                return
        self._score(rivalry, driver)
        held = self._allotted(rivalry.winner) or math.inf
        while (rival := rivalry.strongest()) and self._weights.is_to_finish(rival.name):
            contender, seconds = rivalry.contender(rival), min(driver.left(), held)
            least = int(driver.left() == math.inf)  # there is time, it is only not the rival's
            other: Who = rivalry.winner
            if not self._finish(contender, driver, other=other, seconds=seconds, least=least):
                return

    def _rivalry(self, best: Finalist) -> Rivalry:
        """What is known of the published networks that a winner is compared with."""
        return Rivalry(best, prepared=self._prepared, record=self._record)

    def _is_compared(self, rivalry: Rivalry) -> bool:
        """Whether the strongest rival has all its trainings, or there is none."""
        if not rivalry.is_met or rivalry.unscored():
            return False
        rival = rivalry.strongest()
        return rival is None or not self._weights.is_to_finish(rival.name)

    def _meet(self, rivalry: Rivalry, driver: Driver) -> None:
        """Find out what published networks a winner has to beat."""
        if rivalry.is_met:
            return
        if reason := driver.time_is_up():
            self._progress.notice(f"{_COMPARISON} left out: {reason}; nas resume does it")
            return
        for line in rivalry.meet(self._journal, device=device_here(self._plan.device)):
            self._progress.notice(line)

    def _score(self, rivalry: Rivalry, driver: Driver) -> None:
        """Train several rivals as children are, to know the strongest."""
        unscored = rivalry.unscored()
        if not unscored:
            return
        stage = RivalScoring(unscored, plan=self._plan, journal=self._journal)
        training, most = self._prepared.training(), len(unscored)
        with driver.workers(training, most=most, timed=False) as workers:
            reason = driver.drive(stage, workers, until=driver.time_is_up)
        for title, failure in stage.failures:
            self._progress.failed(title, failure)
        if rivalry.unscored():
            cause = reason or "their workers were lost"
            self._progress.notice(f"{_COMPARISON} left out: {cause}; nas resume does it")
            return
        scores = [f"{name} {score:.4f}" for name, score in rivalry.scores().items()]
        metric = self._plan.verdict.metric
        self._progress.notice(f"trained as children are, {metric}: {', '.join(scores)}")

    def _finish(
        self,
        contender: Contender,
        driver: Driver,
        *,
        other: Who | None,
        seconds: float,
        least: int = 0,
    ) -> bool:
        """Give a network its final training, as far as there is time.

        Args:
            contender: The network.
            driver: Has workers and time.
            other: What it is compared with, if that is known.
            seconds: That it may take.
            least: Epochs that it has in any case.

        Returns:
            Whether it has come to an end, good or bad.
        """
        left_out = f"final training of {contender.name} left out"
        if reason := driver.time_is_up():
            self._progress.notice(f"{left_out}: {reason}; nas resume does it")
            return False
        here = self._is_here(driver)
        most = self._most_epochs(other, limited=seconds < math.inf and here)
        recipe = self._final_recipe(contender, most=most, seconds=seconds, least=least, here=here)
        if recipe is None:
            self._progress.notice(f"{left_out}: there is no time for one epoch; nas resume does it")
            return False
        finishing = Finishing(recipe, checkpoint_of(self._folder, contender.who))
        finishing.prepare(self._prepared.images, self._prepared.task)
        stage = FinalTraining(
            contender, recipe=finishing.recipe, journal=self._journal, folder=self._folder
        )
        with driver.workers(finishing, most=1, timed=False) as workers:
            driver.drive(stage, workers)
        if stage.failure is None:
            return True
        self._progress.failed(stage.title(0), stage.failure)
        return not stage.failure.is_lost

    def _winners_time(self, rivalry: Rivalry, driver: Driver) -> float:
        """Seconds for the winner: what its rival has no need of, but half of what is left at least.

        A rival that is not known yet, or cannot be timed here, may need all of the other half.
        """
        before = driver.left()
        settled = self._is_compared(rivalry) or self._has_begun(rivalry.winner)
        if settled or not 0 < before < math.inf:
            return before
        rival, needed = rivalry.strongest(), math.inf
        if rival is not None and self._is_here(driver):
            needed = self._needed(rivalry.contender(rival))
        left = driver.left()
        return max(WINNERS_SHARE * left, left - (before - left) - needed)  # it is timed again

    def _needed(self, contender: Contender) -> float:
        """Seconds of the most epochs of a network and one more; infinite if it cannot be timed."""
        recipe = self._prepared.recipe
        assert recipe is not None  # noqa: S101 - it is to be finished
        recipe = replace(recipe, precision=self._precision(contender, recipe, here=True))
        pace = pace_of(contender, self._prepared, recipe)
        return (self._prepared.most_epochs + 1) * pace / USED if pace else math.inf

    def _most_epochs(self, other: Who | None, *, limited: bool) -> int:
        """Epochs that a network may have: the usual ones, or with a limit on time the most.

        Where the one that it is compared with has begun, as many as that; where that was cut for
        want of time, no fewer.

        Args:
            other: What it is compared with; None if that is not known.
            limited: Whether its training is timed.
        """
        recipe = self._prepared.recipe
        assert recipe is not None  # noqa: S101 - it is to be finished
        most = self._prepared.most_epochs if limited else recipe.epochs
        if other is None:
            return most
        done = self._record.readings.get((other, FINAL_TRAINING))
        if done is None and not self._has_begun(other):
            return most
        said = self._record.finishing.get(other, {}) if done is None else done.recipe
        its = int(said.get("epochs", recipe.epochs))
        return max(most, its) if self._allotted(other) else its

    def _allotted(self, who: Who) -> float:
        """Seconds that a training was cut to; 0 if it was not, or has not begun."""
        return float(self._record.finishing.get(who, {}).get("allotted", 0.0))

    def _has_begun(self, who: Who) -> bool:
        """Whether a full training is so far that its epochs are settled."""
        return checkpoint_of(self._folder, who).exists() or who in self._record.finishing

    def _is_here(self, driver: Driver) -> bool:
        """Whether full trainings compute on this machine, so that they can be timed."""
        return driver.is_here and device_here(self._plan.device) == self._plan.device

    def _final_recipe(
        self, contender: Contender, *, most: int, seconds: float, least: int, here: bool
    ) -> FullRecipe | None:
        """How a network is trained in so much time; None if it is too little.

        What was begun is not changed any more: its checkpoint is of so many epochs.

        Args:
            contender: The network.
            most: Epochs that it may have.
            seconds: What there is.
            least: Epochs that it has in any case.
            here: Whether workers compute on this machine, so that it can be timed.
        """
        prepared, who = self._prepared, contender.who
        usual = prepared.recipe
        assert usual is not None  # noqa: S101 - it is to be finished
        recipe = replace(usual, precision=self._precision(contender, usual, here=here))
        if not self._has_begun(who):
            recipe, allotted = replace(recipe, epochs=most), {}
            if seconds < math.inf and here:
                epochs = max(least, affordable(contender, prepared, recipe, seconds=seconds))
                if not epochs:
                    return None
                allotted = {"allotted": round(seconds, 3)} if epochs < most else {}
                recipe = replace(recipe, epochs=epochs)
            if isinstance(who, str) or recipe != usual or allotted:
                event = {"epochs": recipe.epochs, "precision": recipe.precision, **allotted}
                self._journal.append("finishing", **of_whom(who), **event)
        timed = self._record.finishing.get(who)
        return recipe if timed is None else replace(recipe, epochs=timed["epochs"])

    def _precision(self, contender: Contender, recipe: FullRecipe, *, here: bool) -> str:
        """What a network is trained in: the winner as its like if that is bfloat16, or the faster.

        Args:
            contender: The network.
            recipe: Says it, or leaves it open.
            here: Whether this process has the device, so that it can find out.
        """
        prepared, who = self._prepared, contender.who
        known: str = self._record.finishing.get(who, {}).get("precision") or ""
        if known or recipe.precision != AUTO:
            return known or recipe.precision
        judge, found = prepared.judge, str(AUTO)
        if isinstance(who, int) and isinstance(judge, Training):
            found = judge.precision_of(contender.graph)
        timed = here and found == AUTO and not self._has_begun(who)
        if timed:
            found = in_faster_precision(
                contender.graph,
                prepared.images,
                prepared.task,
                recipe,
                device=self._plan.device,
                tell=lambda _: None,
            ).precision
        # As float32 is what it means anyway, what was begun before there was a choice goes on.
        return AUTO if isinstance(who, int) and found == FLOAT32 else found
