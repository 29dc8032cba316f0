"""Makes torchvision importable beside a CPU build of torch that it was not compiled for.

PyPI's torchvision carries compiled operators; beside a torch of another build they do not load,
and `import torchvision` fails on "operator torchvision::nms does not exist" although nothing here
needs them. At the first import of torchvision the finder below tries the plain import; only if that
very error appears does it declare the two missing operators and import again. Healthy installs
are left alone. Standard library only: registering the finder imports no torch.
"""

import importlib.abc
import importlib.util
import sys

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class _Finder(importlib.abc.MetaPathFinder):
    """Acts once, on the first import of torchvision, then takes itself off the path."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torchvision")
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Runs torchvision's own loader, a second time if only the operators were missing."""

    def __init__(self, inner):
        self._inner = inner

    def create_module(self, spec):
        return self._inner.create_module(spec)

    def exec_module(self, module):
        try:
            self._inner.exec_module(module)
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            for name in [name for name in sys.modules if name.startswith("torchvision.")]:
                del sys.modules[name]
            _declare_operators()
            self._inner.exec_module(module)


def _declare_operators() -> None:
    import torch

    for name, schema in _SCHEMAS.items():
        torch.library.define(f"torchvision::{name}", schema)


def install() -> None:
    """Register the finder, once; does nothing when torchvision is already imported."""
    if "torchvision" in sys.modules or any(isinstance(f, _Finder) for f in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
