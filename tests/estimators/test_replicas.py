"""Copies of a network that compute at once: one set of parameters, one sum of gradients."""

import threading

import pytest
import torch
from threadpoolctl import threadpool_info
from torch import Tensor, nn

from estimators.replicas import Replicas


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))


def backward(model: nn.Module, images: Tensor) -> Tensor:
    loss: Tensor = model(images).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def gradients(model: nn.Module) -> list[Tensor]:
    return [one.grad.clone() for one in model.parameters() if one.grad is not None]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_gradients_and_results_are_those_of_one_network_piece_by_piece(count: int) -> None:
    cut = torch.randn(24, 1, 8, 8).tensor_split(5)
    alone, model = network(), network()
    losses, sums = [], [torch.zeros_like(one) for one in alone.parameters()]
    for piece in cut:
        alone.zero_grad()
        losses.append(backward(alone, piece))
        sums = [one + more for one, more in zip(sums, gradients(alone), strict=True)]
    with Replicas(model, count) as replicas:
        assert replicas.map(backward, cut) == losses
    assert len(gradients(model)) == len(sums) == 6
    for one, other in zip(gradients(model), sums, strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_pieces_are_computed_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=60)

    def meet(model: nn.Module, piece: int) -> Tensor:
        meeting.wait()  # raises unless three are here
        return torch.tensor(piece)

    with Replicas(network(), 3) as replicas:
        assert replicas.map(meet, range(6)) == list(range(6))


def test_a_step_of_the_network_is_one_of_all_copies() -> None:
    model = network()
    with Replicas(model, 2) as replicas:
        with torch.no_grad():
            for one in model.parameters():
                one.add_(1)
        for copy in replicas.models:
            assert all(map(torch.equal, copy.parameters(), model.parameters()))
        assert replicas.models[0] is model


def test_frozen_parameters_stay_so_in_every_copy() -> None:
    model = network()
    model[0].requires_grad_(requires_grad=False)
    with Replicas(model, 2) as replicas:
        for copy in replicas.models:
            assert [one.requires_grad for one in copy.parameters()] == [False] * 2 + [True] * 4
        replicas.map(backward, torch.randn(6, 1, 8, 8).tensor_split(2))
    assert [one.grad is None for one in model.parameters()] == [True] * 2 + [False] * 4


def test_a_gradient_that_only_a_copy_has_is_the_networks() -> None:
    model = network()

    def second(model: nn.Module, images: Tensor) -> Tensor:
        return backward(model, images) if images.mean() > 0 else torch.zeros(())

    with Replicas(model, 2) as replicas:
        replicas.map(second, [-torch.ones(2, 1, 8, 8), torch.ones(2, 1, 8, 8)])
        assert len(gradients(model)) == 6
        assert not gradients(replicas.models[1])


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_of_any_thread_is_raised_when_the_others_have_ended(bad: int) -> None:
    failed, others = threading.Event(), list[int]()

    def fail(model: nn.Module, piece: int) -> Tensor:
        if piece == bad:
            failed.set()
            raise torch.OutOfMemoryError("out of memory")
        failed.wait(60)
        for _ in range(100):  # longer than an error takes to be raised
            network()
        others.append(piece)
        return torch.zeros(())

    with Replicas(network(), 2) as replicas:
        with pytest.raises(torch.OutOfMemoryError):
            replicas.map(fail, range(2))
        assert others == [1 - bad]


def test_what_failed_leaves_nothing_in_the_gradients_of_the_next_try() -> None:
    cut, failures = torch.randn(8, 1, 8, 8).tensor_split(2), [True]

    def once(model: nn.Module, images: Tensor) -> Tensor:
        if images is cut[0] and failures:
            failures.clear()
            raise torch.OutOfMemoryError("out of memory")
        return backward(model, images)

    found = []
    for function in (backward, once):
        model = network()
        with Replicas(model, 2) as replicas:
            if function is once:
                with pytest.raises(torch.OutOfMemoryError):
                    replicas.map(function, cut)
                model.zero_grad()
            replicas.map(function, cut)
        found.append(gradients(model))
    assert all(map(torch.equal, *found))


def test_each_copy_computes_with_as_many_threads_as_the_caller() -> None:
    before, seen, asking = torch.get_num_threads(), list[int](), threading.Lock()

    def look(model: nn.Module, piece: int) -> Tensor:
        with asking:  # OpenMP itself; torch, if it were asked, would tell it first
            libraries = [one for one in threadpool_info() if one["user_api"] == "openmp"]
        seen.extend(one["num_threads"] for one in libraries if "/torch/" in one["filepath"])
        return torch.zeros(())

    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with Replicas(network(), 2) as replicas:
                replicas.map(look, range(2))
    finally:
        torch.set_num_threads(before)
    if not seen:
        pytest.skip("torch computes without OpenMP")
    assert seen == [1, 1, 3, 3]
