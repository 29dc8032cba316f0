"""What a recipe describes, in words, before any data is read."""

import torch

from zoo.accumulate import price, refuse_inexact
from zoo.provenance import count_parameters
from zoo.recipe import dump_recipe
from zoo.runs import build_method
from zoo.schema import Recipe


def describe(recipe: Recipe) -> str:
    """The resolved recipe, its networks' parameters, the price of accumulation; reads no data.

    Raises:
        UserError: `train.accumulate` would not be exact.
    """
    with torch.device("meta"):
        method = build_method(recipe, None)
    train = recipe.train
    refuse_inexact(method, train.batch, train.accumulate)
    counts = count_parameters(method)
    lines = [dump_recipe(recipe).rstrip(), "", "# networks"]
    for name, network in method.named_children():
        resolved = getattr(network, "resolved", None)
        if name in counts:
            extra = f"  {resolved}" if resolved else ""
            lines.append(f"#   {name}: {counts[name]:,} parameters{extra}")
    lines.append(f"#   together: {sum(counts.values()):,} parameters")
    if train.accumulate > 1:
        lines += ["", "# train.accumulate", f"#   {price(method, train.batch, train.accumulate)}"]
    return "\n".join(lines)
