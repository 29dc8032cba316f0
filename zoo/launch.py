"""The processes of a training: how they are started, and how they are asked to stop."""

import ctypes
import os
import signal
import threading
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs

from zoo.registry import UserError
from zoo.schema import Train

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
_LONGEST_WAIT = timedelta(hours=4)  # of the other processes, while the first one evaluates
_SUPPORTED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def make_accelerator(settings: Train, cpu: bool) -> Accelerator:
    """Accelerate, as launched; a precision given to the launcher is written into `settings`.

    Args:
        settings: their precision counts unless the launcher names another than "no", which it
            also says when none was given.
        cpu: stay on the CPU where there is a GPU.

    Raises:
        UserError: an unsupported precision or kind of launch.
    """
    from_launcher = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if from_launcher == "bf16" or from_launcher == "fp16":
        settings.precision = from_launcher  # type: ignore[assignment]  # one of them
    elif from_launcher != "no":
        raise UserError(f"precision {from_launcher!r} is not supported; use bf16, fp16 or no")
    # An earlier training in this process may have had another precision or device.
    AcceleratorState._reset_state(reset_partial_state=not dist.is_initialized())
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=settings.precision,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_LONGEST_WAIT)],
    )
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise UserError(
            f"{started} processes were started, but each believes to be one of "
            f"{accelerator.num_processes}; on a CPU, add --cpu to `zoo train`"
        )
    if settings.precision == "fp16" and accelerator.scaler is None:
        raise UserError(
            "train.precision is fp16, which without a GPU runs unscaled and loses small "
            "gradients; use bf16 or no"
        )
    if accelerator.distributed_type not in _SUPPORTED:
        raise UserError(
            f"launched as {accelerator.distributed_type.value}, but every process must hold whole "
            f"weights and gradients; launch on CPU, on one GPU or with --multi_gpu"
        )
    return accelerator


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, for the rest of the process.

    Otherwise every large tensor gets fresh pages from the kernel, which fills them with zeros: a
    tenth of the time of a step on a CPU. Where there is no glibc, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


class StopRequest:
    """While entered, SIGTERM and SIGINT are noted instead of obeyed; a second one is obeyed.

    Attributes:
        signal: the number of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other gets signals
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    def wanted(self, looks: bool, device: torch.device) -> int:
        """The signal to stop for, the same on every process, or 0.

        Args:
            looks: whether processes wait for the device anyway; only then they ask one another.
            device: of the training.
        """
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return self.signal
        if not looks:
            return 0
        wanted = torch.tensor(self.signal, device=device)
        dist.all_reduce(wanted, op=dist.ReduceOp.MAX)
        return int(wanted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)
