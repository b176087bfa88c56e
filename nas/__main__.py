"""``nas`` and ``python -m nas``: runs a command and turns errors into exit codes."""

import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from nas.errors import NasError
from nas.terminal import discard, say


def main() -> None:
    """Run the command line and exit with its code; see ``docs/cli.md`` for the codes."""
    shadowed = _shadowed()
    if shadowed:
        say(f"error: {shadowed}")
        sys.exit(5)
    # Threads of torch wait without spinning: beside a busy neighbour that is twenty times as fast.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from nas.cli import run  # noqa: PLC0415 - nothing else is needed to name an error

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the locale can write
    try:
        run(sys.argv[1:])
        sys.stdout.flush()
    except NasError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt as error:  # also Interrupted, which brings a code and what to do
        say(str(error) or "interrupted")
        sys.exit(getattr(error, "exit_code", 130))
    except BrokenPipeError:
        discard(sys.stdout)  # whoever read our output has left; nothing more to say
        sys.exit(141)


def _shadowed() -> str:
    """What to say if a package of ours is hidden by a folder of the same name, else nothing."""
    ours = Path(__file__).resolve().parent.parent
    for name in ("search_spaces", "strategies", "estimators"):
        spec = find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if found is None or found.parent.parent != ours:
            place = "nowhere" if found is None else str(found.parent)
            return f"package {name}: found in {place}, ours is in {ours}; rename or move the other"
    return ""


if __name__ == "__main__":
    main()
