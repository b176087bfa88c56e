"""The record of an audit: what was measured stays measured, whatever ends the process."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal, Self, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas.audit.subjects import Subject
from nas.children import Child
from nas.errors import NasError
from nas.interrupts import Interrupted, Interrupts
from nas.journal import Journal, read_events
from nas.workers import RETRIES, Failure, Job, Outcome, Workers

TICK = 0.5  # seconds between looks at signals


class Measured(BaseModel):
    """One line of the audit's journal: a child scored by an estimator, or why it was not.

    Attributes:
        key: Of estimator, recipe, fidelity, network and repeat.
        estimator: The subject's label, for the eye.
        repeat: Number of the seed.
        metrics: What the estimator returned; empty if it failed.
        seconds: Wall time on the worker.
        cause: Why it failed, or empty.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    event: Literal["measured"]
    at: Annotated[float, Field(ge=0)]
    key: str
    estimator: str
    repeat: Annotated[int, Field(ge=0)]
    metrics: dict[str, float]
    seconds: Annotated[float, Field(ge=0)]
    cause: str


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """A measurement that is to be made, unless it is known.

    Attributes:
        subject: By what.
        child: Of which network.
        repeat: Number of the seed.
        seed: The seed itself.
    """

    subject: Subject
    child: Child
    repeat: int
    seed: int

    @property
    def key(self) -> str:
        """What it is known by: the same network by the same recipe need not be scored again."""
        parts = (
            self.subject.recipe,
            f"{self.subject.fidelity}",
            self.child.digest,
            f"{self.repeat}",
        )
        return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


class OutOfTimeError(Exception):
    """Nothing more was to be measured; the message says why."""


@final
class Measurements:
    """Every measurement of a run's audits, as a context manager: the only writer of its file.

    Args:
        path: The journal, of the form that runs have.
        show: Told of each measurement as it is made.
        until: Why to begin no further measurement, or nothing.

    Raises:
        NasError: If the file is damaged (exit code 4) or cannot be written (5).
    """

    def __init__(
        self, path: Path, show: Callable[[str], None], until: Callable[[], str] = lambda: ""
    ) -> None:
        self._known: dict[str, Measured] = {}
        self._show, self.until = show, until
        if path.exists():
            for number, event in enumerate(read_events(path), start=2):
                try:
                    self._take(Measured.model_validate(event))
                except ValidationError as error:
                    raise NasError(
                        f"audit: {path} line {number} is damaged: {error.errors()[0]['msg']}",
                        exit_code=4,
                    ) from error
        self._journal = Journal(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    @property
    def seconds(self) -> float:
        """What all of them took on their workers."""
        return round(sum(one.seconds for one in self._known.values()), 3)

    def of(self, wanted: Wanted) -> Measured | None:
        """What is known of a measurement."""
        return self._known.get(wanted.key)

    def missing(self, wanted: Iterable[Wanted]) -> list[Wanted]:
        """Those that are not known, each once."""
        unknown = {one.key: one for one in wanted if one.key not in self._known}
        return list(unknown.values())

    def measure(self, wanted: Sequence[Wanted], workers: Workers, interrupts: Interrupts) -> None:
        """Make measurements of one subject that are not known yet.

        A child whose worker was lost is tried once more.

        Raises:
            Interrupted: If a signal came; what was in hand had its time to finish.
            OutOfTimeError: If there is no time for the rest.
            NasError: If a line cannot be written, or there are no workers left.
        """
        jobs = dict(enumerate(self.missing(wanted)))
        queue, losses, in_hand = deque(jobs), Counter[int](), set[int]()

        def going_on() -> bool:
            return bool(queue) and interrupts.requested is None and not self.until()

        with interrupts.orderly():
            while in_hand or going_on():
                while workers.free and going_on():
                    key = queue.popleft()
                    one = jobs[key]
                    workers.submit(Job(key, one.child.graph, one.subject.fidelity, one.seed))
                    in_hand.add(key)
                outcome = workers.wait(TICK)
                if outcome is None:
                    continue
                in_hand.discard(outcome.key)
                lost = isinstance(outcome.result, Failure) and outcome.result.is_lost
                losses[outcome.key] += lost
                if lost and losses[outcome.key] <= RETRIES:
                    queue.append(outcome.key)
                else:
                    self._settle(jobs[outcome.key], outcome, left=len(queue) + len(in_hand))
        if interrupts.requested is not None:
            raise Interrupted(interrupts.requested)
        if queue:
            raise OutOfTimeError(self.until())

    def _settle(self, one: Wanted, outcome: Outcome, *, left: int) -> None:
        failed = outcome.result if isinstance(outcome.result, Failure) else None
        metrics = {} if isinstance(outcome.result, Failure) else dict(outcome.result.metrics)
        measured = Measured(
            event="measured",
            at=0.0,
            key=one.key,
            estimator=one.subject.label,
            repeat=one.repeat,
            metrics=metrics,
            seconds=round(outcome.seconds, 6),
            cause="" if failed is None else failed.cause,
        )
        self._journal.append(**measured.model_dump(exclude={"at"}))
        self._take(measured)
        name = one.subject.objective.metric
        found = f"{name} {metrics[name]:.6g}" if failed is None else f"{failed.cause}: failed"
        self._show(
            f"{one.subject.label}, seed {one.repeat + 1}: {found}, {outcome.seconds:.1f} s, "
            f"{left} to go"
        )

    def _take(self, measured: Measured) -> None:
        self._known[measured.key] = measured
