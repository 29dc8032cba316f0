"""Zoo: unpaired image translation, from the recipe to the report.

The public names are loaded on first use, so that `import zoo` costs no import of torch.
"""

import importlib

from zoo import _torchvision

__version__ = "0.1.0"

_torchvision.install()

_HOMES = {
    "train": "zoo.trainer",
    "load_run": "zoo.translation",
    "from_pretrained": "zoo.translation",
    "load_recipe": "zoo.recipe",
    "create_generator": "zoo.create",
    "create_discriminator": "zoo.create",
    "create_loss": "zoo.create",
    "create_method": "zoo.create",
    "list_generators": "zoo.create",
    "list_discriminators": "zoo.create",
    "list_losses": "zoo.create",
    "list_methods": "zoo.create",
}

__all__ = sorted(["__version__", *_HOMES])


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
