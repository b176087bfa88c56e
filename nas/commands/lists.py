"""``nas spaces``, ``nas strategies`` and ``nas estimators``: what there is to choose from."""

from typing import Annotated

import typer

from nas import plugins
from nas.commands.flags import JsonFlag, answer, shape_of
from nas.errors import NasError, usage_error
from nas.terminal import say
from search_spaces.strict_json import dumps


def spaces(
    name: Annotated[str | None, typer.Argument(help="One space in detail.")] = None,
    *,
    input_shape: Annotated[
        str, typer.Option(metavar="CxHxW", help="Images to adapt the space to.")
    ] = "3x224x224",
    num_classes: Annotated[int, typer.Option(help="Number of classes.")] = 10,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="space.OPTION=VALUE")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """List search spaces, or show one: its decisions, its size and what its networks cost."""
    if name is None:
        _list("search_spaces", as_json=json)
        return
    plugins.load("search_spaces", name)
    from nas import spaces as overview  # noqa: PLC0415

    parsed = plugins.parse_settings(settings if settings is not None else [])
    options = parsed.pop("space")
    if any(parsed.values()):
        raise usage_error("--set: only space.OPTION=VALUE has a meaning here")
    document = overview.space_document(name, shape_of(input_shape), num_classes, options=options)
    answer(dumps(document, indent=2) if json else overview.space_text(document))


def strategies(
    name: Annotated[str | None, typer.Argument(help="One strategy in detail.")] = None,
    *,
    json: JsonFlag = False,
) -> None:
    """List search strategies, or describe one."""
    _list_or_describe("strategies", name, as_json=json)


def estimators(
    name: Annotated[str | None, typer.Argument(help="One estimator in detail.")] = None,
    *,
    json: JsonFlag = False,
) -> None:
    """List estimators, or describe one."""
    _list_or_describe("estimators", name, as_json=json)


def _list_or_describe(kind: str, name: str | None, *, as_json: bool) -> None:
    if name is None:
        _list(kind, as_json=as_json)
        return
    target = plugins.load(kind, name)
    document = plugins.description(name, target)
    if as_json:
        answer(dumps(document, indent=2))
        return
    answer(f"{name}\n\n{document['text']}\n")
    for option in document["options"]:
        answer(f"  --set {plugins.PARTS[kind]}.{option['name']}={option['default']}")


def _list(kind: str, *, as_json: bool) -> None:
    rows = []
    for name in plugins.names(kind):
        try:
            rows.append(plugins.description(name, plugins.load(kind, name)))
        except NasError as error:  # one bad plug-in does not hide the others
            say(f"left out: {error}")
    if as_json:
        answer(dumps(rows, indent=2))
        return
    for row in rows:
        answer(f"{row['name']:<12}{row['text'].partition(chr(10))[0]}".rstrip())
