"""Images that exports are checked on: every class, always the same, as the network reads them."""

import torch

from estimators.data import Split
from nas.real_images import FEW, real_images, stratified


def split(counts: dict[int, int]) -> Split:
    """Images of one pixel, whose value is their place."""
    labels = torch.cat([torch.full((count,), label) for label, count in counts.items()])
    return Split(torch.arange(len(labels), dtype=torch.float32).reshape(-1, 1, 1, 1), labels)


def test_each_class_has_its_share() -> None:
    found = stratified(split({0: 600, 1: 300, 2: 100}), 20)
    assert torch.bincount(found.labels).tolist() == [12, 6, 2]
    assert len(set(found.images.flatten().tolist())) == 20
    places = found.images.flatten().long()
    assert torch.equal(split({0: 600, 1: 300, 2: 100}).labels[places], found.labels)


def test_it_is_a_draw_and_always_the_same() -> None:
    some, again = (stratified(split({0: 600, 1: 300}), 20) for _ in range(2))
    assert torch.equal(some.images, again.images)
    assert some.images.flatten().diff().min() < 0  # not in the order of the data


def test_all_are_taken_where_there_are_no_more() -> None:
    whole = split({0: 3, 1: 2})
    assert stratified(whole, 5) is whole
    assert stratified(whole, 9) is whole


def test_they_are_resized_and_a_few_are_of_all_classes() -> None:
    found = real_images("own", split({0: 9}), split({0: 50, 1: 50}), size=(2, 3), calibration=4)
    assert found.calibration.shape == (4, 1, 2, 3)
    assert found.validation.images.shape == (100, 1, 2, 3)
    assert found.few.shape == (FEW, 1, 2, 3)
    assert 0 < int((found.few[:, 0, 0, 0] < 50).sum()) < FEW
