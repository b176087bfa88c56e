"""The garbage collector, which looks through all that was imported again and again."""

import gc
from functools import cache


@cache
def spare_imports() -> None:
    """Have it pass over what is there now; once in a process.

    Torch and what comes with it are hundreds of thousands of objects that stay. To make a network
    of some hundred nodes takes half the time without a look at them. For a command, whose process
    is its own: objects of a program around it could be garbage later.
    """
    gc.collect()
    gc.freeze()
