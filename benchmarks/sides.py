"""The two sides of the comparison of steps: the published one, and ours as the trainer runs it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.published.cut import CUT
from benchmarks.published.cyclegan import CycleGAN
from benchmarks.published.pix2pix import Pix2Pix
from benchmarks.published.ugatit import UGATIT
from zoo.convert import junyanz, ugatit
from zoo.convert.naming import Net
from zoo.discriminators.ugatit import PUBLISHED, resolve_num_layers
from zoo.generators.unet import resolve_num_downs
from zoo.protocols import Batch, Shape
from zoo.recipe import load_recipe
from zoo.registry import UserError, nearest
from zoo.schema import Recipe, Train
from zoo.trainer import Trainer
from zoo.update import seed_everything

SEED = 0
NUM_BATCHES = 4  # that the steps go through in turn
WARM_UP = 3
_LOOK_EVERY = 32  # steps, as the trainer looks at losses at least
_BLOCKS = {"cyclegan": 6, "ugatit": 4, "ugatit_light": 4, "pix2pix": 0, "cut": 6}
_CUT_TAPS = (0, 4, 8, 12, 16)
_CUT_ENCODING = 12  # layers in front of the residual blocks

METHODS = tuple(_BLOCKS)


@dataclass(frozen=True)
class Setup:
    """One row.

    Attributes:
        method: one of `METHODS`.
        size: of the images, pixels.
        width: of generators and discriminators.
        blocks: of the generator; 0 is the method's own number at 128 pixels.
        batch: images a step.
        precision: "fp32" or "bf16", of our side.
        compiled: our side.
        device: "cpu" or "cuda", of both.
        options: further settings of our recipe.
    """

    method: str
    size: int = 128
    width: int = 32
    blocks: int = 0
    batch: int = 1
    precision: str = "fp32"
    compiled: bool = False
    device: str = "cpu"
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(
                f"no published step {self.method!r}.{nearest(self.method, METHODS)} "
                f"Methods: {', '.join(METHODS)}"
            )
        if self.precision not in ("fp32", "bf16"):
            raise UserError(f"precision {self.precision!r}; accepted are fp32 and bf16")

    @property
    def num_blocks(self) -> int:
        """Of the generator; a U-Net has none."""
        own = _BLOCKS[self.method]
        return self.blocks or own if own else 0

    @property
    def taps(self) -> tuple[int, ...]:
        """The published layers of CUT, as far as the generator has them."""
        return tuple(tap for tap in _CUT_TAPS if tap < _CUT_ENCODING + self.num_blocks)


def set_up_torch(threads: int) -> None:
    """For both sides alike; the published code lets cuDNN search for the fastest kernels."""
    if threads:
        torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True


def images(setup: Setup) -> list[tuple[Tensor, Tensor]]:
    """Random images of both domains, [-1, 1]; the same for both sides."""
    rng = torch.Generator().manual_seed(SEED)
    shape = (2, setup.batch, 3, setup.size, setup.size)
    made = [torch.rand(shape, generator=rng) * 2 - 1 for _ in range(NUM_BATCHES)]
    return [tuple(pair.to(setup.device)) for pair in made]


class Outcome(NamedTuple):
    """What two steps from known weights computed, by the reference's names.

    Moments and buffers are those after the first step: the second starts from weights that Adam
    moved by the signs of gradients, however small, and only its totals are comparable.
    """

    totals: Tensor  # of generators and discriminators, of both steps, weights included
    moments: dict[str, Tensor]  # Adam's first, gradients but for a factor, by network
    buffers: dict[str, Tensor]  # spectral vectors and running statistics, by network


def deviation(got: Outcome, want: Outcome) -> float:
    """The largest relative deviation: of a total, or of a network's moments or buffers (2-norm)."""
    pairs = list(zip(got.totals.unbind(), want.totals.unbind(), strict=True))
    for ours, published in ((got.moments, want.moments), (got.buffers, want.buffers)):
        pairs += [(ours[name], published[name]) for name in published]
    return max(float((g - w).norm() / w.norm()) for g, w in pairs)


class Side:
    """A step, called with the number of the iteration."""

    def step(self, t: int) -> None:
        raise NotImplementedError

    def totals(self) -> list[float]:
        """Of the last step: the generators' loss and the discriminators'."""
        raise NotImplementedError

    def moments_and_buffers(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """By the reference's names of parameters and buffers."""
        raise NotImplementedError

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over weights of our method."""
        raise NotImplementedError

    def first_steps(self, weights: dict[str, Tensor] | None = None) -> Outcome:
        """Take the first two, from weights of our method or those that are there."""
        if weights is not None:
            self.load(weights)
        self.step(0)
        totals = self.totals()
        moments, buffers = map(_by_network, self.moments_and_buffers())
        self.step(1)
        return Outcome(torch.tensor(totals + self.totals()), moments, buffers)


class Published(Side):
    """The published step.

    Args:
        setup: of the row; its precision is ours.
        dtype: of weights and images.
        autocast: to bfloat16.
    """

    def __init__(self, setup: Setup, dtype: torch.dtype = torch.float32, *, autocast: bool = False):
        torch.manual_seed(SEED)
        self.setup = setup
        self.method = _published_method(setup).to(setup.device, dtype)
        self.method.make_optimizers()
        self.images = [(a.to(dtype), b.to(dtype)) for a, b in images(setup)]
        self.context = partial(torch.autocast, setup.device, torch.bfloat16, enabled=autocast)
        self.losses: dict[str, Tensor] = {}

    def load(self, weights: dict[str, Tensor]) -> None:
        found = network_names(self.setup)
        own = (name.split(".", 1) for name in self.method.state_dict())
        state = {f"{net}.{key}": weights[found[net](key)] for net, key in own}
        self.method.load_state_dict(state)

    def step(self, t: int) -> None:
        """Iteration `t`, with the random numbers that ours has."""
        seed_everything(SEED, t, 0)
        with self.context():
            losses = self.method.step(*self.images[t % NUM_BATCHES]).losses
        self.losses = {name: loss.detach() for name, loss in losses.items()}

    def totals(self) -> list[float]:
        sums = (sum(self.losses[name] for name in names) for names in self.method.TOTALS)
        return [total.item() for total in sums]

    def moments_and_buffers(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        moments = _first_moments(self.method, self.method.optimizers)
        return moments, dict(self.method.named_buffers())


class Ours(Side):
    """A trainer built from our recipe, whose updater takes steps on given images."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.trainer = Trainer(our_recipe(setup), Path("never"), None, cpu=setup.device == "cpu")
        self.method, self.update = self.trainer.method, self.trainer.update
        self.images = images(setup)

    def load(self, weights: dict[str, Tensor]) -> None:
        self.method.load_state_dict(weights)

    def step(self, t: int) -> None:
        """Iteration `t`, as the trainer's loop has it."""
        a, b = self.images[t % NUM_BATCHES]
        batch = Batch(a, b, t, t * self.setup.batch)
        self.update.start(batch)
        self.update.step(batch)
        if t % _LOOK_EVERY == _LOOK_EVERY - 1:
            self.update.records()

    def totals(self) -> list[float]:
        players = self.update.summary([self.update.records()[-1].terms])["total"]
        return [players["generators"], players["discriminators"]]

    def moments_and_buffers(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        found, reference = network_names(self.setup), _published_method(self.setup, device="meta")

        def ours(name: str) -> str:
            net, key = name.split(".", 1)
            return found[net](key)

        moments = _first_moments(self.method, self.update.optimizers.values())
        buffers = dict(self.method.named_buffers())
        return (
            {name: moments[ours(name)] for name, _ in reference.named_parameters()},
            {name: buffers[ours(name)] for name, _ in reference.named_buffers()},
        )


def weights_of(ours: Ours) -> dict[str, Tensor]:
    """A copy of our method's weights and buffers."""
    return {name: value.clone() for name, value in ours.method.state_dict().items()}


def our_recipe(setup: Setup) -> Recipe:
    """The published recipe, at the setup's size.

    Raises:
        UserError: an unknown setting among the options.
    """
    base = setup.method.removesuffix("_light")
    width, blocks = setup.width, setup.num_blocks
    settings = [
        "data.name=toonfaces",
        "data.num_train=1",
        "data.num_test=1",
        f"data.size={setup.size}",
        f"data.paired={str(base == 'pix2pix').lower()}",
        f"train.batch={setup.batch}",
        f"train.seed={SEED}",
        f"train.precision={'bf16' if setup.precision == 'bf16' else 'no'}",
        f"method.generator.width={width}",
        f"method.discriminator.width={width}",
    ]
    # Without dropout, whose masks no two implementations share.
    settings += [f"method.generator.num_blocks={blocks}"] if blocks else []
    settings += ["method.generator.dropout=0"] if base == "pix2pix" else []
    settings += [f"method.taps={list(setup.taps)}"] if base == "cut" else []
    if base == "ugatit":
        settings += [f"method.generator.light={str(setup.method != base).lower()}"]
    if setup.compiled or any(field.name == "compile" for field in fields(Train)):
        settings += [f'train.compile="{"on" if setup.compiled else "off"}"']
    return load_recipe(f"_base/{base}", [*settings, *setup.options])


def network_names(setup: Setup) -> dict[str, Net]:
    """Where the published networks are in our method."""
    resnet = partial(junyanz.resnet, padding="reflect")
    if setup.method == "cyclegan":
        return {
            "G_A": Net("ab.", resnet),
            "G_B": Net("ba.", resnet),
            "D_A": Net("discriminator_b.", junyanz.patch),
            "D_B": Net("discriminator_a.", junyanz.patch),
        }
    if setup.method == "cut":
        return {
            "G": Net("ab.", resnet),
            "D": Net("discriminator_b.", junyanz.patch),
            "F": Net("sampler.", junyanz.sampler),
        }
    if setup.method == "pix2pix":
        unet = partial(junyanz.unet, num_downs=_num_downs(setup))
        return {"G": Net("ab.", unet), "D": Net("discriminator_b.", junyanz.patch)}
    nets = {
        "genA2B": Net("ab.", ugatit.generator),
        "genB2A": Net("ba.", ugatit.generator),
    }
    for letter, branch in (("G", "global"), ("L", "local")):
        for side in "AB":
            prefix = f"discriminator_{side.lower()}.branches.{branch}."
            nets[f"dis{letter}{side}"] = Net(prefix, ugatit.branch)
    return nets


def state_bytes(setup: Setup) -> int:
    """What either side keeps between steps: weights, Adam's two moments of each, buffers."""
    method = _published_method(setup, device="meta")
    weights = sum(parameter.nbytes for parameter in method.parameters())
    return 3 * weights + sum(buffer.nbytes for buffer in method.buffers())


def prepare(side: str, threads: int, setup: dict[str, Any]) -> Callable[[], None]:
    """For `benchmarks.memory`: one step of a side in its steady state, or, "idle", nothing.

    The idle side has the same imports: it compiles and steps a single number.
    """
    set_up_torch(threads)
    made = Setup(**setup | {"options": tuple(setup["options"])})
    if side == "idle":
        number = nn.Parameter(torch.zeros(1))
        number.grad = torch.zeros(1)
        torch.optim.Adam([number]).step()
        if made.compiled:
            torch.compile(torch.sin)(torch.zeros(1))
        return lambda: None
    chosen = Ours(made) if side == "ours" else Published(made)
    for t in range(WARM_UP):
        chosen.step(t)
    return partial(chosen.step, WARM_UP)


def _published_method(setup: Setup, device: str = "cpu") -> Any:
    width, shape = setup.width, Shape(3, setup.size, setup.size)
    with torch.device(device):
        if setup.method == "cyclegan":
            return CycleGAN(width, setup.num_blocks, width)
        if setup.method == "cut":
            return CUT(width, setup.num_blocks, width, setup.taps)
        if setup.method == "pix2pix":
            return Pix2Pix(width, _num_downs(setup), width)
        layers = resolve_num_layers(dict.fromkeys(PUBLISHED, "auto"), min(shape[1:]))
        light = setup.method == "ugatit_light"
        depths = layers["global"], layers["local"]
        return UGATIT(width, setup.num_blocks, setup.size, light, width, *depths)


def _num_downs(setup: Setup) -> int:
    return resolve_num_downs("auto", Shape(3, setup.size, setup.size))


def _first_moments(
    module: nn.Module, optimizers: Iterable[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Adam's, by the parameter's name; all parameters are optimised."""
    states = {p: state for optimizer in optimizers for p, state in optimizer.state.items()}
    return {name: states[p]["exp_avg"] for name, p in module.named_parameters()}


def _by_network(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One row for every network, copied."""
    rows: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        rows.setdefault(name.partition(".")[0], []).append(tensor.detach().double().flatten())
    return {network: torch.cat(row) for network, row in rows.items()}
