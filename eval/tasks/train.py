"""Trains a task's network and asks it for predictions.

The order of images, their changes and the first weights are keyed by the seed and the number of
the step, so a training repeats to the bit on the same machine, and two arms of a comparison with
as many images see the same positions, crops and flips. The state with the best score on the
validation images is kept; these are the caller's choice, never test images.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from eval.tasks.data import Sample, TaskData
from eval.tasks.scores import IGNORE, classification_scores, confusion, segmentation_scores
from zoo.images import to_tensor
from zoo.registry import Part, UserError
from zoo.schema import COUNT, NOT_NEGATIVE, SHARE

log = logging.getLogger("eval.tasks")

_ORDER, _CHANGE, _STEP = 0, 1, 2  # what random numbers are for
_THREADS = 4
PREDICTED_PIXELS = 2**18  # of a batch of predictions


@dataclass(kw_only=True)
class TaskTraining:
    """How a task's network is trained, the same for every arm."""

    steps: Annotated[int, "batches", COUNT] = 1000
    batch: Annotated[int, "images a step", COUNT] = 32
    optimizer: Annotated[Literal["adamw", "sgd"], "the algorithm"] = "adamw"
    lr: Annotated[float, "learning rate at the start", NOT_NEGATIVE] = 1e-3
    momentum: Annotated[float, "of sgd", SHARE] = 0.9
    weight_decay: Annotated[float, "decoupled for adamw, L2 for sgd", NOT_NEGATIVE] = 1e-4
    schedule: Annotated[
        Literal["cosine", "poly", "constant"],
        "of the rate; poly: (1 - step / steps)^0.9",
    ] = "cosine"
    crop: Annotated[int, "side of random crops, of image and mask; 0: whole images"] = 0
    shift: Annotated[int, "pixels that images are shifted by at most, edges repeated"] = 0
    flip: Annotated[float, "probability of a left-right flip", SHARE] = 0.0
    validate_every: Annotated[
        int, "steps between two scores of the validation images; 0: at the end", NOT_NEGATIVE
    ] = 0
    precision: Annotated[Literal["no", "bf16", "fp16"], "of autocast; no: float32"] = "no"


@dataclass
class Trained:
    """A trained network.

    Attributes:
        network: in evaluation mode, with the weights of `step`.
        step: after which the kept state was.
        score: of the kept state on the validation images; None without these.
        history: (step, score) of every look at them.
    """

    network: nn.Module
    step: int
    score: float | None = None
    history: list[tuple[int, float]] = field(default_factory=list)


def train_task(
    model: Part,
    data: TaskData,
    *,
    validation: TaskData | None,
    seed: int,
    training: TaskTraining,
    cpu: bool = False,
) -> Trained:
    """Train a network.

    Args:
        model: from `TASK_MODELS`.
        data: labelled images; they are asked for by position, so keep small ones in memory.
        validation: labelled images that choose the step; None: the last one is taken.
        seed: of weights, order and changes.
        training: how.
        cpu: even where there is a GPU.

    Raises:
        UserError: the network is for another task, or images cannot be put into one batch.
    """
    owner: Any = model.owner
    if owner.task != data.task:
        raise UserError(
            f"the model {model.name!r} is for {owner.task}, and the data are for {data.task}"
        )
    if not len(data):
        raise UserError("there are no images to train on")
    accelerator = Accelerator(cpu=cpu, mixed_precision=training.precision)
    if accelerator.num_processes > 1:
        raise UserError("a task's network is trained by one process; start one per seed instead")
    with torch.random.fork_rng(devices=_cuda_devices()):
        torch.manual_seed(_number(seed, 0, 0))
        network = model.build(len(data.classes))
        optimizer = _optimizer(network, training)
        network, optimizer = accelerator.prepare(network, optimizer)
        best = Trained(network, training.steps)
        kept: dict[str, Tensor] = {}
        batches = _batches(data, seed, training)
        for step, (images, targets) in enumerate(batches):
            torch.manual_seed(_number(seed, _STEP, step))
            network.train()
            for group in optimizer.param_groups:
                group["lr"] = training.lr * _factor(training, step)
            optimizer.zero_grad()
            with accelerator.autocast():
                logits = network(images.to(accelerator.device))
            loss = _loss(logits.float(), targets.to(accelerator.device))
            if not torch.isfinite(loss):
                raise UserError(
                    f"the loss is {loss.item()} at step {step}; lower training.lr "
                    f"({training.lr:g}) or train without autocast"
                )
            accelerator.backward(loss)
            optimizer.step()
            if validation is not None and _looks(training, step + 1):
                score = validation_score(network, validation)
                best.history.append((step + 1, score))
                if best.score is None or score > best.score:
                    best.step, best.score = step + 1, score
                    kept = {n: v.detach().clone() for n, v in network.state_dict().items()}
    if kept:
        network.load_state_dict(kept)
    best.network = accelerator.unwrap_model(network).eval()
    return best


def _looks(training: TaskTraining, done: int) -> bool:
    every = training.validate_every
    return done == training.steps or (every > 0 and done % every == 0)


def _optimizer(network: nn.Module, training: TaskTraining) -> torch.optim.Optimizer:
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            training.lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
        )
    return torch.optim.AdamW(network.parameters(), training.lr, weight_decay=training.weight_decay)


def _factor(training: TaskTraining, step: int) -> float:
    """Of the learning rate at a step."""
    done = step / training.steps
    if training.schedule == "poly":
        return (1 - done) ** 0.9
    return (1 + np.cos(np.pi * done)) / 2 if training.schedule == "cosine" else 1.0


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, averaged over what counts; 0 where nothing does."""
    total = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
    return total / (targets != IGNORE).sum().clamp(min=1)


# Batches -----------------------------------------------------------------------------------------


def _batches(data: TaskData, seed: int, training: TaskTraining) -> Iterator[tuple[Tensor, Tensor]]:
    """One batch a step; threads read ahead, which changes nothing but the time."""

    def sample(n: int) -> Sample:
        epoch, place = divmod(n, len(data))
        index = int(_permutation(len(data), seed, epoch)[place])
        rng = np.random.default_rng([seed, _CHANGE, n])
        return changed_sample(data[index], rng, training)

    numbers = range(training.steps * training.batch)
    samples = _read_ahead(sample, numbers, 2 * training.batch)
    for _ in range(training.steps):
        chosen = list(islice(samples, training.batch))
        yield _stacked(chosen)


@lru_cache(maxsize=8)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def _read_ahead(read: Callable[[int], Any], numbers: range, ahead: int) -> Iterator[Any]:
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque = deque()
        try:
            for n in numbers:
                waiting.append(pool.submit(read, n))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def changed_sample(sample: Sample, rng: np.random.Generator, training: TaskTraining) -> Sample:
    """A sample cropped, shifted and flipped, its mask alike.

    Raises:
        UserError: the image is smaller than the crop.
    """
    image, target = sample.image, sample.target
    mask = target if isinstance(target, np.ndarray) else None
    if training.crop:
        height, width = image.shape[:2]
        if min(height, width) < training.crop:
            raise UserError(f"{sample.id} is {width} x {height}, smaller than crop {training.crop}")
        top = int(rng.integers(height - training.crop + 1))
        left = int(rng.integers(width - training.crop + 1))
        window = np.s_[top : top + training.crop, left : left + training.crop]
        image, mask = image[window], None if mask is None else mask[window]
    if training.shift:
        down, right = rng.integers(-training.shift, training.shift + 1, 2)
        rows = np.clip(np.arange(image.shape[0]) - down, 0, image.shape[0] - 1)
        columns = np.clip(np.arange(image.shape[1]) - right, 0, image.shape[1] - 1)
        image = image[rows[:, None], columns]
        mask = None if mask is None else mask[rows[:, None], columns]
    if rng.random() < training.flip:
        image, mask = image[:, ::-1], None if mask is None else mask[:, ::-1]
    return Sample(image, target if mask is None else mask, sample.id)


def _stacked(samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Images N 3 H W in [-1, 1] and int64 targets."""
    first = samples[0]
    for sample in samples:
        if sample.image.shape != first.image.shape:
            raise UserError(
                f"{sample.id} is {sample.image.shape}, {first.id} {first.image.shape}: a batch "
                f"needs one size; set a size for the data, or training.crop"
            )
        if isinstance(sample.target, np.ndarray) and sample.target.shape != sample.image.shape[:2]:
            raise UserError(
                f"{sample.id}: the image is {sample.image.shape[:2]}, its mask "
                f"{sample.target.shape}"
            )
    targets = torch.from_numpy(np.stack([np.asarray(sample.target) for sample in samples]))
    return to_tensor(np.stack([sample.image for sample in samples])), targets.long()


def _number(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count()))


# Predictions -------------------------------------------------------------------------------------


@torch.no_grad()
def predict(
    network: nn.Module, data: TaskData, size: tuple[int, int] | None = None
) -> Iterator[np.ndarray]:
    """What a network says of each image, in order.

    Args:
        network: of `TASK_MODELS`; it is put into evaluation mode.
        data: images; labels are not looked at. Images of one size that follow each other go
            through together.
        size: (height, width) that logits of pixels are brought to before the most probable class
            is taken; None: the image's.

    Yields:
        Of a classifier, float32 (classes,) probabilities; of a segmenter, uint8 H W classes.
    """
    network.eval()
    device = next(network.parameters()).device
    images = _read_ahead(data.image_of, range(len(data)), 8)
    for chunk in _of_one_size(images):
        logits = network(to_tensor(np.stack(chunk)).to(device)).float()
        if logits.ndim == 2:
            yield from logits.softmax(1).cpu().numpy()
            continue
        if size is not None and tuple(logits.shape[-2:]) != size:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        yield from logits.argmax(1).to(torch.uint8).cpu().numpy()


def _of_one_size(images: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    chunk: list[np.ndarray] = []
    for image in images:
        full = len(chunk) * image.shape[0] * image.shape[1] >= PREDICTED_PIXELS
        if chunk and (full or chunk[0].shape != image.shape):
            yield chunk
            chunk = []
        chunk.append(image)
    if chunk:
        yield chunk


def image_confusions(network: nn.Module, data: TaskData) -> np.ndarray:
    """A segmenter's confusion matrix on every image by itself, int64 (n, C, C)."""
    num_classes = len(data.classes)
    matrices = [
        confusion(np.asarray(data.target_of(i)), predicted, num_classes)
        for i, predicted in enumerate(predict(network, data))
    ]
    return np.stack(matrices)


def probabilities(network: nn.Module, data: TaskData) -> np.ndarray:
    """A classifier's probabilities on every image, float32 (n, C)."""
    return np.stack(list(predict(network, data)))


def validation_score(network: nn.Module, data: TaskData) -> float:
    """What a step is chosen by: balanced accuracy, or the mean over classes of IoU."""
    if data.task == "classification":
        return classification_scores(data.labels(), probabilities(network, data))[
            "balanced_accuracy"
        ]
    return segmentation_scores(image_confusions(network, data).sum(0))["mean_iou"]
