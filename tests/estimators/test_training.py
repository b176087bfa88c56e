"""Training: seeded to the last bit, honest about its score, and able to go on where it stopped."""

import dataclasses
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from estimators.child_training import STATISTICS_BATCHES, ChildTraining, Recipe, adamw
from estimators.data import ImageData, Split, digits, from_arrays
from estimators.estimator import Evaluation, EvaluationError
from estimators.resizing import resized
from estimators.scoring import measure
from estimators.task import Classification
from estimators.training import EPOCH_IMAGES, Training
from estimators.ways import Way
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct, FractalBlock, MBConv
from search_spaces.graph import Graph
from search_spaces.lowering import GraphBuilder
from search_spaces.mbconv import MBConvSpace
from search_spaces.modules import build
from search_spaces.primitives import Flatten, Linear, Mean

CLASSES = 2


def network(side: int = 8, *, dropout: float = 0.3, classes: int = CLASSES) -> Graph:
    """A small child with everything that draws at random while it is trained."""
    return lower(
        Architecture(
            title="Child",
            input_shape=(1, side, side),
            stem=ConvNormAct(4),
            stages=((MBConv(4, expansion=2), MBConv(8, stride=2, expansion=2)),),
            head=Classifier(classes, dropout=dropout),
        )
    )


def fractal_without_norm() -> Graph:
    """Means and no batch norm: its gradient is the sum of those of single images."""
    builder = GraphBuilder((1, 8, 8), title="Child")
    x = builder.root.conv("conv", builder.image, 4)
    x = builder.root.add("mean", Mean(), x, builder.root.conv("deeper", x, 4))
    x = builder.root.add("flatten", Flatten(), x)
    return builder.graph(builder.root.add("linear", Linear(CLASSES), x))


def data() -> ImageData:
    """Noise, brighter on the left for one class."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) % CLASSES
    images = rng.random((80, 8, 8)) / 2
    images[labels == 1, :, :4] += 0.3
    return from_arrays(images.astype(np.float32), labels)


DATA = data()


def prepared(images: ImageData = DATA, **options: Any) -> Training:
    training = Training(**{"epochs": 3, "batch_size": 16, **options})
    training.prepare(images, Classification(len(images.classes)))
    return training


def evaluate(training: Training, **changes: Any) -> Evaluation:
    arguments: dict[str, Any] = {"fidelity": 1.0, "seed": 5, "device": "cpu", **changes}
    return training.evaluate(arguments.pop("graph", network()), **arguments)


def weights_of(evaluation: Evaluation) -> Mapping[str, Tensor]:
    assert evaluation.weights is not None
    return evaluation.weights


def assert_same(first: Evaluation, second: Evaluation) -> None:
    """Bitwise."""
    assert first.metrics == second.metrics
    one, other = weights_of(first), weights_of(second)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


# Chance ------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_whatever_went_before() -> None:
    training = prepared()
    threads = torch.get_num_threads()
    first = evaluate(training)
    try:
        for seed, count in ((1, 1), (2, 2), (3, 3)):
            torch.manual_seed(seed)
            torch.set_num_threads(count)
            assert_same(first, evaluate(training))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert_same(first, evaluate(prepared()))


def test_children_leave_nothing_behind_for_the_next() -> None:
    training = prepared()
    first = evaluate(training)
    evaluate(training, seed=6, graph=network(12))
    assert_same(first, evaluate(training))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_another_seed_gives_another_child(dropout: float) -> None:
    training = prepared()
    first, second = (
        evaluate(training, seed=seed, graph=network(dropout=dropout)) for seed in (1, 2)
    )
    assert first.metrics["log_loss"] != second.metrics["log_loss"]


def test_dropout_is_at_work_while_training() -> None:
    with_dropout, without = (
        evaluate(prepared(), graph=network(dropout=dropout)) for dropout in (0.3, 0.0)
    )
    assert with_dropout.metrics["log_loss"] != without.metrics["log_loss"]


def test_the_global_generator_is_as_it_was() -> None:
    training = prepared()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    evaluate(training)
    assert torch.equal(torch.get_rng_state(), before)


def test_generator_and_threads_are_restored_after_an_exception_too() -> None:
    training = prepared(with_nan(DATA))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    try:
        with pytest.raises(EvaluationError):
            evaluate(training)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_every_epoch_has_an_order_of_its_own_and_no_image_twice() -> None:
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=0.1, weight_decay=0.0)
    child = ChildTraining(network(), DATA, Classification(CLASSES), recipe, seed=0, device="cpu")
    batches = len(DATA.train) // 16
    epochs = [
        torch.cat([child._order(epoch * batches + batch) for batch in range(batches)])
        for epoch in range(2)
    ]
    assert not torch.equal(*epochs)
    for chosen in epochs:
        assert len(set(chosen.tolist())) == 16 * batches


# Paths -------------------------------------------------------------------------------------


def fractal(columns: int = 3, classes: int = CLASSES, width: int = 4) -> Graph:
    """A child whose means can do without some of their inputs."""
    stages = ((FractalBlock(width, columns),), (FractalBlock(2 * width, columns),))
    return lower(Architecture("Child", (1, 8, 8), ConvNormAct(width), stages, Classifier(classes)))


def test_drop_path_concerns_networks_with_means_alone() -> None:
    with_it, without = prepared(drop_path=0.15), prepared(drop_path=0.0)
    assert_same(evaluate(with_it), evaluate(without))
    assert_same(evaluate(with_it, graph=fractal(1)), evaluate(without, graph=fractal(1)))
    one, other = (evaluate(training, graph=fractal()) for training in (with_it, without))
    assert one.metrics["log_loss"] != other.metrics["log_loss"]


def test_stochastic_depth_concerns_residual_networks_alone() -> None:
    with_it, without = prepared(stochastic_depth=0.5), prepared(stochastic_depth=0.0)
    assert_same(evaluate(with_it, graph=fractal()), evaluate(without, graph=fractal()))
    one, other = (evaluate(training) for training in (with_it, without))
    assert one.metrics["log_loss"] != other.metrics["log_loss"]


@pytest.mark.parametrize("rungs", [(0.2, 0.6, 1.0), (1 / 3, 1.0)])
def test_a_training_that_goes_on_takes_the_same_paths(rungs: tuple[float, ...]) -> None:
    training = prepared(epochs=5, drop_path=0.4, stochastic_depth=0.4)
    for graph in (fractal(), network()):
        found: Evaluation | None = None
        for fidelity in rungs:
            start = None if found is None else found.checkpoint
            found = evaluate(training, fidelity=fidelity, start=start, graph=graph)
        assert found is not None
        assert_same(found, evaluate(training, graph=graph))


@pytest.mark.parametrize("fidelity", [0.01, 0.2, 1.0])
def test_every_batch_norm_has_statistics_however_short_the_training(fidelity: float) -> None:
    for seed in range(4):
        training = prepared(drop_path=0.15)
        found = evaluate(training, graph=fractal(4), fidelity=fidelity, seed=seed)
        counts = [
            int(value)
            for name, value in weights_of(found).items()
            if name.endswith("num_batches_tracked")
        ]
        assert counts == [STATISTICS_BATCHES] * (1 + 2 * 15)


def test_a_fractal_child_learns_the_digits_under_drop_path() -> None:
    # With the statistics that its batch norms saw while training it is far below.
    images = digits()
    graph = fractal(classes=len(images.classes), width=12)
    training = prepared(images, epochs=6, batch_size=64, drop_path=0.15)
    found = evaluate(training, graph=graph)
    assert found.metrics["accuracy"] >= 0.9
    model = build(graph)
    model.load_state_dict(dict(weights_of(found)))
    task = Classification(len(images.classes))
    again = measure(model, images.validation, task, graph=graph, device="cpu")
    assert found.metrics == pytest.approx(again, rel=1e-4)


def test_the_rate_of_the_paper_is_for_trainings_that_are_long_enough() -> None:
    for epochs, rate in ((249, 0.0), (250, 0.15)):  # 4 steps an epoch
        assert prepared(epochs=epochs, batch_size=len(DATA.train) // 4).recipe["drop_path"] == rate
    assert prepared(epochs=3, drop_path=0.3).recipe["drop_path"] == 0.3
    assert prepared(epochs=300, batch_size=8, drop_path=0.0).recipe["drop_path"] == 0.0


# Fidelity ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rungs", [(1 / 3, 1.0), (0.2, 0.6, 1.0), (0.01, 1.0), (1.0, 1.0)])
def test_going_on_from_a_lower_fidelity_is_training_in_one_piece(rungs: tuple[float, ...]) -> None:
    training = prepared(epochs=5)
    found = None
    for fidelity in rungs:
        start = None if found is None else found.checkpoint
        found = evaluate(training, fidelity=fidelity, start=start)
    assert found is not None
    assert_same(found, evaluate(training, fidelity=rungs[-1]))


def test_a_checkpoint_is_not_changed_by_going_on_from_it() -> None:
    training = prepared()
    start = evaluate(training, fidelity=0.4).checkpoint
    assert start is not None
    again = [evaluate(training, start=start) for _ in range(2)]
    assert_same(*again)


def test_a_checkpoint_survives_the_way_to_another_process() -> None:
    training = prepared()
    start = evaluate(training, fidelity=0.4).checkpoint
    travelled = pickle.loads(pickle.dumps(start))  # noqa: S301 - as a process pool does it
    assert_same(evaluate(training, start=travelled), evaluate(training, start=start))


def test_a_higher_fidelity_takes_more_steps() -> None:
    steps = [evaluate(prepared(), fidelity=f).details["steps"] for f in (0.3, 0.6, 1.0)]
    assert steps == sorted(set(steps))


def test_going_back_to_a_lower_fidelity_is_refused() -> None:
    training = prepared()
    start = evaluate(training).checkpoint
    with pytest.raises(ValueError, match="start must be of a lower fidelity"):
        evaluate(training, fidelity=0.1, start=start)


# The score ---------------------------------------------------------------------------------


def measured(evaluation: Evaluation, split: Split, side: int = 8) -> dict[str, float]:
    graph = network(side)
    model = build(graph)
    model.load_state_dict(dict(weights_of(evaluation)))
    return measure(model, split, Classification(CLASSES), graph=graph, device="cpu")


@pytest.mark.parametrize("side", [8, 12])
def test_the_score_is_that_of_the_weights_on_the_validation_split(side: int) -> None:
    found = evaluate(prepared(epochs=8), graph=network(side))
    assert found.metrics == pytest.approx(measured(found, DATA.validation, side), rel=1e-4)
    assert found.metrics["log_loss"] != measured(found, DATA.train, side)["log_loss"]


def test_the_test_split_is_never_read() -> None:
    none = Split(torch.full((1, 1, 8, 8), torch.nan), torch.tensor([99]))
    assert_same(evaluate(prepared()), evaluate(prepared(dataclasses.replace(DATA, test=none))))


def test_the_score_is_the_last_one_reached_not_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    left = list(falling)

    def measure_worse(*_: Any, **__: Any) -> dict[str, float]:
        return {"accuracy": left.pop(0), "log_loss": 1.0}

    monkeypatch.setattr("estimators.child_training.measure", measure_worse)
    found = evaluate(prepared(epochs=6), report=lambda *_: False)
    calls = len(falling) - len(left)
    assert calls >= 3
    assert found.metrics["accuracy"] == falling[calls - 1]


def test_weights_are_plain_and_on_the_cpu() -> None:
    for name, value in weights_of(evaluate(prepared())).items():
        assert value.is_contiguous(), name
        assert value.device.type == "cpu"
        assert not value.requires_grad


def test_images_are_resized_to_what_the_network_reads() -> None:
    images = torch.rand((2, 1, 8, 8))
    assert resized(images, (8, 8)) is images
    assert resized(images, (12, 6)).shape == (2, 1, 12, 6)
    flat = torch.full((1, 1, 8, 8), 0.25)
    assert torch.allclose(resized(flat, (4, 4)), torch.full((1, 1, 4, 4), 0.25))


def test_a_small_child_learns_the_digits() -> None:
    images = digits()
    found = evaluate(prepared(images, epochs=3), graph=wide(len(images.classes)))
    assert found.metrics["accuracy"] >= 0.9


def layouts(monkeypatch: pytest.MonkeyPatch) -> set[bool]:
    """Whether weights of convolutions that train are channels-last, filled as they are used."""
    seen: set[bool] = set()
    convolve = torch.nn.Conv2d.forward

    def noted(self: torch.nn.Conv2d, images: Tensor) -> Tensor:
        if self.groups == 1 and self.kernel_size == (3, 3):  # others lie alike in both
            channels_last = self.weight.is_contiguous(memory_format=torch.channels_last)
            if self.weight.shape[1] > 1:
                seen.add(channels_last)
        return convolve(self, images)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", noted)
    return seen


def test_both_layouts_train_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, found = layouts(monkeypatch), []
    for layout, channels_last in (("channels_last", True), ("contiguous", False)):
        training = prepared(layout=layout)
        assert training.recipe["layout"] == layout
        found.append(evaluate(training, graph=wide(CLASSES)))
        assert seen == {channels_last}
        seen.clear()
    one, other = found
    assert one.metrics["log_loss"] == pytest.approx(other.metrics["log_loss"], rel=0.05)


def test_a_network_is_trained_in_the_way_of_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    training, plain = prepared(), prepared()
    usual = evaluate(plain)
    training.settle({"mbconv": "float32 channels_last", "dense": "bfloat16 contiguous"})
    assert training.recipe["ways"] == "dense: bfloat16 contiguous"
    assert_same(evaluate(training), usual)
    training.settle({"mbconv": "bfloat16 channels_last"})
    sent = pickle.loads(pickle.dumps(training))  # noqa: S301 - our own
    assert_same(evaluate(sent), evaluate(prepared(precision="bfloat16")))
    training.settle({"mbconv": "float32 channels_last"})
    assert training.recipe == plain.recipe
    assert "ways" not in plain.recipe  # as in runs of before
    with pytest.raises(ValueError, match="precision must be float32 or bfloat16, got 'fast'"):
        training.settle({"mbconv": "fast channels_last"})


def test_folds_are_trained_in_the_way_of_the_family() -> None:
    training = prepared(folds=2)
    training.settle({"mbconv": "bfloat16 channels_last"})
    assert_same(evaluate(training), evaluate(prepared(folds=2, precision="bfloat16")))


def test_ways_that_options_exclude_are_not_taken() -> None:
    training = prepared(precision="float32")
    training.settle({"mbconv": "bfloat16 contiguous", "dense": "float32 contiguous"})
    assert training.recipe["ways"] == "dense: float32 contiguous"


def test_short_trainings_and_those_without_a_choice_are_not_to_be_timed() -> None:
    assert not prepared().is_open
    assert not prepared(digits(), epochs=100).is_open
    assert prepared(digits(), epochs=200).is_open
    fixed = prepared(digits(), epochs=200, precision="float32", layout="contiguous")
    assert not fixed.is_open


def test_timing_takes_each_way_for_some_steps_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[Way] = []

    def fastest(
        ways: Sequence[Way], seconds: Mapping[Way, Callable[[int], float]], *, steps: int
    ) -> Way:
        for way in ways:
            assert seconds[way](steps) > 0
            timed.append(way)
        return ways[-1]

    monkeypatch.setattr("estimators.training.fastest", fastest)
    training = prepared(class_weights="balanced")
    before, state = evaluate(training), torch.get_rng_state()
    assert training.fastest_way(network(), device="cpu") == "bfloat16 contiguous"
    assert [str(way) for way in timed] == [
        "float32 channels_last",
        "float32 contiguous",
        "bfloat16 channels_last",
        "bfloat16 contiguous",
    ]
    assert torch.equal(state, torch.get_rng_state())
    assert_same(before, evaluate(training))


def test_where_there_is_no_room_to_time_nothing_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Way:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("estimators.training.fastest", full)
    assert prepared().fastest_way(network(), device="cpu") == "float32 channels_last"


def test_mixed_precision_computes_in_it_and_learns_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[torch.dtype] = set()
    convolve = torch.nn.functional.conv2d

    def noted(*given: Any, **more: Any) -> Tensor:
        output = convolve(*given, **more)
        seen.add(output.dtype)
        return output

    monkeypatch.setattr(torch.nn.functional, "conv2d", noted)
    training = prepared(digits(), epochs=3, precision="bfloat16")
    assert training.recipe["precision"] == "bfloat16"
    found = evaluate(training, graph=wide(10))
    assert seen == {torch.bfloat16, torch.float32}  # training and scoring
    assert found.metrics["accuracy"] >= 0.9
    assert all(value.dtype != torch.bfloat16 for value in weights_of(found).values())


def test_a_third_of_the_training_scores_far_above_chance() -> None:
    # One epoch of 19 steps: with the usual moving averages in its batch norms it is at 0.1.
    images = digits()
    space = MBConvSpace((1, 8, 8), 10)
    genotype = space.genome.sample_options(np.random.default_rng(0))
    graph = lower(space.architecture(genotype))
    found = evaluate(prepared(images, epochs=3, batch_size=64), graph=graph, fidelity=1 / 3)
    assert found.metrics["accuracy"] >= 0.7


def wide(classes: int) -> Graph:
    stages = ((ConvNormAct(32, stride=2), ConvNormAct(64)),)
    return lower(Architecture("Wide", (1, 8, 8), ConvNormAct(32), stages, Classifier(classes)))


# What goes wrong ---------------------------------------------------------------------------


def with_nan(images: ImageData) -> ImageData:
    pixels = images.train.images.clone()
    pixels[0, 0, 0, 0] = torch.nan
    return dataclasses.replace(images, train=Split(pixels, images.train.labels))


def test_a_child_whose_loss_is_not_a_number_has_no_score() -> None:
    with pytest.raises(EvaluationError, match="the loss became nan by step") as caught:
        evaluate(prepared(with_nan(DATA)))
    assert caught.value.cause == "nan"


def test_a_child_whose_score_is_not_a_number_has_no_score() -> None:
    pixels = torch.full_like(DATA.validation.images, torch.nan)
    images = dataclasses.replace(DATA, validation=Split(pixels, DATA.validation.labels))
    with pytest.raises(EvaluationError, match="log_loss is nan") as caught:
        evaluate(prepared(images))
    assert caught.value.cause == "nan"


def test_memory_that_runs_out_has_a_cause_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_nothing(graph: Graph, layer: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("estimators.child_training.build", build_nothing)
    with pytest.raises(EvaluationError, match="no room") as caught:
        evaluate(prepared())
    assert caught.value.cause == "oom_device"


Crowd = Callable[..., list[int]]


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    """Makes the device one without room for more than ``room`` images, after some steps.

    Returns the sizes of the batches that are tried from then on.
    """

    def limit(room: int, *, after: int = 0) -> list[int]:
        seen: list[int] = []

        def loss(self: Classification, outputs: Tensor, *rest: Tensor | None) -> Tensor:
            seen.append(len(outputs))
            if len(outputs) > room and len(seen) > after:
                raise torch.OutOfMemoryError("no room")
            return whole(self, outputs, *rest)

        monkeypatch.setattr(Classification, "loss", loss)
        return seen

    whole: Callable[..., Tensor] = Classification.loss
    return limit


def test_a_child_without_room_is_trained_again_with_batches_in_two_halves(crowd: Crowd) -> None:
    assert "batch_parts" not in evaluate(prepared()).details
    seen = crowd(room=10)
    found = evaluate(prepared())
    assert seen == [16, *[8] * (2 * int(found.details["steps"]))]
    assert found.details["batch_parts"] == 2
    assert_same(found, evaluate(prepared()))


def test_a_child_without_room_for_half_a_batch_fails(crowd: Crowd) -> None:
    seen = crowd(room=7)
    with pytest.raises(EvaluationError, match="no room") as caught:
        evaluate(prepared())
    assert (caught.value.cause, seen) == ("oom_device", [16, 8])


def test_a_batch_of_three_images_is_not_halved(crowd: Crowd) -> None:
    seen = crowd(room=2)
    with pytest.raises(EvaluationError, match="no room"):
        evaluate(prepared(batch_size=3))
    assert seen == [3]


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_halves_of_unequal_size_add_up_to_the_gradient_of_the_batch(class_weights: str) -> None:
    graph = fractal_without_norm()
    gradients = []
    rare = (np.arange(80) % 5 == 0).astype(np.int64)
    images = from_arrays(np.random.default_rng(0).random((80, 8, 8), dtype=np.float32), rare)
    for parts in (1, 2):
        training = prepared(images, batch_size=15, class_weights=class_weights)
        child = ChildTraining(graph, *training._ready(), seed=0, device="cpu", parts=parts)
        child._train(0, 1, 1.0)
        gradients.append([parameter.grad for parameter in child._model.parameters()])
    for whole, halves in zip(*gradients, strict=True):
        assert whole is not None
        assert halves is not None
        torch.testing.assert_close(whole, halves)


def test_what_was_reported_before_room_ran_out_is_not_reported_again(crowd: Crowd) -> None:
    told: list[float] = []

    def report(fidelity: float, metrics: Mapping[str, float]) -> bool:
        told.append(fidelity)
        return False

    batches = len(DATA.train) // 16
    crowd(room=10, after=batches + 1)
    evaluate(prepared(epochs=6), report=report)
    assert len(told) == len(set(told)) >= 2
    assert told == sorted(told)


def test_folds_are_halved_too(crowd: Crowd) -> None:
    crowd(room=10)
    assert evaluate(prepared(folds=2)).details["batch_parts"] == 2


def test_an_evaluation_error_survives_the_way_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(EvaluationError("gone", cause="nan")))  # noqa: S301
    assert (str(error), error.cause) == ("gone", "nan")


def test_a_network_with_other_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"network must return \(2,\), got \(5,\)"):
        evaluate(prepared(), graph=network(classes=5))


@pytest.mark.parametrize("fidelity", [0.0, -0.5, 1.5, float("nan")])
def test_a_fidelity_out_of_range_is_refused(fidelity: float) -> None:
    with pytest.raises(ValueError, match=r"fidelity must be in \(0, 1\]"):
        evaluate(prepared(), fidelity=fidelity)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"learning_rate": 0.0}, r"learning_rate must be in \(0, 10\]"),
        ({"learning_rate": float("nan")}, r"learning_rate must be in \(0, 10\]"),
        ({"learning_rate": 11.0}, r"learning_rate must be in \(0, 10\]"),
        ({"precision": "half"}, "precision must be float32 or bfloat16, got 'half'"),
        ({"layout": "nchw"}, "layout must be channels_last or contiguous, got 'nchw'"),
        ({"class_weights": "yes"}, "class_weights must be none or balanced, got 'yes'"),
        ({"dense_rate_factor": 0.0}, "dense_rate_factor must be from 0.01 to 100, got 0.0"),
        ({"weight_decay": -1.0}, r"weight_decay must be in \[0, 10\]"),
        ({"drop_path": -0.1}, r"drop_path must be in \[0, 1\), got -0.1"),
        ({"drop_path": 1.0}, r"drop_path must be in \[0, 1\)"),
        ({"stochastic_depth": -0.1}, r"stochastic_depth must be in \[0, 1\), got -0.1"),
        ({"stochastic_depth": 1.0}, r"stochastic_depth must be in \[0, 1\)"),
        ({"weight_decay": float("inf")}, r"weight_decay must be in \[0, 10\]"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training(**options)


def test_training_without_data_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="prepare must be called"):
        evaluate(Training())


# Reports -----------------------------------------------------------------------------------


def test_reports_change_nothing() -> None:
    seen: list[float] = []

    def report(fidelity: float, _: Mapping[str, float]) -> bool:
        seen.append(fidelity)
        return False

    training = prepared(epochs=5, drop_path=0.15)
    assert_same(evaluate(training, report=report), evaluate(training))
    assert_same(
        evaluate(training, report=lambda *_: False, graph=fractal()),
        evaluate(training, graph=fractal()),
    )
    assert seen == sorted(set(seen))
    assert len(seen) >= 2
    assert all(0 < fidelity < 1 for fidelity in seen)


def test_a_report_may_stop_the_training() -> None:
    calls: list[float] = []

    def report(fidelity: float, _: Mapping[str, float]) -> bool:
        calls.append(fidelity)
        return len(calls) == 2

    found = evaluate(prepared(epochs=8), report=report)
    assert len(calls) == 2
    assert found.details["fidelity"] == calls[-1]
    assert found.metrics == pytest.approx(measured(found, DATA.validation), rel=1e-4)
    assert found.details["steps"] < evaluate(prepared(epochs=8)).details["steps"]


def test_weights_decay_and_biases_and_norms_do_not() -> None:
    model = build(network())
    decaying, others = adamw(model, Recipe(1, 16, 0.1, weight_decay=0.25), {}).param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.25, 0.0)
    assert {parameter.ndim for parameter in decaying["params"]} == {2, 4}
    assert {parameter.ndim for parameter in others["params"]} == {1}
    count = len(decaying["params"]) + len(others["params"])
    assert count == len(list(model.parameters()))


# The recipe --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"epochs": 4}, {"batch_size": 8}, {"learning_rate": 1e-3}, {"weight_decay": 0.1}],
)
def test_whatever_changes_a_score_changes_the_recipe(change: dict[str, Any]) -> None:
    assert evaluate(prepared(**change)).metrics != evaluate(prepared()).metrics
    assert prepared(**change).recipe != prepared().recipe


@pytest.mark.parametrize("change", [{"drop_path": 0.5}, {"stochastic_depth": 0.5}])
def test_so_do_the_rates_at_which_paths_are_dropped(change: dict[str, Any]) -> None:
    assert prepared(**change).recipe != prepared().recipe


def test_balanced_classes_are_recognised_where_they_are_rare() -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(300) % 10 == 0).astype(np.int64)
    pixels = rng.random((300, 8, 8)) / 2
    pixels[labels == 1, :, :4] += 0.05  # hard to tell from noise
    images = from_arrays(pixels.astype(np.float32), labels)
    plain, balanced = (prepared(images, class_weights=name) for name in ("none", "balanced"))
    assert plain.recipe != balanced.recipe
    recalls = [
        np.mean([evaluate(one, seed=seed).metrics["balanced_accuracy"] for seed in (5, 6, 7)])
        for one in (plain, balanced)
    ]
    assert recalls[1] > recalls[0] + 0.1  # 0.79 and 0.58 when this was written


def test_other_data_are_another_recipe() -> None:
    rng = np.random.default_rng(1)
    other = from_arrays(rng.integers(0, 256, (80, 8, 8), dtype=np.uint8), np.arange(80) % CLASSES)
    assert prepared(other).recipe != prepared().recipe
    assert prepared().recipe == prepared(data()).recipe


def test_the_recipe_holds_what_was_derived() -> None:
    training = Training()
    training.prepare(DATA, Classification(CLASSES))
    assert training.recipe["batch_size"] == len(DATA.train)  # not more than there are
    assert training.recipe["epochs"] == 50  # as many as make 50 steps
    assert training.recipe["data"] == DATA.fingerprint
    large = Training()
    large.prepare(digits(), Classification(10))
    assert large.recipe["epochs"] == 3


# Large sets --------------------------------------------------------------------------------


def large(count: int) -> ImageData:
    """So many training images that are their own numbers."""
    images = torch.arange(float(count)).reshape(count, 1, 1, 1).expand(count, 1, 2, 2)
    split = Split(images, torch.zeros(count, dtype=torch.int64))
    return dataclasses.replace(DATA, train=split)


@pytest.mark.parametrize(
    ("count", "options", "epochs", "part"),
    [
        (1_000, {}, 4, None),
        (EPOCH_IMAGES, {}, 3, None),
        (EPOCH_IMAGES + 1, {}, 3, EPOCH_IMAGES),
        (51_000, {"batch_size": 1_000}, 5, EPOCH_IMAGES),
        (51_000, {"epochs": 2}, 2, None),
        (51_000, {"epochs": 2, "epoch_images": 500}, 2, 500),
        (400, {"epoch_images": 500}, 8, None),
    ],
)
def test_an_epoch_of_a_large_set_is_a_part_of_it_unless_epochs_are_asked_for(
    count: int, options: dict[str, Any], epochs: int, part: int | None
) -> None:
    training = Training(**options)
    training.prepare(large(count), Classification(CLASSES))
    assert training.recipe["epochs"] == epochs
    assert training.recipe.get("epoch_images") == part


def test_epochs_go_on_with_other_images_until_all_had_their_turn() -> None:
    recipe = Recipe(4, 8, 4e-3, 0.02, epoch_images=24)
    task = Classification(CLASSES)
    child = ChildTraining(network(2), large(60), task, recipe, seed=0, device="cpu")
    assert (child._batches, child._schedule.total) == (3, 12)
    chosen = torch.cat([child._order(number) for number in range(7)])
    assert len(chosen.unique()) == 56  # a pass, less the odd rest
    assert len(torch.cat([child._order(number) for number in (6, 7)]).unique()) > 8
    again = torch.cat([child._order(number) for number in range(7, 14)])
    assert not torch.equal(chosen, again)
    assert len(again.unique()) == 56


def test_a_part_of_a_set_can_be_trained_in_rungs_too() -> None:
    training = prepared(epochs=3, batch_size=8, epoch_images=16)
    whole = evaluate(training)
    assert whole.details["steps"] == 6
    first = evaluate(training, fidelity=1 / 3)
    assert_same(evaluate(training, start=first.checkpoint), whole)
