"""Which way of computing is chosen: the usual one, unless another is clearly faster."""

from collections.abc import Callable, Iterable, Sequence

import pytest

from estimators.ways import HOPELESS, MARGIN, ROUNDS, Way, candidates, fastest

USUAL, *OTHERS = WAYS = candidates("auto", "auto")


def chosen(*others: Iterable[float], usual: float = 1.0) -> Way:
    """What is chosen if others take these seconds: a first step, then rounds, warm-up first."""
    times = {USUAL: iter([usual] * (2 + ROUNDS))}
    times |= {way: iter(seconds) for way, seconds in zip(OTHERS, others, strict=False)}

    def clock(way: Way) -> Callable[[int], float]:
        return lambda _: next(times[way])

    ways = list(times)
    return fastest(ways, {way: clock(way) for way in ways}, steps=2)


def rounds(*seconds: float) -> Sequence[float]:
    return [0.99 * HOPELESS, 9.0, *seconds, *[seconds[-1]] * (ROUNDS - len(seconds))]


def test_the_usual_way_stays_unless_another_is_clearly_faster_in_every_round() -> None:
    faster, not_quite = 0.99 / MARGIN, 1.01 / MARGIN
    assert chosen(rounds(faster)) == OTHERS[0]
    assert chosen(rounds(not_quite)) == USUAL
    assert chosen(rounds(0.1, 0.1, not_quite)) == USUAL
    assert chosen(rounds(1.5)) == USUAL


def test_the_fastest_of_several_is_taken() -> None:
    assert chosen(rounds(0.7), rounds(0.4), rounds(0.5)) == OTHERS[1]
    assert chosen(rounds(0.7), rounds(0.1, 0.1, 1.0), rounds(0.9)) == OTHERS[0]


def test_one_that_is_hopeless_in_two_steps_is_not_timed() -> None:
    assert chosen([HOPELESS, HOPELESS]) == USUAL  # it would have no more seconds to give
    assert chosen([HOPELESS, HOPELESS], rounds(0.5)) == OTHERS[1]
    assert chosen([99.0, *rounds(0.5)]) == OTHERS[0]  # it made its kernels in the first one


def test_ways_take_turns() -> None:
    order = []

    def clock(way: Way) -> Callable[[int], float]:
        return lambda steps: order.append((way, steps)) or 1.0  # type: ignore[func-returns-value]

    fastest(WAYS, {way: clock(way) for way in WAYS}, steps=3)
    # A step, a round that warms up, and one that shows that none is faster.
    assert order == [*((way, 1) for way in WAYS), *[(way, 3) for way in WAYS] * 2]


def test_options_leave_ways_open_and_the_usual_one_is_the_first() -> None:
    assert str(USUAL) == "float32 channels_last"
    assert len(set(WAYS)) == 4
    assert candidates("bfloat16", "contiguous") == (Way("bfloat16", "contiguous"),)
    assert {way.layout for way in candidates("auto", "contiguous")} == {"contiguous"}
    with pytest.raises(ValueError, match="layout must be channels_last or contiguous, got 'x'"):
        candidates("auto", "x")


def test_a_way_is_written_and_read() -> None:
    assert [Way.of(str(way)) for way in WAYS] == [*WAYS]
    for text in ("", "float32", "float32 x", "float32 channels_last x"):
        with pytest.raises(ValueError, match="must be"):
            Way.of(text)
