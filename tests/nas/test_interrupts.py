"""Signals: noted while children run, obeyed at once anywhere else."""

import signal
import threading

import pytest

from nas.interrupts import Interrupted, Interrupts

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def said() -> list[str]:
    return []


@BOTH
def test_the_first_one_is_only_noted_where_children_run(
    number: signal.Signals, said: list[str]
) -> None:
    with Interrupts(30, said.append) as interrupts, interrupts.orderly():
        assert interrupts.requested is None
        signal.raise_signal(number)
        assert interrupts.requested == number
    assert len(said) == 1
    assert "running children have 30 s to finish" in said[0]


@BOTH
def test_the_second_one_raises_with_the_code_of_the_first(
    number: signal.Signals, said: list[str]
) -> None:
    with Interrupts(30, said.append) as interrupts, interrupts.orderly():
        signal.raise_signal(number)
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(signal.SIGINT)
    assert caught.value.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert caught.value.name == {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[number]


@BOTH
def test_anywhere_else_the_first_one_raises(number: signal.Signals, said: list[str]) -> None:
    with Interrupts(30, said.append) as interrupts:
        with interrupts.orderly():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_what_follows_an_orderly_stop_has_no_limit(said: list[str]) -> None:
    with Interrupts(0.05, said.append) as interrupts:
        with interrupts.orderly():
            signal.raise_signal(signal.SIGINT)
        assert interrupts._timer is not None
        interrupts._timer.join(10)  # it was cancelled, and raises nothing here
    assert len(said) == 1


def test_the_end_of_the_grace_raises(said: list[str]) -> None:
    def wait() -> None:
        signal.raise_signal(signal.SIGINT)
        while True:
            signal.pause()

    with (
        Interrupts(0.01, said.append) as interrupts,
        interrupts.orderly(),
        pytest.raises(Interrupted),
    ):
        wait()


def test_the_handlers_are_put_back(said: list[str]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts(30, said.append) as interrupts:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as a library would
        interrupts.again()
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_timer_does_not_outlive_what_it_was_for(said: list[str]) -> None:
    with Interrupts(1000, said.append) as interrupts, interrupts.orderly():
        signal.raise_signal(signal.SIGINT)
        timer = interrupts._timer
    assert timer is not None
    timer.join(5)
    assert not timer.is_alive()


def test_in_another_thread_nothing_is_done(said: list[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def run() -> None:
        with Interrupts(30, said.append) as interrupts, interrupts.orderly():
            seen.extend([interrupts.requested, signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [None, before]
