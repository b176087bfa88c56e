"""The command line: its contract, its mistakes, and what it prints where."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import typer

from estimators import ESTIMATORS
from estimators.data import ImageData
from estimators.estimator import Checkpoint, Estimator, Evaluation, Report
from estimators.task import Task
from nas import plugins
from nas.__main__ import main
from nas.cli import app
from nas.errors import NasError
from search_spaces import SEARCH_SPACES
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace
from search_spaces.strict_json import loads
from strategies import STRATEGIES

EXECUTION = {
    "--workers",
    "--gpus-per-child",
    "--address",
    "--child-timeout",
    "--grace",
    "--max-hours",
}
PUBLISHED = {"--data-dir", "--download"}
CONTRACT = {
    "search": {
        "--config",
        "--space",
        "--budget",
        "--strategy",
        "--estimator",
        "--image-size",
        "--group",
        "--data",
        *PUBLISHED,
        "--out",
        "--seed",
        "--device",
        "--fidelity",
        "--halving",
        "--screen",
        "--screen-of",
        "--feature",
        "--final-training",
        "--references",
        "--audit",
        "--audit-children",
        "--audit-seeds",
        "--max-params",
        "--max-macs",
        "--max-latency-ms",
        "--objective",
        "--set",
        *EXECUTION,
        "--dry-run",
        "--json",
    },
    "scale": {
        "--base",
        "--base-size",
        "--grid",
        "--target",
        "--tolerance",
        "--on",
        "--alpha",
        "--beta",
        "--gamma",
        "--phi",
        "--divisor",
        "--step",
        "--budget",
        "--strategy",
        "--estimator",
        "--data",
        "--data-dir",
        "--download",
        "--image-size",
        "--group",
        "--out",
        "--seed",
        "--device",
        "--fidelity",
        "--max-params",
        "--max-macs",
        "--max-latency-ms",
        "--objective",
        "--set",
        *EXECUTION,
        "--dry-run",
        "--json",
    },
    "resume": {"run_folder", "--budget", *PUBLISHED, *EXECUTION, "--json"},
    "status": {"run_folder", "--watch", "--failed", "--json"},
    "train": {
        "source",
        "--data",
        "--out",
        "--data-dir",
        "--download",
        "--image-size",
        "--group",
        "--epochs",
        "--max-hours",
        "--seed",
        "--device",
        "--set",
        "--trial",
        "--json",
    },
    "evaluate": {
        "source",
        "--data",
        "--data-dir",
        "--download",
        "--split",
        "--group",
        "--device",
        "--format",
        "--trial",
        "--json",
    },
    "export": {
        "source",
        "--out",
        "--fully-convolutional",
        "--format",
        "--data",
        "--data-dir",
        "--download",
        "--group",
        "--calibration",
        "--trial",
        "--json",
    },
    "predict": {
        "folder",
        "images",
        "--top",
        "--map",
        "--class",
        "--format",
        "--trial",
        "--json",
    },
    "transfer": {
        "source",
        "--out",
        "--weights",
        "--data",
        *PUBLISHED,
        "--group",
        "--mode",
        "--stages",
        "--image-size",
        "--mean",
        "--std",
        "--epochs",
        "--seed",
        "--device",
        "--json",
    },
    "convert-weights": {
        "file",
        "--for",
        "--out",
        "--input-shape",
        "--num-classes",
        "--json",
    },
    "show": {"source", "--input-shape", "--num-classes", "--draw", "--trial", "--json"},
    "spaces": {"name", "--input-shape", "--num-classes", "--set", "--json"},
    "strategies": {"name", "--json"},
    "estimators": {"name", "--json"},
    "references": {"--json"},
    "audit": {
        "run_folder",
        "--children",
        "--seeds",
        "--estimators",
        "--against-random",
        "--data-dir",
        "--workers",
        "--gpus-per-child",
        "--address",
        "--child-timeout",
        "--grace",
        "--json",
    },
    "bench": {"--table", "--strategies", "--queries", "--seeds", "--max-cost", "--out", "--json"},
}


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Nas = Callable[..., Ran]


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Runs a command line in this process, as ``python -m nas`` does."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        return Ran(code, *capsys.readouterr())

    return run


def process(
    *arguments: str, environment: Mapping[str, str] | None = None, command: str = "-m nas"
) -> Ran:
    """Runs a command line in a process of its own."""
    result = subprocess.run(
        [sys.executable, *command.split(), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **python_path(), **(environment or {})},
    )
    return Ran(result.returncode, result.stdout, result.stderr)


def python_path() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class Fast(Estimator):
    """Trains nothing, and prints where it must not."""

    def __init__(self, *, needed: float | None = None) -> None:
        pass

    def prepare(self, data: ImageData, task: Task) -> None:
        print("a plug-in prints")  # noqa: T201 - on purpose

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {}

    def evaluate(
        self,
        graph: Graph,
        *,
        fidelity: float,
        seed: int,
        device: str,
        start: Checkpoint | None = None,
        report: Report | None = None,
    ) -> Evaluation:
        return Evaluation({"accuracy": graph.params / 10_000, "log_loss": 1.0})


class Broken(Fast):
    """Cannot score anything."""

    def evaluate(self, graph: Graph, **_: Any) -> Evaluation:  # type: ignore[override]
        raise ValueError("line one\nline two \x1b[31mred")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, mini: type[SearchSpace]) -> None:
    """Plug-ins, good and bad; and an export without its fresh process."""
    module = ModuleType("somebody")
    module.__dict__.update(Mini=mini, Fast=Fast, Broken=Broken)
    monkeypatch.setitem(sys.modules, "somebody", module)
    points = [
        EntryPoint("tiny", "somebody:Mini", "nas.search_spaces"),
        EntryPoint("fast", "somebody:Fast", "nas.estimators"),
        EntryPoint("broken", "somebody:Broken", "nas.estimators"),
        EntryPoint("absent", "nowhere:Gone", "nas.estimators"),
        EntryPoint("absent", "nowhere:Gone", "nas.strategies"),
        EntryPoint("absent", "nowhere:Gone", "nas.search_spaces"),
        EntryPoint("grid", "somebody:Grid", "nas.strategies"),
    ]
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [p for p in points if p.group == group]
    )
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


# The contract ------------------------------------------------------------------------------


def test_commands_and_flags_are_exactly_these() -> None:
    found = {
        name: {
            parameter.opts[0] if parameter.param_type_name == "option" else parameter.name
            for parameter in command.params
            if parameter.name != "help"
        }
        for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    }
    assert found == CONTRACT


@pytest.mark.parametrize("command", [*CONTRACT])
def test_every_command_and_flag_is_in_the_documentation(command: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()
    assert f"`nas {command}" in text
    if command == "search":
        assert {flag for flag in CONTRACT[command] if f"`{flag}" not in text} == set()


@pytest.mark.parametrize("command", ["", *CONTRACT])
def test_help_goes_to_stdout(nas: Nas, command: str) -> None:
    ran = nas(*command.split(), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: nas {command}".strip() in ran.out
    for name in CONTRACT[command] if command else CONTRACT:
        assert name.replace("run_folder", "RUN") in ran.out


def test_no_command_is_a_question_for_help(nas: Nas) -> None:
    assert nas() == nas("--help")


def test_help_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "sklearn", "pydantic", "optuna", "ray", "networkx"]
    script = (
        "import sys\nfrom nas.__main__ import main\nsys.argv = ['nas', '--help']\n"
        f"main()\nprint([name for name in {heavy} if name in sys.modules])"
    )
    ran = process(script, command="-c")
    assert ran.out.splitlines()[-1] == "[]", ran.err


# Mistakes ----------------------------------------------------------------------------------

MISTAKES = [
    ("serch", "did you mean 'search'", 2),
    ("--version", "--version", 2),
    ("search --budgt 3", "--budget", 2),
    ("search --budget", "--budget", 2),
    ("search --budget abc", "--budget", 2),
    ("search --budget 1.5", "--budget", 2),
    ("search --budget 0", "--budget must be at least 1, got 0", 2),
    ("search --budget -5", "--budget must be at least 1, got -5", 2),
    ("search --seed -1", "--seed must be at least 0, got -1", 2),
    ("search --seed 99999999999999999999", "--seed must be at most 2**53", 2),
    ("search --fidelity 0", "--fidelity must be in (0, 1], got 0.0", 2),
    ("search --fidelity nan", "--fidelity must be in (0, 1], got nan", 2),
    ("search --space mbcon", "did you mean mbconv?", 2),
    ("search --strategy evolutoin", "did you mean evolution?", 2),
    ("search --estimator trainig", "did you mean training?", 2),
    ("search --data digit", "did you mean digits?", 2),
    ("audit nowhere", "nowhere holds no run.json", 2),
    ("audit nowhere --estimators proxi", "did you mean proxy?", 2),
    ("audit nowhere --estimators proxy,", "--estimators must be names between commas", 2),
    ("search --audit --audit-children 5", "--audit-children must be at least 6, got 5", 2),
    ("search --audit --audit-seeds 0", "--audit-seeds must be at least 1, got 0", 2),
    ("search --audit-seeds 3", "--audit-seeds needs --audit", 2),
    ("search --device tpu", "--device", 2),
    ("search --objective loss", "did you mean log_loss?", 2),
    ("search --objective params", "must begin with a metric of the task", 2),
    ("search --strategy local --objective accuracy --objective macs", "several are for", 2),
    ("show resnet18 --trial 3", "holds no front", 2),
    ("search --max-params lots", "must be a number such as", 2),
    ("search --max-params 0", "must be at least 1", 2),
    ("search --max-params -5", "--max-params", 2),
    ("search --max-params 1", "raise the limit to that", 3),
    ("search --max-macs 1k", "raise the limit to that", 3),
    ("search --max-latency-ms nan", "max_latency_ms must be above 0 and finite, got nan", 2),
    ("search --max-latency-ms 0", "max_latency_ms must be above 0", 2),
    ("search --set epochs=3", "--set must be PART.OPTION=VALUE", 2),
    ("search --set estimator.epoch=3", "did you mean epochs?", 2),
    ("search --set estimator.epochs=0", "epochs must be at least 1", 2),
    (
        "search --set estimator.epochs=many",
        "epochs must be a whole number, got 'many'",
        2,
    ),
    (
        "search --set estimator.learning_rate=NaN",
        "learning_rate must be a finite number",
        2,
    ),
    (
        "search --strategy evolution --set strategy.population_size=2.5",
        "population_size must be a whole number",
        2,
    ),
    (
        "search --strategy evolution --set strategy.population_size=0",
        "population_size must be at least 1",
        2,
    ),
    ("search --set space.granularity=layer", "granularity must be stage or block", 2),
    ("search --set a.b=1 --set a.b=2", "there is no 'a'", 2),
    ("search --out taken", "is not empty", 4),
    ("search --out taken/notes.txt", "cannot make", 5),
    ("search --out ..", "the last part must be", 2),
    ("search extra", "extra", 2),
    ("search --workers many", "must be auto or a whole number, got 'many'", 2),
    ("search --workers -1", "--workers", 2),
    ("search --workers 0 --address a:1", "needs a worker", 2),
    ("search --workers 0 --child-timeout 5", "needs a worker", 2),
    ("search --gpus-per-child 1.5", "--gpus-per-child must be from 0 to 1, or a whole number", 2),
    ("search --gpus-per-child -1", "--gpus-per-child must be from 0 to 1", 2),
    ("search --gpus-per-child nan", "--gpus-per-child must be from 0 to 1", 2),
    ("search --child-timeout 0", "--child-timeout must be above 0 and finite, got 0.0", 2),
    ("search --child-timeout inf", "--child-timeout must be above 0 and finite", 2),
    ("search --grace -1", "--grace must be at least 0", 2),
    ("search --max-hours 0", "--max-hours must be above 0 and finite, got 0.0", 2),
    ("search --max-hours nan", "--max-hours must be above 0", 2),
    ("search --dry-run --budget 0", "--budget must be at least 1, got 0", 2),
    ("search --address nowhere", "--address must be HOST:PORT, got 'nowhere'", 2),
    ("search --address ray://a:1", "--address must be HOST:PORT", 2),
    ("transfer resnet20 --out new --seed -1", "--seed must be at least 0, got -1", 2),
    ("resume", "RUN", 2),
    ("resume nothing", "nothing holds no run.json", 2),
    ("resume taken", "taken holds no run.json", 2),
    ("resume taken/notes.txt", "holds no run.json", 2),
    ("resume taken --workers x", "must be auto or a whole number", 2),
    ("resume taken --seed 1", "--seed", 2),
    ("status", "RUN", 2),
    ("status nothing", "nothing holds no run.json", 2),
    ("status taken --json", "taken holds no run.json", 2),
    ("status taken --failed", "taken holds no run.json", 2),
    ("show", "SOURCE", 2),
    ("show nothing", "no file or folder", 2),
    ("show taken", "holds no architecture.json", 2),
    ("show taken/notes.txt", "not JSON", 2),
    ("show efficientnet_b8", "did you mean efficientnet_b", 2),
    ("show efficientnet_b0 --draw new.png", "must be a file that ends in .svg, got new.png", 2),
    ("show efficientnet_b0 --draw no/where/new.svg", "cannot write", 5),
    ("show vgg11 --input-shape 3x28x40", "sides of at least 32 pixels for vgg11, got 28x40", 2),
    ("show vgg11 --input-shape 28x28", "--input-shape must be CHANNELSxHEIGHTxWIDTH", 2),
    ("show vgg11 --num-classes 0", "num_classes must be from 1 to 65536, got 0", 2),
    ("show taken --num-classes 3", "must be left out unless a reference network is named", 2),
    ("export efficientnet_b0", "--out", 2),
    ("export efficientnet_b0 --out taken", "is there already", 2),
    ("export nothing --out new", "no file or folder", 2),
    ("export efficientnet_b0 --out new --format onx", "did you mean onnx?", 2),
    ("export efficientnet_b0 --out new --format pt2", "needs a network with weights", 2),
    ("predict", "FOLDER", 2),
    ("predict taken", "IMAGES", 2),
    ("predict taken taken/notes.txt", "holds no architecture.json", 2),
    ("predict efficientnet_b0 taken/notes.txt", "has no weights", 2),
    ("predict efficientnet_b0 taken/notes.txt --class x", "--map only", 2),
    ("spaces mbcon", "did you mean mbconv?", 2),
    ("spaces mbconv --input-shape 3x224", "--input-shape must be CHANNELSxHEIGHTxWIDTH", 2),
    ("spaces mbconv --input-shape 3x²x²", "--input-shape must be CHANNELSxHEIGHTxWIDTH", 2),
    ("spaces mbconv --input-shape 3x5x5", "sides of at least 8 pixels", 2),
    ("spaces mbconv --num-classes 1", "num_classes must be at least 2", 2),
    ("spaces mbconv --set strategy.x=1", "only space.OPTION=VALUE", 2),
    ("spaces mbconv --set space.x=1", "there is no 'x'", 2),
    ("strategies evolv", "did you mean evolution?", 2),
    ("estimators evolution", "there is no 'evolution'", 2),
]


@pytest.mark.parametrize(("line", "message", "code"), MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(
    nas: Nas,
    line: str,
    message: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    ran = nas(*line.split())
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("error: ")
    assert message.lower() in ran.err.lower()
    assert len(ran.err) < 400
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert written == {"taken", "taken/notes.txt"}


def test_what_the_user_wrote_cannot_command_the_terminal(nas: Nas) -> None:
    for arguments in (["\x1b[31mred"], ["show", "\x1b]0;title\x07"], ["search", "--\x1bx"]):
        ran = nas(*arguments)
        assert ran.code == 2
        assert all(sign.isprintable() or sign == "\n" for sign in ran.out + ran.err)


def test_what_a_folder_is_called_cannot_command_the_terminal(nas: Nas, tmp_path: Path) -> None:
    folder = tmp_path / "a\x1b[31mb"
    ran = nas("export", "efficientnet_b0", "--out", str(folder))
    assert (ran.code, folder.is_dir()) == (0, True)
    assert "a [31mb: source only" in ran.out
    shown = nas("show", str(folder)).out
    assert "5,288,548 parameters" in shown
    assert "\x1b" not in ran.out + shown


def test_an_interrupted_command_says_so(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.api.search", interrupt)
    ran = nas("search")
    assert (ran.code, ran.out) == (130, "")
    assert ran.err == "interrupted\n"


def test_an_error_ends_with_its_own_code(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise NasError("two\nlines \x1b[31m", exit_code=5)

    monkeypatch.setattr("nas.api.search", refuse)
    assert nas("search") == Ran(5, "", "error: two lines  [31m\n")


def test_a_defect_of_ours_keeps_its_traceback(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("nas.api.search", fail)
    with pytest.raises(ZeroDivisionError, match="ours"):
        nas("search")


# Reading commands --------------------------------------------------------------------------

DOCUMENTS = [
    "show efficientnet_b0",
    "spaces",
    "spaces mbconv --input-shape 1x8x8",
    "strategies",
    "strategies evolution",
    "estimators",
    "estimators training",
    "references",
]


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer samples of a space than a user gets."""
    monkeypatch.setattr("nas.spaces.SAMPLES", 20)


@pytest.mark.usefixtures("fewer")
@pytest.mark.parametrize("line", DOCUMENTS)
def test_json_is_one_document_and_nothing_else(nas: Nas, line: str) -> None:
    ran = nas(*line.split(), "--json")
    assert (ran.code, ran.err) == (0, "")
    assert loads(ran.out)


@pytest.mark.usefixtures("fewer")
@pytest.mark.parametrize("line", DOCUMENTS)
def test_text_is_not_json_and_has_no_loose_ends(nas: Nas, line: str) -> None:
    ran = nas(*line.split())
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("\n")
    assert all(sign.isprintable() or sign == "\n" for sign in ran.out)
    with pytest.raises(ValueError, match="JSON"):
        loads(ran.out)


def test_a_reference_is_shown_with_its_costs(nas: Nas) -> None:
    document = loads(nas("show", "efficientnet_b0", "--json").out)
    assert (document["name"], document["input_shape"]) == ("efficientnet_b0", [3, 224, 224])
    assert (document["params"], document["macs"]) == (5_288_548, 385_814_752)
    rows = loads(nas("references", "--json").out)
    row = next(row for row in rows if row["name"] == "efficientnet_b0")
    assert (row["params"], row["macs"]) == (5_288_548, 385_814_752)
    assert "efficientnet_b0     3x224x224    5,288,548     385,814,752\n" in nas("references").out


def test_a_reference_is_shown_for_other_images_and_classes(nas: Nas) -> None:
    line = "show resnet18 --input-shape 1x28x28 --num-classes 10 --json"
    document = loads(nas(*line.split()).out)
    assert (document["input_shape"], document["output_shape"]) == ([1, 28, 28], [10])
    assert document["params"] == 11_689_512 - 2 * 49 * 64 - 990 * 513


def test_a_plug_in_is_described_with_its_options(nas: Nas) -> None:
    document = loads(nas("estimators", "training", "--json").out)
    assert {"name": "epochs", "default": "null"} in document["options"]
    assert "  --set estimator.batch_size=64\n" in nas("estimators", "training").out
    assert "  --set strategy.uniform=" in nas("strategies", "random").out


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("command", "good", "bad"),
    [
        ("spaces", {*SEARCH_SPACES, "tiny"}, ["absent"]),
        ("strategies", {*STRATEGIES} - {"grid"}, ["absent", "grid"]),
        ("estimators", {*ESTIMATORS, "fast", "broken"}, ["absent"]),
    ],
)
def test_a_broken_plug_in_does_not_hide_the_others(
    nas: Nas, command: str, good: set[str], bad: list[str]
) -> None:
    ran = nas(command, "--json")
    assert ran.code == 0
    assert {row["name"] for row in loads(ran.out)} == good
    lines = ran.err.splitlines()
    assert [line.split(":")[1].split()[-1] for line in lines] == bad
    assert all(line.startswith("left out: ") for line in lines)
    assert {line.split()[0] for line in nas(command).out.splitlines()} == good
    assert nas(command, bad[0]).code == 2


# Searches ----------------------------------------------------------------------------------

SEARCH = "search --workers 0 --space tiny --estimator fast --budget 2 --strategy random --out run"
FLAGS = (
    "--seed 7 --fidelity 0.5 --max-params 5k --max-macs 1M --objective log_loss "
    "--device cpu --set space.kernel=5 --set strategy.uniform=options"
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("installed")
def test_a_search_ends_with_where_everything_is(nas: Nas, elsewhere: Path) -> None:
    ran = nas(*SEARCH.split())
    assert ran.code == 0
    summary = loads((elsewhere / "run" / "summary.json").read_bytes())
    for name in ("best/model.py", "best/model.safetensors", "best/README.md", "summary.json"):
        assert f"run/{name} " in ran.out
        assert (elsewhere / "run" / name).exists()
    assert "budget spent: 2 complete" in ran.out
    assert f"accuracy {summary['best']['test']['accuracy']:.4f} on test images" in ran.out
    assert f"accuracy {summary['best']['score']:.4f} on validation images" in ran.out
    lines = [line for line in ran.err.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in lines] == ["[1/2", "[2/2"]
    assert ran.err.count("finalist trial") == 2


@pytest.mark.usefixtures("installed")
def test_the_json_of_a_search_is_its_summary_whatever_plug_ins_print(
    nas: Nas, elsewhere: Path
) -> None:
    ran = nas(*SEARCH.split(), "--json")
    document = loads(ran.out)
    summary = loads((elsewhere / "run" / "summary.json").read_bytes())
    assert document.pop("seconds") == pytest.approx(summary.pop("seconds"), abs=0.01)
    assert document == summary
    assert "a plug-in prints" in ran.err


@pytest.mark.usefixtures("installed")
def test_flags_reach_the_run(nas: Nas, elsewhere: Path) -> None:
    ran = nas(*SEARCH.split(), *FLAGS.split())
    assert ran.code == 0, ran.err
    record = loads((elsewhere / "run" / "run.json").read_bytes())
    wanted = {
        "space": "tiny",
        "strategy": "random",
        "estimator": "fast",
        "data": "digits",
        "budget": 2,
        "seed": 7,
        "fidelity": 0.5,
        "max_params": 5000,
        "max_macs": 1_000_000,
        "max_latency_ms": None,
        "objective": "log_loss",
        "device": "cpu",
    }
    assert {name: record[name] for name in wanted} == wanted
    assert record["settings"]["space"] == {"kernel": 5}
    assert record["settings"]["strategy"] == {"uniform": "options"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('objective = ["accuracy", "prams"]', "did you mean params?"),
        ('feature = ["naswot", "sinp"]', "did you mean snip?"),
        ('feature = "sinp"', "did you mean snip?"),
        ("[set]\nestimator.epoch = 3", "did you mean epochs?"),
        ("budget = [7]", "budget must be a text, number or truth value"),
    ],
)
def test_flags_of_a_file_are_read_as_those_of_the_command_line(
    nas: Nas, elsewhere: Path, text: str, message: str
) -> None:
    (elsewhere / "run.toml").write_text(text)
    ran = nas("search", "--config", "run.toml")
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.usefixtures("installed")
def test_a_search_in_which_all_fail_names_the_cause(nas: Nas, elsewhere: Path) -> None:
    ran = nas(*SEARCH.split(), "--estimator", "broken")
    assert ran.code == 3
    assert ran.out == ""
    error = ran.err.splitlines()[-1]
    assert error.startswith("error: no architecture found: 2 of 2 children failed: 2 x user_code: ")
    assert "ValueError: line one line two" in error
    assert "\x1b" not in ran.err
    summary = loads((elsewhere / "run" / "summary.json").read_bytes())
    assert (summary["best"], summary["states"]) == (None, {"failed": 2})


@pytest.mark.usefixtures("installed")
def test_what_was_found_is_shown_and_exported(nas: Nas, elsewhere: Path) -> None:
    assert nas(*SEARCH.split()).code == 0
    summary = loads((elsewhere / "run" / "summary.json").read_bytes())
    shown = loads(nas("show", "run", "--json").out)
    assert (shown["params"], shown["macs"]) == (
        summary["best"]["params"],
        summary["best"]["macs"],
    )
    ran = nas("export", "run", "--out", "plain", "--json")
    assert loads(ran.out) == {"folder": "plain", "relative_error": 0.0, "formats": []}
    for name in ("model.py", "model.safetensors", "architecture.json"):
        first, second = elsewhere / "run" / "best" / name, elsewhere / "plain" / name
        assert first.read_bytes() == second.read_bytes()
    ran = nas("show", "run", "--draw", "run.svg", "--json")
    assert (loads(ran.out)["params"], ran.err) == (shown["params"], "drawn: run.svg\n")
    assert (elsewhere / "run.svg").read_text().startswith("<?xml")
    assert "source and weights" in nas("export", "plain", "--out", "again").out
    assert "source only" in nas("export", "efficientnet_b0", "--out", "b0").out


# Processes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["stdout", "both"])
def test_a_reader_that_leaves_is_no_error(closed: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "nas", "references" if closed == "stdout" else "serch"],
        stdout=writing,
        stderr=subprocess.PIPE if closed == "stdout" else writing,
        check=False,
        env={**os.environ, **python_path()},
    )
    os.close(writing)
    if closed == "stdout":
        assert (result.returncode, result.stderr) == (141, b"")
    else:
        assert result.returncode == 2


def test_a_terminal_without_unicode_or_colours_is_enough() -> None:
    poor = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "HOME": "/nowhere",
    }
    listed = process("strategies", environment=poor)
    assert (listed.code, listed.err) == (0, "")
    assert "\x1b" not in listed.out
    script = "import nas.__main__, nas.cli, nas.commands.flags\n"
    script += "nas.cli.run = lambda arguments: nas.commands.flags.answer('caf\\u00e9')\n"
    script += "nas.__main__.main()"
    assert process(script, environment=poor, command="-c") == Ran(0, "caf\\xe9\n", "")


def test_the_module_and_its_json_work_in_a_process_of_their_own() -> None:
    ran = process("strategies", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [row["name"] for row in json.loads(ran.out)] == sorted(STRATEGIES)


COEFFICIENTS = ("--alpha", "1.2", "--beta", "1.1", "--gamma", "1.15")


def test_a_family_is_shown_with_a_note_on_its_gamma(nas: Nas) -> None:
    flags = ("--alpha", "1.2", "--beta", "1.1", "--gamma", "1.1", "--phi", "1", "--json")
    ran = nas("scale", "--base", "efficientnet_b0", *flags)
    document = loads(ran.out)
    assert ran.code == 0
    assert document["members"][0]["formula"] == pytest.approx(1.757, abs=5e-4)
    assert "note: gamma 1.1" in ran.err
    assert document["note"] in ran.err


def test_a_dry_run_of_a_family_writes_nothing(nas: Nas, tmp_path: Path) -> None:
    flags = (*COEFFICIENTS, "--phi", "1", "--json")
    place = tmp_path / "family"
    ran = nas("scale", "--base", "efficientnet_b0", *flags, "--out", str(place), "--dry-run")
    assert ran.code == 0
    assert len(loads(ran.out)["members"]) == 1
    assert not place.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--base", "resnet18", *COEFFICIENTS, "--max-macs", "1M"), "--max-macs is of a search"),
        (("--base", "resnet18", *COEFFICIENTS, "--data", "digits"), "--data is of a search"),
        (("--base", "resnet18", "--phi", "1:7"), "--phi is of a family"),
        (("--base", "alexnet"), "got AlexNet, which ends in HiddenClassifier"),
        (("--base", "resnet18", "--alpha", "1.2"), "must be given together"),
        (("--base", "resnet18", "--set", "space.step=2"), "flags of their own"),
        (("--base", "resnet18", "--on", "paper"), "on must be realised or formula"),
        (("--base", "nothing.json"), "no file or folder"),
    ],
)
def test_what_cannot_be_scaled_is_one_line(
    nas: Nas, arguments: tuple[str, ...], message: str
) -> None:
    ran = nas("scale", *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert message in ran.err
    assert ran.err.count("\n") == 1
