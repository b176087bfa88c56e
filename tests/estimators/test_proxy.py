"""The estimator that trains nothing: a function of network and seed, in a fraction of a second."""

import math
import pickle

import numpy as np
import pytest
import torch

from estimators.data import from_arrays
from estimators.estimator import Evaluation, EvaluationError
from estimators.proxy import REFERENCES, SCORES, Proxy
from estimators.task import Classification
from search_spaces import SEARCH_SPACES
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.graph import Graph

RNG = np.random.default_rng(0)
DATA = from_arrays(RNG.random((200, 8, 8)).astype(np.float32), np.arange(200) % 2)


def network(width: int = 8, *, dropout: float = 0.5) -> Graph:
    stages = ((MBConv(4, expansion=2), MBConv(width, stride=2, expansion=2)),)
    head = Classifier(2, dropout=dropout)
    return lower(Architecture("Child", (1, 8, 8), ConvNormAct(4), stages, head))


def prepared(score: str) -> Proxy:
    proxy = Proxy(score=score, batch_size=16)
    if proxy.references:
        proxy.refer([network(width) for width in (4, 6, 10, 16)])
    proxy.prepare(DATA, Classification(2))
    return proxy


def evaluate(proxy: Proxy, graph: Graph | None = None, *, seed: int = 3) -> Evaluation:
    graph = network() if graph is None else graph
    return proxy.evaluate(graph, fidelity=1.0, seed=seed, device="cpu")


@pytest.mark.parametrize("score", SCORES)
def test_a_score_is_a_function_of_network_and_seed(score: str) -> None:
    proxy = prepared(score)
    first = evaluate(proxy)
    evaluate(proxy, network(12), seed=4)
    torch.manual_seed(99)
    again = evaluate(pickle.loads(pickle.dumps(proxy)))  # noqa: S301 - as it goes to workers
    assert first == again
    assert set(first.metrics) == {"score"}
    assert math.isfinite(first.metrics["score"])


@pytest.mark.parametrize("score", [score for score in SCORES if score not in {"params", "macs"}])
def test_the_seed_draws_the_weights(score: str) -> None:
    proxy = prepared(score)
    assert evaluate(proxy, seed=1) != evaluate(proxy, seed=2)


def test_dropout_has_no_part_in_a_score() -> None:
    proxy = prepared("grad_norm")
    assert evaluate(proxy, network(dropout=0.5)) == evaluate(proxy, network(dropout=0.0))


def test_params_and_macs_are_what_they_are_called() -> None:
    graph = network()
    assert evaluate(prepared("params")).metrics == {"score": graph.params}
    assert evaluate(prepared("macs")).metrics == {"score": graph.macs}


def test_nothing_outside_is_changed() -> None:
    proxy, threads = prepared("zico"), torch.get_num_threads()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    evaluate(proxy)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_az_nas_tells_its_four_scores_and_what_it_ranks_among() -> None:
    proxy = prepared("az_nas")
    assert Proxy(score="az_nas").references == REFERENCES
    details = evaluate(proxy).details
    assert set(details) == {"expressivity", "progressivity", "trainability", "complexity"}
    other = Proxy(score="az_nas", batch_size=16)
    other.refer([network(width) for width in (4, 6, 10, 18)])
    other.prepare(DATA, Classification(2))
    assert other.recipe != proxy.recipe


def test_az_nas_needs_networks_to_rank_among() -> None:
    with pytest.raises(ValueError, match="refer must be called before prepare"):
        Proxy(score="az_nas").prepare(DATA, Classification(2))


def test_images_are_resized_to_what_the_network_reads() -> None:
    small = lower(Architecture("S", (1, 4, 4), ConvNormAct(4), ((ConvNormAct(4),),), Classifier(2)))
    assert math.isfinite(evaluate(prepared("naswot"), small).metrics["score"])


def test_a_score_that_is_not_finite_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = prepared("grad_norm")
    monkeypatch.setattr("estimators.proxies.gradients.grad_norm", lambda *_: math.nan)
    with pytest.raises(EvaluationError, match="grad_norm is nan") as error:
        evaluate(proxy)
    assert error.value.cause == "nan"


def test_wrong_options_and_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean log_synflow"):
        Proxy(score="synflow")
    with pytest.raises(ValueError, match="batch_size must be at least 2, got 1"):
        Proxy(batch_size=1)
    with pytest.raises(RuntimeError, match="prepare must be called"):
        evaluate(Proxy())
    three = lower(Architecture("T", (1, 8, 8), ConvNormAct(4), ((ConvNormAct(4),),), Classifier(3)))
    with pytest.raises(ValueError, match="network must return"):
        evaluate(prepared("macs"), three)


@pytest.mark.slow
@pytest.mark.parametrize("space", SEARCH_SPACES)
def test_every_score_is_finite_in_every_space(space: str) -> None:
    module, _, name = SEARCH_SPACES[space].partition(":")
    cls = getattr(__import__(module, fromlist=[name]), name)
    made = cls((1, 8, 8), 2)
    graphs = [
        lower(made.architecture(made.genome.sample_options(np.random.default_rng(n))))
        for n in range(2)
    ]
    for score in SCORES:
        proxy = prepared(score)
        scores = [evaluate(proxy, graph).metrics["score"] for graph in graphs]
        assert all(math.isfinite(value) for value in scores), score
