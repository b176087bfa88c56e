"""Errors that end a command carry their exit code."""

import os
import subprocess
import sys
from pathlib import Path

import nas
from nas.errors import NasError, usage_error


def test_an_error_carries_its_text_and_its_exit_code() -> None:
    error = NasError("disk: full", exit_code=5)
    assert (str(error), error.exit_code) == ("disk: full", 5)


def test_a_usage_error_has_exit_code_2() -> None:
    error = usage_error("--budget must be at least 1, got 0")
    assert (str(error), error.exit_code) == ("--budget must be at least 1, got 0", 2)


def test_a_folder_that_hides_a_package_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "__init__.py").write_text("")
    ours = str(Path(nas.__file__).parent.parent)
    command = [sys.executable, "-m", "nas", "strategies"]
    environment = {**os.environ, "PYTHONPATH": ours}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 5
    assert ran.stderr.startswith(f"error: package strategies: found in {tmp_path / 'strategies'}")
    assert len(ran.stderr.splitlines()) == 1
