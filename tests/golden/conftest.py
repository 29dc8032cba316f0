"""Which cases run, and a line that says so."""

from collections import Counter
from pathlib import Path

import pytest

from tests.golden.cases import FIXTURES, Case, find_cases

TESTED = {
    "cyclegan_nets",
    "cyclegan_step",
    "ugatit_nets",
    "ugatit_step",
    "image_pool",
    "metrics",
}


def all_cases(config: pytest.Config) -> list[Case]:
    """The cases of the repository and of `--goldens`."""
    cases = find_cases(FIXTURES)
    given = config.getoption("goldens")
    if given:
        folder = Path(given)
        found = find_cases(folder) if folder.is_dir() else []
        if not found:
            raise pytest.UsageError(
                f"--goldens {given}: no cases (JSON with family and case) there"
            )
        cases += found
    return cases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take a `case` run once for each case of their module's `FAMILIES`."""
    if "case" in metafunc.fixturenames:
        families = metafunc.module.FAMILIES
        cases = all_cases(metafunc.config)
        chosen = [
            c for c in cases if (c.family in families if families else c.family not in TESTED)
        ]
        metafunc.parametrize("case", chosen, ids=[c.id for c in chosen])


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest, record_property) -> None:
    if "case" in request.fixturenames:
        record_property("golden", request.getfixturevalue("case").id)


def pytest_terminal_summary(terminalreporter) -> None:
    """How many cases ran, how many were skipped and why."""
    ran, skipped = set(), {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            case = dict(getattr(report, "user_properties", ())).get("golden")
            if case and outcome == "skipped":
                skipped[case] = report.longrepr[2].removeprefix("Skipped: ")
            elif case:
                ran.add(case)
    if ran or skipped:
        reasons = Counter(reason for case, reason in skipped.items() if case not in ran)
        why = "; ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        terminalreporter.section("golden cases")
        terminalreporter.line(
            f"{len(ran)} cases ran, {reasons.total()} skipped{f' ({why})' if why else ''}"
        )
