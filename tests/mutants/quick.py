"""A pytest plugin for runs under a mutant: properties are tried with the same examples each time, and a failing one is not made small."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """After conftest has loaded its own profile; tests are collected later."""
    settings.register_profile("mutants", database=None, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
    settings.load_profile("mutants")
