"""Published files: tensors only, by network, without what their networks never use."""

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.convert.naming import Net
from zoo.images import printable
from zoo.registry import UserError

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Network(dict[str, Tensor]):
    """The state dict of one published network, by published names.

    Args:
        label: for messages.
        tensors: the state dict.
    """

    def __init__(self, label: str, tensors: Mapping[str, Tensor]):
        super().__init__(tensors)
        self.label = label

    def axis(self, name: str, number: int) -> int:
        """The size of a tensor along one axis, at least 1.

        Raises:
            UserError: there is no such tensor, or it is empty or has fewer axes.
        """
        if name not in self:
            raise UserError(f"{self.label} lacks {name}, whose shape says how it was built")
        shape = tuple(self[name].shape)
        if number >= len(shape) or 0 in shape:
            raise UserError(f"{self.label}: {name} has the shape {shape}, as no such network has")
        return shape[number]

    def numbers(self, pattern: str) -> set[int]:
        """The numbers that a pattern's one group takes in the names."""
        return {int(match[1]) for name in self if (match := re.match(pattern, name))}


@dataclass
class Plan:
    """What the networks of a file become.

    Attributes:
        nets: where the networks go, by their names in the file.
        generator: fields of our generator that were read off, and its name.
        channels: of the images of A and of B.
        size: side of the images that the networks are for, pixels.
        fixed_size: whether they take no other.
        settings: of the recipe, besides.
        notes: what to tell about the file.
    """

    nets: dict[str, Net]
    generator: dict[str, Any]
    channels: tuple[int, int]
    size: int = 256
    fixed_size: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_file(file: Path) -> dict[str, Network]:
    """The state dicts of a file by their names in it; the name is "" where the file is one.

    Raises:
        UserError: the file cannot be read, needs more than tensors, or holds no state dict.
    """
    shown = printable(file)
    try:
        stream = file.open("rb")
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror}") from error
    with stream:
        try:
            content = torch.load(stream, map_location="cpu", weights_only=True)
        except Exception as error:  # of a file that can be anything
            raise UserError(f"{shown} is refused: {_why(error)}") from error
    if _is_state_dict(content):
        return {"": Network(shown, _without_module(content))}
    found = {}
    if isinstance(content, Mapping):
        found = {
            str(name): Network(f"{shown}: {name}", _without_module(value))
            for name, value in content.items()
            if _is_state_dict(value)
        }
    if not found:
        what = "it is empty" if content in ({}, []) else f"it holds {type(content).__name__}"
        raise UserError(f"{shown} holds no state dict of a network: {what}")
    return found


def drop_unused(network: Network) -> list[str]:
    """Take out running statistics of instance norms, add counts of batch norms; what was done.

    Instance norms of PyTorch before 0.4 stored statistics that they never used; batch norms before
    0.4.1 stored no count of batches.
    """
    layers = {name.rpartition(".")[0] for name in network if name.endswith(".running_mean")}
    unused = {layer for layer in layers if f"{layer}.weight" not in network}
    for layer in unused:
        for statistic in _STATISTICS:
            network.pop(f"{layer}.{statistic}", None)
    uncounted = [n for n in layers - unused if f"{n}.num_batches_tracked" not in network]
    for layer in uncounted:
        network[f"{layer}.num_batches_tracked"] = torch.tensor(0)
    notes = []
    if unused:
        notes += [f"left out running statistics of {len(unused)} instance norms, never used"]
    if uncounted:
        notes += [f"set the missing counts of batches of {len(uncounted)} batch norms to 0"]
    return notes


def convert(
    networks: Mapping[str, Network], nets: Mapping[str, Net], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors by our names.

    Args:
        networks: of the file.
        nets: where they go.
        own: our state dict; of its tensors only the shapes and types count.

    Raises:
        UserError: lists what is missing, unexpected or wrongly shaped.
    """
    weights: dict[str, Tensor] = {}
    missing, unexpected, misshapen = [], [], []
    for key, net in nets.items():
        network, wanted = networks[key], {name for name in own if name.startswith(net.prefix)}
        for name, value in network.items():
            ours, theirs = net(name), f"{key}: {name}" if len(networks) > 1 else name
            if ours not in wanted:
                unexpected.append(theirs)
            elif value.shape != own[ours].shape:
                shapes = f"{tuple(value.shape)}, not {tuple(own[ours].shape)}"
                misshapen.append(f"{theirs} (ours: {ours}): {shapes}")
                wanted.remove(ours)
            else:
                value = value.detach().to(own[ours].dtype)
                weights[ours] = value.clone(memory_format=torch.contiguous_format)
                wanted.remove(ours)
        missing += [f"{name} (our name)" for name in own if name in wanted]
    lists = {"missing": missing, "unexpected": unexpected, "wrongly shaped": misshapen}
    if any(lists.values()):
        labels = ", ".join(dict.fromkeys(network.label for network in networks.values()))
        counts = ", ".join(f"{len(names)} {what}" for what, names in lists.items() if names)
        lines = [line for what, names in lists.items() for line in _listed(what, names)]
        raise UserError(f"{labels}: tensors do not fit: {counts}\n" + "\n".join(lines))
    return weights


def _listed(what: str, names: list[str], most: int = 50) -> Iterable[str]:
    yield from (f"  {what}: {printable(name)}" for name in names[:most])
    if len(names) > most:
        yield f"  {what}: and {len(names) - most} more"


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(v, Tensor) for name, v in value.items())
    )


def _without_module(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that `DataParallel` gives to every name."""
    wrapped = all(name.startswith("module.") for name in state)
    return {name.removeprefix("module.") if wrapped else name: v for name, v in state.items()}


def _why(error: Exception) -> str:
    """Why a file is no file of tensors."""
    text = str(error)
    needed = re.search(r"GLOBAL ([\w.]+)", text)
    if needed:
        return (
            f"besides tensors it needs {needed[1]}, as whole modules do that were pickled, and "
            f"loading that runs code from the file. Where you trust it, load it with the code that "
            f"wrote it and save its state_dict()"
        )
    inner = re.search(r"WeightsUnpickler error: (.*)", text)
    if isinstance(error, pickle.UnpicklingError):
        return f"it is no file of tensors by torch.save: {inner[1] if inner else text}"
    return f"torch cannot read it: {text.partition(chr(10))[0] or type(error).__name__}"
