"""The training loop: one for every method, on one process or many."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

import zoo
from zoo import checkpoint
from zoo.checkpoint import Progress
from zoo.data.loader import training_batches
from zoo.ema import Ema
from zoo.method import Method
from zoo.protocols import Batch, DataSet
from zoo.recipe import dump_recipe
from zoo.registry import UserError
from zoo.runlog import RunLog
from zoo.schema import Recipe
from zoo.translation import build_method, fixed_test_images, load_starting_weights
from zoo.update import StepRecord, Updater, raise_if_bad, world_size

Evaluate = Callable[[Callable[[Tensor, str], Tensor], int], dict[str, float]]

_MOST_STEPS_UNSEEN = 32  # the gate is looked at at least this often


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
        recipe: from `load_recipe`.
        out: run folder, made by this call; it must not exist unless `resume`.
        resume: continue the run in `out` from its newest complete checkpoint.
        evaluate: called as `evaluate(translate, images_seen)` every `evaluate.every_images`
            images; returns scores by name. Its attribute `best_metric` names the one that decides
            which checkpoint is the best (lower is better).
        cpu: stay on the CPU where there is a GPU.
        command: how the run was started, recorded in its recipe.yaml.

    Returns:
        The run folder.

    Raises:
        UserError: the recipe, the data or the run folder cannot be used; nothing was written.
        TrainingDiverged: a step was not finite; the run ends with the weights of the step before.
        SystemExit: 143 or 130 after SIGTERM or SIGINT, with a checkpoint saved.
    """
    out = Path(out)
    if not resume and out.exists():
        raise UserError(
            f"{out} exists; choose another --out, or continue that run with --resume {out}"
        )
    trainer = Trainer(recipe, out, evaluate, cpu)
    if resume:
        trainer.resume()
    else:
        trainer.begin(command or sys.argv)
    with trainer.signals():
        trainer.run_to_end()
    trainer.accelerator.end_training()
    return out


class Trainer:
    """One run. `train` is the way in; the parts are here to be read."""

    def __init__(self, recipe: Recipe, out: Path, evaluate: Evaluate | None, cpu: bool):
        self.recipe, self.out, self.evaluate = recipe, out, evaluate
        self.accelerator = _accelerator(recipe, cpu)
        self.device = self.accelerator.device
        self.rank = self.accelerator.process_index
        self.is_main = self.accelerator.is_main_process

        self.dataset: DataSet = recipe.data.build()
        torch.manual_seed(recipe.train.seed)
        self.method: Method = build_method(recipe, self.dataset)
        if recipe.train.init is not None:
            load_starting_weights(self.method, recipe.train.init)
        self.method.to(self.device).train()
        self._same_weights_everywhere()

        translators = self.method.translators()
        halflife = recipe.ema.halflife_images
        self.ema = Ema(translators, halflife) if halflife else None
        self.update = Updater(self.method, recipe.optim, self.ema, self.accelerator.scaler)
        samples_per_step = recipe.method.owner.samples_per_step(recipe.method.config)
        self.images_per_step = recipe.train.batch * samples_per_step
        self.total_steps = -(-recipe.train.images // self.images_per_step)
        self.progress = Progress()
        self.best: float | None = None
        self.stop_signal: int | None = None
        self.records: list[StepRecord] = []

    # Beginning and resuming ---------------------------------------------------------------------

    def begin(self, command: list[str]) -> None:
        """Make the run folder; the first checkpoint is the untrained state."""
        self._batches()  # refuses what does not divide, reads the data
        self.test_images = fixed_test_images(self.recipe, self.dataset, self.device)
        if self.is_main:
            self.recipe.provenance = self._provenance(command)
            text = dump_recipe(self.recipe)
            self.out.mkdir(parents=True)
            (self.out / "samples").mkdir()
            (self.out / "recipe.yaml").write_text(text)
        self.accelerator.wait_for_everyone()
        self.save()

    def resume(self) -> None:
        """Take up the newest complete checkpoint of the run folder."""
        folder = checkpoint.find(self.out)
        saved_processes = checkpoint.read_manifest(folder)["num_processes"]
        if saved_processes != self.accelerator.num_processes:
            raise UserError(
                f"{self.out} was trained by {saved_processes} processes, each with image pools of "
                f"its own, and can only be continued by as many, not by "
                f"{self.accelerator.num_processes}; to go on otherwise, start a new run with "
                f"train.init.run={self.out}"
            )
        self.progress, state, own = checkpoint.load_state(folder, self.rank)
        self.method.load_state_dict(checkpoint.load_weights(folder))
        self.method.load_extra_state(_to(own, self.device))
        self.update.load(state)
        self.best = state["best"]
        if self.ema is not None:
            averages = checkpoint.load_weights(folder, "ema")
            self.ema.load([averages[name] for name in self._translator_names()])
        self.test_images = fixed_test_images(self.recipe, self.dataset, self.device)

    # The loop -----------------------------------------------------------------------------------

    def run_to_end(self) -> None:
        """Train until the recipe's images are seen or a signal arrives."""
        self.log = RunLog(
            self.out, self.recipe.train.images, self.progress.images_seen, self.is_main
        )
        try:
            for batch in self._batches():
                self._step(batch)
                self._after_step()
            self._look_at_records()
            if self.progress.step and not self._saved_here():
                self.save()
        finally:
            self.log.close()

    def _step(self, batch: Batch) -> None:
        # All randomness of a step is keyed by its number, so a resumed run draws the same.
        seed_everything(self.recipe.train.seed, batch.step, self.rank)
        self.update.start(batch)
        with self.accelerator.autocast():
            self.method.step(batch, self.update)
        self.update.finish(batch)
        self.progress = Progress(batch.step + 1, batch.images_seen + self.images_per_step)

    def _after_step(self) -> None:
        recipe, step = self.recipe, self.progress.step
        logs = self._due(recipe.log.every_images)
        saves = self._due(recipe.checkpoint.every_images)
        scores = self.evaluate is not None and self._due(recipe.evaluate.every_images)
        stops = self._stop_wanted()
        if logs or saves or scores or stops or step <= 2 or step % _MOST_STEPS_UNSEEN == 0:
            self._look_at_records()
        if logs:
            self._log_terms()
        if self._due(recipe.samples.every_images):
            self.log.samples(self.progress.images_seen, self.method, self.test_images)
        is_best = self._score() if scores else False
        if saves or is_best or stops:
            self.save(is_best)
        if stops:
            self.log.close()
            raise SystemExit(128 + stops)

    def _due(self, every_images: int) -> bool:
        """Whether a multiple of `every_images` was reached or passed by the last step."""
        if not every_images:
            return False
        seen = self.progress.images_seen
        return seen // every_images > (seen - self.images_per_step) // every_images

    def _look_at_records(self) -> None:
        records = self.update.records()
        raise_if_bad(records)
        self.records += records

    def _log_terms(self) -> None:
        sums: dict[str, list[float]] = defaultdict(list)
        for record in self.records:
            for key, value in record.terms.items():
                sums[key].append(value)
        raw = {key: float(np.mean(values)) for key, values in sums.items()}
        weighted = {key: self.update.weight(key) * value for key, value in raw.items()}
        totals: dict[str, float] = defaultdict(float)
        for key, value in weighted.items():
            totals[self.update.player_of[key]] += value
        rates = {
            name: optimizer.param_groups[0]["lr"]
            for name, optimizer in self.update.optimizers.items()
        }
        line = {"lr": rates, "terms": raw, "weighted": weighted, "total": dict(totals)}
        self.log.training(self.progress.images_seen, self.progress.step, line)
        self.records = []

    @torch.no_grad()
    def _score(self) -> bool:
        """Evaluate on the first process; whether this is the best checkpoint so far."""
        result: list = [None]
        if self.is_main:
            assert self.evaluate is not None
            with self._translating():
                scores = self.evaluate(self.method.translate, self.progress.images_seen)
            self.log.scores(self.progress.images_seen, scores)
            result = [scores.get(getattr(self.evaluate, "best_metric", ""))]
        if world_size() > 1:
            broadcast_object_list(result)
        score = result[0]
        is_best = score is not None and (self.best is None or score < self.best)
        if is_best:
            self.best = score
        return is_best

    @contextlib.contextmanager
    def _translating(self):
        """The weights that translate, in evaluation mode; training goes on undisturbed after."""
        if self.ema is not None:
            self.ema.swap()
        self.method.eval()
        try:
            yield
        finally:
            self.method.train()
            if self.ema is not None:
                self.ema.swap()

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
                state={**self.update.state(), "best": self.best},
                num_processes=self.accelerator.num_processes,
                keep=self.recipe.checkpoint.keep,
                is_best=is_best,
            )
        self.accelerator.wait_for_everyone()

    def _saved_here(self) -> bool:
        try:
            newest = checkpoint.find(self.out)
        except UserError:
            return False
        return checkpoint.read_manifest(newest)["images_seen"] == self.progress.images_seen

    @contextlib.contextmanager
    def signals(self):
        """SIGTERM and SIGINT end the run after the step, with a checkpoint; twice: at once."""

        def ask_to_stop(number, frame):
            self.stop_signal = number
            signal.signal(number, signal.SIG_DFL)

        before = {n: signal.signal(n, ask_to_stop) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_wanted(self) -> int:
        """The signal to stop for, the same on every process, or 0."""
        own = self.stop_signal or 0
        if world_size() == 1:
            return own
        if self.progress.step % _MOST_STEPS_UNSEEN:
            return 0
        wanted = torch.tensor(own, device=self.device)
        torch.distributed.all_reduce(wanted, op=torch.distributed.ReduceOp.MAX)
        return int(wanted)

    # Details ------------------------------------------------------------------------------------

    def _batches(self):
        return training_batches(
            self.dataset,
            self.recipe.data.config,
            seed=self.recipe.train.seed,
            batch=self.images_per_step,
            steps=range(self.progress.step, self.total_steps),
            rank=self.rank,
            num_processes=self.accelerator.num_processes,
            device=self.device,
        )

    def _same_weights_everywhere(self) -> None:
        if world_size() > 1:
            for tensor in self.method.state_dict().values():
                torch.distributed.broadcast(tensor, src=0)

    def _translator_names(self) -> list[str]:
        names = {id(p): name for name, p in self.method.named_parameters()}
        return [names[id(p)] for net in self.method.translators() for p in net.parameters()]

    def _provenance(self, command: list[str]) -> dict:
        return {
            "command": list(command),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "versions": {"zoo": zoo.__version__, "torch": str(torch.__version__)},
            "precision": self.accelerator.mixed_precision,
            "num_processes": self.accelerator.num_processes,
            "device": str(self.device),
            "parameters": count_parameters(self.method),
            "resolved": {
                name: network.resolved
                for name, network in self.method.named_children()
                if hasattr(network, "resolved")
            },
        }


def describe(recipe: Recipe) -> str:
    """The resolved recipe and the parameter counts of its networks; reads no data."""
    method = build_method(recipe, None)
    counts = count_parameters(method)
    lines = [dump_recipe(recipe).rstrip(), "", "# networks"]
    for name, network in method.named_children():
        resolved = getattr(network, "resolved", None)
        if name in counts:
            extra = f"  {resolved}" if resolved else ""
            lines.append(f"#   {name}: {counts[name]:,} parameters{extra}")
    return "\n".join([*lines, f"#   together: {sum(counts.values()):,} parameters"])


def count_parameters(method: Method) -> dict[str, int]:
    """Trainable parameters by network."""
    counts = {
        name: sum(p.numel() for p in network.parameters() if p.requires_grad)
        for name, network in method.named_children()
    }
    return {name: count for name, count in counts.items() if count}


def seed_everything(*key: int) -> None:
    """Seed the generators of torch and `random` by a tuple of numbers."""
    state = np.random.SeedSequence(key).generate_state(2)
    torch.manual_seed(int(state[0]) << 32 | int(state[1]))
    random.seed(int(state[0]))


def _accelerator(recipe: Recipe, cpu: bool) -> Accelerator:
    """Accelerate's own precision flag wins, unless it is "no", which it also says when unset."""
    from_launcher = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    precision = recipe.train.precision if from_launcher == "no" else from_launcher
    recipe.train.precision = precision
    if precision == "fp16" and (cpu or not torch.cuda.is_available()):
        raise UserError(
            "train.precision is fp16, which without a GPU runs unscaled and loses small "
            "gradients; use bf16 or no"
        )
    return Accelerator(cpu=cpu or None, mixed_precision=precision)


def _to(state: dict[str, list[Tensor]], device: torch.device) -> dict[str, list[Tensor]]:
    return {name: [tensor.to(device) for tensor in tensors] for name, tensors in state.items()}


def _commit() -> str:
    """The commit of a source checkout, or "" for an installed package."""
    if shutil.which("git") is None:
        return ""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()
