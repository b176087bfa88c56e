"""Neural architecture search for images: from a budget to a plain PyTorch network.

``search`` runs a search, ``resume`` goes on with one, ``train`` trains one network to the end,
``transfer`` uses a trained one for other images, ``load`` builds a network from an exported folder
or a reference name.
Importing this package is cheap: torch is imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api import AuditSize, Result, load, resume, search, train, transfer

__all__ = ["AuditSize", "Result", "load", "resume", "search", "train", "transfer"]


def __getattr__(name: str) -> Any:
    """Import the public functions on first use.

    Raises:
        AttributeError: If there is no such name.
    """
    if name in __all__:
        from nas import api  # noqa: PLC0415 - torch takes seconds to import

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
