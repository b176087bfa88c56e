"""Latency: a median of real passes, with nothing left changed."""

import math

import pytest
import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.latency import RUNS, WARM_UP, latency_ms, network_latency_ms
from search_spaces.architecture import lower
from search_spaces.reference import REFERENCES


class Counting(nn.Module):
    """Notes what it is run with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[tuple[int, ...], bool, bool, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        self.seen.append((tuple(x.shape), self.training, torch.is_grad_enabled(), threads))
        return x


def test_one_image_runs_through_in_eval_mode_on_one_thread() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = Counting()
        assert latency_ms(model, (3, 8, 6), device="cpu") > 0
        assert model.seen == (WARM_UP + RUNS) * [((1, 3, 8, 6), False, False, 1)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_it_is_the_median_without_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = [5.0] * WARM_UP + [1.0] * (RUNS // 2 + 1) + [9.0] * (RUNS - RUNS // 2 - 1)
    times = [time for duration in durations for time in (0.0, duration)]
    monkeypatch.setattr("nas.latency.time.perf_counter", lambda: times.pop(0))
    assert latency_ms(nn.Identity(), (1, 2, 2), device="cpu") == 1000.0
    assert times == []


def test_one_that_is_far_too_slow_is_not_measured_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = [time for _ in range(WARM_UP + RUNS) for time in (0.0, 5.0)]
    monkeypatch.setattr("nas.latency.time.perf_counter", lambda: times.pop(0))
    assert latency_ms(nn.Identity(), (1, 2, 2), device="cpu", most=2499.0) == 5000.0
    assert len(times) == 2 * RUNS
    times[:] = [time for _ in range(WARM_UP + RUNS) for time in (0.0, 5.0)]
    assert latency_ms(nn.Identity(), (1, 2, 2), device="cpu", most=2500.0) == 5000.0
    assert times == []


def test_a_network_that_the_device_cannot_compute_takes_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = lower(REFERENCES["resnet20"]())
    assert 0 < network_latency_ms(graph, device="cpu") < 10_000

    for error, tries in ((NotImplementedError("no such op"), 1), (torch.OutOfMemoryError(), 2)):
        tried: list[str] = []

        def fail(*_: object, device: str, **__: object) -> float:
            tried.append(device)  # noqa: B023 - called in this turn
            raise error  # noqa: B023

        monkeypatch.setattr("nas.latency.latency_ms", fail)
        assert network_latency_ms(graph, device="cpu") == math.inf
        assert tried == ["cpu"] * tries


def test_a_device_that_fails_is_no_fault_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> float:
        raise RuntimeError("CUDA error: launch failed\nand more")

    monkeypatch.setattr("nas.latency.latency_ms", fail)
    with pytest.raises(NasError, match=r"measured on cpu: CUDA error: launch failed$") as caught:
        network_latency_ms(lower(REFERENCES["resnet20"]()), device="cpu")
    assert caught.value.exit_code == 5


def test_threads_are_restored_after_an_exception() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken")

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="broken"):
            latency_ms(Broken(), (1, 2, 2), device="cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
