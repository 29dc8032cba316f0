"""Networks compute what the references compute: outputs, gradients, moved buffers."""

import re
from functools import partial

import pytest
from torch import Tensor, nn

from tests.golden.cases import DTYPES, Case, Comparison, load_nets
from zoo.convert import discogan, junyanz, nicegan, ugatit
from zoo.convert.naming import Net
from zoo.discriminators.ugatit import Branch
from zoo.protocols import Judgement, Shape, Translation
from zoo.registry import DISCRIMINATORS, GENERATORS

FAMILIES = ("cyclegan_nets", "cut_nets", "ugatit_nets", "discogan_nets", "nicegan_nets")


def build(case: Case):
    """Our network for a case, the reference's name for it, and the table of parameter names."""
    config, shape = case.config, Shape(*case.facts["keys"]["inputs"]["x"][1:])
    kind = config["network"]
    if kind.startswith("ResNet generator"):
        padding = re.match("reflect|replicate|zero", config.get("padding", "reflect"))[0]
        blurs = {"down": "blurred", "up": "blurred"} if "blur" in kind else {}
        options = GENERATORS["resnet"].Config(
            width=config["ngf"],
            num_blocks=config["n_blocks"],
            norm=norm(config),
            padding=padding,
            **blurs,
        )
        target = Shape(config.get("output_nc", 3), shape.height, shape.width)
        net = GENERATORS["resnet"](options, shape, target)
        return net, "G", Net("", lambda name: junyanz.resnet(name, padding))
    if kind == "U-Net generator":
        depth = config["num_downs"]
        assert not config["dropout"]
        options = GENERATORS["unet"].Config(
            width=config["ngf"], num_downs=depth, norm=norm(config), dropout=0
        )
        rename = partial(junyanz.unet, num_downs=depth)
        return GENERATORS["unet"](options, shape, shape), "G", Net("", rename)
    if kind == "pixel (1x1) discriminator":
        options = DISCRIMINATORS["pixel"].Config(width=config["ndf"], norm=norm(config))
        return DISCRIMINATORS["pixel"](options, shape), "D", Net("", junyanz.pixel)
    if kind.startswith("PatchGAN"):
        options = DISCRIMINATORS["patch"].Config(
            width=config["ndf"],
            num_layers=config["n_layers"],
            norm=norm(config),
            down="blurred" if "blur" in kind else "strided",
        )
        return DISCRIMINATORS["patch"](options, shape), "D", Net("", junyanz.patch)
    if kind == "UGATIT ResnetGenerator":
        options = GENERATORS["ugatit"].Config(
            width=config["ngf"], num_blocks=config["n_blocks"], light=config["light"]
        )
        return GENERATORS["ugatit"](options, shape, shape), "G", Net("", ugatit.generator)
    if kind == "UGATIT Discriminator":
        net = Branch(shape.channels, config["ndf"], config["n_layers"], cam=True)
        return net, "D", Net("", ugatit.branch)
    if kind == "DiscoGAN generator":
        options = GENERATORS["disco"].Config(
            width=config["width"], num_layers=4, extra_layers=config["extra_layers"]
        )
        net = GENERATORS["disco"](options, shape, shape)
        return InUnitRange(net), "G", Net("network.", discogan.generator)
    if kind == "DiscoGAN discriminator":
        options = DISCRIMINATORS["disco"].Config(width=config["width"], num_layers=4)
        net = InUnitRange(DISCRIMINATORS["disco"](options, shape))
        return net, "D", Net("network.", discogan.discriminator)
    if kind == "NICE-GAN generator (decoder)":
        options = GENERATORS["nicegan"].Config(
            width=config["ngf"], num_blocks=config["n_blocks"], light=config["light"]
        )
        target = Shape(3, config["img_size"], config["img_size"])
        net = GENERATORS["nicegan"](options, shape, target)
        return net, "G", Net("", nicegan.generator)
    if kind == "NICE-GAN discriminator":
        options = DISCRIMINATORS["nicegan"].Config(
            width=config["ndf"], num_layers=config["n_layers"]
        )
        return DISCRIMINATORS["nicegan"](options, shape), "D", Net("", nicegan.discriminator)
    part = re.sub(r" \(.*?\)", "", kind)
    pytest.skip(f"{part}: no such part yet")


class InUnitRange(nn.Module):
    """A network as its reference has it: images in [0, 1], and a sigmoid on the logits."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        result = self.network(2 * x - 1)
        if isinstance(result, Translation):
            return Translation((result.image + 1) / 2)
        return result._replace(logits=tuple(head.sigmoid() for head in result.logits))


def norm(config: dict) -> str:
    """The norm's name, the first word of its description; CUT's networks have instance norm."""
    return re.match("(instance|batch) norm", config.get("norm", "instance norm"))[1]


def outputs(result: Translation | Judgement) -> dict[str, Tensor | None]:
    """By the reference's names."""
    if isinstance(result, Translation):
        return {"y": result.image, "cam_logit": result.cam_logits, "heatmap": result.heatmap}
    if len(result.logits) == 3:  # of NICE-GAN
        heads = dict(zip(("out_local", "out_global", "cam_logit"), result.logits, strict=True))
        return {**heads, "heatmap": result.heatmap, "z": result.features[0]}
    logits = dict(zip(("y", "cam_logit"), result.logits, strict=False))
    features = {f"feature{i}": feature for i, feature in enumerate(result.features)}
    return {**logits, **features, "heatmap": result.heatmap}


def objective(formula: str, values: dict[str, Tensor | None]) -> Tensor:
    """The scalar that `config.gradient_of` describes."""
    if re.match("mean of the (network )?output", formula):
        return values["y"].mean()
    if formula.startswith("mean(y), or for the discriminator"):
        formula = "mean(y)" if "y" in values else formula.partition("discriminator ")[2]
    if "features" in formula:
        return values["y"].mean() + 0.1 * sum(values[f"feature{i}"].mean() for i in range(3))
    terms = re.findall(r"([\d.]*) ?mean\((\w+)\)", formula)
    assert terms, formula
    return sum(float(factor or 1) * values[name].mean() for factor, name in terms)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_network(case, dtype):
    network, name, net = build(case)
    load_nets(case, network, {name: net})
    network.to(dtype)
    comparison, losses = Comparison(case, dtype), {}
    for mode in case.config["modes"]:
        network.train(mode == "train")
        network.zero_grad(set_to_none=True)
        x = case.input("x", dtype).detach().requires_grad_()
        values = outputs(network(x))
        loss = objective(case.config["gradient_of"], values)
        loss.backward()

        for key, value in values.items():
            if f"out/{key}_{mode}" in case.arrays:
                comparison.output(f"{key}_{mode}", value)
        gradients = {key: p.grad for key, p in network.named_parameters()}
        by_reference = {
            f"{name}/{key}": gradients[net(key)]
            for key in case.under(name)
            if net(key) in gradients
        }
        comparison.gradients(mode, {**by_reference, "input/x": x.grad})
        kind = "mean" if f"mean_{mode}" in case.facts["losses"] else "objective"
        losses[f"{kind}_{mode}"] = [loss.item()]
    comparison.losses(losses)
    comparison.buffers_after(network, {name: net})
    comparison.finish()
