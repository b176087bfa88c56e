"""A history as an Optuna study, so that Optuna's samplers can propose from it."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, final

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.genome import Genome, Genotype
from strategies.history import History, Proposal
from strategies.random import draw_new
from strategies.strategy import Features

Note: TypeAlias = Callable[[optuna.Study, FrozenTrial], object]
Prepare: TypeAlias = Callable[[optuna.Study], object]

MAX_SAMPLES = 10
MAX_STEPS = 100


@final
class OptunaStudy:
    """An in-memory study that follows a history.

    Everything asked is a trial: running until it is told, then complete with its rewards, or
    failed. A sampler draws for a trial of its own that fails at once, which samplers pass over:
    what is drawn may be thrown away, and is added when it was asked. So what a sampler sees is a
    function of the history. Samplers are made for one ask, and seeded by its generator.
    """

    def __init__(self, genome: Genome, history: History, *, objectives: int, flat: bool) -> None:
        """Start an empty study.

        Args:
            genome: Its decisions are the parameters, their options numbered from 1.
            history: What to follow.
            objectives: Number of rewards.
            flat: Whether a trial has all decisions, 0 for those that are not open in it; else it
                has those that are open.
        """
        self._genome = genome
        self._history = history
        self._flat = flat
        always_open = {decision.name for decision in genome.decisions}
        self._distributions: dict[str, CategoricalDistribution] = {
            name: CategoricalDistribution(
                tuple(range(0 if flat and name not in always_open else 1, levels))
            )
            for name, levels in zip(genome.names, genome.levels, strict=True)
        }
        self._storage = InMemoryStorage()
        with silent():
            self._study = self._storage.create_new_study([StudyDirection.MAXIMIZE] * objectives)
        self._name = self._storage.get_study_name_from_id(self._study)
        self._asked = 0
        self._told = 0
        self._running: list[tuple[Proposal, int]] = []  # with the trial's number in the storage

    def propose(
        self,
        sampler: BaseSampler,
        *,
        features: Features | None,
        rng: np.random.Generator,
        note: Note | None = None,
        prepare: Prepare | None = None,
    ) -> Genotype | None:
        """A new, feasible genotype that the sampler draws, or one near its last draw.

        Args:
            sampler: Made for this ask.
            features: See ``Strategy``.
            rng: Of what the sampler leaves open, and of the steps away from its last draw if none
                can be used.
            note: Called with each success before it is complete, for what a sampler keeps there.
            prepare: Called before each draw, for what a sampler keeps in the study.

        Returns:
            None once every genotype was asked.
        """
        genome, history = self._genome, self._history
        if len(history.genotypes) >= genome.size:
            return None
        with silent():
            self._follow(sampler, note)
            for _ in range(MAX_SAMPLES):
                if prepare is not None:
                    prepare(self._view(sampler))
                genotype = self._draw(self._view(sampler), rng)
                if self._usable(genotype, features):
                    return genotype
        for _ in range(MAX_STEPS):
            genotype = genome.mutate(genotype, rng)
            if self._usable(genotype, features):
                return genotype
        return draw_new(genome, history, features=features, rng=rng, uniform="options")

    def _usable(self, genotype: Genotype, features: Features | None) -> bool:
        new = genotype not in self._history.genotypes
        return new and (features is None or features.feasible(genotype))

    def _draw(self, study: optuna.Study, rng: np.random.Generator) -> Genotype:
        trial = study.ask({**self._distributions} if self._flat else None)
        codes: dict[str, int] = {}
        waiting = list(reversed(self._genome.decisions))
        while waiting:
            decision = waiting.pop()
            choices = self._distributions[decision.name].choices
            drawn = trial.suggest_categorical(decision.name, choices)
            code = choices.index(drawn) + len(decision.options) - len(choices) + 1
            if code == 0:  # the sampler takes it for closed
                code = int(rng.integers(len(decision.options))) + 1
            codes[decision.name] = code
            waiting.extend(reversed(decision.options[code - 1].opens))
        study.tell(trial, state=TrialState.FAIL)
        return self._genome.decode(
            np.array([codes.get(name, 0) for name in self._genome.names], dtype=np.int64)
        )

    def _codes(self, genotype: Genotype) -> dict[str, int]:
        codes = zip(self._genome.names, self._genome.encode(genotype).tolist(), strict=True)
        return {name: code for name, code in codes if self._flat or code}

    def _follow(self, sampler: BaseSampler, note: Note | None) -> None:
        """Add what was asked and told since the last time."""
        storage, history = self._storage, self._history
        for proposal in history.asked[self._asked :]:
            codes = self._codes(proposal.genotype)
            trial = create_trial(
                state=TrialState.RUNNING,
                params=codes,
                distributions={name: self._distributions[name] for name in codes},
            )
            self._running.append((proposal, storage.create_new_trial(self._study, trial)))
        self._asked = len(history.asked)
        for success in history.successes[self._told :]:
            at = next(
                at for at, (open_one, _) in enumerate(self._running) if open_one == success.proposal
            )
            _, number = self._running.pop(at)
            if note is not None:
                note(self._view(sampler), storage.get_trial(number))
            storage.set_trial_state_values(number, TrialState.COMPLETE, success.rewards)
        self._told = len(history.successes)
        still = list(history.running)
        for entry in tuple(self._running):
            if entry[0] in still:
                still.remove(entry[0])
            else:
                self._running.remove(entry)
                storage.set_trial_state_values(entry[1], TrialState.FAIL)

    def _view(self, sampler: BaseSampler) -> optuna.Study:
        """The study without what Optuna remembers of it from the last time."""
        return optuna.load_study(study_name=self._name, storage=self._storage, sampler=sampler)


@contextmanager
def silent() -> Iterator[None]:
    """Without Optuna's notices of what it makes and what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
