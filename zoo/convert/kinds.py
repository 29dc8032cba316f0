"""The kinds of files that `zoo import` takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.convert import discogan, junyanz, nicegan, ugatit
from zoo.convert.reading import Network, Plan


@dataclass(frozen=True)
class Layout:
    """What a file holds.

    Attributes:
        title: for messages.
        fits: whether names are of this layout: those of the tensors where the file is one state
            dict, those of the state dicts where it holds several.
        read: makes the plan, None for what cannot be imported.
        always: the state dicts that the file must hold; () if it is one.
        together: those of which it must hold all or none.
    """

    title: str
    fits: Callable[[set[str]], bool]
    read: Callable[[dict[str, Network]], Plan] | None = None
    always: tuple[str, ...] = ()
    together: tuple[str, ...] = ()


def _some(start: str) -> Callable[[set[str]], bool]:
    return lambda names: any(name.startswith(start) for name in names)


RESNET = Layout("a ResNet generator", junyanz.is_resnet, junyanz.read_resnet)
UNET = Layout("a U-Net generator", junyanz.is_unet, junyanz.read_unet)
UGATIT = Layout(
    "the networks of U-GAT-IT",
    lambda names: bool(names & set(ugatit.GENERATORS)),
    ugatit.read,
    tuple(ugatit.GENERATORS),
    tuple(ugatit.DISCRIMINATORS),
)
NICEGAN = Layout(
    "the networks of NICE-GAN",
    lambda names: bool(names & set(nicegan.GENERATORS)),
    nicegan.read,
    (*nicegan.GENERATORS, *nicegan.DISCRIMINATORS),
)
DISCO = Layout("a generator of DiscoGAN", _some("main."), discogan.read)

LAYOUTS = (
    RESNET,
    UNET,
    UGATIT,
    NICEGAN,
    DISCO,
    # Known, to be named when a file is taken for another.
    Layout("one generator of U-GAT-IT", _some("DownBlock.")),
    Layout("one generator of NICE-GAN", _some("UpBlock0.")),
    Layout("a discriminator of U-GAT-IT", lambda names: "gap_fc.weight_orig" in names),
    Layout("a discriminator of NICE-GAN", _some("Dis0_")),
    Layout("a discriminator of DiscoGAN", lambda names: {"conv1.weight", "conv5.weight"} <= names),
    Layout("the feature network of CUT", _some("mlp_")),
    Layout("a patch discriminator", lambda names: "model.0.weight" in names),
    Layout("a pixel discriminator", lambda names: "net.0.weight" in names),
)


@dataclass(frozen=True)
class Kind:
    """A published configuration.

    Attributes:
        layout: of the file.
        recipe: that the run's is laid over.
        both: the recipe for two files, one for each direction; None if there is no second file.
        expects: what the name says of the generator; a file that differs is taken as it is.
    """

    layout: Layout
    recipe: str
    both: str | None = None
    expects: Mapping[str, Any] = field(default_factory=dict)


def _resnet(blocks: int) -> Kind:
    return Kind(RESNET, "_base/cyclegan", "_base/cyclegan", {"num_blocks": blocks})


def _unet(depth: int) -> Kind:
    return Kind(UNET, "_base/pix2pix", "_base/cyclegan", {"num_downs": depth})


KINDS = {
    "resnet_9": _resnet(9),
    "resnet_6": _resnet(6),
    "unet_256": _unet(8),
    "unet_128": _unet(7),
    "ugatit": Kind(UGATIT, "_base/ugatit", expects={"light": False}),
    "ugatit_light": Kind(UGATIT, "_base/ugatit", expects={"light": True}),
    "cut": Kind(RESNET, "_base/cut"),
    "fastcut": Kind(RESNET, "_base/fastcut"),
    "discogan": Kind(DISCO, "_base/discogan", "_base/discogan"),
    "nicegan": Kind(NICEGAN, "_base/nicegan", expects={"light": False}),
    "nicegan_light": Kind(NICEGAN, "_base/nicegan", expects={"light": True}),
}


def look(names: set[str]) -> tuple[str, list[str]]:
    """What names look like, and the kinds that take it."""
    for layout in LAYOUTS:
        if layout.fits(names):
            kinds = [name for name, kind in KINDS.items() if kind.layout is layout]
            return layout.title, kinds
    return "nothing known", []
