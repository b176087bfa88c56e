"""How good a child is: tasks, data and the estimators that score a graph.

``ESTIMATORS`` names the built-in estimators as ``module:Class`` strings, so that listing them
imports nothing. ``DATASETS`` does the same for functions that load data.
"""

from collections.abc import Mapping

ESTIMATORS: Mapping[str, str] = {
    "training": "estimators.training:Training",
    "supernet": "estimators.supernet:Supernet",
    "proxy": "estimators.proxy:Proxy",
}
DATASETS: Mapping[str, str] = {
    "digits": "estimators.data:digits",
    "mnist": "estimators.published:mnist",
    "fashion-mnist": "estimators.published:fashion_mnist",
    "cifar10": "estimators.published:cifar10",
    "cifar100": "estimators.published:cifar100",
}
