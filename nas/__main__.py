"""``nas`` and ``python -m nas``: runs a command and turns errors into exit codes."""

import io
import sys

from nas.errors import NasError
from nas.terminal import discard, say


def main() -> None:
    """Run the command line and exit with its code; see ``docs/cli.md`` for the codes."""
    from nas.cli import run  # noqa: PLC0415 - nothing else is needed to name an error

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the locale can write
    try:
        run(sys.argv[1:])
        sys.stdout.flush()
    except NasError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("interrupted: everything recorded so far is in the run folder")
        sys.exit(130)
    except BrokenPipeError:
        discard(sys.stdout)  # whoever read our output has left; nothing more to say
        sys.exit(141)


if __name__ == "__main__":
    main()
