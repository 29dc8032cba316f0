"""Names of SKTBrain/DiscoGAN, and what shapes tell.

The published code saves whole modules, `model_gen_B-<n>` for the direction from A to B, which are
not read here; a file is the state dict of one such module. That code reads images by OpenCV, so
its networks see channels in the order blue, green, red.
"""

import re

from torch import Tensor

from zoo.convert.naming import Net
from zoo.convert.reading import Network, Plan
from zoo.registry import UserError


def generator(name: str) -> str:
    """Generator."""
    return re.sub(r"^main\.", "layers.", name)


def discriminator(name: str) -> str:
    """Discriminator, whose last convolution is conv5."""
    name = name.replace("conv5.", "last.")
    kinds = {"conv": 0, "bn": 1}
    return re.sub(r"^(conv|bn)(\d)\.", lambda m: f"blocks.{int(m[2]) - 1}.{kinds[m[1]]}.", name)


def read(networks: dict[str, Network]) -> Plan:
    """Generators, one for each direction; the first one's shapes count."""
    network = next(iter(networks.values()))
    convolutions = sorted(n for n in network.numbers(r"main\.(\d+)\.") if _is_kernel(network, n))
    if len(convolutions) < 2:
        raise UserError(f"{network.label} holds {len(convolutions)} convolutions of a generator")
    middle = f"main.{convolutions[len(convolutions) // 2 - 1]}.weight"  # the encoder's last
    # A layer of the encoder doubles the channels, the bottleneck does not.
    extra = network.axis(middle, 0) != 2 * network.axis(middle, 1)
    last = f"main.{convolutions[-1]}.weight"
    options = {
        "name": "disco",
        "width": network.axis("main.0.weight", 0),
        "num_layers": len(convolutions) // 2 - extra,
        "extra_layers": extra,
    }
    channels = network.axis("main.0.weight", 1), network.axis(last, 1)
    if "ab" not in networks:
        channels = channels[::-1]
    for each in networks.values():
        _turn_colours(each, "main.0.weight")
        _turn_colours(each, last)
    plan = Plan({key: Net(f"{key}.", generator) for key in networks}, options, channels, size=64)
    if 3 in channels:
        plan.notes += ["colours: kernels of the first and last layers turned from BGR to RGB"]
    return plan


def _is_kernel(network: Network, number: int) -> bool:
    name = f"main.{number}.weight"
    return name in network and network[name].ndim == 4


def _turn_colours(network: Network, name: str) -> None:
    """Reverse the order of an image's three channels, on axis 1 of the first and of the last."""
    kernel: Tensor | None = network.get(name)
    if kernel is not None and kernel.ndim == 4 and kernel.shape[1] == 3:
        network[name] = kernel.flip(1)
