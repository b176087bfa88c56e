"""What a map-style data set of Python is."""

from typing import Any, Protocol


class Samples(Protocol):
    """Such as a ``torch.utils.data.Dataset`` with a length."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """One sample."""
        ...
