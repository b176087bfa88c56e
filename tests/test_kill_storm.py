"""A short storm of kills; ``kill_storm.py`` itself makes longer ones."""

import subprocess
import sys
from pathlib import Path

import pytest

STORM = Path(__file__).with_name("kill_storm.py")


def storm(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, str(STORM), *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.slow
def test_a_search_in_one_process_survives_being_killed() -> None:
    out = storm("--kills", "4", "--workers", "0", "--trials", "15", "--seconds", "0.1")
    assert "nothing lost, nothing twice, nothing left running" in out


@pytest.mark.ray
def test_a_search_with_workers_survives_the_death_of_any_of_them() -> None:
    out = storm("--kills", "3", "--workers", "2", "--trials", "15", "--seconds", "0.3")
    assert "nothing lost, nothing twice, nothing left running" in out
