"""Networks of the published U-GAT-IT."""

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from benchmarks.published.networks import ResidualBlock


class Generator(nn.Module):
    """Encoder, attention, decoder with AdaILN; without biases but in `conv1x1`.

    Args:
        width: channels of the first layer.
        num_blocks: residual blocks of the encoder, and of the decoder.
        size: of the images, pixels; only the full version depends on it.
        light: gamma and beta from averages instead of whole maps.
    """

    def __init__(self, width: int, num_blocks: int, size: int, light: bool):
        super().__init__()
        inner = 4 * width
        down = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7, bias=False),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
        ]
        for channels in (width, 2 * width):
            down += [
                nn.ReflectionPad2d(1),
                nn.Conv2d(channels, 2 * channels, 3, stride=2, bias=False),
                nn.InstanceNorm2d(2 * channels),
                nn.ReLU(True),
            ]
        down += [ResidualBlock(inner, bias=False) for _ in range(num_blocks)]
        self.DownBlock = nn.Sequential(*down)

        self.gap_fc = nn.Linear(inner, 1, bias=False)
        self.gmp_fc = nn.Linear(inner, 1, bias=False)
        self.conv1x1 = nn.Conv2d(2 * inner, inner, 1)
        self.relu = nn.ReLU(True)

        self.light = light
        inputs = inner if light else inner * (size // 4) ** 2
        self.FC = nn.Sequential(
            nn.Linear(inputs, inner, bias=False),
            nn.ReLU(True),
            nn.Linear(inner, inner, bias=False),
            nn.ReLU(True),
        )
        self.gamma = nn.Linear(inner, inner, bias=False)
        self.beta = nn.Linear(inner, inner, bias=False)

        self.num_blocks = num_blocks
        for number in range(1, num_blocks + 1):
            setattr(self, f"UpBlock1_{number}", AdaptiveBlock(inner))
        up = []
        for channels in (inner, inner // 2):
            up += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.ReflectionPad2d(1),
                nn.Conv2d(channels, channels // 2, 3, bias=False),
                ILN(channels // 2),
                nn.ReLU(True),
            ]
        up += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7, bias=False), nn.Tanh()]
        self.UpBlock2 = nn.Sequential(*up)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The image, its CAM logits N 2, the heatmap N 1 H/4 W/4."""
        x = self.DownBlock(x)
        x, cam_logit = attend(x, self.gap_fc, self.gmp_fc, self.gap_fc.weight, self.gmp_fc.weight)
        x = self.relu(self.conv1x1(x))
        heatmap = x.sum(1, keepdim=True)
        known = torch.nn.functional.adaptive_avg_pool2d(x, 1) if self.light else x
        style = self.FC(known.flatten(1))
        gamma, beta = self.gamma(style), self.beta(style)
        for number in range(1, self.num_blocks + 1):
            x = getattr(self, f"UpBlock1_{number}")(x, gamma, beta)
        return self.UpBlock2(x), cam_logit, heatmap


class Discriminator(nn.Module):
    """Spectral norm on all but `conv1x1`; the maps are weighed by the classifiers' raw weights.

    Args:
        width: channels of the first layer.
        num_layers: 7 for the global one, 5 for the local one.
    """

    def __init__(self, width: int, num_layers: int):
        super().__init__()
        layers, before = [], 3
        for n in range(num_layers - 1):
            after, stride = width * 2**n, 2 if n < num_layers - 2 else 1
            layers += [
                nn.ReflectionPad2d(1),
                spectral_norm(nn.Conv2d(before, after, 4, stride=stride)),
                nn.LeakyReLU(0.2, True),
            ]
            before = after
        self.model = nn.Sequential(*layers)
        self.gap_fc = spectral_norm(nn.Linear(before, 1, bias=False))
        self.gmp_fc = spectral_norm(nn.Linear(before, 1, bias=False))
        self.conv1x1 = nn.Conv2d(2 * before, before, 1)
        self.leaky_relu = nn.LeakyReLU(0.2, True)
        self.pad = nn.ReflectionPad2d(1)
        self.conv = spectral_norm(nn.Conv2d(before, 1, 4, bias=False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits N 1 h w, CAM logits N 2, the heatmap."""
        x = self.model(x)
        x, cam_logit = attend(
            x, self.gap_fc, self.gmp_fc, self.gap_fc.weight_orig, self.gmp_fc.weight_orig
        )
        x = self.leaky_relu(self.conv1x1(x))
        heatmap = x.sum(1, keepdim=True)
        return self.conv(self.pad(x)), cam_logit, heatmap


def attend(
    x: Tensor, gap_fc: nn.Module, gmp_fc: nn.Module, gap_weight: Tensor, gmp_weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Both weighed copies of the maps, N 2C H W, and the CAM logits N 2."""
    gap_logit = gap_fc(torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
    gap = x * gap_weight.unsqueeze(2).unsqueeze(3)
    gmp_logit = gmp_fc(torch.nn.functional.adaptive_max_pool2d(x, 1).flatten(1))
    gmp = x * gmp_weight.unsqueeze(2).unsqueeze(3)
    return torch.cat((gap, gmp), 1), torch.cat((gap_logit, gmp_logit), 1)


class AdaptiveBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.pad1 = nn.ReflectionPad2d(1)
        self.conv1 = nn.Conv2d(channels, channels, 3, bias=False)
        self.norm1 = AdaILN(channels)
        self.relu1 = nn.ReLU(True)
        self.pad2 = nn.ReflectionPad2d(1)
        self.conv2 = nn.Conv2d(channels, channels, 3, bias=False)
        self.norm2 = AdaILN(channels)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        made = self.relu1(self.norm1(self.conv1(self.pad1(x)), gamma, beta))
        return x + self.norm2(self.conv2(self.pad2(made)), gamma, beta)


class AdaILN(nn.Module):
    """A mixture of instance and layer norm, scaled and shifted by gamma and beta, N C."""

    def __init__(self, channels: int):
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), 0.9))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        mixed = mixed_norm(x, self.rho)
        return mixed * gamma.unsqueeze(2).unsqueeze(3) + beta.unsqueeze(2).unsqueeze(3)


class ILN(nn.Module):
    """The same with a scale and a shift of its own."""

    def __init__(self, channels: int):
        super().__init__()
        self.rho = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        mixed = mixed_norm(x, self.rho)
        batch = len(x)
        gamma, beta = self.gamma.expand(batch, -1, -1, -1), self.beta.expand(batch, -1, -1, -1)
        return mixed * gamma + beta


def mixed_norm(x: Tensor, rho: Tensor, eps: float = 1e-5) -> Tensor:
    """Instance norm times rho plus layer norm times 1 - rho, every statistic on its own."""
    in_mean = torch.mean(x, dim=[2, 3], keepdim=True)
    in_var = torch.var(x, dim=[2, 3], keepdim=True)
    instance = (x - in_mean) / torch.sqrt(in_var + eps)
    ln_mean = torch.mean(x, dim=[1, 2, 3], keepdim=True)
    ln_var = torch.var(x, dim=[1, 2, 3], keepdim=True)
    layer = (x - ln_mean) / torch.sqrt(ln_var + eps)
    rho = rho.expand(len(x), -1, -1, -1)
    return rho * instance + (1 - rho) * layer
