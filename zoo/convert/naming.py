"""What the tables of parameter names have in common."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Table = Sequence[tuple[str, str]]  # patterns of theirs, and what ours has in their place

SPECTRAL = ((r"\.weight_orig$", ".weight"), (r"\.weight_([uv])$", r".\1"))  # torch's older hook


@dataclass(frozen=True)
class Net:
    """Where a published network is in ours.

    Attributes:
        prefix: of its entries in our state dict, "" or ending in a dot.
        rename: a published name (without the network's) to ours (without the prefix).
    """

    prefix: str
    rename: Callable[[str], str]

    def __call__(self, name: str) -> str:
        """The name in our state dict; names that the tables lack stay as they are."""
        return self.prefix + self.rename(name)


def first_match(name: str, table: Table) -> str:
    """The name, changed by the first line of the table that fits it."""
    for pattern, ours in table:
        if re.search(pattern, name):
            return re.sub(pattern, ours, name)
    return name
