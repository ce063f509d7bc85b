"""Options and fixtures of every test."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.vectors import vectors_dir

# What a test draws and checks must not hang on how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the campaigns with their full numbers")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--long"):
        os.environ["GLD_TEST_LONG"] = "1"


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of the published test cases."""
    return vectors_dir()
