"""Settings of every test run: one thread, so that sums keep their order."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch loads

import pytest
import torch

import zoo  # noqa: F401  (makes torchvision importable)

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--goldens DIR`, see tests/golden/fixtures/README.md."""
    parser.addoption(
        "--goldens",
        metavar="DIR",
        default=os.environ.get("ZOO_GOLDENS"),
        help="folder of parity fixtures to check besides tests/golden/fixtures",
    )
