"""A database whose writes can fail."""

from collections.abc import Iterator

import pytest

from storage.database import Database
from tests.support.storage_faults import FaultKV


@pytest.fixture
def kv() -> FaultKV:
    return FaultKV()


@pytest.fixture
def database(kv: FaultKV) -> Iterator[Database]:
    database = Database(kv)
    yield database
    database.close()
