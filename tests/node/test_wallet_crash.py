"""A wallet whose process ends at any write opens again as some moment that was: nothing half, nothing twice."""

import asyncio
from pathlib import Path

from gldnode.primitives.amount import COIN
from gldnode.wallet.builder import Recipient
from gldnode.wallet.manager import WalletManager
from gldnode.wallet.spending import SpendOptions, pay
from gldnode.wallet.views import balances
from gldnode.wallet.wallet import Wallet
from storage.database import Database
from storage.kv import WriteBatch
from storage.memory import MemoryKV
from tests.support.host import ANYONE, HostNode, host_node


class RecordingKV(MemoryKV):
    """Keeps what the database held after each write."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[dict[bytes, bytes]] = []

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        super().write(batch, sync=sync)
        self.moments.append(self.content())


class RecordingNode(HostNode):
    recorded: RecordingKV

    def open_database(self, path: Path, *, write_buffer_bytes: int = 0) -> Database:
        self.recorded = RecordingKV()
        return Database(self.recorded, name=path.name)


async def test_every_moment_leads_to_the_same_wallet(tmp_path: Path) -> None:
    async with host_node(tmp_path, options=[("keypool", "4")], kind=RecordingNode) as node:
        assert isinstance(node, RecordingNode)
        wallets = WalletManager(node, tmp_path / "wallets")
        wallet = await wallets.create("shop")
        await node.mine(2, await wallet.new_script("bech32"))
        await node.mine(100)
        await wallet.synced()
        for _ in range(4):
            await pay(wallet, [Recipient(ANYONE, COIN)], SpendOptions())
            (block,) = await node.mine(1)
            await wallet.synced()
        await node.invalidate(block)
        await wallet.synced()
        await node.mine(2)
        await wallet.synced()
        expected = balances(wallet), {txid: one.record.block for txid, one in wallet.ledger.txs.items()}
        moments = node.recorded.moments
        await wallets.stop()
        loadable = [moment for moment in moments if b"c" in moment and b"m" in moment]
        assert len(loadable) > 10
        for moment in loadable:
            again = await Wallet.load("shop", node, Database(MemoryKV(moment), name="again"))
            follower = asyncio.create_task(again.follow())
            await again.synced()
            found = balances(again), {txid: one.record.block for txid, one in again.ledger.txs.items()}
            assert found == expected
            follower.cancel()
            await asyncio.wait([follower])
