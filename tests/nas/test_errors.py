"""Errors that end a command carry their exit code."""

from nas.errors import NasError, usage_error


def test_an_error_carries_its_text_and_its_exit_code() -> None:
    error = NasError("disk: full", exit_code=5)
    assert (str(error), error.exit_code) == ("disk: full", 5)


def test_a_usage_error_has_exit_code_2() -> None:
    error = usage_error("--budget must be at least 1, got 0")
    assert (str(error), error.exit_code) == ("--budget must be at least 1, got 0", 2)
