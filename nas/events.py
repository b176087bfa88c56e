"""What each line of a journal must be, checked where one is read: the file may be a stranger's."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Milliseconds = Annotated[float, Field(gt=0)]
Hex = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2})*$")]
Reference = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
Metrics = dict[str, float]


class _Event(BaseModel):
    """What all have; ``nas.record.Record`` says what each one means."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    at: Seconds


class _Opened(_Event):
    event: Literal["opened"]
    budget: Annotated[int, Field(ge=1)]
    pid: int
    host: str
    time: float
    workers: int | None
    versions: dict[str, str]


class _Pretrained(_Event):
    event: Literal["pretrained"]
    seconds: Seconds


class _Screened(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    score: str
    of: Count
    value: float | None


class _Asked(_Event):
    event: Literal["asked"]
    ordinal: Count
    genotype: dict[str, bool | int | float | str]
    proposed_fidelity: Share
    fidelity: Share
    hash: str
    params: Count
    macs: Count
    latency_ms: float | None
    seed: Count
    screened: _Screened | None = None  # without a screen there is none


class _Started(_Event):
    event: Literal["started"]
    ordinal: Count
    attempt: Annotated[int, Field(ge=1)]
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0


class _Waits(_Event):
    event: Literal["waits"]
    ordinal: Count
    of: Count


class _Lost(_Event):
    event: Literal["lost"]
    ordinal: Count
    attempt: Annotated[int, Field(ge=1)]
    cause: str
    message: str


class _Reported(_Event):
    event: Literal["reported"]
    ordinal: Count
    fidelity: Share
    metrics: Metrics


class _Weights(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    file: str
    sha256: str


class _Paused(_Event):
    event: Literal["paused"]
    ordinal: Count
    fidelity: Share
    metrics: Metrics
    seconds: Seconds
    checkpoint: _Weights | None


class _Promoted(_Event):
    event: Literal["promoted"]
    ordinal: Count
    fidelity: Share


class _Finished(_Event):
    event: Literal["finished"]
    ordinal: Count
    attempt: Count
    state: Literal["complete", "stopped", "failed", "infeasible", "duplicate"]
    metrics: Metrics
    seconds: Seconds
    cause: str
    message: str
    of: Count | None
    trace: str
    details: Metrics = {}  # runs of old have none


class _Told(_Event):
    event: Literal["told"]
    ordinal: Count
    rewards: list[float] | None


class _Rescored(_Event):
    event: Literal["rescored"]
    ordinal: Count
    repeat: Count
    seed: Count
    seconds: Seconds
    metrics: Metrics
    weights: _Weights | None
    cause: str
    message: str


class _OfNetwork(_Event):
    """Of a trial, or of a published network."""

    ordinal: Count | None = None
    reference: Reference | None = None

    @model_validator(mode="after")
    def _is_of_one(self) -> Self:
        if (self.ordinal is None) == (self.reference is None):
            raise PydanticCustomError("of", "must have an ordinal or a reference")
        return self


class _Rival(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    reference: Reference
    hash: str
    latency_ms: Milliseconds


class _Rivals(_Event):
    event: Literal["rivals"]
    ordinal: Count
    latency_ms: Milliseconds
    limit_ms: Milliseconds | None
    networks: list[_Rival]

    @model_validator(mode="after")
    def _has_each_once(self) -> Self:
        if len({one.reference for one in self.networks}) < len(self.networks):
            raise PydanticCustomError("twice", "networks must have each reference once")
        return self


class _RivalScored(_Event):
    event: Literal["rival_scored"]
    reference: Reference
    seed: Count
    fidelity: Share
    seconds: Seconds
    metrics: Metrics
    cause: str
    message: str


class _Finishing(_OfNetwork):
    event: Literal["finishing"]
    epochs: Annotated[int, Field(ge=1)]
    precision: Literal["", "auto", "float32", "bfloat16"] = ""  # runs of old say none
    allotted: Seconds = 0.0  # where nothing was cut; runs of old do not say it


class _FinalTraining(_OfNetwork):
    event: Literal["final_training"]
    seed: Count
    fidelity: Share
    recipe: dict[str, bool | int | float | str]
    metrics: Metrics
    weights: _Weights | None
    cause: str
    message: str = ""
    seconds: Seconds


class _OfClass(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    support: Count
    recall: Fraction
    precision: Fraction
    f1: Fraction


class _TestRead(_OfNetwork):
    event: Literal["test_read"]
    sha256: str
    metrics: Metrics
    by_class: list[_OfClass] = []  # in the order of classes; runs of old have none
    hits: Hex = ""  # runs of old have none


class _Exported(_OfNetwork):
    event: Literal["exported"]
    place: str = ""  # runs of old say none
    sha256: str
    compared: str = ""  # with none; runs of old say none
    relative_error: float


class _Ranked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    estimator: str
    value: float | None
    low: float | None
    high: float | None


class _Audited(_Event):
    event: Literal["audited"]
    children: Count
    seeds: Annotated[int, Field(ge=1)]
    estimators: list[_Ranked]
    summary: str
    may_be_best: list[Count]
    seconds: Seconds


class _Ended(_Event):
    event: Literal["ended"]
    reason: str
    outcome: Literal["done", "paused", "failed"]


_ANY: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        _Opened
        | _Pretrained
        | _Asked
        | _Started
        | _Waits
        | _Lost
        | _Reported
        | _Paused
        | _Promoted
        | _Finished
        | _Told
        | _Rescored
        | _Rivals
        | _RivalScored
        | _Finishing
        | _FinalTraining
        | _TestRead
        | _Exported
        | _Audited
        | _Ended,
        Field(discriminator="event"),
    ]
)


def check_event(event: object) -> None:
    """Check that a line of a journal is an event with exactly what belongs to it.

    Raises:
        ValueError: If it is not; the message says where and why, in one line.
    """
    try:
        _ANY.validate_python(event)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}" if place else str(first["msg"])) from None
