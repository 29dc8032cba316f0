"""Names of znxlwm/UGATIT-pytorch, and what shapes tell.

A file `<data set>_params_<iteration>.pt` is a dict of state dicts: two generators, and a global and
a local discriminator for each domain.
"""

import math
import re

from zoo.convert.naming import SPECTRAL, Net, first_match
from zoo.convert.reading import Network, Plan

_CAM = (
    (r"^gap_fc\.", "cam.average."),
    (r"^gmp_fc\.", "cam.maximum."),
    (r"^conv1x1\.", "cam.mix."),
)
_GENERATOR = (
    *_CAM,
    (r"^DownBlock\.(\d+)\.conv_block\.1\.", r"encoder.\1.conv1."),
    (r"^DownBlock\.(\d+)\.conv_block\.5\.", r"encoder.\1.conv2."),
    (r"^DownBlock\.", "encoder."),
    (r"^FC\.", "style.layers."),
    (r"^(gamma|beta)\.", r"style.\1."),
    (r"^UpBlock2\.", "decoder."),
)
_BRANCH = (*_CAM, (r"^model\.", "layers."), (r"^conv\.", "last."))

GENERATORS = {"genA2B": "ab.", "genB2A": "ba."}
DISCRIMINATORS = {
    "disGA": "discriminator_a.branches.global.",
    "disGB": "discriminator_b.branches.global.",
    "disLA": "discriminator_a.branches.local.",
    "disLB": "discriminator_b.branches.local.",
}


def generator(name: str) -> str:
    """Generator."""
    name = re.sub(r"^UpBlock1_(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}.", name)
    return first_match(name, _GENERATOR)


def branch(name: str) -> str:
    """One discriminator."""
    return first_match(first_match(name, _BRANCH), SPECTRAL)


def read(networks: dict[str, Network]) -> Plan:
    """U-GAT-IT; shapes of genA2B and of the discriminators of domain A count."""
    network = networks["genA2B"]
    width = network.axis("DownBlock.1.weight", 0)
    side = features_side(network, 4 * width)
    options = {
        "name": "ugatit",
        "width": width,
        "num_blocks": len(network.numbers(r"UpBlock1_(\d+)\.")),
        "light": side is None,
    }
    channels = network.axis("DownBlock.1.weight", 1), network.axis("UpBlock2.11.weight", 0)
    nets = {key: Net(prefix, generator) for key, prefix in GENERATORS.items()}
    plan = Plan(nets, options, channels)
    if side is not None:
        plan.size, plan.fixed_size = 4 * side, True
    if "disGA" in networks:
        nets |= {key: Net(prefix, branch) for key, prefix in DISCRIMINATORS.items()}
        plan.settings["method.discriminator.width"] = networks["disGA"].axis(
            "model.1.weight_orig", 0
        )
        plan.settings["method.discriminator.num_layers"] = {
            "global": _num_layers(networks["disGA"]),
            "local": _num_layers(networks["disLA"]),
        }
    return plan


def features_side(network: Network, channels: int) -> int | None:
    """The side of the features that gamma and beta are made from, None if it is their average."""
    inputs = network.axis("FC.0.weight", 1)
    return None if inputs == channels else math.isqrt(inputs // channels)


def _num_layers(network: Network) -> int:
    return len(network.numbers(r"model\.(\d+)\.")) + 1  # and the last, called conv
