"""Every snippet of README and docs runs, with a small budget."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from estimators.full_recipe import CHOICES, RANGES, FullRecipe
from estimators.parameter_groups import FACTORS_OF_ONE
from search_spaces.architecture import lower
from search_spaces.reference import REFERENCES
from search_spaces.source import model_source

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = re.compile(r"--budget \d+|budget=\d+")
FEW = re.compile(r"(--children) \d+ --seeds \d+")
EPOCH = "--set estimator.epochs=1"
# All commands of a page but the first, in one process: importing torch takes longer than most.
REST = """
import json
from nas.cli import run
for arguments in json.load(open("rest.json")):
    print(*arguments, flush=True)
    run(arguments)
"""


def snippets(page: Path, language: str) -> list[str]:
    """The blocks of one language in a page."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(page: Path) -> list[str]:
    """The lines of shell that start with our own command."""
    lines = "".join(snippets(page, "sh")).splitlines()
    return [line for line in lines if line.startswith("nas ")]


def run(command: list[str], folder: Path) -> str:
    """Run in an empty folder, with the package that the tests import."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda p: p.name)
def test_the_commands_of_a_page_run_in_their_order(page: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "digits.png", tmp_path / "photo.png")
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(20):
            picture = Image.new("RGB", (40, 30), (number * 12, 99 if label == "cat" else 9, 9))
            picture.save(tmp_path / "photos" / label / f"{number}.png")
    lines = []
    for number, line in enumerate(commands(page)):
        least = "--budget 9" if "--halving" in line else "--budget 2"
        small = FEW.sub(r"\1 6 --seeds 1", SMALL.sub(least, line))
        trains = line.startswith(("nas search", "nas resume")) and "--dry-run" not in line
        if trains and number > 0 and "--workers" not in line:
            small += " --workers 0"  # one start of Ray is enough for a page
        if line.startswith("nas search") and not re.search("estimator.epochs|--estimator", line):
            small += f" {EPOCH}"
        if line.startswith("nas search") and "train." not in line:
            small += " --final-training off"  # it takes ten times a child
        for epochs, fewer in ((5, 1), (9, 3)):
            small = small.replace(f"estimator.epochs={epochs}", f"estimator.epochs={fewer}")
        lines.append(small.split()[1:])
    run([sys.executable, "-m", "nas", *lines[0]], tmp_path)
    (tmp_path / "rest.json").write_text(json.dumps(lines[1:]))
    run([sys.executable, "-c", REST], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "number"),
    [(page, number) for page in PAGES for number in range(len(snippets(page, "python")))],
    ids=lambda value: value.name if isinstance(value, Path) else str(value),
)
def test_the_python_of_a_page_runs(page: Path, number: int, tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"
    small = 'budget=2, final_training="off"'  # it takes ten times a child
    script.write_text(SMALL.sub(small, snippets(page, "python")[number]))
    run([sys.executable, script.name], tmp_path)


def test_every_link_of_a_page_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_space", "own_strategy"])
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    for script in (ROOT / "examples").glob("*.py"):
        shutil.copy(script, tmp_path)
    assert "Trial(" in run([sys.executable, f"{name}.py", "2", "run"], tmp_path)


@pytest.mark.ray
def test_the_example_of_ray_tune_runs(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "ray_tune.py", tmp_path)
    assert "Trial(" in run([sys.executable, "ray_tune.py", "2", "run"], tmp_path)
    assert (tmp_path / "run" / "best" / "model.py").exists()


@pytest.mark.slow
def test_the_benchmark_for_gpus_runs_without_one(tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "gpu.py")
    out = run([sys.executable, script, "--device=cpu", "--images=640", "--children=2"], tmp_path)
    assert "plain loop" in out
    assert "children an hour" in out


@pytest.mark.parametrize(("name", "most"), [("own_block", 25), ("own_space", 40)])
def test_an_example_is_as_short_as_the_docs_say(name: str, most: int) -> None:
    lines = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    assert len(lines) < most
    assert f"in {len(lines)} lines" in (ROOT / "docs" / "extending.md").read_text()


def test_the_generated_class_in_the_readme_is_what_is_generated() -> None:
    source = model_source(lower(REFERENCES["efficientnet_b0"]()))
    generated = source[source.index("class SqueezeExcite") : source.index("\n\n\nclass MBConv")]
    assert generated in (ROOT / "README.md").read_text()


def test_the_table_of_the_recipe_has_every_option_with_its_default_and_range() -> None:
    page = (ROOT / "docs" / "training.md").read_text().partition("## The recipe")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| .* \|$", page, flags=re.MULTILINE)
    told = {name: (default, limits) for name, default, limits in rows}
    defaults = {
        one.name: one.default for one in fields(FullRecipe) if one.name not in FACTORS_OF_ONE
    }
    assert set(told) == set(defaults)
    for name, (default, limits) in told.items():
        known = CHOICES.get(name, ("true", "false") if isinstance(defaults[name], bool) else ())
        if known:
            assert limits == ", ".join(f"`{one}`" for one in known)
        else:
            assert [float(one) for one in limits.replace(",000", "000").split(", ")] == [
                *RANGES[name]
            ]
        if not default.startswith("see "):
            expected = str(defaults[name]).lower() if known else f"{defaults[name]:g}"
            assert default.partition(",")[0].strip("`") == expected
