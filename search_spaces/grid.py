"""All genotypes of a genome in a shuffled order, however many there are."""

import hashlib
from dataclasses import dataclass
from typing import final

from search_spaces.genome import Genome, Genotype

_ROUNDS = 8
_DIGEST_BITS = 512


@final
@dataclass(frozen=True, slots=True)
class Grid:
    """Every genotype exactly once, in an order shuffled by a seed, without a list of them.

    Positions are permuted by a balanced Feistel network over the next power of four, applied
    again while the result is beyond the last genotype (cycle walking, fewer than four times on
    average). The order is a function of genome size and seed alone.

    Attributes:
        genome: Whose genotypes they are.
        seed: Of the order.

    Source: Black and Rogaway, Ciphers with Arbitrary Finite Domains (CT-RSA 2002), method 2; here
    with eight rounds of BLAKE2b, which is for shuffling, not for secrecy.
    """

    genome: Genome
    seed: int

    def at(self, position: int) -> Genotype:
        """The genotype at ``position``.

        Raises:
            ValueError: If ``position`` is not in [0, genome.size).
        """
        if not 0 <= position < self.genome.size:
            raise ValueError(f"position must be in [0, {self.genome.size}), got {position}")
        rank = self._shuffle(position)
        while rank >= self.genome.size:
            rank = self._shuffle(rank)
        return self.genome.unrank(rank)

    def position(self, genotype: Genotype) -> int:
        """Where ``at`` finds ``genotype``.

        Raises:
            ValueError: If the genotype is not one of the genome.
        """
        position = self._unshuffle(self.genome.rank(genotype))
        while position >= self.genome.size:
            position = self._unshuffle(position)
        return position

    @property
    def _half_bits(self) -> int:
        return max(1, ((self.genome.size - 1).bit_length() + 1) // 2)

    def _shuffle(self, value: int) -> int:
        bits = self._half_bits
        left, right = value >> bits, value & ((1 << bits) - 1)
        for turn in range(_ROUNDS):
            left, right = right, left ^ self._scramble(right, turn)
        return left << bits | right

    def _unshuffle(self, value: int) -> int:
        bits = self._half_bits
        left, right = value >> bits, value & ((1 << bits) - 1)
        for turn in reversed(range(_ROUNDS)):
            left, right = right ^ self._scramble(left, turn), left
        return left << bits | right

    def _scramble(self, half: int, turn: int) -> int:
        bits = self._half_bits
        blocks = [
            hashlib.blake2b(f"{self.seed} {turn} {block} {half:x}".encode()).digest()
            for block in range(-(-bits // _DIGEST_BITS))
        ]
        return int.from_bytes(b"".join(blocks), "big") & ((1 << bits) - 1)
