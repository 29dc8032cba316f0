"""AdaLIN and LIN whose share of either norm is a softmax, as in NICE-GAN's published code."""

import torch
from torch import Tensor, nn

from zoo.layers.norm import adalin, lin
from zoo.layers.precision import full_precision


class _SoftShare(nn.Module):
    """Adds `rho`, 1 C 2: the scores of the instance's and of the layer's statistics.

    The two shares sum to 1 and lie between 0 and 1 by themselves, so nothing is clipped.
    """

    rho: nn.Parameter

    def _make_rho(self, channels: int, instance: float, layer: float) -> None:
        self.rho = nn.Parameter(torch.tensor([instance, layer]).repeat(1, channels, 1))

    def instance_share(self) -> Tensor:
        """1 C 1 1."""
        return full_precision(self.rho).softmax(dim=-1)[..., :1, None]


class SoftAdaLIN(_SoftShare):
    """`adalin` with a softmaxed share; gamma and beta come with every call.

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        self._make_rho(channels, instance=3.2, layer=1.0)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """x: N C H W; gamma, beta: N C."""
        return adalin(x, gamma[:, :, None, None], beta[:, :, None, None], self.instance_share())


class SoftLIN(_SoftShare):
    """`lin` with a softmaxed share and learned gamma and beta.

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        self._make_rho(channels, instance=1.0, layer=3.2)
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C H W."""
        return lin(x, self.gamma, self.beta, self.instance_share())
