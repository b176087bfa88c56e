"""Workers in processes of their own: they may raise, hang, die and lose their node."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray import cloudpickle
from ray.cluster_utils import Cluster

import nas
from estimators.data import ImageData
from estimators.estimator import Checkpoint, Estimator, Evaluation
from estimators.task import Classification, Task
from nas import ray_session, ray_workers
from nas.errors import NasError
from nas.ray_session import PREFIX, RaySession, capacity
from nas.ray_workers import RayWorkers
from nas.terminal import stdout_kept
from nas.workers import Failure, Job, Outcome
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace

METRICS = Classification(2).metrics
SCORES = {"accuracy": 0.5, "log_loss": 1.0}

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # Ray's own

# What a child is to do, by its seed: plain numbers reach a worker by themselves.
CALM, RAISES, EXITS, DIES, HANGS, NAPS, ODD_ERROR, ODD_RESULT, CRASHES, UNREADABLE = range(10)


class Odd(Exception):  # noqa: N818 - an exception that pickles badly
    """Cannot be unpickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)
        self.lock = threading.Lock()


class Unreadable:
    """Can be sent, but not read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("no_such_module_here",)


class Acts(Estimator):
    """Does what its seed says, and tells where it is."""

    def __init__(self) -> None:
        self.evaluations = 0
        self.prepared = 0
        self.pickled = 0

    def __getstate__(self) -> dict[str, int]:
        self.pickled += 1
        return dict(self.__dict__)

    def prepare(self, data: ImageData, task: Task) -> None:
        self.prepared += 1

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {}

    def evaluate(self, graph: Graph, **arguments: Any) -> Evaluation:
        self.evaluations += 1
        act = arguments["seed"]
        if act == RAISES:
            raise ValueError("a child that fails")
        if act == EXITS:
            raise SystemExit(3)
        if act == DIES:
            os._exit(7)
        if act == CRASHES:
            os.kill(os.getpid(), signal.SIGSEGV)
        if act == HANGS:
            time.sleep(1000)
        begin = time.monotonic()  # one clock for all processes of a machine
        if act == NAPS:
            time.sleep(1.0)
        if act == ODD_ERROR:
            raise Odd("one", "two")
        cards = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        details = {
            "pid": float(os.getpid()),
            "evaluations": float(self.evaluations),
            "prepared": float(self.prepared),
            "begin": begin,
            "end": time.monotonic(),
            "card": float(cards) if cards.isdecimal() else -1.0,
        }
        odd = {ODD_RESULT: threading.Lock, UNREADABLE: Unreadable}
        checkpoint = Checkpoint(0, {}, {"odd": odd[act]()}) if act in odd else None
        return Evaluation(SCORES, checkpoint=checkpoint, details=details)


class Unloadable(Acts):
    """Cannot be unpickled in a worker."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("no_such_module_there",)


class Slow(Acts):
    """Takes long to be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return time.sleep, (1000,)


@pytest.fixture(scope="module", autouse=True)
def _by_value() -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def graph(mini: type[SearchSpace]) -> Graph:
    space = mini((1, 8, 8), 2)
    return lower(space.architecture(space.genome.unrank(0)))


@pytest.fixture(scope="module")
def session() -> Iterator[RaySession]:
    """Ray with two cards and four CPUs that are only counted, as somebody else started it."""
    ray.init(
        address="local",  # not the cluster that somebody else has, or had, on this machine
        num_cpus=4,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=40,
    )
    session = RaySession()
    session.start()
    yield session
    ray.shutdown()


def workers(session: RaySession, **changes: Any) -> RayWorkers:
    options: dict[str, Any] = {
        "metrics": METRICS,
        "count": 2,
        "most": 10,
        "gpus_per_child": 0.0,
        "child_timeout": None,
        **changes,
    }
    estimator, device = options.pop("estimator", None), options.pop("device", "cpu")
    return RayWorkers(session, estimator or Acts(), device, **options)


def until_free(team: RayWorkers, count: int, seconds: float = 60.0) -> None:
    """Wait until so many workers are free."""
    deadline = time.monotonic() + seconds
    while team.free < count:
        assert team.wait(1.0) is None
        assert time.monotonic() < deadline, "workers do not start"


def outcome(team: RayWorkers, seconds: float = 60.0) -> Outcome:
    deadline = time.monotonic() + seconds
    while (found := team.wait(1.0)) is None:
        assert time.monotonic() < deadline, "no outcome"
    return found


def failure(found: Outcome) -> Failure:
    assert isinstance(found.result, Failure)
    assert "\n" not in found.result.message
    return found.result


def evaluation(found: Outcome) -> Evaluation:
    assert isinstance(found.result, Evaluation), found.result
    return found.result


# Children ------------------------------------------------------------------------------------


@pytest.mark.ray
def test_every_job_has_one_outcome_and_the_estimator_goes_out_once(
    session: RaySession, graph: Graph
) -> None:
    estimator = Acts()
    estimator.prepared = 1  # as the engine hands it over
    team = workers(session, estimator=estimator)
    try:
        until_free(team, 2)
        found = []
        for key in range(8):
            if not team.free:
                found.append(outcome(team))
            team.submit(Job(key, graph, 1.0, CALM))
        found += [outcome(team), outcome(team)]
        assert sorted(one.key for one in found) == list(range(8))
        counts: dict[float, list[float]] = {}
        for one in found:
            details = evaluation(one).details
            assert details["prepared"] == 1
            counts.setdefault(details["pid"], []).append(details["evaluations"])
        for evaluations in counts.values():
            assert sorted(evaluations) == list(range(1, len(evaluations) + 1))
        assert os.getpid() not in counts
        assert estimator.pickled == 1
        assert estimator.evaluations == 0
        assert [one.state for one in team.activity()] == ["idle", "idle"]
    finally:
        team.close()
        team.close()


@pytest.mark.ray
@pytest.mark.parametrize(
    ("act", "cause", "message"),
    [
        (RAISES, "user_code", "ValueError: a child that fails"),
        (EXITS, "user_code", "SystemExit: 3"),
        (ODD_ERROR, "user_code", "one"),
        (ODD_RESULT, "plugin", "lock"),
        (UNREADABLE, "plugin", "no_such_module_here"),
        (DIES, "worker_died", "died"),
        (CRASHES, "worker_died", "died"),
    ],
)
def test_whatever_a_child_does_is_a_failure_and_the_next_one_is_scored(
    session: RaySession, graph: Graph, act: int, cause: str, message: str
) -> None:
    team = workers(session, count=1)
    try:
        until_free(team, 1)
        team.submit(Job(0, graph, 1.0, act, checkpoint=True))
        found = failure(outcome(team))
        assert found.cause == cause
        assert message in found.message
        until_free(team, 1)
        team.submit(Job(1, graph, 1.0, CALM))
        details = evaluation(outcome(team)).details
        assert details["evaluations"] == (1 if act in {DIES, CRASHES} else 2)
    finally:
        team.close()


@pytest.mark.ray
def test_a_killed_worker_is_replaced_while_the_other_goes_on(
    session: RaySession, graph: Graph
) -> None:
    team = workers(session)
    try:
        until_free(team, 2)
        team.submit(Job(0, graph, 1.0, HANGS))
        team.submit(Job(1, graph, 1.0, NAPS))
        victim = next(one.worker for one in team.activity() if one.key == 0)
        begin = time.monotonic()
        os.kill(int(victim.rpartition(":")[2]), signal.SIGKILL)
        first = outcome(team)
        assert (first.key, failure(first).cause) == (0, "worker_died")
        assert victim in failure(first).message
        assert time.monotonic() - begin < 3
        second = outcome(team)
        assert second.key == 1
        evaluation(second)
        until_free(team, 2)
        seconds = time.monotonic() - begin
        print(f"replaced after {seconds:.1f} s")  # noqa: T201 - 2 to 3 s where nothing else runs
        assert seconds < 15
        assert victim not in {one.worker for one in team.activity()}
    finally:
        team.close()


@pytest.mark.ray
def test_a_child_that_hangs_is_killed_at_its_time(session: RaySession, graph: Graph) -> None:
    team = workers(session, count=1, child_timeout=1.0)
    try:
        until_free(team, 1)
        victim = team.activity()[0].worker
        team.submit(Job(0, graph, 1.0, HANGS))
        lost = outcome(team)
        found = failure(lost)
        assert (found.cause, found.message) == ("timeout", "took longer than 1 s and was killed")
        assert 1 < lost.seconds < 5
        until_free(team, 1)
        assert team.activity()[0].worker != victim
        assert not Path(f"/proc/{victim.rpartition(':')[2]}").exists()
        team.submit(Job(1, graph, 1.0, CALM))
        evaluation(outcome(team))
    finally:
        team.close()


@pytest.mark.ray
def test_a_child_is_killed_at_its_time_however_long_the_wait(
    session: RaySession, graph: Graph
) -> None:
    team = workers(session, count=1, child_timeout=1.0)
    try:
        until_free(team, 1)
        team.submit(Job(0, graph, 1.0, HANGS))
        begin = time.monotonic()
        found = team.wait(300)
        assert found is not None
        assert failure(found).cause == "timeout"
        assert time.monotonic() - begin < 10
    finally:
        team.close()


@pytest.mark.ray
def test_a_worker_that_dies_prints_nothing_on_stdout(
    session: RaySession, graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    with stdout_kept():
        team = workers(session, count=1)
        try:
            until_free(team, 1)
            team.submit(Job(0, graph, 1.0, DIES))
            assert failure(outcome(team)).cause == "worker_died"
            until_free(team, 1)
        finally:
            team.close()
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "raylet" not in printed.err


@pytest.mark.ray
def test_closing_does_not_wait_for_a_child(session: RaySession, graph: Graph) -> None:
    team = workers(session, count=1)
    until_free(team, 1)
    team.submit(Job(0, graph, 1.0, HANGS))
    child = Path(f"/proc/{team.activity()[0].worker.rpartition(':')[2]}")
    assert child.exists()
    begin = time.monotonic()
    team.close()
    team.close()
    while child.exists() and time.monotonic() - begin < 3:
        time.sleep(0.05)
    assert not child.exists()
    assert (team.free, team.activity(), team.wait(0)) == (0, (), None)


@pytest.mark.ray
def test_a_worker_that_died_idle_costs_one_job_and_is_replaced(
    session: RaySession, graph: Graph
) -> None:
    team = workers(session, count=1)
    try:
        until_free(team, 1)
        os.kill(int(team.activity()[0].worker.rpartition(":")[2]), signal.SIGKILL)
        team.submit(Job(0, graph, 1.0, NAPS))
        assert failure(outcome(team)).cause == "worker_died"
        until_free(team, 1)
        team.submit(Job(1, graph, 1.0, CALM))
        evaluation(outcome(team))
    finally:
        team.close()


@pytest.mark.ray
def test_an_estimator_that_does_not_arrive_is_an_error_of_the_surroundings(
    session: RaySession,
) -> None:
    team = workers(session, estimator=Unloadable(), count=1)
    try:
        with pytest.raises(NasError, match=r"cannot start: .*no_such_module_there") as caught:
            outcome(team)
        assert caught.value.exit_code == 5
        assert "\n" not in str(caught.value)
    finally:
        team.close()


@pytest.mark.ray
def test_an_estimator_that_cannot_be_sent_is_refused(session: RaySession) -> None:
    estimator = Acts()
    estimator.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(NasError, match="estimator: cannot be sent to workers: TypeError: ") as told:
        workers(session, estimator=estimator)
    assert told.value.exit_code == 2
    assert "\n" not in str(told.value)


@pytest.mark.ray
def test_no_folder_is_begun_for_workers_that_do_not_fit(
    session: RaySession, mini: type[SearchSpace], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).random((40, 8, 8), np.float32), np.arange(40) % 2
    with pytest.raises(NasError, match="--workers: 64 of 1 CPU and 0 GPUs each") as caught:
        nas.search(space=mini, data=images, estimator=Acts, workers=64, out=tmp_path / "run")
    assert caught.value.exit_code == 5
    assert not (tmp_path / "run").exists()


@pytest.mark.ray
def test_workers_that_do_not_start_are_waited_for_so_long(
    session: RaySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_workers, "START_SECONDS", 1.0)
    team = workers(session, estimator=Slow())
    try:
        with pytest.raises(NasError, match=r"none could be started within 1 s: .*4 CPUs") as caught:
            outcome(team)
        assert caught.value.exit_code == 5
        assert {one.state for one in team.activity()} == {"starting"}
    finally:
        team.close()


# Placement -----------------------------------------------------------------------------------


@pytest.mark.ray
def test_children_share_cards_in_the_parts_they_ask_for(session: RaySession, graph: Graph) -> None:
    assert session.gpus == 2
    assert capacity(session.nodes().values(), 0.5) == 4
    team = workers(session, count=None, gpus_per_child=0.5)
    try:
        until_free(team, 4)
        assert len(team.activity()) == 4
        found = []
        for key in range(8):
            if not team.free:
                found.append(evaluation(outcome(team)).details)
            team.submit(Job(key, graph, 1.0, NAPS))
        found += [evaluation(outcome(team)).details for _ in range(4)]
        assert {one["card"] for one in found} == {0, 1}
        for card in (0, 1):
            mine = [one for one in found if one["card"] == card]
            together = [
                sum(one["begin"] <= at["begin"] < one["end"] for one in mine) for at in mine
            ]
            assert max(together) == 2
    finally:
        team.close()


@pytest.mark.ray
@pytest.mark.parametrize(
    "change", [{"count": 64}, {"gpus_per_child": 8}, {"count": 3, "gpus_per_child": 1}]
)
def test_what_can_never_be_placed_is_refused_at_once(
    session: RaySession, change: dict[str, Any]
) -> None:
    begin = time.monotonic()
    with pytest.raises(NasError, match=r"cannot be placed: .*4 CPUs and 2 GPUs") as caught:
        workers(session, **change)
    assert caught.value.exit_code == 5
    assert time.monotonic() - begin < 5


@pytest.mark.ray
@pytest.mark.parametrize(
    "device",
    [
        "xpu",
        "nonsense",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has a card")
        ),
    ],
)
def test_a_device_that_is_not_there_is_refused(session: RaySession, device: str) -> None:
    team = workers(session, device=device, count=1)
    try:
        with pytest.raises(NasError, match=f"{device} cannot be used there") as caught:
            outcome(team)
        assert caught.value.exit_code == 5
        assert "\n" not in str(caught.value)
    finally:
        team.close()


@pytest.mark.parametrize(
    ("resources", "gpus", "count"),
    [
        ({"CPU": 4.0}, 0, 4),
        ({"CPU": 4.0}, 1, 0),
        ({"CPU": 4.0, "GPU": 2.0}, 1, 2),
        ({"CPU": 4.0, "GPU": 2.0}, 0.5, 4),
        ({"CPU": 16.0, "GPU": 2.0}, 0.3, 6),
        ({"CPU": 16.0, "GPU": 2.0}, 0.1, 16),
        ({"CPU": 16.0, "GPU": 5.0}, 2, 2),
        ({"CPU": 16.0, "GPU": 1.0}, 2, 0),
        ({"CPU": 2.0, "GPU": 8.0}, 0.25, 2),
        ({"CPU": 16.0, "GPU": 1.0}, 1 / 3, 3),
        ({"CPU": 16.0, "GPU": 3.0}, 0.7, 3),
        ({"CPU": 0.5, "GPU": 1.0}, 0.5, 0),
        ({"GPU": 4.0}, 1, 0),
        ({}, 0, 0),
    ],
)
def test_a_node_holds_so_many_children(
    resources: dict[str, float], gpus: float, count: int
) -> None:
    assert capacity([resources], gpus) == count


# Sessions ------------------------------------------------------------------------------------


@pytest.mark.ray
def test_a_ray_that_was_there_before_is_left_alone(session: RaySession) -> None:
    other = RaySession()
    other.start()
    other.close()
    assert ray.is_initialized()
    with pytest.raises(NasError, match="leave the address out"):
        RaySession("127.0.0.1:6379").start()


def test_a_ray_that_does_not_start_is_an_error_of_the_surroundings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(**_: object) -> None:
        raise Exception("The node timed out during startup.")  # noqa: TRY002 - as Ray does

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", late)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(NasError, match=r"cannot start on this machine: .* timed out") as caught:
        RaySession().start()
    assert caught.value.exit_code == 5


def test_a_dead_address_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(NasError, match=f"no Ray answers at 127.0.0.1:{port}") as caught:
        RaySession(f"127.0.0.1:{port}").start()
    assert caught.value.exit_code == 5
    assert time.monotonic() - begin < 8


@pytest.mark.parametrize("address", ["x", ":1", "a:", "a:b", "a:-1", "ray://a:1", "auto", ""])
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(NasError, match="--address must be HOST:PORT") as caught:
        RaySession(address).start()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:0", "no-such-host.invalid:1"])
def test_an_address_where_nothing_can_be_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(NasError, match="no Ray answers") as caught:
        RaySession(address).start()
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("address", ["a..b:1", "a" * 64 + ":1"])
def test_a_host_name_that_cannot_be_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(NasError, match="--address"):
        RaySession(address).start()


@pytest.mark.parametrize("greeting", [b"", b"220 mail.example ESMTP\r\n", b"SSH-2"])
def test_what_does_not_speak_as_ray_does_is_refused(
    greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_session, "PROBE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(greeting)
                connection.recv(1)  # until the other side gives up

        thread = threading.Thread(target=greet)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(NasError, match=f"no Ray answers at {address}") as caught:
            RaySession(address).start()
        thread.join(10)
    assert caught.value.exit_code == 5
    assert time.monotonic() - begin < 8


def script(body: str) -> list[str]:
    head = "import sys, os, time\nfrom nas.ray_session import RaySession\n"
    return [sys.executable, "-c", head + body]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def processes_of(folder: str) -> list[str]:
    """Processes that have a temporary folder of Ray in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if folder in line:
                found.append(line)
    return found


def ray_segments() -> set[str]:
    """Shared memory of Ray that has a name."""
    names = {path.name for path in Path("/dev/shm").glob("*")}  # noqa: S108 - where it is
    return {name for name in names if name.startswith(("ray", "plasma"))}


@pytest.mark.ray
@pytest.mark.parametrize("how", ["close", "kill"])
def test_nothing_of_a_session_outlives_its_process(how: str) -> None:
    body = (
        "import ray\nsession = RaySession()\nsession.start()\n"
        "find = lambda: (os.nice(0), os.environ['OMP_NUM_THREADS'], os.getpid())\n"
        "found = ray.get(ray.remote(find).remote())\n"
        "print('up', session._folder, *found, flush=True)\n"
        "sys.stdin.readline()\nsession.close()\nsession.close()\n"
    )
    shared = ray_segments()
    with subprocess.Popen(
        script(body),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        _, folder, priority, threads, child = process.stdout.readline().split()
        assert (int(priority), threads) == (os.nice(0), "1")  # as here
        assert processes_of(folder)
        if how == "kill":
            process.kill()
        else:
            process.stdin.write("\n")
            process.stdin.flush()
        process.wait(30)
    deadline = time.monotonic() + 15
    left = [folder]
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = processes_of(folder) + [child] * Path(f"/proc/{child}").exists()
    assert left == []
    assert ray_segments() <= shared
    if how == "close":
        assert not Path(folder).exists()
    else:  # a folder of files is left, until the next start
        again = "session = RaySession()\nsession.start()\nsession.close()\n"
        subprocess.run(script(again), check=True, env=environment())
        assert not Path(folder).exists()
    pid = process.pid
    assert not list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{pid}-*"))


@pytest.mark.ray
@pytest.mark.parametrize("before", ["", "ray.init('local', num_cpus=1, include_dashboard=False)"])
def test_a_session_needs_no_home_of_its_own_and_bears_an_earlier_ray(
    before: str, tmp_path: Path
) -> None:
    body = (
        f"import ray\n{before}\nray.shutdown()\n"
        "was = {name for name in os.environ if name not in ('RAY_AUTH_TOKEN', 'RAY_AUTH_MODE')}\n"
        "session = RaySession()\nsession.start()\n"
        "assert ray.get(ray.remote(lambda: 5).remote(), timeout=30) == 5\nsession.close()\n"
        "new = set(os.environ) - was\n"
        "assert not {name for name in new if name.startswith('OMP')}, new\n"
        "assert 'RAY_worker_niceness' not in new\nprint('done')\n"
    )
    home = tmp_path if before else tmp_path / "none"
    tokens = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")  # as no Ray was here yet
    surroundings = {name: value for name, value in environment().items() if name not in tokens}
    done = subprocess.run(
        script(body),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**surroundings, "HOME": str(home), "RAY_ADDRESS": ""},
    )
    assert done.stdout.endswith("done\n"), done.stderr
    assert (home / ".ray").exists() is bool(before)  # ours makes none


DRIVER = """
import signal
import torch
from estimators.estimator import Estimator, Evaluation
from nas.ray_workers import RayWorkers
from nas.workers import Job

class Naps(Estimator):
    def prepare(self, data, task):
        pass

    @property
    def recipe(self):
        return {}

    def evaluate(self, graph, **arguments):
        print("napping", flush=True)
        time.sleep(2)
        return Evaluation({}, details={"threads": torch.get_num_threads()})

session = RaySession()
session.start()
signal.signal(signal.SIGINT, lambda *_: print("told", flush=True))
team = RayWorkers(session, Naps(), "cpu", metrics={}, count=1, most=1, gpus_per_child=0,
                  child_timeout=None)
while not team.free:
    team.wait(1)
team.submit(Job(0, None, 1.0, 0))
team.wait(0.5)
print("up", flush=True)
while (outcome := team.wait(1)) is None:
    pass
print(outcome.result.details, flush=True)
team.close()
session.close()
"""


HEADLESS = """
import ray
from estimators.estimator import Estimator
from nas import ray_session
from nas.errors import NasError
from nas.ray_workers import RayWorkers
from nas.workers import Job
from ray import cloudpickle
cloudpickle.register_pickle_by_value(sys.modules["__main__"])

class Hangs(Estimator):
    def prepare(self, data, task):
        pass
    @property
    def recipe(self):
        return {}
    def evaluate(self, graph, **arguments):
        time.sleep(1000)

ray_session.HEAD_SECONDS = 1.0
session = RaySession()
session.start()
team = RayWorkers(
    session, Hangs(), "cpu", metrics={}, count=1, most=1, gpus_per_child=0, child_timeout=None
)
while not team.free:
    team.wait(1)
team.submit(Job(0, None, 1.0, 0))
for info in ray._private.worker._global_node.all_processes["gcs_server"]:
    info.process.kill()
    info.process.wait()
begin = time.monotonic()
try:
    team.wait(60)
except NasError as error:
    print(error.exit_code, time.monotonic() - begin < 20, error, flush=True)
team.close()
session.close()
print("closed")
"""


@pytest.mark.ray
def test_a_cluster_that_lost_its_head_is_told_before_ray_ends_the_process() -> None:
    done = subprocess.run(
        script(HEADLESS),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(),
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("5 True ray: the head of the cluster at "), done.stderr
    assert lines[0].endswith("start it again, then go on with `nas resume`")
    assert lines[1:] == ["closed"]
    assert done.returncode == 0


@pytest.mark.ray
def test_the_terminals_ctrl_c_does_not_reach_a_running_child_of_one_thread() -> None:
    with subprocess.Popen(
        script(DRIVER),
        stdout=subprocess.PIPE,
        text=True,
        env={**environment(), "OMP_NUM_THREADS": "3"},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == "told\n{'threads': 1.0}\n"
    assert process.returncode == 0


# Nodes ---------------------------------------------------------------------------------------


@pytest.mark.ray
def test_a_lost_node_costs_its_children_and_a_new_one_is_used(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ray.is_initialized():
        ray.shutdown()
    # The cluster writes its address where every other Ray on this machine would join it.
    folder = tempfile.mkdtemp(prefix="nas-cluster-")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        cluster.add_node(num_cpus=1)
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=40)
        session = RaySession()
        session.start()
        team = workers(session, count=None)
        until_free(team, 2)
        team.submit(Job(0, graph, 1.0, HANGS))
        node = next(slot.node for slot in team._slots if slot.job is not None)
        cluster.remove_node(
            next(one for one in cluster.worker_nodes if one.node_id == node), allow_graceful=False
        )
        lost = outcome(team, 90)
        assert failure(lost).cause == "node_lost"
        assert team.free == 1
        team.submit(Job(0, graph, 1.0, CALM))  # the other goes on
        evaluation(outcome(team))
        cluster.add_node(num_cpus=2)
        until_free(team, 2, 90)
        team.submit(Job(1, graph, 1.0, CALM))
        evaluation(outcome(team))
        team.close()
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
