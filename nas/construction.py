"""Spaces, strategies, estimators and recipes, made with the options that a user gave."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from estimators.data import ImageData
from estimators.estimator import Estimator, Relative
from estimators.full_recipe import FullRecipe
from estimators.task import Task
from nas import plugins
from nas.children import Children
from nas.errors import usage_error
from nas.plan import REFERENCE, rng_of
from nas.terminal import escaped
from search_spaces.space import SearchSpace

T = TypeVar("T")


def make_space(
    space: str | type[SearchSpace],
    input_shape: tuple[int, int, int],
    num_classes: int,
    options: Mapping[str, Any],
) -> SearchSpace:
    """A search space by name or class.

    Raises:
        NasError: If the name or an option is unknown or out of range (exit code 2).
    """
    target = target_of("search_spaces", space)
    return construct(
        SearchSpace,  # type: ignore[type-abstract]
        target,
        (input_shape, num_classes),
        options=options,
        part="space",
    )


def make_estimator(estimator: str | type[Estimator], options: Mapping[str, Any]) -> Estimator:
    """An estimator by name or class, not yet prepared.

    Raises:
        NasError: If the name or an option is unknown or out of range (exit code 2).
    """
    return construct(
        Estimator,  # type: ignore[type-abstract]
        target_of("estimators", estimator),
        (),
        options=options,
        part="estimator",
    )


def prepare_estimator(
    estimator: Estimator, images: ImageData, task: Task, *, children: Children, seed: int
) -> None:
    """Hand an estimator what it needs in a run of that seed.

    Raises:
        NasError: If its options and the data do not fit (exit code 2).
    """
    if isinstance(estimator, Relative):
        rng = rng_of(seed, REFERENCE)
        estimator.refer([one.graph for one in children.drawn(rng, estimator.references)])
    try:
        estimator.prepare(images, task)
    except ValueError as error:
        raise usage_error(f"estimator: {escaped(str(error))}") from error


def target_of(kind: str, target: str | type) -> Any:
    """The class that a user named or handed over.

    Raises:
        NasError: If there is none of that name, or it is neither (exit code 2).
    """
    if not isinstance(target, str | type):
        raise usage_error(f"{plugins.PARTS[kind]} must be a name or a class, got {target!r:.80}")
    return plugins.load(kind, target) if isinstance(target, str) else target


def construct(
    base: type[T],
    target: Any,
    arguments: tuple[Any, ...],
    *,
    options: Mapping[str, Any],
    part: str,
) -> T:
    """An instance of a plug-in with options that a user gave."""
    if isinstance(target, type) and not issubclass(target, base):
        raise usage_error(f"{part} must be a subclass of {base.__name__}, got {target.__name__}")
    plugins.check_options(target, options, part)
    for name, value in options.items():
        _check_type(value, plugins.options(target)[name].annotation, f"{part}.{name}")
    try:
        made = target(*arguments, **options)
    except (ValueError, TypeError) as error:
        raise usage_error(f"{part}: {error}") from error
    if not isinstance(made, base):
        raise usage_error(f"{part} must yield an instance of {base.__name__}, got {made!r:.80}")
    return made


def check_recipe_options(options: Mapping[str, Any]) -> None:
    """Check names and types of what a user wants of a full training.

    Raises:
        NasError: If an option is unknown or of another type (exit code 2).
    """
    plugins.check_options(FullRecipe, options, "train")
    known = plugins.options(FullRecipe)
    for name, value in options.items():
        _check_type(value, known[name].annotation, f"train.{name}")


def _check_type(value: object, annotation: Any, where: str) -> None:
    """Check an option against its annotation; those that are no plain types say nothing."""
    if isinstance(annotation, str):
        return
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))
        adapter.validate_python(value)
    except ValidationError as error:
        raise usage_error(f"{where} must be {_in_words(annotation)}, got {value!r:.80}") from error
    except PydanticUserError:
        return


def _in_words(annotation: Any) -> str:
    """What a value of that type is called."""
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in {Union, UnionType}:
        parts = [one for one in get_args(annotation) if one is not NoneType]
        return " or ".join(map(_in_words, parts))
    if get_origin(annotation) in {list, tuple}:
        return f"a list ({_in_words(get_args(annotation)[0])} each)"
    known = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
    return known.get(annotation, getattr(annotation, "__name__", str(annotation)))
