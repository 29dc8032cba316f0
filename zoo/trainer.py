"""The training loop: one for every method, on one process or many."""

import contextlib
import copy
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from zoo import checkpoint
from zoo.accumulate import Accumulation, refuse_inexact
from zoo.checkpoint import Progress
from zoo.compiling import compile_as_told
from zoo.data.loader import training_batches
from zoo.divergence import StepRecord, TrainingDiverged, fault_in, way_on
from zoo.ema import Ema
from zoo.launch import StopRequest, make_accelerator
from zoo.layers.compiled import uncompiled
from zoo.method import Method
from zoo.protocols import Batch, DataSet
from zoo.provenance import provenance
from zoo.recipe import dump_recipe, load_recipe
from zoo.registry import UserError
from zoo.runlog import RunLog
from zoo.runs import build_method, fixed_test_images, load_starting_weights
from zoo.schema import Recipe
from zoo.selection import Best
from zoo.update import Updater, same_weights_everywhere, world_size

log = logging.getLogger("zoo.trainer")

Evaluate = Callable[[Callable[[Tensor, str], Tensor], int], dict[str, float]]

_MOST_STEPS_UNSEEN = 32  # terms are looked at at least this often


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    evaluate: Evaluate | None = None,
    cpu: bool = False,
    command: list[str] | None = None,
) -> Path:
    """Train what a recipe describes.

    Args:
        recipe: from `load_recipe`; to resume, that of the run, where only `train.images` may
            have changed.
        out: run folder, made by this call; it must not exist unless `resume`.
        resume: continue the run in `out` from its newest complete checkpoint.
        evaluate: called as `evaluate(translate, images_seen)` every `evaluate.every_images`
            images, where `translate` takes images N C H W in [-1, 1] on any device and a direction;
            returns scores by name. Its attribute `best_metric` names the one that decides which
            checkpoint is the best, `higher_is_better` says how.
        cpu: stay on the CPU where there is a GPU.
        command: how the run was started, recorded in its recipe.yaml.

    Returns:
        The run folder.

    Raises:
        UserError: the recipe, the data or the run folder cannot be used; nothing was written.
        CheckpointError: a checkpoint cannot be written; earlier ones are untouched.
        TrainingDiverged: a step was not finite; the run ends with the state before it, saved.
        SystemExit: 143 or 130 after SIGTERM or SIGINT, with a checkpoint saved.
    """
    out = Path(out)
    if not resume and out.exists():
        raise UserError(
            f"{out} exists; choose another --out, or continue that run with --resume {out}"
        )
    trainer = Trainer(recipe, out, evaluate, cpu)
    try:
        if resume:
            trainer.resume()
        else:
            trainer.begin(command or sys.argv)
        trainer.run_to_end()
    finally:
        trainer.accelerator.end_training()
    return out


class Trainer:
    """One run. `train` is the way in; the parts are here to be read."""

    def __init__(self, recipe: Recipe, out: Path, evaluate: Evaluate | None, cpu: bool):
        self.recipe, self.out, self.evaluate = copy.deepcopy(recipe), out, evaluate
        self.accelerator = make_accelerator(self.recipe.train, cpu)
        self.device = self.accelerator.device
        self.rank = self.accelerator.process_index
        self.is_main = self.accelerator.is_main_process

        self.dataset: DataSet = recipe.data.build()
        torch.manual_seed(recipe.train.seed)
        self.method: Method = build_method(recipe, self.dataset).to(self.device).train()
        train, processes = recipe.train, self.accelerator.num_processes
        refuse_inexact(self.method, train.batch, train.accumulate, processes)
        self.method.prepare()
        compile_as_told(self.recipe, self.method, self.device)
        halflife = recipe.ema.halflife_images
        self.ema = Ema(self.method.translators(), halflife) if halflife else None
        self.update = Updater(
            self.method,
            recipe.optim,
            self.ema,
            self.accelerator.scaler,
            seed=recipe.train.seed,
            recompute=recipe.train.recompute,
            autocast=self.accelerator.autocast,
        )
        divided = Accumulation(self.update, train.accumulate) if train.accumulate > 1 else None
        self.step = (divided or self.update).step
        samples = self.method.samples_per_step(recipe.method.config)
        self.images_per_step = recipe.train.batch * samples
        self.total_steps = -(-recipe.train.images // self.images_per_step)
        self.progress = Progress()
        self.saved: Progress | None = None
        self.best = Best()
        self.unlogged: list[dict[str, float]] = []  # terms of the steps since the last log line
        self.warned = False
        self.stop = StopRequest()

    # Beginning and resuming ---------------------------------------------------------------------

    def begin(self, command: list[str]) -> None:
        """Make the run folder with a first checkpoint, the untrained state; whole or not at all."""
        origin = {}
        if self.recipe.train.init is not None:
            origin = load_starting_weights(self.method, self.recipe.train.init)
        same_weights_everywhere(self.method)
        if self.ema is not None:
            self.ema.restart()
        self._prepare_data()
        facts = provenance(self.recipe, self.method, self.accelerator, command)
        self.recipe.provenance = facts | origin

        final, self.out = self.out, self.out.with_name(f".{self.out.name}.unfinished")
        try:
            if self.is_main:
                shutil.rmtree(self.out, ignore_errors=True)  # of a beginning that was killed
                (self.out / "samples").mkdir(parents=True)
                self._write_recipe()
            self.accelerator.wait_for_everyone()
            self.save()
            if self.is_main:
                self.out.rename(final)
        except BaseException as error:
            shutil.rmtree(self.out, ignore_errors=True)
            if isinstance(error, OSError):
                raise UserError(f"{final} cannot be made: {error.strerror}") from error
            raise
        self.out = final
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Take up the newest complete checkpoint of the run folder."""
        folder = checkpoint.find(self.out)
        processes = checkpoint.read_manifest(folder)["num_processes"]
        if processes != self.accelerator.num_processes:
            raise UserError(
                f"{self.out} was trained by {processes} processes, each with image pools of its "
                f"own, and can only be continued by as many, not by "
                f"{self.accelerator.num_processes}; to go on otherwise, start a new run with "
                f"train.init.run={self.out}"
            )
        self._load(folder)
        self._prepare_data()
        self.recipe.provenance = load_recipe(self.out / "recipe.yaml").provenance
        self.accelerator.wait_for_everyone()  # all have read
        if self.is_main:
            checkpoint.tidy(self.out, folder)
            self._write_recipe()

    def _load(self, folder: Path) -> None:
        self.progress, state, own = checkpoint.load_state(folder, self.rank)
        self.method.load_state_dict(checkpoint.load_weights(folder))
        self.method.load_extra_state(_to(own, self.device))
        self.update.load(state["update"])
        self.best = Best.of_state(state["best"])
        self.unlogged, self.saved = state["unlogged"], self.progress
        if self.ema is not None:
            averages = checkpoint.load_weights(folder, "ema")
            self.ema.load([averages[name] for name in self._translator_names()])

    def _prepare_data(self) -> None:
        """Read the data; refuse a batch that cannot be shared."""
        schedule, images = self.recipe.optim.schedule, self.recipe.train.images
        planned = schedule.constant_images + schedule.decay_images
        if schedule.name == "linear" and images > planned and schedule.last == "zero":
            log.warning(
                f"train.images is {images}, but optim.schedule ends at a rate of 0 after "
                f"{planned} images: those after it change nothing"
            )
        self.batches = self._batches_until(self.total_steps)
        if self.recipe.samples.every_images:
            self.test_images = fixed_test_images(self.recipe, self.dataset, self.device)

    def _batches_until(self, step: int) -> Iterator[Batch]:
        return training_batches(
            self.dataset,
            self.recipe.data.config,
            seed=self.recipe.train.seed,
            batch=self.images_per_step,
            steps=range(self.progress.step, step),
            rank=self.rank,
            num_processes=self.accelerator.num_processes,
            device=self.device,
        )

    def _write_recipe(self) -> None:
        aside = self.out / ".recipe.yaml.unfinished"
        aside.write_text(dump_recipe(self.recipe))
        aside.replace(self.out / "recipe.yaml")

    # The loop -----------------------------------------------------------------------------------

    def run_to_end(self) -> None:
        """Train until the recipe's images are seen or a signal arrives."""
        images, seen = self.recipe.train.images, self.progress.images_seen
        self.log = RunLog(self.out, images, seen, self.is_main)
        with contextlib.closing(self.log), self.stop:
            for batch in self.log.waiting(() if self.best.over else self.batches):
                self._step(batch)
                self.log.step(self.progress.images_seen)
                self._after_step()
                if self.best.over:
                    break
            if self.best.over:
                log.info(f"ended early: {self.best.told(self.progress.images_seen)}")
            self._look_at_records()
            if self.saved != self.progress:
                self.save()

    def _step(self, batch: Batch) -> None:
        self.update.start(batch)
        self.step(batch)
        self.progress = Progress(batch.step + 1, batch.images_seen + self.images_per_step)

    def _after_step(self) -> None:
        recipe = self.recipe
        logs = self._due(recipe.log.every_images)
        saves = self._due(recipe.checkpoint.every_images)
        scores = self.evaluate is not None and self._due(recipe.evaluate.every_images)
        shows = self._due(recipe.samples.every_images)
        looks = logs or saves or scores or shows or self.progress.step % _MOST_STEPS_UNSEEN == 0
        stops = self.stop.wanted(looks, self.device)
        if looks or stops:
            self._look_at_records()
        if logs:
            self._log_terms()
        if shows:
            with self._translating():
                self.log.samples(self.progress.images_seen, self.method, self.test_images)
        is_best = scores and self._score()
        if saves or is_best or stops:
            self.save(is_best)
        if stops:
            raise SystemExit(128 + stops)

    def _due(self, every_images: int) -> bool:
        """Whether a multiple of `every_images` was reached or passed by the last step."""
        if not every_images:
            return False
        seen = self.progress.images_seen
        return seen // every_images > (seen - self.images_per_step) // every_images

    def _look_at_records(self) -> None:
        for record in self.update.records():
            if record.bad:
                self._diverged(record)
            self.unlogged.append(record.terms)

    def _log_terms(self) -> None:
        seen, step = self.progress.images_seen, self.progress.step
        self.log.training(seen, step, self.update.summary(self.unlogged))
        self.unlogged = []
        if self.warned or seen <= self.method.warmup_images:
            return
        unused = self.update.unused_weights()
        for path, value in unused.items():
            log.warning(
                f"method.weights.{path} is {value:g}, but after {seen} images no such term has "
                f"appeared: it has no effect"
            )
        self.warned = True

    @torch.no_grad()
    def _score(self) -> bool:
        """Evaluate on the first process; whether this is the best checkpoint so far."""
        result: list = [None]
        if self.is_main:
            assert self.evaluate is not None
            with self._translating():
                scores = self.evaluate(self._translate, self.progress.images_seen)
            self.log.scores(self.progress.images_seen, scores)
            result = [scores.get(getattr(self.evaluate, "best_metric", ""))]
        if world_size() > 1:
            broadcast_object_list(result)
        higher = getattr(self.evaluate, "higher_is_better", False)
        is_best = self.best.offer(result[0], self.progress.images_seen, higher=higher)
        self.best.wait(self.progress.images_seen, self.recipe.evaluate.patience_images)
        return is_best

    def _translate(self, x: Tensor, direction: str) -> Tensor:
        return self.method.translate(x.to(self.device), direction)

    @contextlib.contextmanager
    def _translating(self):
        """The weights that translate, in evaluation mode; training goes on undisturbed after.

        Not compiled: their batches have sizes of their own, and each would need graphs.
        """
        if self.ema is not None:
            self.ema.swap()
        self.method.eval()
        try:
            with uncompiled(self.method):
                yield
        finally:
            self.method.train()
            if self.ema is not None:
                self.ema.swap()

    def _diverged(self, record: StepRecord) -> NoReturn:
        """Save what the step before it left, and end the run."""
        fault = fault_in(record)
        log.warning(fault)
        self._replay(record.step)
        if self.saved != self.progress:
            self.save()
        raise TrainingDiverged(f"{fault}\n{way_on(self.out, self.progress.images_seen)}")

    def _replay(self, until: int) -> None:
        """Take the steps since the newest checkpoint again, which are drawn alike."""
        self._load(checkpoint.find(self.out))
        images = until * self.images_per_step - self.progress.images_seen
        log.warning(f"repeating {images} images from the last checkpoint on; Ctrl-C cuts it short")
        for batch in self._batches_until(until):
            if self.stop.wanted(looks=True, device=self.device):
                break
            self._step(batch)
            (record,) = self.update.records()
            if record.bad:  # where a device does not compute the same twice
                self._replay(record.step)
                break
            self.unlogged.append(record.terms)
            if self._due(self.recipe.log.every_images):
                self.unlogged = []

    # Saving and stopping ------------------------------------------------------------------------

    def save(self, is_best: bool = False) -> None:
        """Write a checkpoint of the present state."""
        checkpoint.save_own_state(self.out, self.progress, self.rank, self.method.extra_state())
        self.accelerator.wait_for_everyone()
        if self.is_main:
            averages = None
            if self.ema is not None:
                averages = dict(zip(self._translator_names(), self.ema.state(), strict=True))
            checkpoint.save(
                self.out,
                self.progress,
                weights=self.method.state_dict(),
                ema=averages,
                state={
                    "update": self.update.state(),
                    "best": self.best.state(),
                    "unlogged": self.unlogged,
                },
                num_processes=self.accelerator.num_processes,
                keep=self.recipe.checkpoint.keep,
                is_best=is_best,
            )
        self.accelerator.wait_for_everyone()
        self.saved = self.progress

    # Details ------------------------------------------------------------------------------------

    def _translator_names(self) -> list[str]:
        names = {p: name for name, p in self.method.named_parameters()}
        translating = (p for net in self.method.translators() for p in net.parameters())
        return [names[p] for p in dict.fromkeys(translating)]


def _to(state: dict[str, list[Tensor]], device: torch.device) -> dict[str, list[Tensor]]:
    return {name: [tensor.to(device) for tensor in tensors] for name, tensors in state.items()}
