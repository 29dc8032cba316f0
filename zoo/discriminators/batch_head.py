"""The discriminator of UVCGANv2: patches, judged beside the features of earlier images.

Paper: Torbunov et al. 2023, "Rethinking CycleGAN: Improving Quality of GANs for Unpaired
Image-to-Image Translation", §3. A small batch says little about the spread of images, so the head,
which looks at a batch as a whole, also sees the features of a few earlier images, those of reals
for reals and those of fakes for fakes. As in the published code, the body is a patch discriminator
without its last convolution, with spectral and instance norm, queues grow in the discriminator's
own update only, and the head has LeakyReLUs of slope 0.01 and no spectral norm. Differs in a
gradient penalty, which sees images without a queue.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from zoo.layers.batch_head import HeadName, batch_head, in_company
from zoo.layers.conv import SpectralConv2d, check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.queue import FeatureQueue
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS
from zoo.schema import COUNT, NOT_NEGATIVE


@DISCRIMINATORS.register("batch_head")
class BatchHeadDiscriminator(nn.Module):
    """A patch discriminator with a head for whole batches. Paper: Torbunov et al. 2023 (UVCGANv2).

    Attributes:
        remembers: GAN losses say of images whether they are "real" or "fake".
    """

    heads = ("patches",)
    remembers = True

    @dataclass(kw_only=True)
    class Config:
        """Defaults are the published network."""

        width: Annotated[int, "filters of the first layer", COUNT] = 64
        num_layers: Annotated[int, "layers of stride 2 of the body", COUNT] = 3
        norm: Annotated[NormName, "of the body, after every convolution but the first"] = "instance"
        spectral: Annotated[bool, "spectral normalisation of the body"] = True
        head: Annotated[HeadName, "what tells images of a batch apart"] = "batch_norm_2d"
        queue_size: Annotated[
            int, "earlier images seen beside reals, and beside fakes; 0: none", NOT_NEGATIVE
        ] = 3
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        self.least = 3 * 2**config.num_layers  # 2 x 2 features for the head
        self.owner = f"discriminator batch_head with num_layers {config.num_layers}"
        check_size(self.owner, shape.height, shape.width, least=self.least)
        conv = SpectralConv2d if config.spectral else nn.Conv2d
        layers: list[nn.Module] = []
        inputs = shape.channels
        for n in range(config.num_layers + 1):
            width = config.width * min(2**n, 8)
            stride, bias = 2 if n < config.num_layers else 1, n == 0 or config.norm != "batch"
            layers += [conv(inputs, width, 4, stride=stride, padding=1, bias=bias)]
            layers += [norm_layer(config.norm, width)] if n else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.head = batch_head(config.head, inputs, inputs)
        self.real_queue = FeatureQueue(config.queue_size)
        self.fake_queue = FeatureQueue(config.queue_size)
        init_weights(self, config.init)

    def forward(self, x: Tensor, origin: Literal["real", "fake"] | None = None) -> Judgement:
        """Images N C H W in [-1, 1] to one head of logits N 1 h w.

        Args:
            x: all real or all fake.
            origin: whose queue is seen beside them in training, and filled with their features
                unless the network is frozen; None: no queue.
        """
        check_size(self.owner, *x.shape[2:], least=self.least)
        features = self.body(x)
        if origin is None or not self.training:
            return Judgement((self.head(features),))
        queue = self.real_queue if origin == "real" else self.fake_queue
        judgement = Judgement((in_company(self.head, features, queue.query()),))
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.head.parameters()):
            queue.push(features)
        return judgement
