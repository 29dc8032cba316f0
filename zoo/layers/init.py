"""Initial weights by name."""

from typing import Literal

from torch import nn

InitName = Literal["normal", "xavier", "kaiming", "orthogonal", "stock"]

GAIN = 0.02


def init_weights(module: nn.Module, name: InitName) -> None:
    """Draw new weights for every convolution, linear layer and batch norm inside `module`.

    Args:
        module: changed in place.
        name: of the convolutions' and linear layers' weights; biases become 0.
            normal: N(0, 0.02), as CycleGAN. xavier: Glorot's normal with gain 0.02, as CUT.
            kaiming: He's normal, by fan-in. orthogonal: with gain 0.02.
            stock: PyTorch's own, uniform by fan-in with random biases; nothing is changed.
    """
    if name == "stock":
        return
    draw = {
        "normal": lambda w: nn.init.normal_(w, 0.0, GAIN),
        "xavier": lambda w: nn.init.xavier_normal_(w, gain=GAIN),
        "kaiming": lambda w: nn.init.kaiming_normal_(w),
        "orthogonal": lambda w: nn.init.orthogonal_(w, gain=GAIN),
    }[name]
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, GAIN)
            nn.init.zeros_(layer.bias)
