"""What runs alone leaves torch as it found it, and draws the same whatever was drawn before."""

import pytest
import torch

from estimators.determinism import alone, seed_of


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_draws_depend_on_the_seed_alone_and_disturb_nobody(seed: int) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with alone("cpu", seed=seed):
        first = torch.rand(2)
        assert torch.get_num_threads() == 1
    assert torch.equal(torch.rand(4), expected)
    with alone("cpu", seed=seed):
        assert torch.equal(torch.rand(2), first)


def test_threads_come_back_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), alone("cpu"):
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_seeds_of_purposes_differ() -> None:
    seeds = {seed_of(*parts) for parts in ((0, 0), (0, 1), (1, 0), (1, 1))}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**64 for seed in seeds)
