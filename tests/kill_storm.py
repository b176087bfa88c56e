"""Kills a search again and again, and checks that its record has lost nothing.

``python tests/kill_storm.py --kills 40 --trials 30 --workers 2`` runs a calm search and one that is
killed: its driver or one of its workers, at random times and at named cut points. It exits with 1
and says why if a trial is lost, repeated or left running, or if with at most one worker the history
differs from the calm one.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from estimators.data import ImageData  # noqa: E402 - after the path is set
from estimators.estimator import Checkpoint, Estimator, Evaluation, Report  # noqa: E402
from estimators.task import Task  # noqa: E402
from search_spaces.architecture import Architecture  # noqa: E402
from search_spaces.blocks import Classifier, ConvNormAct  # noqa: E402
from search_spaces.genome import Decision, Genome, Genotype  # noqa: E402
from search_spaces.graph import Graph  # noqa: E402
from search_spaces.modules import build  # noqa: E402
from search_spaces.space import SearchSpace  # noqa: E402

if TYPE_CHECKING:
    from nas.journal import Journal

CUTS = ("handed-out", "finished", "torn", "study", "resumed", "rescored", "tested", "exporting")
START_LIMIT = 120.0  # seconds for a driver to hand out its first child


class Tiny(SearchSpace):
    """Two layers of many widths; one decision changes nothing, so that there are duplicates."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        self._shape, self._classes = input_shape, num_classes
        widths = Decision.of("width", tuple(range(1, 61)))
        self._genome = Genome((widths, Decision.of("label", ("a", "b"))))

    @property
    def genome(self) -> Genome:
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        stages = ((ConvNormAct(int(genotype["width"])),),)
        stem, head = ConvNormAct(2, stride=2), Classifier(self._classes)
        return Architecture("Tiny", self._shape, stem, stages, head)


class Slow(Estimator):
    """Takes its time, and scores by size and seed; every seventh width fails."""

    def __init__(self, *, seconds: float = 0.1) -> None:
        self._seconds = seconds

    def prepare(self, data: ImageData, task: Task) -> None:
        pass

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {"estimator": "slow", "seconds": self._seconds}

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
        time.sleep(self._seconds)
        if graph.params % 7 == 0:
            raise ValueError("a width that fails")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            weights = build(graph).state_dict()
        accuracy = graph.params / 10_000 + seed / 2**31 / 100
        return Evaluation({"accuracy": accuracy, "log_loss": 1 - accuracy}, weights)


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


EVENTS = {
    "handed-out": b'"started"',
    "finished": b'"finished"',
    "torn": b'"finished"',
    "rescored": b'"rescored"',
    "tested": b'"test_read"',
}


def arm(cut: str, count: int) -> None:
    """Make this process kill itself when it comes to a cut point for the ``count``-th time."""
    from nas import export  # noqa: PLC0415 - only a driver needs them
    from nas.engine import Search  # noqa: PLC0415
    from nas.journal import Journal  # noqa: PLC0415
    from nas.study import StudyMirror  # noqa: PLC0415

    if cut in EVENTS:
        Journal._write = dying_write(cut, count)  # type: ignore[method-assign]
    elif cut == "study":
        StudyMirror.sync = dying(StudyMirror.sync, count)  # type: ignore[method-assign]
    elif cut == "resumed":
        Search.give_back = dying(Search.give_back, 1)  # type: ignore[method-assign]
    else:
        export.check_in_fresh_process = dying(export.check_in_fresh_process, 1)


def dying(place: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A function that ends the process when it is called for the ``count``-th time."""
    calls = itertools.count(1)

    def replaced(*arguments: Any, **options: Any) -> Any:
        if next(calls) == count:
            kill_self()
        return place(*arguments, **options)

    return replaced


def dying_write(cut: str, count: int) -> Callable[["Journal"], None]:
    """``Journal._write`` that ends the process after an event, or in the middle of its line."""
    from nas.journal import Journal  # noqa: PLC0415 - only a driver needs it

    calls, write = itertools.count(1), Journal._write

    def replaced(journal: Journal) -> None:
        now = EVENTS[cut] in journal._lines and next(calls) == count
        if now and cut == "torn":
            journal._file.write(journal._lines[: len(journal._lines) // 2])
            kill_self()
        write(journal)
        if now:
            kill_self()

    return replaced


def drive(folder: Path, arguments: argparse.Namespace) -> None:
    """Search in ``folder``, or go on there; this process may be killed."""
    import nas  # noqa: PLC0415 - only a driver needs it
    from nas.progress import Lines  # noqa: PLC0415

    if arguments.cut:
        arm(arguments.cut, arguments.count)
    execution: dict[str, Any] = {"workers": arguments.workers, "progress": Lines()}
    if (folder / "run.json").exists():
        nas.resume(folder, space=Tiny, estimator=Slow, **execution)
    else:
        nas.search(
            space=Tiny,
            estimator=Slow,
            strategy="evolution",
            budget=arguments.trials,
            seed=3,
            settings={"estimator": {"seconds": arguments.seconds}},
            out=folder,
            **execution,
        )


def events_of(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of the journal."""
    try:
        lines = (folder / "events.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def finals(folder: Path) -> dict[int, Any]:
    """Final state of every finished trial; a second one would be an error, and is kept apart."""
    found: dict[int, Any] = {}
    for event in events_of(folder):
        if event["event"] == "finished":
            key = event["ordinal"]
            assert key not in found, f"trial {key} finished twice"
            found[key] = (event["state"], event["metrics"], event["of"])
    return found


def history(folder: Path) -> list[Any]:
    """Ordinal, genotype, state and score of every trial."""
    final = finals(folder)
    return [
        (event["ordinal"], event["genotype"], final.get(event["ordinal"]))
        for event in events_of(folder)
        if event["event"] == "asked"
    ]


def workers_of(driver: int) -> list[int]:
    """Processes below a driver that train; Ray names them by the class of the actor."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                names[int(entry.name)] = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat[1])

    def below(pid: int) -> bool:
        while pid in parents and pid > 1:
            pid = parents[pid]
            if pid == driver:
                return True
        return False

    return [pid for pid, name in names.items() if name.startswith(b"ray::_Actor") and below(pid)]


def start(folder: Path, arguments: argparse.Namespace, *cut: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--drive", str(folder), *cut]
    for name in ("trials", "workers", "seconds"):
        command += [f"--{name}", str(getattr(arguments, name))]
    log = (folder.parent / f"{folder.name}.log").open("ab")
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder.parent)


def wait_for_start(process: subprocess.Popen[bytes], folder: Path, before: int) -> None:
    """Until the driver has handed out a child, or has ended."""
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        events = events_of(folder)[before:]
        if any(event["event"] in {"started", "rescored", "exported"} for event in events):
            return
        time.sleep(0.05)


def storm(
    folder: Path, arguments: argparse.Namespace, rng: random.Random, *, kills: int, calm: float
) -> tuple[int, int, float]:
    """Kill a run so many times, if it lasts that long, then let it end.

    Args:
        folder: The run folder, new.
        arguments: Of the command line.
        rng: Decides when and what to kill.
        kills: Most kills.
        calm: Seconds that a calm run works.

    Returns:
        Number of kills and of sessions, and seconds spent until their first child was handed out.
    """
    done, sessions, starting = 0, 0, 0.0
    acknowledged: dict[int, Any] = {}
    spared: set[int] = set()  # a trial whose worker dies twice has failed, by the rules
    while True:
        before, sessions, begin = len(events_of(folder)), sessions + 1, time.monotonic()
        cut: tuple[str, ...] = ()
        if done < kills and rng.random() < 0.5:
            cut = ("--cut", rng.choice(CUTS), "--count", str(rng.randint(1, 4)))
        process = start(folder, arguments, *cut)
        wait_for_start(process, folder, before)
        starting += time.monotonic() - begin
        while process.poll() is None and done < kills and not cut:
            time.sleep(rng.uniform(0.1, 1.2 * calm / kills))
            done += strike(process, folder, rng, spared)
        code = process.wait(timeout=600)
        if code not in {0, -signal.SIGKILL}:
            log = (folder.parent / f"{folder.name}.log").read_text()
            raise AssertionError(f"driver ended with {code}:\n{log[-3000:]}")
        done += bool(cut) and code != 0
        now = finals(folder)
        for ordinal, final in acknowledged.items():
            assert now.get(ordinal) == final, f"trial {ordinal} was {final}, is {now.get(ordinal)}"
        acknowledged = now
        if code == 0:
            return done, sessions, starting


def strike(
    process: subprocess.Popen[bytes], folder: Path, rng: random.Random, spared: set[int]
) -> int:
    """Kill the driver or a worker; the number of kills."""
    if process.poll() is not None:
        return 0
    victims, running = workers_of(process.pid), in_training(folder)
    if victims and not running & spared and rng.random() < 0.5:
        spared |= running
        os.kill(rng.choice(victims), signal.SIGKILL)
    else:
        process.kill()
        process.wait()
    return 1


def in_training(folder: Path) -> set[int]:
    """Trials that were handed out and are not over."""
    events = events_of(folder)
    started = {event["ordinal"] for event in events if event["event"] == "started"}
    return started - {event["ordinal"] for event in events if event["event"] == "finished"}


def check(folder: Path, arguments: argparse.Namespace) -> None:
    """What must hold of a finished run."""
    events, final = events_of(folder), finals(folder)
    asked = [event["ordinal"] for event in events if event["event"] == "asked"]
    assert asked == list(range(len(asked))), "ordinals must be 0..n-1, each once"
    assert set(final) == set(asked), f"left running: {sorted(set(asked) - set(final))}"
    told = [event["ordinal"] for event in events if event["event"] == "told"]
    assert sorted(told) == asked, "every trial must be told once"
    trained = sum(state in {"complete", "stopped", "failed"} for state, *_ in final.values())
    assert trained == arguments.trials, f"{trained} of {arguments.trials} trials were trained"
    assert (folder / "best" / "model.safetensors").is_file()
    assert not list(folder.glob("*.tmp-*"))
    assert not list(folder.glob(".best.*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drive", type=Path)
    parser.add_argument("--cut", choices=CUTS)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--per-run", type=int, default=5, help="kills of one run")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.drive is not None:
        drive(arguments.drive, arguments)
        return
    place = Path(tempfile.mkdtemp(prefix="storm-"))
    try:
        report(place, arguments)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def report(place: Path, arguments: argparse.Namespace) -> None:
    """A calm run, then stormy ones until there were enough kills."""
    begin = time.monotonic()
    process = start(place / "calm", arguments)
    wait_for_start(process, place / "calm", 0)
    startup = time.monotonic() - begin
    code = process.wait(timeout=600)
    assert code == 0, (place / "calm.log").read_text()[-3000:]
    calm = time.monotonic() - begin - startup
    check(place / "calm", arguments)
    rng = random.Random(arguments.seed)  # noqa: S311 - it decides what to kill
    kills, runs, sessions, starting = 0, 0, 0, 0.0
    begin = time.monotonic()
    while kills < arguments.kills:
        folder = place / f"storm-{runs}"
        most = min(arguments.per_run, arguments.kills - kills)
        done, took, waited = storm(folder, arguments, rng, kills=most, calm=calm)
        kills, runs, sessions, starting = kills + done, runs + 1, sessions + took, starting + waited
        check(folder, arguments)
        if arguments.workers <= 1:
            assert history(folder) == history(place / "calm"), "histories differ"
        assert runs <= arguments.kills, "runs end before they are killed: raise --trials"
    each = (time.monotonic() - begin - starting) / runs
    print(  # noqa: T201 - a script
        f"{kills} kills, {runs} runs, {sessions} sessions: nothing lost, nothing twice, nothing "
        f"left running; a run works {each:.1f} s, a calm one {calm:.1f} s: {each / calm:.2f}x; "
        f"a session starts in {starting / sessions:.1f} s, calm {startup:.1f} s"
    )


if __name__ == "__main__":
    main()
