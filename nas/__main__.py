"""``nas`` and ``python -m nas``: runs a command and turns errors into exit codes."""

import sys

from nas.errors import NasError


def main() -> None:
    """Run the command line and exit with its code; see ``docs/cli.md`` for the codes."""
    from nas.cli import app  # noqa: PLC0415 - nothing else is needed to name an error

    try:
        app()
    except NasError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted: everything recorded so far is in the run folder")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left; nothing more to say
        sys.exit(141)


def _say(text: str) -> None:
    """One line on stderr, control characters left out."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
