"""Our strategies and children inside Ray Tune, for those who run their experiments there.

Ray Tune has the loop, the scheduler and the cluster; every proposal and every result is in the
journal of an ordinary run folder. So ``nas status`` shows it, and ``nas resume`` goes on with it
on our own workers: it scores the best children on fresh seeds and exports the winner.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ray import tune
from ray.tune.search import Searcher

from estimators.estimator import Checkpoint, Estimator, Evaluation, Pretrained
from estimators.task import Metric
from nas.configuration import Configuration
from nas.engine import Search, SearchFailed
from nas.errors import usage_error
from nas.journal import Journal
from nas.limits import Objective
from nas.lock import RunLock
from nas.preparation import prepare
from nas.record import Record
from nas.run_folder import EVENTS, RUN, create, write_json
from nas.session import opened
from nas.workers import Failure, Outcome, checked
from search_spaces.architecture import lower
from search_spaces.space import SearchSpace


@final
@dataclass(frozen=True, slots=True)
class TuneRun:
    """What goes into ``tune.Tuner``.

    Attributes:
        trainable: The first argument; ``tune.with_resources`` says what a child gets.
        searcher: ``TuneConfig(search_alg=...)``; it has the run's metric and mode.
    """

    trainable: Any
    searcher: "TuneSearcher"


@contextmanager
def tune_run(
    folder: str | Path, configuration: Configuration, *, steps: int = 4
) -> Iterator[TuneRun]:
    """A run whose children Ray Tune trains; a context around one ``Tuner.fit``.

    A trial of Tune is a trial of ours. It reports ``steps`` times, at fidelities 1/steps,
    2/steps, ..., 1 of the run's, each time going on from where it was, so that a scheduler such
    as ASHA can stop it in between; it is then ``stopped`` and its score is the last one reported.

    Args:
        folder: The run folder, new or empty.
        configuration: What to search for; ``TuneConfig(num_samples=...)`` is at most its budget.
        steps: How often a child reports, at least 1.

    Raises:
        NasError: As ``nas.search`` does before its first child.
    """
    if steps < 1:
        raise usage_error(f"steps must be at least 1, got {steps}")
    prepared = prepare(configuration)
    plan = prepared.plan
    if plan.rungs:
        raise usage_error("halving must be left out in Ray Tune, which has schedulers for it")
    if plan.beside:
        raise usage_error(f"objective must be one in Ray Tune, got {len(plan.objectives)}")
    if isinstance(prepared.estimator, Pretrained):
        raise usage_error(
            f"estimator must be one without a training of its own in Ray Tune, got "
            f"{prepared.run.estimator}"
        )
    metrics = prepared.metrics(prepared.estimator)
    folder = create(Path(folder), prepared.run)
    record = Record(plan.objective, plan.budget)
    with RunLock(folder), Journal(folder / EVENTS, record.apply) as journal:
        write_json(folder / RUN, prepared.run.model_dump(mode="json"))
        journal.append("opened", **opened(plan.budget, None))
        search = Search(
            plan,
            prepared.strategy,
            children=prepared.children,
            record=record,
            journal=journal,
            screen=prepared.screen,
        )
        trainable = tune.with_parameters(
            Child,
            space=prepared.space,
            estimator=prepared.estimator,
            device=plan.device,
            metrics=metrics,
            steps=steps,
        )
        yield TuneRun(trainable, TuneSearcher(search, journal, plan.objective, tuple(metrics)))


@final
class TuneSearcher(Searcher):
    """A strategy of ours as a searcher of Ray Tune; made by ``tune_run``."""

    def __init__(
        self, search: Search, journal: Journal, objective: Objective, metrics: Sequence[str]
    ) -> None:
        mode = {"maximize": "max", "minimize": "min"}[objective.direction]
        super().__init__(metric=objective.metric, mode=mode)
        self._search = search
        self._journal = journal
        self._metrics = metrics
        self._ordinals: dict[str, int] = {}
        self._latest: dict[str, dict[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What goes into the copy that Tune writes for a restore, which ``restore`` refuses."""
        return {"_metric": self.metric, "_mode": self.mode}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Whether metric and mode are the run's, and no space of Tune's own was given."""
        return metric in {None, self.metric} and mode in {None, self.mode} and not config

    def suggest(  # type: ignore[override] # FINISHED is a text, which Tune's own type forgets
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """The next child; None while one has to finish first."""
        job = self._search.next_job()
        if job is None:
            return self.FINISHED if self._search.over else None
        self._ordinals[trial_id] = job.key
        genotype = self._search.genotype(job.key).to_dict()
        return {
            "ordinal": job.key,
            "genotype": genotype,
            "fidelity": job.fidelity,
            "seed": job.seed,
        }

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Record a score on the way."""
        self._latest[trial_id] = dict(result)
        self._journal.append(
            "reported",
            ordinal=self._ordinals[trial_id],
            fidelity=result["fidelity"],
            metrics=self._scores(result),
        )

    def on_trial_complete(
        self,
        trial_id: str,
        result: Mapping[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002 - the signature is Tune's
    ) -> None:
        """Record the final state and tell the strategy; Tune has stopped it, or it is done."""
        before = self._latest.pop(trial_id, {})
        latest = before if result is None else dict(result)
        found: Evaluation | Failure
        if error or "fidelity" not in latest:
            found = Failure("user_code", "the trial failed in Ray Tune; see its error.txt", "")
        else:
            scores = self._scores(latest)
            found = Evaluation(scores, details={"fidelity": float(latest["fidelity"])})
        seconds = float(latest.get("time_total_s", 0.0))
        try:
            self._search.settle(Outcome(self._ordinals.pop(trial_id), found, seconds))
        except SearchFailed:
            return  # recorded; from here on there is nothing to suggest

    def _scores(self, result: Mapping[str, Any]) -> dict[str, float]:
        return {name: float(result[name]) for name in self._metrics if name in result}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a run goes on by ``nas resume``.

        Raises:
            NasError: Always (exit code 2).
        """
        raise usage_error("Ray Tune cannot restore this experiment; go on with: nas resume FOLDER")


class Child(tune.Trainable):  # not final: Tune derives from it
    """One child, trained in steps; Tune constructs it in its workers."""

    def setup(  # type: ignore[override] # further ones come from ``tune.with_parameters``
        self,
        config: Mapping[str, Any],
        *,
        space: SearchSpace,
        estimator: Estimator,
        device: str,
        metrics: Mapping[str, Metric],
        steps: int,
    ) -> None:
        """Build the network of the proposal."""
        self._graph = lower(space.architecture(space.genome.genotype(config["genotype"])))
        self._estimator, self._device, self._steps = estimator, device, steps
        self._metrics = metrics
        self._fidelity, self._seed = float(config["fidelity"]), int(config["seed"])
        self._start: Checkpoint | None = None

    def step(self) -> dict[str, Any]:
        """Train to the next fidelity and score."""
        rung = self.training_iteration + 1
        done = rung == self._steps
        fidelity = self._fidelity if done else self._fidelity * rung / self._steps
        found = checked(
            self._estimator.evaluate(
                self._graph,
                fidelity=fidelity,
                seed=self._seed,
                device=self._device,
                start=self._start,
            ),
            self._metrics,
        )
        self._start = found.checkpoint
        scores = {name: v for name, v in found.metrics.items() if name in self._metrics}
        return {**scores, "fidelity": fidelity, "done": done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a child that a scheduler has paused trains from its start again.

        Its seed makes that the same training; it costs time under schedulers that pause.
        """

    def load_checkpoint(  # type: ignore[override] # Tune's type is that of an older form
        self, checkpoint_dir: str
    ) -> None:
        """Nothing, as ``save_checkpoint``."""
