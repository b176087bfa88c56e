"""The worker's border: whatever a plug-in does becomes an evaluation or a failure."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from estimators.data import ImageData
from estimators.estimator import Checkpoint, Estimator, Evaluation, EvaluationError
from estimators.task import Classification, Metric, Task
from nas.workers import Failure, InProcessWorkers, Job, run_job
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.space import SearchSpace

METRICS = {**Classification(2).metrics, "accuracy": Metric("maximize", 0, 1, required=True)}


class Calls(Estimator):
    """Does what a function does."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def prepare(self, data: ImageData, task: Task) -> None:
        pass

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {}

    def evaluate(self, graph: Graph, **arguments: Any) -> Evaluation:
        return self._function(graph, **arguments)  # type: ignore[no-any-return]


@pytest.fixture
def graph(mini: type[SearchSpace]) -> Graph:
    space = mini((1, 8, 8), 2)
    return lower(space.architecture(space.genome.unrank(0)))


def outcome(graph: Graph, returned: Any) -> Evaluation | Failure:
    estimator = Calls(lambda *_, **__: returned)
    return run_job(estimator, Job(0, graph, 1.0, 0), device="cpu", metrics=METRICS)


def failure(graph: Graph, error: BaseException) -> Failure:
    def fail(*_: object, **__: object) -> None:
        raise error

    found = run_job(Calls(fail), Job(0, graph, 1.0, 0), device="cpu", metrics=METRICS)
    assert isinstance(found, Failure)
    return found


def test_the_estimator_is_handed_the_job(graph: Graph) -> None:
    seen: dict[str, Any] = {}

    def note(child: Graph, **arguments: Any) -> Evaluation:
        seen.update(arguments, graph=child)
        return Evaluation({"accuracy": 0.5, "log_loss": 1.0})

    run_job(Calls(note), Job(7, graph, 0.25, 99), device="cpu", metrics=METRICS)
    assert seen == {
        "graph": graph,
        "fidelity": 0.25,
        "seed": 99,
        "device": "cpu",
        "start": None,
    }


def test_a_job_takes_along_where_to_go_on_from(graph: Graph) -> None:
    seen: dict[str, Any] = {}

    def note(child: Graph, **arguments: Any) -> Evaluation:
        seen.update(arguments)
        return Evaluation({"accuracy": 0.5, "log_loss": 1.0})

    start = Checkpoint(1, {}, {})
    run_job(Calls(note), Job(7, graph, 0.25, 99, start=start), device="cpu", metrics=METRICS)
    assert seen["start"] is start


@pytest.mark.parametrize("wanted", [True, False])
def test_weights_come_back_where_they_are_wanted(graph: Graph, *, wanted: bool) -> None:
    scores, weights = {"accuracy": 0.5, "log_loss": 1.0}, build(graph).state_dict()
    evaluation = Evaluation(scores, weights, Checkpoint(1, weights, {}))
    job = Job(0, graph, 1.0, 0, weights=wanted, checkpoint=not wanted)
    found = run_job(Calls(lambda *_, **__: evaluation), job, device="cpu", metrics=METRICS)
    assert isinstance(found, Evaluation)
    assert (found.weights is not None) is wanted
    assert (found.checkpoint is None) is wanted
    assert found.metrics == scores


def first_of(weights: dict[str, torch.Tensor], change: Any) -> dict[str, Any]:
    name = next(iter(weights))
    return {**weights, name: change(weights[name])}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda weights: 3, "plugin"),
        (lambda weights: {}, "plugin"),
        (lambda weights: {**weights, "more": torch.zeros(1)}, "plugin"),
        (lambda weights: first_of(weights, lambda value: value.numpy()), "plugin"),
        (lambda weights: first_of(weights, lambda value: value[:1]), "plugin"),
        (lambda weights: first_of(weights, lambda value: value.double()), "plugin"),
        (lambda weights: first_of(weights, lambda value: value.to("meta")), "plugin"),
        (lambda weights: first_of(weights, lambda value: value * torch.inf), "nan"),
    ],
)
def test_weights_that_are_not_the_networks_are_a_failure(
    graph: Graph, change: Any, cause: str
) -> None:
    weights = change(build(graph).state_dict())
    evaluation = Evaluation({"accuracy": 0.5, "log_loss": 1.0}, weights)
    estimator = Calls(lambda *_, **__: evaluation)
    found = run_job(estimator, Job(0, graph, 1.0, 0, weights=True), device="cpu", metrics=METRICS)
    assert isinstance(found, Failure)
    assert found.cause == cause
    assert found.message.startswith("weights")
    unwanted = run_job(estimator, Job(0, graph, 1.0, 0), device="cpu", metrics=METRICS)
    assert isinstance(unwanted, Evaluation)


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        np.float64(0.5),
        np.float32(0.5),
        np.float16(0.5),
        np.array(0.5),
        torch.tensor(0.5),
        torch.tensor(0.5, dtype=torch.float64),
        torch.tensor(0.5, requires_grad=True),
    ],
)
def test_any_real_scalar_becomes_a_plain_float(graph: Graph, value: Any) -> None:
    found = outcome(graph, Evaluation({"accuracy": value, "log_loss": 1.0}, details={"x": value}))
    assert isinstance(found, Evaluation)
    assert found.metrics == {"accuracy": 0.5, "log_loss": 1.0}
    assert type(found.metrics["accuracy"]) is float
    assert type(found.details["x"]) is float


@pytest.mark.parametrize("value", [1, 0, np.int64(1), np.uint8(0), torch.tensor(1)])
def test_whole_numbers_are_numbers(graph: Graph, value: Any) -> None:
    found = outcome(graph, Evaluation({"accuracy": value, "log_loss": 1.0}))
    assert isinstance(found, Evaluation)
    assert type(found.metrics["accuracy"]) is float


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        np.float64("nan"),
        torch.tensor(float("nan")),
        np.float32("inf"),
        None,
        "0.5",
        b"0.5",
        True,
        np.bool_(1),
        torch.ones(1, dtype=torch.bool)[0],
        [0.5],
        (0.5,),
        {"value": 0.5},
        np.array([0.5]),
        torch.tensor([0.5]),
        torch.tensor([0.1, 0.2]),
        0.5 + 0j,
        torch.tensor(0.5 + 0j),
        Fraction(1, 2),
        93.1,
        -0.001,
        10**400,
        object,
    ],
)
def test_nothing_else_becomes_a_score(graph: Graph, value: Any) -> None:
    found = outcome(graph, Evaluation({"accuracy": value, "log_loss": 1.0}))
    assert isinstance(found, Failure)
    assert found.cause == "plugin"
    assert found.message.startswith("accuracy must be a number from 0 to 1, got ")
    assert repr(value)[:20] in found.message
    assert len(found.message) < 200


@pytest.mark.parametrize("value", [float("nan"), None, "1", torch.tensor([1.0]), 10**400])
def test_details_are_numbers_too(graph: Graph, value: Any) -> None:
    metrics = {"accuracy": 0.5, "log_loss": 1.0}
    found = outcome(graph, Evaluation(metrics, details={"fidelity": value}))
    assert isinstance(found, Failure)
    assert found.cause == "plugin"


def test_a_metric_without_a_range_is_any_finite_number(graph: Graph) -> None:
    metrics = {"margin": Metric("maximize")}
    estimator = Calls(lambda *_, **__: Evaluation({"margin": -1e300}))
    found = run_job(estimator, Job(0, graph, 1.0, 0), device="cpu", metrics=metrics)
    assert isinstance(found, Evaluation)
    assert found.metrics == {"margin": -1e300}


def test_the_objective_is_required_and_other_metrics_are_kept_where_they_are(graph: Graph) -> None:
    found = outcome(graph, Evaluation({"log_loss": 1.0}))
    assert isinstance(found, Failure)
    assert (found.cause, found.message) == ("plugin", "metric accuracy is missing")
    for metrics in ({"accuracy": 0.5}, {"accuracy": 0.5, "auroc": 0.25, "margin": -3.0}):
        found = outcome(graph, Evaluation(metrics))
        assert isinstance(found, Evaluation)
        assert found.metrics == metrics
    found = outcome(graph, Evaluation({"accuracy": 0.5, "auroc": 1.5}))
    assert isinstance(found, Failure)
    assert found.message.startswith("auroc must be a number from 0 to 1, got 1.5")


@pytest.mark.parametrize("returned", [None, 0.9, {"accuracy": 0.9, "log_loss": 1.0}])
def test_what_is_no_evaluation_is_a_failure(graph: Graph, returned: Any) -> None:
    found = outcome(graph, returned)
    assert isinstance(found, Failure)
    assert found.cause == "plugin"
    assert repr(returned) in found.message


@pytest.mark.parametrize("metrics", [None, 0.9, ["accuracy"]])
def test_metrics_that_are_no_mapping_are_a_failure(graph: Graph, metrics: Any) -> None:
    assert isinstance(outcome(graph, Evaluation(metrics)), Failure)


def test_an_evaluation_error_keeps_its_cause(graph: Graph) -> None:
    found = failure(graph, EvaluationError("the loss became nan", cause="nan"))
    assert (found.cause, found.message) == ("nan", "the loss became nan")


class TwoArguments(Exception):  # noqa: N818 - odd on purpose
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class Speechless(Exception):  # noqa: N818 - odd on purpose
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        RuntimeError(),
        MemoryError(),
        RecursionError("deep"),
        AssertionError("false"),
        StopIteration(),
        OSError(28, "No space left on device"),
        TwoArguments("one", "two"),
        Speechless(),
        ExceptionGroup("several", [ValueError("wrong")]),
    ],
)
def test_every_exception_becomes_a_failure(graph: Graph, error: Exception) -> None:
    found = failure(graph, error)
    assert found.cause == "user_code"
    assert type(error).__name__ in found.message
    assert "Traceback" in found.trace
    assert "in fail" in found.trace


def test_an_exception_is_named_with_its_text(graph: Graph) -> None:
    assert failure(graph, ValueError("width is 7")).message == "ValueError: width is 7"


def test_whoever_stops_the_program_is_obeyed(graph: Graph) -> None:
    with pytest.raises(KeyboardInterrupt):
        failure(graph, KeyboardInterrupt())


def test_an_estimator_that_exits_ends_its_child_alone(graph: Graph) -> None:
    found = failure(graph, SystemExit(0))
    assert (found.cause, found.message) == ("user_code", "SystemExit: 0")


def test_a_worker_in_this_process_takes_one_job_at_a_time(graph: Graph) -> None:
    estimator = Calls(lambda *_, **__: Evaluation({"accuracy": 0.5, "log_loss": 1.0}))
    workers = InProcessWorkers(estimator, "cpu", metrics=METRICS)
    assert workers.free == 1
    workers.submit(Job(3, graph, 1.0, 0))
    assert workers.free == 0
    assert [(one.key, one.state) for one in workers.activity()] == [(3, "busy")]
    done = workers.wait(0.0)
    assert done is not None
    assert workers.free == 1
    assert [(one.key, one.state) for one in workers.activity()] == [(None, "idle")]
    assert workers.wait(0.0) is None
    assert done.key == 3
    assert isinstance(done.result, Evaluation)
    assert done.seconds >= 0


def test_closing_twice_does_no_harm(graph: Graph) -> None:
    workers = InProcessWorkers(Calls(lambda *_, **__: None), "cpu", metrics=METRICS)
    workers.submit(Job(0, graph, 1.0, 0))
    workers.close()
    workers.close()
    assert workers.free == 1
