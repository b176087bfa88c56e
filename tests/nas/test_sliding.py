"""Networks exported to slide over larger images."""

from pathlib import Path

import pytest
import torch

import nas
from nas.errors import NasError
from nas.export import export
from nas.loading import find
from nas.sliding import slide


def test_a_fully_convolutional_export_has_the_same_scores_and_more(
    exported: Path, tmp_path: Path
) -> None:
    error = export(slide(find(exported).winner), tmp_path / "out")  # checked in a fresh process
    assert error is not None
    assert error <= 1e-5
    model, sliding = nas.load(exported), nas.load(tmp_path / "out")
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = model(images), sliding(images)
        assert other.shape == (4, 2, 1, 1)
        assert float((one - other.flatten(1)).abs().max() / one.abs().max()) <= 1e-5
        assert sliding(torch.zeros(1, 1, 16, 24)).shape == (1, 2, 5, 9)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| Output | 2 x 1 x 1 |" in card
    assert "smaller ones do not fit |" in card  # nothing global inside
    assert (find(exported).winner.figures or {}).items() <= (
        find(tmp_path / "out").winner.figures or {}
    ).items()


def test_the_card_warns_of_what_sees_all_of_a_larger_image() -> None:
    figures = slide(find("efficientnet_b0").winner).figures
    assert figures is not None
    assert "differ from those of a window moved over the image" in figures["Fully convolutional"]


def test_what_is_fully_convolutional_already_is_refused() -> None:
    with pytest.raises(NasError, match=r"--fully-convolutional: .* already") as caught:
        slide(slide(find("efficientnet_b0").winner))
    assert caught.value.exit_code == 2
