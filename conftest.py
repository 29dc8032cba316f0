"""Settings of every test run: one thread, so that sums keep their order; caches of its own."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch loads

import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch

import zoo  # noqa: F401  (makes torchvision importable)
from tests.golden.cases import TESTED, all_cases, find_cases

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--goldens DIR`, see tests/golden/fixtures/README.md."""
    parser.addoption(
        "--goldens",
        metavar="DIR",
        default=os.environ.get("ZOO_GOLDENS"),
        help="folder of parity fixtures to check besides tests/golden/fixtures",
    )


def pytest_configure(config: pytest.Config) -> None:
    """A folder for cached images; refuse `--goldens` without cases, which would pass every test."""
    folder = tempfile.TemporaryDirectory(prefix="zoo-cache-")
    os.environ["ZOO_CACHE"] = folder.name
    config.add_cleanup(folder.cleanup)
    given = config.getoption("goldens")
    if given and not find_cases(Path(given)):
        raise pytest.UsageError(f"--goldens {given}: no JSON with family and case below it")


def pytest_terminal_summary(terminalreporter) -> None:
    """How many parity cases ran, how many were skipped and why."""
    ran, skipped = set(), {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            case = dict(getattr(report, "user_properties", ())).get("golden")
            if case and outcome == "skipped":
                skipped[case] = report.longrepr[2].removeprefix("Skipped: ")
            elif case:
                ran.add(case)
    if not ran and not skipped:
        return
    for case in all_cases(terminalreporter.config.getoption("goldens")):
        if case.family not in TESTED:
            skipped[case.id] = f"{case.family}: no such part yet"
    reasons = Counter(reason for case, reason in skipped.items() if case not in ran)
    terminalreporter.section("golden cases")
    terminalreporter.line(f"{len(ran)} cases ran, {reasons.total()} skipped")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"  {count} {reason}")
