"""The peak memory of one action in a process of its own."""

import ctypes
import gc
import importlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(target: str, **arguments: Any) -> int:
    """Peak memory of a child process while it does something once.

    On a CPU that is its resident memory, interpreter and imports included: subtract that of a child
    with the same imports that does nothing. On a GPU it is what torch had allocated there.

    Args:
        target: "module:function"; called in the child it prepares and returns what is measured.
        **arguments: of the function, values that JSON can hold.

    Raises:
        RuntimeError: the child failed; with the end of what it said.
    """
    command = [sys.executable, "-m", "benchmarks.memory", target, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{target} failed in a child process:\n{done.stderr[-2000:]}")
    return int(done.stdout.split()[-1])


def _measure(target: str, arguments: dict[str, Any]) -> int:
    module, _, function = target.partition(":")
    action = getattr(importlib.import_module(module), function)(**arguments)
    gc.collect()
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    else:
        _forget_peak()
    action()
    return torch.cuda.max_memory_allocated() if on_gpu else _peak()


def _forget_peak() -> None:
    """Start anew from what is resident now, where the system lets us."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5")
    except (OSError, AttributeError):
        return


def _peak() -> int:
    """Not `ru_maxrss` on Linux: a child starts with its parent's there."""
    if _STATUS.is_file():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    print(_measure(sys.argv[1], json.loads(sys.argv[2])))
