"""Names of alpc91/NICE-GAN-pytorch, and what shapes tell.

A file `<data set>_params_<iteration>.pt` is a dict of state dicts: two generators, named after the
domain that they make, two discriminators, whose first layers are the encoders, and optimizers.
"""

import re

from zoo.convert.naming import SPECTRAL, Net, first_match
from zoo.convert.reading import Network, Plan
from zoo.convert.ugatit import features_side

_GENERATOR = (
    (r"^UpBlock0\.", "stem."),
    (r"^UpBlock2\.", "decoder."),
    (r"^FC\.", "style.layers."),
    (r"^(gamma|beta)\.", r"style.\1."),
)
_DISCRIMINATOR = (
    (r"^model\.", "encoder.layers."),
    (r"^fc\.", "encoder.classifier."),
    (r"^conv1x1\.", "encoder.mix."),
    (r"^lamda$", "encoder.lamda"),
    (r"^Dis0_0\.", "shared."),
    (r"^Dis0_1\.", "local_judge."),
    (r"^conv0\.", "local_judge.4."),
    (r"^Dis1_0\.", "global_judge."),
    (r"^Dis1_1\.1\.", "global_judge.7."),
    (r"^conv1\.", "global_judge.10."),
)

GENERATORS = {"gen2B": "ab.", "gen2A": "ba."}
DISCRIMINATORS = {"disA": "discriminator_a.", "disB": "discriminator_b."}


def generator(name: str) -> str:
    """Generator."""
    name = re.sub(r"^UpBlock1_(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}.", name)
    return first_match(name, _GENERATOR)


def discriminator(name: str) -> str:
    """Discriminator with its encoder."""
    return first_match(first_match(name, _DISCRIMINATOR), SPECTRAL)


def read(networks: dict[str, Network]) -> Plan:
    """NICE-GAN; shapes of gen2B and disA count."""
    network, judge = networks["gen2B"], networks["disA"]
    inner = network.axis("UpBlock0.1.weight", 0)
    side = features_side(network, inner)
    options = {
        "name": "nicegan",
        "width": inner // 4,
        "num_blocks": len(network.numbers(r"UpBlock1_(\d+)\.")),
        "light": side is None,
    }
    channels = judge.axis("model.1.weight_orig", 1), network.axis("UpBlock2.17.weight", 0)
    nets = {key: Net(prefix, generator) for key, prefix in GENERATORS.items()}
    nets |= {key: Net(prefix, discriminator) for key, prefix in DISCRIMINATORS.items()}
    plan = Plan(nets, options, channels)
    if side is not None:
        plan.size, plan.fixed_size = 4 * side, True
    plan.settings["method.discriminator.width"] = judge.axis("model.1.weight_orig", 0)
    plan.settings["method.discriminator.num_layers"] = 6 + len(judge.numbers(r"Dis0_0\.(\d+)\."))
    return plan
