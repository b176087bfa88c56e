"""Images as a network that was trained on others reads them."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from estimators.data import ImageData, Split
from estimators.lazy_images import LUMA, LazyImages


def renormalised(
    data: ImageData, *, channels: int, mean: Sequence[float], std: Sequence[float]
) -> ImageData:
    """The same images with other channels, mean and deviation.

    Grey images become colour ones of three equal channels; of colour ones the luma is taken for
    one channel.

    Args:
        data: The images.
        channels: Those wanted.
        mean: Per channel, of values in [0, 1]; subtracted.
        std: Per channel; divided by.

    Raises:
        ValueError: If the channels are others.
    """
    have = data.input_shape[0]
    if have != channels and {have, channels} != {1, 3}:
        wanted = "1 or 3" if channels in {1, 3} else f"{channels}"
        raise ValueError(f"images must have {wanted} channels, got {have}")
    own_mean, own_std, new_mean, new_std = (
        torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
        for values in (data.mean, data.std, mean, std)
    )

    def converted(split: Split) -> Split:
        if isinstance(split.images, LazyImages):
            images = split.images.renormalised(channels=channels, mean=mean, std=std)
            return Split(images, split.labels)
        pixels = split.images * own_std + own_mean
        if have < channels:
            pixels = pixels.expand(-1, channels, -1, -1)
        elif have > channels:
            luma = torch.tensor(LUMA, dtype=torch.float32).reshape(1, -1, 1, 1)
            pixels = (pixels * luma).sum(dim=1, keepdim=True)
        return Split((pixels - new_mean) / new_std, split.labels)

    return replace(
        data,
        train=converted(data.train),
        validation=converted(data.validation),
        test=converted(data.test),
        mean=tuple(mean),
        std=tuple(std),
    )
