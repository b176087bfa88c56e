"""Flags from a TOML file."""

from pathlib import Path

import pytest

from nas.config_file import read
from nas.errors import NasError

KNOWN = {
    "objective": "objective",
    "budget": "budget",
    "max-params": "max_params",
    "json": "json",
    "set": "settings",
}
LISTS = {"objective"}


def test_values_come_back_as_the_command_line_would_write_them(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'budget = 7\nmax-params = "60k"\njson = true\n'
        '[set]\nspace.granularity = "block"\nestimator.epochs = 2\nestimator.learning_rate = 1e-3\n'
    )
    assert read(path, KNOWN, lists=LISTS) == {
        "budget": "7",
        "max_params": "60k",
        "json": True,
        "settings": [
            'space.granularity="block"',
            "estimator.epochs=2",
            "estimator.learning_rate=0.001",
        ],
    }


@pytest.mark.parametrize("text", ['"accuracy"', '["accuracy"]', '["accuracy", "macs"]'])
def test_a_flag_that_may_be_given_again_takes_a_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"objective = {text}\n")
    assert read(path, KNOWN, lists=LISTS) == {
        "objective": ["accuracy", "macs"][: 1 + ("macs" in text)]
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget 7", "is not TOML"),
        ("budget = 1\nbudget = 2", "is not TOML"),
        ("bugdet = 7", "did you mean budget?"),
        ("budget = [7]", "budget must be a text, number or truth value"),
        ("objective = [7]", "objective must be a text, number or truth value"),
        ("set = 3", "set must be a table of parts with options"),
        ("[set]\nepochs = 3", "set must be a table of parts with options"),
    ],
)
def test_what_is_no_set_of_flags_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(NasError, match=r"--config: .*run\.toml") as caught:
        read(path, KNOWN, lists=LISTS)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="cannot be read"):
        read(tmp_path / "none.toml", KNOWN, lists=LISTS)
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NasError, match="is not TOML"):
        read(path, KNOWN, lists=LISTS)
