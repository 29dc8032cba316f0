"""Names of junyanz/pytorch-CycleGAN-and-pix2pix, which are also CUT's, and what shapes tell.

A file `latest_net_G.pth` is the state dict of one generator. It does not say whether padding is
by reflection or replication (`reflect`, the default there, is taken) or whether there was dropout.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from zoo.convert.naming import Net
from zoo.convert.reading import Network, Plan

# children of a residual block, by its kind of padding
_BLOCK = {
    "padded": {"1": "conv1", "2": "norm1", "5": "conv2", "6": "norm2"},
    "zero": {"0": "conv1", "1": "norm1", "3": "conv2", "4": "norm2"},
}

# children of a level of the U-Net
_LEVEL = {
    "outer": {"0": "downs.{}.0.", "3": "ups.{}.0."},
    "middle": {"1": "downs.{}.0.", "2": "downs.{}.1.", "5": "ups.{}.0.", "6": "ups.{}.1."},
    "inner": {"1": "downs.{}.0.", "3": "ups.{}.0.", "4": "ups.{}.1."},
}
_OUTER, _SECOND = "model.model.", "model.model.1.model."


def resnet(name: str, padding: str) -> str:
    """ResNet generator; `padding` as in our config."""
    children = _BLOCK["zero" if padding == "zero" else "padded"]
    name = re.sub(r"\.conv_block\.(\d+)\.", lambda m: f".{children.get(m[1], m[1])}.", name)
    return patch(name)


def patch(name: str) -> str:
    """PatchGAN discriminator."""
    return re.sub(r"\.filt$", ".kernel", re.sub(r"^model\.", "layers.", name))


def pixel(name: str) -> str:
    """Pixel discriminator."""
    return re.sub(r"^net\.", "layers.", name)


def unet(name: str, num_downs: int) -> str:
    """U-Net generator: a level is a child of the level around it."""
    *levels, child, parameter = ["", *re.sub(r"\bmodel\.", "", name).split(".")]
    level = len(levels) - 1
    kind = "outer" if level == 0 else "inner" if level == num_downs - 1 else "middle"
    ours = _LEVEL[kind].get(child)
    return ours.format(level) + parameter if ours else name


def sampler(name: str) -> str:
    """CUT's feature network."""
    return re.sub(r"^mlp_", "heads.", name)


def is_resnet(names: set[str]) -> bool:
    """Whether they are a ResNet generator's."""
    return any(re.match(r"model\.\d+\.conv_block\.", name) for name in names)


def is_unet(names: set[str]) -> bool:
    """Whether they are a U-Net generator's."""
    return any(name.startswith(_SECOND) for name in names)


def read_resnet(networks: dict[str, Network]) -> Plan:
    """CycleGAN's or CUT's generators, one for each direction; the first one's shapes count."""
    network = next(iter(networks.values()))
    blocks = network.numbers(r"model\.(\d+)\.conv_block\.")
    blurs = network.numbers(r"model\.(\d+)\.filt$")
    zero = any(f"model.{n}.conv_block.0.weight" in network for n in blocks)
    padding = "zero" if zero else "reflect"
    options = {
        "name": "resnet",
        "width": network.axis("model.1.weight", 0),
        "num_blocks": len(blocks),
        "norm": _norm(network),
        "padding": padding,
        "down": "blurred" if any(n < min(blocks) for n in blurs) else "strided",
        "up": "blurred" if any(n > max(blocks) for n in blurs) else "transposed",
    }
    blurred = [options["down"], options["up"]].count("blurred")
    last = f"model.{17 + len(blocks) + 2 * blurred}.weight"
    channels = network.axis("model.1.weight", 1), network.axis(last, 0)
    return _plan(networks, partial(resnet, padding=padding), options, channels)


def read_unet(networks: dict[str, Network]) -> Plan:
    """pix2pix's generator, or CycleGAN's with U-Nets; the first one's shapes count."""
    network = next(iter(networks.values()))
    depth = max(name.count("model.") for name in network) - 1
    options = {
        "name": "unet",
        "width": network.axis(f"{_OUTER}0.weight", 0),
        "num_downs": depth,
        "norm": _norm(network),
    }
    channels = network.axis(f"{_OUTER}0.weight", 1), network.axis(f"{_OUTER}3.weight", 1)
    plan = _plan(networks, partial(unet, num_downs=depth), options, channels)
    plan.size = 2**depth
    return plan


def _norm(network: Network) -> str:
    """Batch norm has running statistics, of which those of other norms were left out before."""
    return "batch" if any(name.endswith(".running_mean") for name in network) else "instance"


def _plan(
    networks: dict[str, Network],
    rename: Callable[[str], str],
    options: dict[str, Any],
    channels: tuple[int, int],
) -> Plan:
    # One option of the published command line sets the norm of generators and discriminators.
    settings = {"method.discriminator.norm": options["norm"]}
    nets = {key: Net(f"{key}.", rename) for key in networks}
    if "ab" not in networks:
        channels = channels[::-1]
    return Plan(nets, options, channels, settings=settings)
