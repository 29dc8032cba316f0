"""Scales and shifts for adaptive norms, computed from features (Kim et al. 2020, §2.1.1)."""

from torch import Tensor, nn


class Style(nn.Module):
    """Gamma and beta of all AdaLIN layers, from the attended features.

    Args:
        channels: C of the features and of gamma and beta.
        size: height and width of the features (full version), or None to average over them.
    """

    def __init__(self, channels: int, size: tuple[int, int] | None):
        super().__init__()
        self.average = size is None
        inputs = channels if size is None else channels * size[0] * size[1]
        self.layers = nn.Sequential(
            nn.Linear(inputs, channels, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels, bias=False),
            nn.ReLU(inplace=True),
        )
        self.gamma = nn.Linear(channels, channels, bias=False)
        self.beta = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features N C H W to gamma and beta, each N C."""
        h = self.layers(x.mean(dim=(2, 3)) if self.average else x.flatten(1))
        return self.gamma(h), self.beta(h)
