"""What a user wants, by name: metrics of the task, and costs beside them."""

from estimators.task import Task
from nas.errors import usage_error
from nas.limits import COSTS, Objective
from nas.plugins import unknown

MAX_OBJECTIVES = 4  # a hypervolume takes time to the power of their number


def objectives_of(task: Task, names: tuple[str, ...]) -> tuple[Objective, ...]:
    """What a user wants, with directions: costs are minimised.

    Raises:
        NasError: If a name is unknown or there twice, the first is no metric of the task, or there
            are too many (exit code 2).
    """
    if not 1 <= len(names) <= MAX_OBJECTIVES:
        raise usage_error(f"--objective must be 1 to {MAX_OBJECTIVES} names, got {len(names)}")
    if len(set(names)) < len(names):
        raise usage_error(f"--objective must name each one once, got {', '.join(names)}")
    for name in names:
        if name == "top5_accuracy" and name not in task.metrics:
            raise usage_error(
                f"--objective: {name} is 1 for all networks with fewer than 6 classes"
            )
        if name not in task.metrics and name not in COSTS:
            raise usage_error(f"--objective: {unknown(name, [*task.metrics, *COSTS])}")
    if names[0] not in task.metrics:
        raise usage_error(
            f"--objective must begin with a metric of the task ({', '.join(task.metrics)}), got "
            f"{names[0]}; costs come after it, or are limited by --max-{names[0].replace('_', '-')}"
        )
    return tuple(
        Objective(name, "minimize" if name in COSTS else task.metrics[name].direction)
        for name in names
    )
