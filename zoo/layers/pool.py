"""The history of generated images (Shrivastava et al. 2017, §2.3, as used by CycleGAN)."""

import random
from types import ModuleType

import torch
from torch import Tensor


class ImagePool:
    """Returns the current fakes or, half of the time, earlier ones.

    Images are handled one by one. Until the pool is full each is stored and returned. Then, with
    probability ½, a stored image is returned and replaced by the new one; else the new one is
    returned and the pool stays as it is.

    Args:
        size: images kept; 0 returns every batch unchanged.
        rng: where `uniform` and `randint` come from. The module's global functions by default; the
            trainer gives every pool a generator of its own at every step, so that no state needs
            saving.
    """

    def __init__(self, size: int, rng: random.Random | ModuleType = random):
        self.size = size
        self.rng = rng
        self.images: list[Tensor] = []  # each C H W

    def __call__(self, images: Tensor) -> Tensor:
        """Fakes N C H W to fakes N C H W, detached."""
        images = images.detach()
        if self.size == 0:
            return images
        return torch.stack([self._query(image) for image in images])

    def _query(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if self.rng.uniform(0, 1) <= 0.5:
            return image
        index = self.rng.randint(0, self.size - 1)
        old, self.images[index] = self.images[index], image.clone()
        return old

    def state(self) -> list[Tensor]:
        """The stored images; a copy of the list, whose tensors are never written in place."""
        return list(self.images)

    def load(self, state: list[Tensor]) -> None:
        """Take back what `state` returned."""
        self.images = list(state)


class HistoryBuffer(ImagePool):
    """Current fakes of which half are exchanged for earlier ones (Shrivastava et al. 2017, §2.3).

    Of a batch of n images, n/2 are current and n/2 come from the buffer, which then takes in n/2 of
    the current ones, in place of randomly chosen ones once it is full. Where n is odd, chance
    decides which half has the odd image, so that at batch 1 every other fake is an old one.

    Args:
        size: images kept; 0 returns every batch unchanged.
        rng: as for `ImagePool`.
    """

    @property
    def whole_batch(self) -> str:
        """Why micro-batches would not do; empty if they would."""
        return "exchanges half of every batch for earlier images" if self.size else ""

    def __call__(self, images: Tensor) -> Tensor:
        """Fakes N C H W to fakes N C H W, detached."""
        images = images.detach()
        if self.size == 0:
            return images
        half = len(images) // 2 + (len(images) % 2 and self.rng.randint(0, 1))
        from_history = min(half, len(self.images))
        old = self.rng.sample(self.images, from_history)
        mixed = torch.stack([*images[: len(images) - from_history], *old])
        for image in images[: max(1, len(images) // 2)]:
            if len(self.images) < self.size:
                self.images.append(image.clone())
            else:
                self.images[self.rng.randint(0, self.size - 1)] = image.clone()
        return mixed
