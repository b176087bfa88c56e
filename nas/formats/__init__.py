"""What ``nas export --format`` writes beside source and weights, each checked on its own."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from nas.errors import NasError, usage_error
from nas.export import Format
from nas.plugins import unknown

# Module of each format; imported when it is asked for.
FORMATS = {
    "pt2": "nas.formats.torch_program",
    "onnx": "nas.formats.onnx_model",
    "folded": "nas.formats.folded",
    "int8": "nas.formats.int8_model",
}
_EXTRA = ("onnx", "onnxruntime", "onnxscript")  # what nas-engine[onnx] brings
_NEEDS_EXTRA = frozenset({"onnx", "int8"})
_NEEDS_DATA = frozenset({"int8"})


def chosen(names: Sequence[str], *, has_data: bool = False) -> tuple[Format, ...]:
    """The formats of those names, each once.

    Args:
        names: Of ``FORMATS``.
        has_data: Whether there will be images of the data.

    Raises:
        NasError: If there is no such format, or it needs images (exit code 2), or what it needs is
            not installed (5).
    """
    for name in names:
        if name not in FORMATS:
            raise usage_error(f"--format: {unknown(name, FORMATS)}")
        if name in _NEEDS_DATA and not has_data:
            raise usage_error(f"--format {name} needs --data, with images to calibrate with")
        missing = [module for module in _EXTRA if find_spec(module) is None]
        if name in _NEEDS_EXTRA and missing:
            raise NasError(
                f"--format {name} needs {missing[0]}; pip install 'nas-engine[onnx]'", exit_code=5
            )
    return tuple(import_module(FORMATS[name]).write for name in dict.fromkeys(names))
