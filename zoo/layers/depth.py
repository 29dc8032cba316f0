"""How many layers of stride 2 fit into an image."""

from typing import Literal

Depth = int | Literal["auto"]


def resolve_depth(wanted: Depth, side: int, *, inner: int, fewest: int, most: int) -> int:
    """`wanted`, or for auto the most layers, from `fewest` to `most`, that fit.

    Args:
        wanted: a number, or auto.
        side: the shorter side of the image, pixels.
        inner: what must be left of it after the halvings, pixels.
        fewest: the result where not even that many fit; sizes are checked elsewhere.
        most: the published number.
    """
    if isinstance(wanted, int):
        return wanted
    fitting = [n for n in range(fewest, most + 1) if inner * 2**n <= side]
    return max(fitting, default=fewest)
