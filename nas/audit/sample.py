"""The children of an audit: a uniform sample of what a run could have found."""

from collections import Counter
from itertools import count

from nas.children import Child
from nas.errors import NasError
from nas.plan import AUDIT, LEAST_AUDITED, rng_of
from nas.preparation import Prepared
from search_spaces.genome import Genotype

SAMPLE = 0  # the purpose of the children that are trained in full
TRIES = 200  # draws for each child that is wanted
SEVERAL = "several"


def drawn(prepared: Prepared, number: int, *, purpose: int) -> list[Child]:
    """Children drawn uniformly over the genotypes within the limits, no network twice.

    The first of a larger sample are the smaller one. Latency is not looked at.

    Args:
        prepared: The run.
        number: How many.
        purpose: Keeps samples apart.

    Raises:
        NasError: If hardly any genotype is within the limits (exit code 3).
    """
    rng = rng_of(prepared.plan.seed, AUDIT, purpose)
    genome, children = prepared.space.genome, prepared.children
    found: dict[str, Child] = {}
    for tries in count():
        if len(found) == number:
            break
        if tries == TRIES * number:
            if len(found) < LEAST_AUDITED:
                raise NasError(
                    f"audit: of {tries:,} genotypes drawn only {len(found)} are within the limits; "
                    "a uniform sample needs wider ones",
                    exit_code=3,
                )
            break
        genotype = genome.sample_genotype(rng)
        if children.feasible(genotype):
            child = children.child(genotype)
            found.setdefault(child.digest, child)
    return list(found.values())


def family(genotype: Genotype) -> str:
    """The family of most stages, where each stage chooses one; ``several`` if none has most.

    Empty for a space of one family.
    """
    answers = genotype.to_dict()
    counts = Counter(str(value) for name, value in answers.items() if name.endswith(".family"))
    if not counts:
        return ""
    first, *rest = counts.most_common(2)
    return SEVERAL if rest and rest[0][1] == first[1] else first[0]
