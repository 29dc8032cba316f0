"""Runs a method's real step with the real updater and keeps everything it computed."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.golden.cases import Case, Comparison, load_nets
from zoo.convert.naming import Net
from zoo.layers.together import split
from zoo.protocols import Batch, Judgement, Shape, Translation
from zoo.schema import Optim, Schedule
from zoo.update import Updater


@dataclass
class Call:
    """One forward of a network."""

    input: Tensor
    output: tuple
    frozen: bool


class Recorder:
    """Keeps every forward of the modules given.

    What a discriminator was asked about several inputs at once is kept as several calls.

    Attributes:
        size: images of an input.
    """

    size = 1

    def __init__(self, *modules: nn.Module):
        self.calls: dict[nn.Module, list[Call]] = {module: [] for module in modules}
        for module in modules:
            module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor], output: tuple) -> None:
        frozen = not any(p.requires_grad for p in module.parameters())
        images = inputs[0].detach()
        parts = len(images) // self.size if isinstance(output, Judgement) else 1
        for x, said in zip(images.chunk(parts), split(output, parts), strict=True):
            self.calls[module].append(Call(x, said, frozen))

    def clear(self) -> None:
        """Forget everything, before the next step."""
        for calls in self.calls.values():
            calls.clear()

    def translation(self, module: nn.Module, x: Tensor) -> Translation | None:
        """What a generator made of `x`, alone or within a larger batch; None if it never did."""
        n = len(x)
        for call in self.calls[module]:
            for i in range(0, len(call.input) - n + 1, n):
                if torch.equal(call.input[i : i + n], x):
                    return Translation(*(v[i : i + n] for v in call.output[:3] if v is not None))
        return None

    def logits(self, module: nn.Module, *, frozen: bool) -> list[tuple[Tensor, ...]]:
        """What a discriminator said, in order, in the generators' or in its own update."""
        return [call.output.logits for call in self.calls[module] if call.frozen == frozen]


class Step:
    """The `update` that a method gets: the real one, whose arguments and gradients are kept."""

    def __init__(self, method: nn.Module, optim: Optim):
        self.updater = Updater(method, optim)
        self.names = {p: name for name, p in method.named_parameters()}
        self.terms: dict[str, float | dict[str, float]] = {}
        self.gradients: dict[str, Tensor | None] = {}
        self.rates: list[float] = []
        for optimizer in self.updater.optimizers.values():
            optimizer.register_step_pre_hook(self._keep)

    def _keep(self, optimizer: torch.optim.Optimizer, *_) -> None:
        for group in optimizer.param_groups:
            self.rates.append(group["lr"])
            for p in group["params"]:
                self.gradients[self.names[p]] = None if p.grad is None else p.grad.clone()

    def __call__(self, player: str, terms) -> None:
        for key, term in terms.items():
            mapping = isinstance(term, dict)
            self.terms[key] = {k: v.item() for k, v in term.items()} if mapping else term.item()
        self.updater(player, terms)


def image_shapes(case: Case) -> list[Shape]:
    """The shapes of the two domains' images."""
    inputs = case.facts["keys"]["inputs"]
    return [Shape(*inputs[f"real_{side}_0"][1:]) for side in "AB"]


def adam(text: str, schedule: Schedule) -> Optim:
    """The optimizer section for a description, "Adam lr 2e-4 betas (0.5, 0.999) …"."""
    number = r"([\d.e-]+)"
    lr = re.search(rf"lr {number}", text)[1]
    betas = re.search(rf"betas \({number}, {number}\)", text)
    decay = re.search(rf"weight_decay {number}", text)
    return Optim(
        lr=float(lr),
        betas=(float(betas[1]), float(betas[2])),
        weight_decay=float(decay[1]) if decay else 0.0,
        schedule=schedule,
    )


def real_images(case: Case, t: int, dtype: torch.dtype) -> list[Tensor]:
    """The images of both domains in iteration `t`."""
    return [case.input(f"real_{side}_{t}", dtype) for side in "AB"]


def run_case(
    case: Case,
    method,
    nets: dict[str, Net],
    optim: Optim,
    recorder: Recorder,
    observe,
    read=real_images,
):
    """Train `method` on the case's images, compare gradients and states, and return the comparison.

    Args:
        case: the expected values.
        method: in the dtype to compare in.
        nets: where the reference's networks are in `method`.
        optim: the optimizer section.
        recorder: of the method's networks; cleared before every step.
        observe: called after every step with the batch and the step's terms; returns outputs by the
            reference's names (those that are not stored are ignored) and losses.
        read: gives an iteration's images of both domains, in [-1, 1].
    """
    dtype = next(method.parameters()).dtype
    load_nets(case, method, nets)
    step, comparison = Step(method, optim), Comparison(case, dtype)
    losses: dict[str, list[float]] = {}
    for t in range(case.config["steps"]):
        a, b = read(case, t, dtype)
        batch = Batch(a, b, t, t * len(a))
        recorder.clear()
        recorder.size = len(a)
        step.updater.start(batch)
        method.step(batch, step)
        step.updater.finish(batch)

        outputs, values = observe(batch, step.terms)
        for name, value in outputs.items():
            if f"out/step{t}/{name}" in case.arrays:
                comparison.output(f"step{t}/{name}", value)
        for name, value in values.items():
            losses.setdefault(name, []).append(value)
        if f"step{t}" in case.facts["grad_norms"]:
            by_reference = {
                f"{name}/{key}": step.gradients[net(key)]
                for name, net in nets.items()
                for key in case.under(name)
                if net(key) in step.gradients
            }
            comparison.gradients(f"step{t}", by_reference)
    comparison.losses(losses)
    comparison.state_after(method, nets)
    return comparison, step
