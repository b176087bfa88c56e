"""How far a run is in comparing its winner with published networks."""

import zlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import final

from nas.engine import RETRIED, RETRIES
from nas.errors import NasError
from nas.final_training import Contender
from nas.finalists import Finalist
from nas.journal import Journal
from nas.plan import AUTO, OFF, RIVAL, Plan, training_seed
from nas.record import Record
from nas.rivals import MOST_MACS, Rival, fast_enough, fitting, measured, named_rivals, rival
from nas.trial import Trial
from nas.workers import Failure, Job, Outcome

SCORE = 0  # which reading of a rival that is, beside its final training


@final
class Rivalry:
    """The winner of a search, and what the run knows of its rivals.

    First they are found (``meet``). If there are several, each is trained as a child is
    (``RivalScoring``); the best of them is then trained to the end as the winner is.

    Args:
        best: The winner.
        input_shape: ``(channels, height, width)`` of the images.
        num_classes: Of the data.
        plan: Of the search.
        record: Of the run.
    """

    def __init__(
        self,
        best: Finalist,
        *,
        input_shape: tuple[int, int, int],
        num_classes: int,
        plan: Plan,
        record: Record,
    ) -> None:
        self._best = best
        self._shape, self._classes = input_shape, num_classes
        self._plan, self._record = plan, record

    @property
    def is_met(self) -> bool:
        """Whether it is known who the rivals are."""
        rivals = self._record.rivals
        own = rivals is not None and rivals["ordinal"] == self._best.trial.ordinal
        return own or self._plan.references == OFF

    @property
    def is_settled(self) -> bool:
        """Whether it is known who they are, and which one is the strongest."""
        return self.is_met and not self.unscored()

    def meet(self, journal: Journal, *, device: str) -> None:
        """Find out who the rivals are, by latencies on a device of this machine.

        With a limit on latency they are within it. Without one they are no slower than the winner,
        unless the user named them.

        Args:
            journal: Receives the answer.
            device: Where latencies are measured.

        Raises:
            NasError: If the journal cannot be written.
        """
        limits, graph = self._plan.limits, self._best.child.graph
        own, limit = measured(graph, device=device), limits.max_latency_ms
        if self._plan.references == AUTO:
            most = own if limit is None else limit
            found = fast_enough(
                fitting(self._shape, self._classes, limits),
                most_macs=MOST_MACS * graph.macs,
                limit_ms=most,
                measure=partial(measured, device=device, most=most),
            )
        else:
            named = named_rivals(self._plan.references, self._shape, self._classes, limits)
            timed = [(one, measured(one.graph, device=device)) for one in named]
            found = [pair for pair in timed if limit is None or pair[1] <= limit]
        journal.append(
            "rivals",
            ordinal=self._best.trial.ordinal,
            latency_ms=own,
            limit_ms=limit,
            networks=[
                {
                    "reference": one.name,
                    "params": one.graph.params,
                    "macs": one.graph.macs,
                    "latency_ms": latency,
                }
                for one, latency in found
            ],
        )

    def rivals(self) -> list[Rival]:
        """Who they are; empty until that is known.

        Raises:
            NasError: If the journal names a network that there is not (exit code 4).
        """
        try:
            return [rival(name, self._shape, self._classes) for name in self.latencies]
        except (KeyError, ValueError) as error:
            raise NasError(f"journal: no such rival: {error}", exit_code=4) from error

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

    def text(self) -> str:
        """Who they are, in a line."""
        limit = self._plan.limits.max_latency_ms
        speed = (
            f"no slower than the winner ({self.latency_ms:.3g} ms)"
            if limit is None
            else f"within {limit:g} ms"
        )
        names = [f"{name} ({latency:.3g} ms)" for name, latency in self.latencies.items()]
        if self._plan.references != AUTO:
            return f"to compare with: {', '.join(names) or 'none within the limits'}"
        which = f"published networks within the limits and {speed}"
        return f"{which}: {', '.join(names) or 'none'}"

    def unscored(self) -> list[Rival]:
        """Those that have to be trained as a child is before the best of them is known."""
        rivals = self.rivals()
        return [one for one in rivals if self._is_to_score(one)] if len(rivals) > 1 else []

    def strongest(self) -> Rival | None:
        """The rival to be trained to the end; None if there is none, or it is not known yet."""
        rivals, scores = self.rivals(), self.scores()
        if len(rivals) == 1:
            return rivals[0]
        sound = [one for one in rivals if one.name in scores]
        if not sound or self.unscored():
            return None
        return max(sound, key=lambda one: self._plan.verdict.reward(scores[one.name]))

    def scores(self) -> dict[str, float]:
        """By name, what the rivals have on validation images that were trained as a child is."""
        metric = self._plan.verdict.metric
        known = {name: self._record.readings.get((name, SCORE)) for name in self.latencies}
        return {
            name: reading.metrics[metric]
            for name, reading in known.items()
            if reading is not None and not reading.failed
        }

    def contender(self, strongest: Rival) -> Contender:
        """A rival as one that is trained to the end."""
        return Contender(strongest.name, strongest.graph, _seed(self._plan, strongest, 1))

    def _is_to_score(self, one: Rival) -> bool:
        known = self._record.readings.get((one.name, SCORE))
        return known is None or known.failed in RETRIED


@final
class RivalScoring:
    """Trains each of several rivals as a child is trained. It is driven as ``Search`` is.

    Args:
        rivals: Those without a score.
        plan: Of the search.
        journal: Receives every score.
    """

    def __init__(self, rivals: Sequence[Rival], *, plan: Plan, journal: Journal) -> None:
        self._rivals, self._plan, self._journal = rivals, plan, journal
        self._waiting = list(range(len(rivals)))
        self._open: set[int] = set()
        self._losses: Counter[int] = Counter()

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
        return Job(key, one.graph, self._plan.fidelity, _seed(self._plan, one, SCORE))

    def settle(self, outcome: Outcome) -> list[Trial]:
        """Record what became of one.

        Raises:
            NasError: If the journal cannot be written.
        """
        key, result = outcome.key, outcome.result
        self._open.discard(key)
        if isinstance(result, Failure) and result.cause in RETRIED:
            self._losses[key] += 1
            if self._losses[key] <= RETRIES:
                self._waiting.append(key)
                return []
        failure = result if isinstance(result, Failure) else None
        self._journal.append(
            "rival_scored",
            reference=self._rivals[key].name,
            seed=_seed(self._plan, self._rivals[key], SCORE),
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
