"""A recurrent controller that answers the decisions one by one and learns from the rewards."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias, final

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.genome import Decision, Genome, Genotype
from strategies.history import Proposal, Success
from strategies.random import draw_new
from strategies.strategy import Features, Strategy, require_one_objective

UNITS = 32  # of the recurrent cell
SEED = 0  # of the first weights
DECAY = 0.9  # of the moving averages
ENTROPY = 0.05  # weight of the entropy of a whole genotype, against advantages of deviation 1
MAX_ADVANTAGE = 3.0
ROUNDING = 1e-9  # share of the baseline below which a deviation is none
CELL_RATE = 0.1  # of the cell, in learning rates of the plain preferences
MAX_SAMPLES = 8  # before a genotype is drawn without the controller
WARMTH = 0.25  # added to the temperature with each sample that cannot be used

State: TypeAlias = tuple[Tensor, Tensor]


@final
class Reinforce(Strategy):
    """A policy over the tree of decisions, trained by REINFORCE, for one objective.

    The controller walks through the tree: at each active decision a recurrent cell, which has
    seen the answers so far, gives the chances of the options. What no answer opens is never
    visited. It starts even, and after every ``batch_size`` successes one step of Adam makes the
    answers of those that beat a moving average likelier. Failed children teach nothing.

    It computes in one thread: workers train beside it, and threads that wait for each other on busy
    cores take many times as long as one.

    It learns from whatever is told, so any number of children can run; they may have been
    proposed by the policy of some steps ago. A sample that was asked before or is beyond the
    limits is drawn again from a flatter policy, ``MAX_SAMPLES`` times in all; then one beyond the
    limits is repaired, or a new one drawn evenly, so that a policy that has made up its mind
    holds nothing up. ``recommend`` is the best told.

    Source: Zoph and Le, Neural Architecture Search with Reinforcement Learning (arXiv:1611.01578),
    section 3.2; entropy and sizes after Pham et al., ENAS (arXiv:1802.03268); the baseline with
    bias correction after Dong et al., NATS-Bench (arXiv:2009.00437). Deviations: advantages are
    divided by a moving deviation, so that no unit of the score matters, and cut at three; each
    option has a preference of its own that learns ten times faster than the cell, which has too
    few rewards to start from nothing; batch and rate follow the budget.
    """

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        batch_size: int | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Set up an even policy.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``; exactly one.
            features: See ``Strategy``.
            batch_size: Successes to an update, at least 1. None: a fiftieth of the budget, but at
                least 1 and at most 8.
            learning_rate: Of Adam, for the preferences; above 0. None: 0.1 for fifty updates in a
                run, falling with the root of their number, in [0.02, 0.2].

        Raises:
            ValueError: If a value is out of range, or there are several objectives.
        """
        super().__init__(genome, budget, directions, features)
        require_one_objective(directions, "reinforce")
        if batch_size is None:
            batch_size = min(max(budget // 50, 1), 8)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if learning_rate is None:
            learning_rate = min(max(0.1 * math.sqrt(50 * batch_size / budget), 0.02), 0.2)
        if not 0.0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, got {learning_rate}")
        self._batch_size = batch_size
        self._learning_rate = learning_rate
        # A function of the successes so far, kept because it only goes on.
        self._learner = _Learner(genome, learning_rate)

    def recommend(self) -> Genotype:
        """The best told, by the first reward; ties: told first."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """Batch size and learning rate."""
        return {"batch_size": self._batch_size, "learning_rate": self._learning_rate}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        if len(self.history.genotypes) >= self.genome.size:
            return None
        with _one_thread():
            self._learn()
            genotype = self._sampled(rng)
        if genotype is None:
            genotype = draw_new(
                self.genome, self.history, features=self.features, rng=rng, uniform="options"
            )
        return None if genotype is None else Proposal(genotype)

    def _learn(self) -> None:
        """Make the updates that are due by the history."""
        successes = self.history.successes
        while (end := (self._learner.updates + 1) * self._batch_size) <= len(successes):
            self._learner.update(successes[end - self._batch_size : end])

    def _sampled(self, rng: np.random.Generator) -> Genotype | None:
        """A new, feasible sample of the policy; None if none was found."""
        infeasible: Genotype | None = None
        for number in range(MAX_SAMPLES):
            genotype = self._learner.policy.sample(rng, temperature=1.0 + WARMTH * number)
            if genotype in self.history.genotypes:
                continue
            if self.features is None or self.features.feasible(genotype):
                return genotype
            infeasible = genotype
        if self.features is not None and infeasible is not None:
            repaired = self.features.repaired(infeasible)
            if repaired not in self.history.genotypes:
                return repaired
        return None


@final
class _Policy(nn.Module):
    """Chances of the options of each decision, given the answers before it.

    Answers of all decisions are numbered through; decisions too. One number more stands for no
    answer before the first decision.
    """

    def __init__(self, genome: Genome) -> None:
        super().__init__()
        self._genome = genome
        widths = [level - 1 for level in genome.levels]
        ends = list(itertools.accumulate(widths, initial=0))
        self._question = {name: at for at, name in enumerate(genome.names)}
        self._answer = {
            (name, value): first + at
            for name, first in zip(genome.names, ends, strict=False)
            for at, value in enumerate(genome.values(name))
        }
        self._first = dict(zip(genome.names, ends, strict=False))
        self.none = ends[-1]
        self.answers = nn.Embedding(self.none + 1, UNITS)
        self.questions = nn.Embedding(len(widths), UNITS)
        self.cell = nn.LSTMCell(UNITS, UNITS)
        self.head = nn.Linear(UNITS, self.none)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        others = torch.ones((len(widths), self.none), dtype=torch.bool)
        for row, (first, width) in enumerate(zip(ends, widths, strict=False)):
            others[row, first : first + width] = False
        self._others = others

    def start(self, rows: int) -> tuple[Tensor, State]:
        """Answer and state before the first decision, for as many walks as there are rows."""
        nothing = torch.zeros((rows, UNITS))
        return torch.full((rows,), self.none), (nothing, nothing)

    def forward(self, answer: Tensor, question: Tensor, state: State) -> tuple[Tensor, State]:
        """Preferences for the next answer.

        Args:
            answer: Number of the last answer of each walk, shape ``(walks,)``.
            question: Number of the decision that comes next, shape ``(walks,)``.
            state: Of the cell.

        Returns:
            Preferences over all answers, minus infinity where they are of another decision, shape
            ``(walks, answers)``; and the next state.
        """
        hidden, memory = self.cell(self.answers(answer) + self.questions(question), state)
        preferences = self.head(hidden).masked_fill(self._others[question], -math.inf)
        return preferences, (hidden, memory)

    @torch.no_grad()
    def sample(self, rng: np.random.Generator, *, temperature: float) -> Genotype:
        """One walk through the tree; all its chance is from ``rng``."""
        answer, state = self.start(1)

        def choose(decision: Decision) -> int:
            nonlocal answer, state
            question = torch.tensor([self._question[decision.name]])
            preferences, state = self(answer, question, state)
            first, count = self._first[decision.name], len(decision.options)
            own = preferences[0, first : first + count].double() / temperature
            ends = own.softmax(0).cumsum(0).numpy()
            chosen = min(int(np.searchsorted(ends, rng.random(), side="right")), count - 1)
            answer = torch.tensor([first + chosen])
            return chosen

        return self._genome.walk(choose)

    def score(self, genotypes: Sequence[Genotype]) -> tuple[Tensor, Tensor]:
        """Log-chance of each genotype, and entropy of the choices along it: ``(genotypes,)``."""
        walks = [
            [(self._question[name], self._answer[name, value]) for name, value in one.answers]
            for one in genotypes
        ]
        answer, state = self.start(len(walks))
        chances, entropies = torch.zeros(len(walks)), torch.zeros(len(walks))
        for step in range(max(map(len, walks))):
            going = torch.tensor([step < len(walk) for walk in walks])
            asked, given = torch.tensor([walk[min(step, len(walk) - 1)] for walk in walks]).T
            preferences, state = self(answer, asked, state)
            logs = preferences.log_softmax(1)
            chosen = logs.gather(1, given[:, None])[:, 0]
            spread = -(logs.exp() * logs.masked_fill(self._others[asked], 0.0)).sum(1)
            chances = chances + torch.where(going, chosen, 0.0)
            entropies = entropies + torch.where(going, spread, 0.0)
            answer = given
        return chances, entropies


@final
class _Learner:
    """A policy and what trains it: a function of the rewards that it was given, in their order.

    Attributes:
        policy: As of now.
        updates: How many there were.
    """

    def __init__(self, genome: Genome, learning_rate: float) -> None:
        with torch.random.fork_rng(devices=()):  # the same first weights, and no other draw changed
            torch.manual_seed(SEED)
            self.policy = _Policy(genome)
        self.updates = 0
        plain = self.policy.head.bias
        cell = [weights for weights in self.policy.parameters() if weights is not plain]
        self._optimizer = torch.optim.Adam(
            [
                {"params": [plain], "lr": learning_rate},
                {"params": cell, "lr": CELL_RATE * learning_rate},
            ]
        )
        self._rewards = self._mean = self._square = 0.0

    def update(self, batch: Sequence[Success]) -> None:
        """One step of Adam on REINFORCE's loss over a batch of successes."""
        advantages = self._advantages([success.rewards[0] for success in batch])
        chances, entropies = self.policy.score([one.proposal.genotype for one in batch])
        loss = -(chances * advantages + ENTROPY * entropies).mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.updates += 1

    def _advantages(self, rewards: Sequence[float]) -> Tensor:
        """Rewards against their moving average, in moving deviations; shape ``(rewards,)``."""
        baseline = variance = 0.0
        for reward in rewards:
            self._rewards += 1
            correction = 1.0 - DECAY**self._rewards
            self._mean = DECAY * self._mean + (1.0 - DECAY) * reward
            baseline = self._mean / correction
            self._square = DECAY * self._square + (1.0 - DECAY) * (reward - baseline) ** 2
            variance = self._square / correction
        if math.sqrt(variance) <= ROUNDING * abs(baseline):  # all equal so far
            return torch.zeros(len(rewards))
        standard = (np.array(rewards) - baseline) / math.sqrt(variance)
        return torch.tensor(standard.clip(-MAX_ADVANTAGE, MAX_ADVANTAGE), dtype=torch.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """With one thread of torch, whatever there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
