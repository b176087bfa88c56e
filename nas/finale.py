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
            winner = Contender(rivalry.winner, best.child.graph, seed)
            others: Sequence[Who] = [one.name for one in rivalry.rivals()]
            seconds = self._winners_time(rivalry, driver)
            if not self._finish(winner, driver, others=others, seconds=seconds):
                return
        self._score(rivalry, driver)
        held = self._allotted(rivalry.winner) or math.inf
        while (rival := rivalry.strongest()) and self._weights.is_to_finish(rival.name):
            contender, others, left = rivalry.contender(rival), [rivalry.winner], driver.left()
            spare = left if held < left else 0.0
            seconds = min(left, held)
            if not self._finish(contender, driver, others=others, seconds=seconds, spare=spare):
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
        others: Sequence[Who],
        seconds: float,
        spare: float = 0.0,
    ) -> bool:
        """Give a network its final training, as far as there is time.

        Args:
            contender: The network.
            driver: Has workers and time.
            others: What it may be compared with.
            seconds: That it may take.
            spare: That it may take if these are too few for one epoch.

        Returns:
            Whether it has come to an end, good or bad.
        """
        left_out = f"final training of {contender.name} left out"
        if reason := driver.time_is_up():
            self._progress.notice(f"{left_out}: {reason}; nas resume does it")
            return False
        here = self._is_here(driver)
        most = self._most_epochs(others, timed=seconds < math.inf and here)
        recipe = self._final_recipe(contender, most=most, seconds=seconds, spare=spare, here=here)
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

    @property
    def _usual(self) -> FullRecipe:
        """How networks are trained to the end without a limit on time."""
        recipe = self._prepared.recipe
        assert recipe is not None  # noqa: S101 - there is one to be trained
        return recipe

    def _needed(self, contender: Contender) -> float:
        """Seconds of all epochs that a network may have and one more; infinite without a pace."""
        recipe = replace(self._usual, precision=self._precision(contender, self._usual, here=True))
        pace = pace_of(contender, self._prepared, recipe)
        begun = self._record.finishing.get(contender.who, {})
        epochs = int(begun.get("epochs", self._prepared.most_epochs))
        return (epochs + 1) * pace / USED if pace else math.inf

    def _most_epochs(self, others: Sequence[Who], *, timed: bool) -> int:
        """Epochs that a network may have: the usual ones, or with a limit on time the most.

        Where another one has begun, as many as that; where that was cut for want of time, no fewer.

        Args:
            others: What it may be compared with.
            timed: Whether it is held to some time.
        """
        most = self._prepared.most_epochs if timed else self._usual.epochs
        begun = {who: epochs for who in others if (epochs := self._epochs_of(who))}
        whole = [epochs for who, epochs in begun.items() if not self._allotted(who)]
        return max(whole) if whole else max([most, *begun.values()])

    def _epochs_of(self, who: Who) -> int:
        """Epochs of a full training that has begun; 0 if it has not."""
        done = self._record.readings.get((who, FINAL_TRAINING))
        if done is None and not self._has_begun(who):
            return 0
        said = self._record.finishing.get(who, {}) if done is None else done.recipe
        return int(said.get("epochs", self._usual.epochs))

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
        self, contender: Contender, *, most: int, seconds: float, spare: float, here: bool
    ) -> FullRecipe | None:
        """How a network is trained in so much time; None if it is too little.

        What was begun is not changed any more: its checkpoint is of so many epochs.

        Args:
            contender: The network.
            most: Epochs that it may have.
            seconds: What there is.
            spare: What there is for one epoch, if that is too little.
            here: Whether workers compute on this machine, so that it can be timed.
        """
        prepared, who, usual = self._prepared, contender.who, self._usual
        begun = self._has_begun(who)
        recipe = usual if begun else replace(usual, epochs=most)
        recipe = replace(recipe, precision=self._precision(contender, recipe, here=here))
        if not begun:
            allotted = {}
            if seconds < math.inf and here:
                epochs = affordable(contender, prepared, recipe, seconds=seconds)
                if not epochs and spare:
                    epochs = min(1, affordable(contender, prepared, recipe, seconds=spare))
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
