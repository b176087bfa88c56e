"""Each pass has an order of its own, the same whenever it is asked for."""

import torch

from estimators.order import Order


def order() -> Order:
    return Order(11, 3, 3, lambda turn: 7 + turn, "cpu")


def test_no_image_comes_twice_in_a_pass_and_passes_differ() -> None:
    one = order()
    passes = [torch.cat([one(3 * turn + step) for step in range(3)]) for turn in range(2)]
    for found in passes:
        assert len(set(found.tolist())) == 9
        assert set(found.tolist()) <= set(range(11))
    assert not torch.equal(*passes)


def test_steps_can_be_asked_for_in_any_order() -> None:
    one, other = order(), order()
    there = [one(step) for step in range(9)]
    back = [other(step) for step in reversed(range(9))]
    assert all(torch.equal(*each) for each in zip(there, reversed(back), strict=True))


def test_a_pass_of_fewer_steps_is_the_beginning_of_its_order() -> None:
    short = Order(11, 3, 2, lambda turn: 7 + turn, "cpu")
    assert torch.equal(short(1), order()(1))
    assert torch.equal(short(2), order()(3))
