"""Parameter names of the references and ours, one table a network."""

import re

# junyanz/pytorch-CycleGAN-and-pix2pix: children of a residual block, by its kind of padding
_BLOCK = {
    "padded": {"1": "conv1", "2": "norm1", "5": "conv2", "6": "norm2"},
    "zero": {"0": "conv1", "1": "norm1", "3": "conv2", "4": "norm2"},
}

# the same: children of a level of the U-Net
_LEVEL = {
    "outer": {"0": "downs.{}.0.", "3": "ups.{}.0."},
    "middle": {"1": "downs.{}.0.", "2": "downs.{}.1.", "5": "ups.{}.0.", "6": "ups.{}.1."},
    "inner": {"1": "downs.{}.0.", "3": "ups.{}.0.", "4": "ups.{}.1."},
}

# znxlwm/UGATIT-pytorch
_CAM = [
    (r"^gap_fc\.", "cam.average."),
    (r"^gmp_fc\.", "cam.maximum."),
    (r"^conv1x1\.", "cam.mix."),
]
_UGATIT_GENERATOR = [
    *_CAM,
    (r"^DownBlock\.(\d+)\.conv_block\.1\.", r"encoder.\1.conv1."),
    (r"^DownBlock\.(\d+)\.conv_block\.5\.", r"encoder.\1.conv2."),
    (r"^DownBlock\.", "encoder."),
    (r"^FC\.", "style.layers."),
    (r"^(gamma|beta)\.", r"style.\1."),
    (r"^UpBlock2\.", "decoder."),
]
_UGATIT_BRANCH = [
    *_CAM,
    (r"^model\.", "layers."),
    (r"^conv\.", "last."),
    (r"\.weight_orig$", ".weight"),
    (r"\.weight_([uv])$", r".\1"),
]


def resnet(name: str, padding: str) -> str:
    """ResNet generator; `padding` as in our config."""
    children = _BLOCK["zero" if padding == "zero" else "padded"]
    name = re.sub(r"\.conv_block\.(\d+)\.", lambda m: f".{children[m[1]]}.", name)
    return patch(name)


def patch(name: str) -> str:
    """PatchGAN discriminator."""
    return re.sub(r"\.filt$", ".kernel", re.sub(r"^model\.", "layers.", name))


def pixel(name: str) -> str:
    """Pixel discriminator."""
    return re.sub(r"^net\.", "layers.", name)


def unet(name: str, num_downs: int) -> str:
    """U-Net generator: a level is a child of the level around it."""
    *levels, child, parameter = re.sub(r"\bmodel\.", "", name).split(".")
    level = len(levels)
    kind = "outer" if level == 0 else "inner" if level == num_downs - 1 else "middle"
    return _LEVEL[kind][child].format(level) + parameter


def sampler(name: str) -> str:
    """CUT's feature network."""
    return re.sub(r"^mlp_", "heads.", name)


def ugatit_generator(name: str) -> str:
    """U-GAT-IT generator."""
    name = re.sub(r"^UpBlock1_(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}.", name)
    return _first_match(name, _UGATIT_GENERATOR)


def ugatit_branch(name: str) -> str:
    """One U-GAT-IT discriminator."""
    for pattern, ours in _UGATIT_BRANCH:
        name = re.sub(pattern, ours, name)
    return name


def _first_match(name: str, table: list[tuple[str, str]]) -> str:
    for pattern, ours in table:
        if re.match(pattern, name):
            return re.sub(pattern, ours, name)
    return name
