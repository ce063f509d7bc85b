"""A shop in this process and a browser that visits it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from api.app import SiteOptions
from api.ratelimit import Rate
from tests.support.chromium import Pages, open_chromium
from tests.support.shop import Shop, open_shop
from tests.support.till import XPUB


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    options = SiteOptions(anonymous_rate=Rate(100_000, 60, 100_000))
    async with open_shop(tmp_path_factory.mktemp("shop"), options, [("rate", "USD=2")]) as opened:
        await opened.service.set_chain_method(opened.store.id, XPUB)
        await opened.till.fill_purse(4)
        await opened.till.settle()
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with open_chromium(tmp_path_factory.mktemp("browser")) as opened:
        yield opened
