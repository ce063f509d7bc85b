"""Options and fixtures of every test."""

import os
from pathlib import Path

import pytest

from tests.support.vectors import vectors_dir


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the campaigns with their full numbers")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--long"):
        os.environ["GLD_TEST_LONG"] = "1"


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of the published test cases."""
    return vectors_dir()
