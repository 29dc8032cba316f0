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

# alpc91/NICE-GAN-pytorch
_NICEGAN_GENERATOR = [
    (r"^UpBlock0\.", "stem."),
    (r"^UpBlock2\.", "decoder."),
    (r"^FC\.", "style.layers."),
    (r"^(gamma|beta)\.", r"style.\1."),
]
_NICEGAN_DISCRIMINATOR = [
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
]
_SPECTRAL = [(r"\.weight_orig$", ".weight"), (r"\.weight_([uv])$", r".\1")]

# LS4GAN/uvcgan2: heads number their layers, the spread's channel first where there is one
_BATCH_HEAD = {
    "batch-norm-2d": [(r"^net\.0\.", "conv1."), (r"^net\.2\.", "conv2.")],
    "batch-stdev": [(r"^net\.1\.", "conv1."), (r"^net\.3\.", "conv2.")],
}


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


def nicegan_generator(name: str) -> str:
    """NICE-GAN generator."""
    name = re.sub(r"^UpBlock1_(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}.", name)
    return _first_match(name, _NICEGAN_GENERATOR)


def nicegan_discriminator(name: str) -> str:
    """NICE-GAN discriminator with its encoder."""
    return _first_match(_first_match(name, _NICEGAN_DISCRIMINATOR), _SPECTRAL)


def batch_head(name: str, kind: str) -> str:
    """A plain body `_body` with UVCGANv2's head `_head` of that kind."""
    where, _, rest = name.partition(".")
    return f"{where.removeprefix('_')}.{_first_match(rest, _BATCH_HEAD[kind])}"


def disco_generator(name: str) -> str:
    """DiscoGAN generator."""
    return re.sub(r"^main\.", "layers.", name)


def disco_discriminator(name: str) -> str:
    """DiscoGAN discriminator, whose last convolution is conv5."""
    name = name.replace("conv5.", "last.")
    kinds = {"conv": 0, "bn": 1}
    return re.sub(r"^(conv|bn)(\d)\.", lambda m: f"blocks.{int(m[2]) - 1}.{kinds[m[1]]}.", name)


def _first_match(name: str, table: list[tuple[str, str]]) -> str:
    for pattern, ours in table:
        if re.search(pattern, name):
            return re.sub(pattern, ours, name)
    return name
