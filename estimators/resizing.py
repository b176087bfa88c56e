"""Images of one size as those of another."""

from torch import Tensor
from torch.nn import functional


def resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images as ``(batch, channels, *size)``, bilinear with antialiasing."""
    if tuple(images.shape[2:]) == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True)
