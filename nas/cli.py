"""The command line. Results go to stdout, progress to stderr; torch is imported when needed."""

from collections.abc import Sequence

import typer

from nas.commands import audit, bench, lists, network, scale, search, training, transfer
from nas.errors import usage_error

app = typer.Typer(
    name="nas",
    help="Neural architecture search for images: from a budget to a plain PyTorch network.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (  # in the order of ``nas --help``
    search.search,
    search.resume,
    search.status,
    training.train,
    scale.scale,
    network.export,
    network.predict,
    network.evaluate,
    transfer.transfer,
    transfer.convert_weights,
    network.show,
    lists.spaces,
    lists.strategies,
    lists.estimators,
    bench.bench,
    audit.audit,
    network.references,
):
    app.command()(command)

_CommandLineError = typer.BadParameter.__base__  # of whichever click typer stands on


def run(arguments: Sequence[str]) -> None:
    """Run one command; without any, print what there is.

    Raises:
        NasError: If the command line is wrong, or the command says so.
    """
    command = typer.main.get_command(app)
    try:
        with command.make_context("nas", list(arguments) or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit:
        return  # help was shown
    except _CommandLineError as error:  # type: ignore[misc]
        place = "nas" if error.ctx is None else error.ctx.command_path
        raise usage_error(f"{error.format_message()} (see `{place} --help`)") from error
