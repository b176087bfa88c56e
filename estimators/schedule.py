"""Learning rate over a training."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate over a training of ``total`` steps, cut short for lower fidelities.

    It rises linearly over ``warmup`` steps and stays constant; the last part of whatever is
    trained falls linearly to zero. A child at fidelity 1/3 therefore takes the very steps of the
    full training up to its own last part, which runs on a copy: it can go on from there.

    Attributes:
        total: Steps of full training.
        warmup: Steps until the full rate.
        decay: Share of the steps, in (0, 1), that fall.
    """

    total: int
    warmup: int
    decay: float

    def steps(self, fidelity: float) -> tuple[int, int]:
        """Steps of the constant part, and of all, at one fidelity."""
        every = max(1, round(fidelity * self.total))
        return every - max(1, round(self.decay * every)), every

    def factor(self, step: int, fidelity: float) -> float:
        """Multiplier of the learning rate for the step number ``step``, from 0."""
        constant, every = self.steps(fidelity)
        rising = min(1.0, (step + 1) / max(1, self.warmup))
        falling = (every - step) / (every - constant + 1) if step >= constant else 1.0
        return rising * falling
