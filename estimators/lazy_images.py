"""Images that become normalised floats when they are taken, a batch at a time."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor

from estimators.order import Order
from estimators.pixel_store import PixelStore
from estimators.resizing import resized

CHUNK = 1024  # images that are moved at once
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: grey of a colour, as Pillow has it
SHARE = 0.5  # of the free memory of a device that images of 8 bits may take there


@final
class LazyImages:
    """Stands for a tensor of images that would be too large: taking some gives the tensor of them.

    Values are the ones that a set small enough has, to the last bit.

    Attributes:
        positions: int64, ``(images,)``, in what they are taken from.
        shape: ``(images, channels, height, width)`` of the tensor it stands for.
        device: Where what is taken lies.
    """

    def __init__(  # noqa: PLR0913 - what is done to an image, step by step
        self,
        store: PixelStore,
        positions: Tensor,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        channels: int | None = None,
        size: tuple[int, ...] | None = None,
        device: str = "cpu",
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        """Say what images are taken, and how.

        Args:
            store: What they are taken from.
            positions: int64, ``(images,)``, in the store.
            mean: Per channel that is read, of values from 0 to 1; subtracted.
            std: Per channel; divided by.
            channels: 3 for grey images with three equal ones, 1 for the luma of colour ones; None
                for what they have.
            size: Height and width that they are resized to; None for what they have.
            device: A torch device.
            layout: How a batch lies in memory.
        """
        self._store, self.positions = store, positions
        self._mean, self._std = tuple(mean), tuple(std)
        self._channels, self._size, self._layout = channels, size, layout
        self._moved: Tensor | None = None  # all of them as 8 bits, on the device
        self.device = torch.device(device)
        own_channels, *own_size = store.shape[1:]
        self.shape = torch.Size(
            (len(positions), channels or own_channels, *(own_size if size is None else size))
        )

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: slice | Tensor) -> Tensor:
        """Some images, float32, normalised."""
        images = self._normalised(self._with_channels(self._taken(chosen).float() / 255))
        images = images.to(self.device)
        if self._size is not None:
            images = resized(images, self._size)
        return images.contiguous(memory_format=self._layout)

    def _taken(self, chosen: slice | Tensor) -> Tensor:
        """Some images as they are kept, uint8, where they are computed with."""
        if self._moved is not None:
            return self._moved[chosen]
        rows = self.positions[chosen if isinstance(chosen, slice) else chosen.cpu()]
        pixels = torch.from_numpy(self._store.values[rows.numpy()])
        # Numbers of 64 bits, with which small sets are normalised, are not had by every device.
        return pixels if self.device.type == "mps" else pixels.to(self.device)

    def _with_channels(self, pixels: Tensor) -> Tensor:
        if self.shape[1] == pixels.shape[1]:
            return pixels
        if self.shape[1] > pixels.shape[1]:
            return pixels.expand(-1, self.shape[1], -1, -1)
        luma = torch.tensor(LUMA, device=pixels.device).reshape(1, -1, 1, 1)
        return (pixels * luma).sum(dim=1, keepdim=True)

    def _normalised(self, pixels: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(values, dtype=torch.float64, device=pixels.device).reshape(1, -1, 1, 1)
            for values in (self._mean, self._std)
        )
        return ((pixels - mean) / std).float()

    def subset(self, chosen: slice | Tensor) -> "LazyImages":
        """Some of the images, not taken yet."""
        return self._like(positions=self.positions[chosen])

    def joined(self, other: "LazyImages") -> "LazyImages":
        """These and others of the same data."""
        return self._like(positions=torch.cat([self.positions, other.positions]))

    def resized(self, size: tuple[int, ...]) -> "LazyImages":
        """The same images in another size."""
        return self._like(size=size)

    def renormalised(
        self, *, channels: int, mean: Sequence[float], std: Sequence[float]
    ) -> "LazyImages":
        """The same images with other channels, 1 or 3, and another mean and deviation."""
        return self._like(channels=channels, mean=mean, std=std)

    def to(self, device: str, *, memory_format: torch.memory_format) -> "LazyImages":
        """The same images, to be taken on a device.

        On one of CUDA they are kept there as 8 bits, if ``SHARE`` of its free memory has room;
        else a batch is sent when it is taken.
        """
        there = self._like(device=device, layout=memory_format)
        there.move()
        return there

    def move(self) -> None:
        """Keep all images on the device, if it is one of CUDA with room for them."""
        if self.device.type != "cuda":
            return
        free, _ = torch.cuda.mem_get_info(self.device)
        if len(self) * math.prod(self._store.shape[1:]) > SHARE * free:
            return
        whole = (len(self), *self._store.shape[1:])
        moved = torch.empty(whole, dtype=torch.uint8, device=self.device)
        for begin in range(0, len(self), CHUNK):
            rows = self.positions[begin : begin + CHUNK].numpy()
            moved[begin : begin + CHUNK] = torch.from_numpy(self._store.values[rows])
        self._moved = moved

    def expect(self, chosen: Tensor) -> None:
        """Have images read from the disk while the process does something else."""
        if self._moved is None:
            self._store.expect(self.positions[chosen.cpu()].numpy())

    def _like(self, **changes: Any) -> "LazyImages":
        """These images but for some parts."""
        parts: dict[str, Any] = {
            "positions": self.positions,
            "mean": self._mean,
            "std": self._std,
            "channels": self._channels,
            "size": self._size,
            "device": str(self.device),
            "layout": self._layout,
        }
        return LazyImages(self._store, **{**parts, **changes})


Images = Tensor | LazyImages


def subset(images: Images, chosen: slice | Tensor) -> Images:
    """Some of the images; of lazy ones none is taken."""
    return images.subset(chosen) if isinstance(images, LazyImages) else images[chosen]


def joined(one: Images, other: Images) -> Images:
    """Images of two splits of one data set."""
    if isinstance(one, LazyImages) and isinstance(other, LazyImages):
        return one.joined(other)
    return torch.cat([one[:], other[:]])


def resized_images(images: Images, size: tuple[int, ...]) -> Images:
    """Images of another height and width, see ``resized``; of lazy ones none is taken."""
    return images.resized(size) if isinstance(images, LazyImages) else resized(images, size)


def batches(images: Images, count: int) -> Iterator[Tensor]:
    """All images, so many at a time."""
    for begin in range(0, len(images), count):
        yield images[begin : begin + count]


def expect(images: Images, order: Order, step: int) -> None:
    """Say that the images of a step are taken next."""
    if isinstance(images, LazyImages):
        images.expect(order(step))
