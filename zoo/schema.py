"""The fields of a recipe."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from zoo.registry import DATASETS, METHODS, Part, UserError, part

Auto = Literal["auto"]


@dataclass(frozen=True)
class Bounds:
    """What numbers a field takes, both ends included; in its `Annotated`, beside the help."""

    least: float = -math.inf
    most: float = math.inf


COUNT = Bounds(least=1)
NOT_NEGATIVE = Bounds(least=0)
SHARE = Bounds(least=0, most=1)


@dataclass(frozen=True)
class PerDomain:
    """One number for both domains, or one for each: `10` or `{a: 10, b: 0}`."""

    a: float
    b: float = None  # type: ignore[assignment]  # filled from a

    def __post_init__(self):
        if self.b is None:
            object.__setattr__(self, "b", self.a)


@dataclass(frozen=True)
class PerDirection:
    """One number for both directions, or one for each: `1` or `{a2b: 1, b2a: 0}`."""

    a2b: float
    b2a: float = None  # type: ignore[assignment]  # filled from a2b

    def __post_init__(self):
        if self.b2a is None:
            object.__setattr__(self, "b2a", self.a2b)


@dataclass(kw_only=True)
class Cache:
    """Decoded images on disk."""

    folder: Annotated[str, "of the files; auto: $ZOO_CACHE, else ~/.cache/zoo/images"] = "auto"
    most_gib: Annotated[
        float, "GiB of all files together; the least recently used go first", NOT_NEGATIVE
    ] = 20


@dataclass(kw_only=True)
class DataConfig:
    """What every data set takes; a data set's own Config derives from it."""

    size: Annotated[
        int, "side of the square images that networks see, pixels", Bounds(least=16)
    ] = 256
    load_size: Annotated[int | Auto, "side before the random crop; auto: size x 286/256"] = "auto"
    flip: Annotated[float, "probability of a left-right flip in training", SHARE] = 0.5
    channels: Annotated[tuple[int, int], "of a and of b: 3 colour, 1 grey"] = (3, 3)
    workers: Annotated[
        int | Auto,
        "processes that prepare images; 0: the training process; auto: by the processors, few "
        "where images are kept",
        NOT_NEGATIVE,
    ] = "auto"
    cache: Annotated[
        Cache | Literal["auto", "memory", "off"],
        "decoded images kept on disk (auto: by the defaults below), in memory, or not at all",
    ] = field(default_factory=Cache)

    @property
    def resolved_load_size(self) -> int:
        """The side in pixels that images are loaded at for training."""
        return round(self.size * 286 / 256) if self.load_size == "auto" else int(self.load_size)

    def __post_init__(self):
        if self.cache == "auto":
            self.cache = Cache()
        if any(count not in (1, 3) for count in self.channels):
            raise UserError(f"data.channels is {self.channels}; each is 3 (colour) or 1 (grey)")
        if self.resolved_load_size < self.size:
            raise UserError(
                f"data.load_size {self.load_size} is smaller than data.size {self.size}; "
                f"images are loaded at load_size and cropped to size"
            )


@dataclass(kw_only=True)
class Schedule:
    """The learning rate as a function of images seen; docs/reference has the formula."""

    name: Annotated[Literal["constant", "linear"], "linear: constant, then straight down"] = (
        "constant"
    )
    constant_images: Annotated[int, "images at the full rate", NOT_NEGATIVE] = 0
    decay_images: Annotated[int, "images over which the rate falls", NOT_NEGATIVE] = 0
    every_images: Annotated[int, "the rate changes after this many: an epoch, or 1", COUNT] = 1
    last: Annotated[Literal["nonzero", "zero"], "CycleGAN keeps a small last rate; U-GAT-IT 0"] = (
        "nonzero"
    )


@dataclass(kw_only=True)
class Player:
    """What one player's optimizer does differently from `optim`; unset fields follow it."""

    lr: Annotated[float | None, "learning rate", NOT_NEGATIVE] = None
    betas: Annotated[tuple[float, float] | None, "Adam's", SHARE] = None
    weight_decay: Annotated[float | None, "L2 added to the gradient", NOT_NEGATIVE] = None


@dataclass(kw_only=True)
class Optim:
    """Optimizers, one per player."""

    name: Annotated[Literal["adam", "rmsprop", "sgd"], "the algorithm"] = "adam"
    lr: Annotated[float, "learning rate at the start", NOT_NEGATIVE] = 2e-4
    betas: Annotated[tuple[float, float], "Adam's decay of the two moments", SHARE] = (0.5, 0.999)
    weight_decay: Annotated[float, "L2 added to the gradient, not decoupled", NOT_NEGATIVE] = 0.0
    schedule: Schedule = field(default_factory=Schedule)
    players: Annotated[dict[str, Player], "exceptions by player: generators, discriminators"] = (
        field(default_factory=dict)
    )


@dataclass(kw_only=True)
class Init:
    """Weights to start from, taken from another run."""

    run: Annotated[str, "run folder, or the name of a shipped one"]
    networks: Annotated[list[str], "prefixes of parameters to take; empty: all"] = field(
        default_factory=list
    )


@dataclass(kw_only=True)
class Train:
    """How long and how."""

    images: Annotated[int, "images to see; one image is one pair (a, b)", COUNT] = 100_000
    batch: Annotated[int, "images a step, over all processes", COUNT] = 1
    accumulate: Annotated[
        int, "micro-batches that a batch is cut into to save memory; same result", COUNT
    ] = 1
    seed: Annotated[int, "of everything random", NOT_NEGATIVE] = 0
    precision: Annotated[Literal["no", "bf16", "fp16"], "of autocast; no: float32"] = "no"
    recompute: Annotated[
        bool, "activations anew in the backward pass: less memory, about a third more time"
    ] = False
    compile: Annotated[
        Literal["auto", "on", "off"],
        "of the networks, by torch.compile; auto: on a GPU, where the run is long enough",
    ] = "auto"
    init: Init | None = None

    def __post_init__(self):
        if self.batch % self.accumulate:
            raise UserError(
                f"train.batch is {self.batch}, which train.accumulate {self.accumulate} does not "
                f"divide; every micro-batch has as many images"
            )
        if self.compile == "on" and (self.recompute or self.accumulate > 1):
            raise UserError(
                "train.compile is on, which neither train.recompute nor train.accumulate above 1 "
                "works with; set train.compile to off or auto, which then is off"
            )


@dataclass(kw_only=True)
class Ema:
    """Average of the weights that translate."""

    halflife_images: Annotated[
        int, "images after which a weight counts half; 0: off", NOT_NEGATIVE
    ] = 0


@dataclass(kw_only=True)
class Log:
    """How often to say what is going on."""

    every_images: Annotated[int, "images between two lines of metrics.jsonl", COUNT] = 100


@dataclass(kw_only=True)
class Samples:
    """Grids of fixed test images."""

    every_images: Annotated[int, "images between two grids; 0: none", NOT_NEGATIVE] = 10_000
    num_images: Annotated[int, "rows of a grid for each direction", COUNT] = 4


@dataclass(kw_only=True)
class Checkpoint:
    """What is kept on disk."""

    every_images: Annotated[int, "images between two checkpoints", COUNT] = 10_000
    keep: Annotated[
        int, "newest checkpoints kept, at least 2; the best is kept besides", Bounds(least=2)
    ] = 2


@dataclass(kw_only=True)
class Evaluate:
    """Scores during training, and what `zoo eval` does unless told otherwise."""

    every_images: Annotated[
        int, "images between two evaluations in training; 0: none", NOT_NEGATIVE
    ] = 0
    num_images: Annotated[int, "test images scored; 0: all", NOT_NEGATIVE] = 0
    extractor: Annotated[str, "features of FID and KID: inception-v3-tf or an offline one"] = (
        "offline"
    )
    metrics: Annotated[
        list[str] | Auto, "of `zoo list metrics`; auto, also in a list: those that need no weights"
    ] = "auto"
    settings: Annotated[
        dict[str, Any], "fields of metrics by name, such as {kid: {subset_size: 50}}"
    ] = field(default_factory=dict)
    best: Annotated[
        str, "score that the best checkpoint is kept by, mean over directions, or SCORE/DIRECTION"
    ] = "kid_target"
    patience_images: Annotated[
        int, "training ends after so many images without a better score; 0: never", NOT_NEGATIVE
    ] = 0

    def __post_init__(self):
        if self.patience_images and not self.every_images:
            raise UserError(
                "evaluate.patience_images is set, but evaluate.every_images is 0: without "
                "evaluations there is nothing to wait for"
            )


@dataclass(kw_only=True)
class Recipe:
    """Everything that a run is made from."""

    description: Annotated[str, "one line for people"] = ""
    data: Part = part(DATASETS, "unpaired")
    method: Part = part(METHODS, "cyclegan")
    train: Train = field(default_factory=Train)
    optim: Optim = field(default_factory=Optim)
    ema: Ema = field(default_factory=Ema)
    log: Log = field(default_factory=Log)
    samples: Samples = field(default_factory=Samples)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    evaluate: Evaluate = field(default_factory=Evaluate)
    plugins: Annotated[list[str], "Python files that register parts"] = field(default_factory=list)
    provenance: Annotated[Mapping[str, Any], "written by the trainer, not by hand"] = field(
        default_factory=dict
    )
