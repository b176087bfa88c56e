"""Errors that end a command with one line and an exit code of their own."""


class NasError(Exception):
    """A user's mistake or a limit of the surroundings: what, where, what to do.

    Attributes:
        exit_code: 2 usage or configuration; 3 no feasible architecture; 4 run folder; 5
            environment.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def usage_error(message: str) -> NasError:
    """A value that cannot be used (exit code 2)."""
    return NasError(message, exit_code=2)
