from hypothesis import given
from hypothesis import strategies as st

from estimators.schedule import Schedule

SCHEDULES = st.builds(
    Schedule,
    total=st.integers(1, 400),
    warmup=st.integers(0, 40),
    decay=st.floats(0.05, 0.95),
)
FIDELITIES = st.floats(0.001, 1.0)


@given(SCHEDULES, FIDELITIES)
def test_rates_rise_stay_and_fall_to_nearly_nothing(schedule: Schedule, fidelity: float) -> None:
    constant, every = schedule.steps(fidelity)
    factors = [schedule.factor(step, fidelity) for step in range(every)]
    assert 0 <= constant < every
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:constant] == sorted(factors[:constant])
    falling = factors[max(constant, schedule.warmup) :]
    assert falling == sorted(falling, reverse=True)
    assert len(falling) < 2 or falling[-1] < falling[0]
    assert factors[-1] <= 1 / (every - constant + 1) + 1e-12


@given(SCHEDULES, FIDELITIES, FIDELITIES)
def test_a_lower_fidelity_is_a_beginning_of_a_higher_one(
    schedule: Schedule, first: float, second: float
) -> None:
    low, high = sorted((first, second))
    constant = schedule.steps(low)[0]
    assert constant <= schedule.steps(high)[0]
    for step in range(constant):
        assert schedule.factor(step, low) == schedule.factor(step, high)


@given(SCHEDULES)
def test_full_fidelity_is_the_full_length(schedule: Schedule) -> None:
    assert schedule.steps(1.0)[1] == schedule.total
