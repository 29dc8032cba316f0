"""The memory that a training line tells of is that of its own process."""

import json
import os
import subprocess
import sys

import numpy as np

from tests.training import ROOT, recipe_of, train_here
from zoo.runlog import peak_bytes

GROWS = """
import numpy
from zoo.runlog import peak_bytes
before = peak_bytes()
held = numpy.ones(200_000_000, "u1")
during = peak_bytes()
del held
print(before, during, peak_bytes())
"""


def test_it_grows_with_what_is_held_and_is_not_that_of_the_parent():
    held = np.ones(600_000_000, "u1")  # what getrusage would tell of a child
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", GROWS]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    before, during, after = map(int, said.stdout.split())
    assert during - before > 190_000_000
    assert after > during - 2**21  # a peak does not fall, but for what the kernel rounds
    assert before < 600_000_000 < held.nbytes + before <= peak_bytes()


def test_every_training_line_has_it(tmp_path):
    run = train_here(recipe_of("cyclegan", "train.images=8"), tmp_path / "run")
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    peaks = [line["peak_bytes"] for line in lines]
    assert len(peaks) == 2
    assert 50_000_000 < peaks[0] < peaks[1] + 2**21
