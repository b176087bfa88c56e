"""Who may import whom, read from the source, functions and type-checking blocks included."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("search_spaces", "strategies", "estimators", "nas")

# Which modules of ours a package may import beside its own.
ALLOWED: dict[str, tuple[str, ...]] = {
    "search_spaces": (),
    "strategies": ("search_spaces.genome",),
    "estimators": ("search_spaces",),
    "nas": ("search_spaces", "strategies", "estimators"),
}
# Which packages of others a package must not import, and the files that may all the same.
FORBIDDEN: dict[str, dict[str, tuple[str, ...]]] = {
    "search_spaces": {
        "ray": (),
        "optuna": (),
        "torchvision": (),
        "torch": ("search_spaces/modules.py",),
    },
    "strategies": {
        "ray": (),
        "torchvision": (),
        "torch": ("strategies/controller.py",),
    },
    "estimators": {"ray": (), "optuna": ()},
    "nas": {},
}
GENOME = "search_spaces/genome.py"  # numpy and the standard library only


def imports(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """Line and names of each import; of ``from a import b`` it is ``a.b``, whatever ``b`` is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield node.lineno, [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module if node.module is not None else "")
            yield node.lineno, [f"{start}.{alias.name}" for alias in node.names]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, [str(node.args[0].value)]


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def fault(name: str, file: str) -> str | None:
    """Why ``file`` must not import ``name``, or None."""
    package = file.partition("/")[0]
    top = name.partition(".")[0]
    if name.startswith("."):
        return "imports are absolute"
    if file == GENOME and top != "numpy" and top not in sys.stdlib_module_names:
        return "the genome needs numpy alone"
    if top in PACKAGES and top != package:
        if not any(within(name, module) for module in ALLOWED[package]):
            return f"{package} must not import it"
    elif top in FORBIDDEN[package] and file not in FORBIDDEN[package][top]:
        return f"{package} must not import {top} here"
    return None


def faults(source: str, file: str) -> list[str]:
    """Every import of ``source`` that must not be, were it the text of ``file``."""
    return [
        f"{file}:{line}: {name}: {why}"
        for line, names in imports(ast.parse(source))
        for name in names
        if (why := fault(name, file)) is not None
    ]


def files(package: str) -> Sequence[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_downwards_only(package: str) -> None:
    assert len(files(package)) > 3
    found = [
        line
        for path in files(package)
        for line in faults(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]
    assert found == []


def test_ray_lives_in_its_session_its_workers_and_the_tune_adapter() -> None:
    users = {
        path.name
        for package in PACKAGES
        for path in files(package)
        for _, names in imports(ast.parse(path.read_text(encoding="utf-8")))
        for name in names
        if within(name, "ray")
    }
    assert users == {"ray_session.py", "ray_workers.py", "tune.py"}


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("search_spaces/graph.py", "import nas"),
        ("search_spaces/graph.py", "from strategies.grid import Grid"),
        ("search_spaces/graph.py", "import estimators.task as task"),
        ("search_spaces/graph.py", "import torch"),
        ("search_spaces/graph.py", "from torch import nn"),
        ("search_spaces/modules.py", "import torchvision"),
        ("search_spaces/modules.py", "import ray"),
        ("search_spaces/blocks/mbconv.py", "import optuna"),
        ("search_spaces/graph.py", "from . import primitives"),
        ("search_spaces/graph.py", "from .primitives import Shape"),
        ("search_spaces/graph.py", "def f():\n    import torch.nn"),
        ("search_spaces/graph.py", "def f():\n    from nas.trial import Trial"),
        (
            "search_spaces/graph.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import Tensor",
        ),
        ("search_spaces/graph.py", "try:\n    import ray\nexcept ImportError:\n    ray = None"),
        ("search_spaces/graph.py", "import importlib\nimportlib.import_module('nas.engine')"),
        ("search_spaces/graph.py", "torch = __import__('torch')"),
        ("search_spaces/genome.py", "import networkx"),
        ("search_spaces/genome.py", "from search_spaces.strict_json import dumps"),
        ("strategies/random.py", "import search_spaces"),
        ("strategies/random.py", "from search_spaces import graph"),
        ("strategies/random.py", "from search_spaces.graph import Graph"),
        ("strategies/random.py", "from search_spaces.genome_of_others import Genome"),
        ("strategies/random.py", "from estimators.task import Task"),
        ("strategies/random.py", "import torch"),
        ("strategies/random.py", "class A:\n    def f(self):\n        import ray"),
        ("estimators/training.py", "from strategies.strategy import Proposal"),
        ("estimators/training.py", "import nas.errors"),
        ("estimators/training.py", "import optuna"),
        ("estimators/training.py", "async def f():\n    import ray.tune"),
    ],
)
def test_a_planted_import_is_found(file: str, source: str) -> None:
    assert len(faults(source, file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("search_spaces/modules.py", "import torch\nfrom torch import nn"),
        (
            "search_spaces/graph.py",
            "import networkx as nx\nfrom search_spaces.primitives import Add",
        ),
        ("search_spaces/genome.py", "import numpy as np\nfrom collections.abc import Iterator"),
        ("strategies/random.py", "from search_spaces.genome import Genome\nimport numpy as np"),
        ("strategies/random.py", "from search_spaces import genome"),
        ("strategies/tpe.py", "import optuna"),
        ("strategies/controller.py", "import torch"),
        ("estimators/training.py", "import torch\nfrom search_spaces.modules import build"),
        ("nas/engine.py", "from strategies.strategy import Proposal\nimport ray, optuna"),
        ("search_spaces/graph.py", "import nasal\nimport torchlike"),
    ],
)
def test_imports_that_may_be_are_left_alone(file: str, source: str) -> None:
    assert faults(source, file) == []


def test_networks_are_described_without_torch() -> None:
    modules = [
        path.relative_to(ROOT)
        .with_suffix("")
        .as_posix()
        .replace("/", ".")
        .removesuffix(".__init__")
        for path in files("search_spaces")
        if path.name != "modules.py"
    ]
    program = f"import sys, {', '.join(modules)}\nprint('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.strip() == "False"
