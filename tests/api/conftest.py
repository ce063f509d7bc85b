"""A shop on a running node in memory, over HTTP. One per module: starting a node takes longer than a test."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api.app import SiteOptions
from api.ratelimit import Rate
from tests.support.shop import Shop, open_shop

GENEROUS = SiteOptions(anonymous_rate=Rate(100_000, 60, 100_000))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One store with a fixed address, a key that may do everything there, and the sites."""
    async with open_shop(tmp_path_factory.mktemp("shop"), GENEROUS, [("rate", "USD=2")]) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at a cost that tests can pay."""
    monkeypatch.setattr("payments.accounts._COST", 1 << 8)
