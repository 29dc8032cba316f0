"""The image pool makes the reference's decisions."""

import random

import torch

from zoo.layers.pool import ImagePool

FAMILIES = ("image_pool",)


class Draws:
    """Passes on what `source` draws and remembers it."""

    def __init__(self, source: random.Random):
        self.source, self.drawn = source, []

    def uniform(self, low, high):
        self.drawn.append(self.source.uniform(low, high))
        return self.drawn[-1]

    def randint(self, low, high):
        self.drawn.append(self.source.randint(low, high))
        return self.drawn[-1]


def test_pool(case):
    config, trace = case.config, case.facts["trace"]
    draws = Draws(random.Random(config["python_random_seed"]))
    pool = ImagePool(config["pool_size"], draws)
    returned = torch.stack([pool(images) for images in case.arrays["input/images"]])
    assert torch.equal(returned, case.arrays["out/images"])
    held = case.arrays["out/pool_at_end"]
    assert len(pool.state()) == len(held)
    assert all(torch.equal(*pair) for pair in zip(pool.state(), held, strict=True))
    assert draws.drawn == trace["draws"]
    decisions = [decision for query in trace["decisions"] for decision in query or ()]
    assert draws.drawn == [value for _, *values in decisions for value in values]
