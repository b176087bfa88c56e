"""The contract of search spaces: a genome, and what each genotype means."""

from abc import ABC, abstractmethod

from search_spaces.architecture import Architecture
from search_spaces.genome import Genome, Genotype


class SearchSpace(ABC):
    """What may be searched.

    A new space is a class with ``genome`` and ``architecture``. It is constructed as
    ``Space(input_shape, num_classes, **options)`` with options of its own (keyword-only, plain
    values) and never changes afterwards.
    """

    @property
    @abstractmethod
    def genome(self) -> Genome:
        """The decisions it leaves open."""

    @abstractmethod
    def architecture(self, genotype: Genotype) -> Architecture:
        """The network that a genotype of ``genome`` stands for; a function of it alone."""
