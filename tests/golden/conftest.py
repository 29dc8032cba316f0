"""Runs tests once for each parity case."""

import pytest

from tests.golden.cases import all_cases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take a `case` run for every case of their module's `FAMILIES`.

    A module's `wants(case)`, if it has that, chooses among them.
    """
    if "case" in metafunc.fixturenames:
        given = metafunc.config.getoption("goldens")
        wants = getattr(metafunc.module, "wants", lambda case: True)
        cases = [c for c in all_cases(given) if c.family in metafunc.module.FAMILIES and wants(c)]
        metafunc.parametrize("case", cases, ids=[c.id for c in cases])


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest, record_property) -> None:
    if "case" in request.fixturenames:
        record_property("golden", request.getfixturevalue("case").id)
