"""What was imported is left alone by the garbage collector, once in a process."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from nas.garbage import spare_imports


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    spare_imports.cache_clear()
    yield
    gc.unfreeze()


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_spared_but_garbage_is_not_kept() -> None:
    garbage = weakref.ref(Knot())
    before = gc.get_freeze_count()
    spare_imports()
    assert gc.get_freeze_count() > before
    assert garbage() is None


def test_what_comes_after_the_first_call_is_looked_at() -> None:
    spare_imports()
    knot = Knot()
    late = weakref.ref(knot)
    spare_imports()
    del knot
    gc.collect()
    assert late() is None
