"""A node in memory, its payments, and its sites on a free port: everything but the wallet."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.app import SiteOptions
from gldnode.address import script_to_address
from gldnode.params import REGTEST
from payments.plugin import PaymentsPlugin
from payments.service import PaymentService
from payments.stores import Store, StoreSettings
from tests.support.host import HostNode, host_node
from tests.support.http import Browser, Running, Wire, running_sites
from tests.support.till import Till

__all__ = ["Shop", "make_address", "open_shop"]


def make_address(number: int) -> str:
    """A P2WPKH address that nobody has the key of."""
    address = script_to_address(b"\x00\x14" + number.to_bytes(20, "big"), REGTEST)
    assert address is not None
    return address


@dataclass
class Shop:
    """What a test of the API needs."""

    node: HostNode
    service: PaymentService
    running: Running
    store: Store
    address: str
    key: str
    till: Till
    """A customer with coins, and blocks."""

    @property
    def anyone(self) -> Browser:
        """Without a key."""
        return self.running.browser

    @property
    def owner(self) -> Browser:
        """With the store's key."""
        return self.running.browser.with_key(self.key)

    @property
    def wire(self) -> Wire:
        return self.running.wire

    async def with_permissions(self, *permissions: str, user_id: str = "") -> Browser:
        """A client whose key has exactly these."""
        key, _ = await self.service.create_api_key("test", permissions, user_id=user_id)
        return self.running.browser.with_key(key)

    async def another_store(self, number: int = 99) -> tuple[Store, Browser]:
        """A second store and a client with all rights there and none here."""
        store = await self.service.create_store(StoreSettings(name=f"Shop {number}"), chain=make_address(number))
        return store, await self.with_permissions(f"unrestricted:{store.id}")

    async def btng_invoice(self, **changes: Any) -> dict[str, Any]:
        """A new invoice through BTNG-PAY."""
        body = {"merchant": self.address, "amount": 1.5, "currency": "GLD", "memo": "Order 1", **changes}
        answer = await self.owner.post("/api/btngpay/invoice", body)
        assert answer.status == 200, answer.text
        return dict(answer.json)


@asynccontextmanager
async def open_shop(
    folder: Path, options: SiteOptions | None = None, flags: Sequence[tuple[str, str]] = ()
) -> AsyncIterator[Shop]:
    """Stops everything at the end."""
    async with host_node(folder, options=flags) as node:
        await node.mine(1)
        plugin = PaymentsPlugin()
        await plugin.start(node)
        try:
            service = plugin.service
            address = make_address(1)
            store = await service.create_store(StoreSettings(name="Corner shop"), chain=address)
            key, _ = await service.create_api_key("till", ["unrestricted"])
            async with running_sites(node, service, options) as running:
                yield Shop(node, service, running, store, address, key, Till(node, plugin, store))
        finally:
            await plugin.stop()
