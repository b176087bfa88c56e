"""How far a run is in comparing its winner with published networks."""

import math
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import final

from nas.errors import NasError
from nas.final_training import Contender
from nas.finalists import Finalist
from nas.journal import Journal
from nas.latency import network_latency_ms
from nas.limits import format_quantity
from nas.plan import AUTO, OFF, RIVAL, Plan, training_seed
from nas.preparation import Prepared
from nas.readings import FINAL_TRAINING, RIVAL_SCORE, Reading
from nas.record import Record
from nas.rivals import Rival, fast_enough, fitting, most_macs, named_rivals, rival
from nas.trial import Trial
from nas.workers import LOST, RETRIES, Failure, Job, Outcome

SCORED, FINISHED = range(2)  # what the seed of a rival's training is for


@final
class Rivalry:
    """The winner of a search, and what the run knows of its rivals.

    First they are found (``meet``). If there are several, each is trained as a child is
    (``RivalScoring``); the best of them is then trained to the end as the winner is.

    Args:
        best: The winner.
        prepared: All that the run needs.
        record: Of the run.
    """

    def __init__(self, best: Finalist, *, prepared: Prepared, record: Record) -> None:
        self._best, self._plan, self._record = best, prepared.plan, record
        self._shape, self._classes = prepared.images.input_shape, len(prepared.images.classes)

    @property
    def is_met(self) -> bool:
        """Whether it is known who the rivals are."""
        rivals = self._record.rivals
        own = rivals is not None and rivals["ordinal"] == self._best.trial.ordinal
        return own or self._plan.references == OFF

    @property
    def winner(self) -> int:
        """The winner's trial."""
        return self._best.trial.ordinal

    def meet(self, journal: Journal, *, device: str) -> list[str]:
        """Find out who the rivals are, by latencies on a device of this machine.

        With a limit on latency they are within it. Without one they are no slower than the winner,
        unless the user named them. The winner itself is none, if it is a published network.

        Args:
            journal: Receives the answer.
            device: Where latencies are measured.

        Returns:
            What to say of it, in lines.

        Raises:
            NasError: If the journal cannot be written, or a named network cannot be used any more.
        """
        limits, child = self._plan.limits, self._best.child
        measure = partial(network_latency_ms, device=device)
        own = min(measure(child.graph), sys.float_info.max)
        limit = limits.max_latency_ms
        slow: list[tuple[Rival, float]] = []
        if self._plan.references == AUTO:
            families = fitting(self._shape, self._classes, limits)
            highest = own if limit is None else limit
            found = fast_enough(
                {family: self._others(some) for family, some in families.items()},
                most=most_macs(child.macs),
                limit_ms=highest,
                measure=partial(measure, most=highest),
            )
        else:
            named = named_rivals(self._plan.references, self._shape, self._classes, limits)
            timed = [(one, measure(one.graph)) for one in self._others(named)]
            highest = sys.float_info.max if limit is None else limit
            found = [pair for pair in timed if pair[1] <= highest]
            slow = [pair for pair in timed if pair[1] > highest]
        journal.append(
            "rivals",
            ordinal=self.winner,
            latency_ms=own,
            limit_ms=limit,
            networks=[
                {"reference": one.name, "hash": one.digest, "latency_ms": latency}
                for one, latency in found
            ],
        )
        lines = [self._text()]
        for one, ms in slow:
            cause = f"{ms:.3g} ms" if ms < math.inf else f"{device} cannot compute it"
            lines.append(f"{one.name} is not compared: {cause}")
        return lines

    def _others(self, networks: Sequence[Rival]) -> list[Rival]:
        """Those that are another network than the winner."""
        return [one for one in networks if one.digest != self._best.child.digest]

    @property
    def latency_ms(self) -> float:
        """Of the winner, measured beside its rivals."""
        assert self._record.rivals is not None  # noqa: S101 - they are met
        return float(self._record.rivals["latency_ms"])

    @property
    def latencies(self) -> dict[str, float]:
        """Milliseconds of each rival, by name; empty until it is known who they are."""
        if not self.is_met or self._plan.references == OFF or self._record.rivals is None:
            return {}
        return {one["reference"]: one["latency_ms"] for one in self._record.rivals["networks"]}

    def _text(self) -> str:
        """Who they are, in a line."""
        limit = self._plan.limits.max_latency_ms
        names = [f"{name} ({latency:.3g} ms)" for name, latency in self.latencies.items()]
        which = "published networks to compare with"
        if self._plan.references == AUTO:
            speed = f"no slower than the winner ({self.latency_ms:.3g} ms)"
            if limit is not None:
                speed = f"within {limit:g} ms"
            size = format_quantity(most_macs(self._best.child.macs))
            which = f"published networks within the limits, {size} MACs at most, {speed}"
        return f"{which}: {', '.join(names) or 'none'}"

    def rivals(self) -> list[Rival]:
        """Who they are; empty until that is known.

        Raises:
            NasError: If the journal names a network that there is not (exit code 4).
        """
        if not self.latencies or self._record.rivals is None:
            return []
        try:
            found = [rival(name, self._shape, self._classes) for name in self.latencies]
        except (KeyError, ValueError) as error:
            raise NasError(f"journal: no such published network: {error}", exit_code=4) from error
        for one, known in zip(found, self._record.rivals["networks"], strict=True):
            if one.digest != known["hash"]:
                raise NasError(
                    f"journal: {one.name} is another network than it was; go on with the version "
                    "that began the run",
                    exit_code=4,
                )
        return found

    def unscored(self) -> list[Rival]:
        """Those that have to be trained as a child is before the best of them is known.

        One whose worker was lost is passed over, as long as there is one with a score.
        """
        known = self._readings()
        missing = {name for name, one in known.items() if one is None}
        if not missing and all(map(self._has_failed, self.scores())):
            missing = {name for name, one in known.items() if one and one.failed in LOST}
        if len(known) < 2 or not missing:
            return []
        return [one for one in self.rivals() if one.name in missing]

    def strongest(self) -> Rival | None:
        """The rival to be trained to the end; None if there is none, or it is not known yet.

        One whose training fails makes way for the next.
        """
        if self.unscored():
            return None
        rivals, scores = self.rivals(), self.scores()
        if len(rivals) > 1:
            rivals = sorted(
                (one for one in rivals if one.name in scores),
                key=lambda one: -self._plan.verdict.reward(scores[one.name]),
            )
        return next((one for one in rivals if not self._has_failed(one.name)), None)

    def scores(self) -> dict[str, float]:
        """By name, what the rivals have on validation images that were trained as a child is."""
        metric = self._plan.verdict.metric
        return {
            name: reading.metrics[metric]
            for name, reading in self._readings().items()
            if reading is not None and not reading.failed and metric in reading.metrics
        }

    def _readings(self) -> dict[str, Reading | None]:
        """By name, what the rivals' trainings as children have left; None for what is to come."""
        return {name: self._record.readings.get((name, RIVAL_SCORE)) for name in self.latencies}

    def contender(self, strongest: Rival) -> Contender:
        """A rival as one that is trained to the end."""
        return Contender(strongest.name, strongest.graph, _seed(self._plan, strongest, FINISHED))

    def _has_failed(self, name: str) -> bool:
        """Whether the final training of a rival has, by a fault of its own."""
        done = self._record.readings.get((name, FINAL_TRAINING))
        return done is not None and bool(done.failed) and done.failed not in LOST


@final
class RivalScoring:
    """Trains each of several rivals as a child is trained. It is driven as ``Search`` is.

    Args:
        rivals: Those without a score.
        plan: Of the search.
        journal: Receives every score.

    Attributes:
        failures: Those that have failed for good, by what they are called.
    """

    def __init__(self, rivals: Sequence[Rival], *, plan: Plan, journal: Journal) -> None:
        self._rivals, self._plan, self._journal = rivals, plan, journal
        self._waiting = list(range(len(rivals)))
        self._open: set[int] = set()
        self._losses: Counter[int] = Counter()
        self.failures: list[tuple[str, Failure]] = []

    @property
    def over(self) -> bool:
        """Whether all have come to an end, good or bad."""
        return not self._waiting and not self._open

    def title(self, key: int) -> str:
        """What a job is, for the eye."""
        return f"{self._rivals[key].name}, a published network"

    def next_job(self) -> Job | None:
        """The next rival; None if there is none to begin with."""
        if not self._waiting:
            return None
        key = self._waiting.pop(0)
        self._open.add(key)
        one = self._rivals[key]
        return Job(key, one.graph, self._plan.fidelity, _seed(self._plan, one, SCORED))

    def settle(self, outcome: Outcome) -> list[Trial]:
        """Record what became of one.

        Raises:
            NasError: If the journal cannot be written.
        """
        key, result = outcome.key, outcome.result
        self._open.discard(key)
        if isinstance(result, Failure) and result.is_lost:
            self._losses[key] += 1
            if self._losses[key] <= RETRIES:
                self._waiting.append(key)
                return []
        failure = result if isinstance(result, Failure) else None
        if failure is not None:
            self.failures.append((self.title(key), failure))
        self._journal.append(
            "rival_scored",
            reference=self._rivals[key].name,
            seed=_seed(self._plan, self._rivals[key], SCORED),
            fidelity=self._plan.fidelity,
            metrics={} if isinstance(result, Failure) else dict(result.metrics),
            cause="" if failure is None else failure.cause,
            message="" if failure is None else failure.message,
            seconds=round(outcome.seconds, 6),
        )
        return []


def _seed(plan: Plan, one: Rival, purpose: int) -> int:
    """Of a training of a rival, by its name: tables of networks grow."""
    return training_seed(plan.seed, RIVAL, zlib.crc32(one.name.encode()), purpose)
