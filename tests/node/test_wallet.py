"""The wallet over a real chain and mempool: receiving, paying, reorganisations, restarts."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gldnode.address import script_to_address
from gldnode.bip32 import mnemonic_of
from gldnode.params import REGTEST
from gldnode.primitives.amount import COIN
from gldnode.wallet import crypter
from gldnode.wallet.builder import Recipient
from gldnode.wallet.errors import WalletError, WalletFault
from gldnode.wallet.manager import WalletManager
from gldnode.wallet.spending import SpendOptions, list_coins, pay
from gldnode.wallet.views import balances
from gldnode.wallet.wallet import OUTPUT_TYPES, Wallet
from tests.support.host import ANYONE, HostNode, host_node
from tests.support.storage_faults import until


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of guessing a passphrase is not under test here."""
    monkeypatch.setattr(crypter, "_N", 1 << 4)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[HostNode]:
    async with host_node(tmp_path, options=[("keypool", "10")]) as host:
        yield host


@pytest.fixture
async def manager(node: HostNode, tmp_path: Path) -> AsyncIterator[WalletManager]:
    wallets = WalletManager(node, tmp_path / "wallets")
    yield wallets
    await wallets.stop()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def funded(node: HostNode, manager: WalletManager, name: str = "shop", blocks: int = 1) -> Wallet:
    """A wallet with `blocks` mature coinbases of 50."""
    wallet = await manager.create(name)
    script = await wallet.new_script("bech32")
    await node.mine(blocks, script)
    await node.mine(100)
    await wallet.synced()
    return wallet


async def test_coinbases_mature_after_a_hundred_blocks(node: HostNode, manager: WalletManager) -> None:
    wallet = await manager.create("shop")
    await node.mine(1, await wallet.new_script("bech32"))
    await wallet.synced()
    assert balances(wallet).immature == 50 * COIN
    await node.mine(99)
    await wallet.synced()
    assert balances(wallet).trusted == 0
    await node.mine(1)
    await wallet.synced()
    assert balances(wallet).trusted == 50 * COIN


@pytest.mark.parametrize("output_type", OUTPUT_TYPES)
async def test_every_address_type_is_paid_and_spends(
    node: HostNode, manager: WalletManager, output_type: str
) -> None:
    wallet = await funded(node, manager)
    script = await wallet.new_script(output_type)
    await pay(wallet, [Recipient(script, 49 * COIN)], SpendOptions())
    await node.mine(1)
    await wallet.synced()
    sent = await pay(wallet, [Recipient(ANYONE, 48 * COIN + COIN // 2)], SpendOptions())
    assert sent.tx.txid in node.pool
    await node.mine(1)
    await wallet.synced()
    assert balances(wallet).trusted == 50 * COIN - 48 * COIN - COIN // 2 - _fees(wallet)


def _fees(wallet: Wallet) -> int:
    ledger = wallet.ledger
    sent = [wtx.tx for wtx in ledger.txs.values() if ledger.debit(wtx.tx)]
    return sum(ledger.debit(tx) - sum(output.amount for output in tx.outputs) for tx in sent)


async def test_payment_shows_as_pending_then_confirms(node: HostNode, manager: WalletManager) -> None:
    payer = await funded(node, manager, "payer")
    shop = await manager.create("shop")
    script = await shop.new_script("bech32")
    sent = await pay(payer, [Recipient(script, COIN)], SpendOptions())
    await eventually(lambda: balances(shop).untrusted_pending == COIN)
    assert balances(shop).trusted == 0
    assert balances(payer).trusted == 50 * COIN - COIN - sent.fee  # own change is trusted
    await node.mine(1)
    await shop.synced()
    assert balances(shop).trusted == COIN


async def test_fee_is_the_feerate_to_the_grain(node: HostNode, manager: WalletManager) -> None:
    wallet = await funded(node, manager)
    for feerate in (1_000, 1_234, 7_777, 100_001):
        sent = await pay(wallet, [Recipient(ANYONE, COIN)], SpendOptions(feerate=feerate))
        signed = sent.tx
        paid = sum(output.amount for output in sent.spent) - sum(output.amount for output in signed.outputs)
        assert paid == sent.fee
        exact = -(-feerate * signed.vsize // 1000)
        assert exact <= paid <= exact + -(-feerate // 1000) * len(signed.inputs)  # a signature may be a byte short
        await node.mine(1)
        await wallet.synced()


async def test_fee_from_the_amount_leaves_nothing(node: HostNode, manager: WalletManager) -> None:
    wallet = await funded(node, manager)
    sent = await pay(wallet, [Recipient(ANYONE, 50 * COIN, pays_fee=True)], SpendOptions())
    assert len(sent.tx.outputs) == 1
    assert sent.tx.outputs[0].amount == 50 * COIN - sent.fee


@pytest.mark.parametrize(
    ("amount", "pays_fee", "message"),
    [
        (51 * COIN, False, "Insufficient funds"),
        (50 * COIN, False, "Insufficient funds"),
        (100, False, "Transaction amount too small"),
        (100, True, "The transaction amount is too small to pay the fee"),
        (3_000, True, "The transaction amount is too small to send after the fee has been deducted"),
    ],
)
async def test_impossible_payments_are_refused(
    node: HostNode, manager: WalletManager, amount: int, pays_fee: bool, message: str
) -> None:
    wallet = await funded(node, manager)
    script = await wallet.new_script("bech32")
    with pytest.raises(WalletError) as caught:
        await pay(wallet, [Recipient(script, amount, pays_fee)], SpendOptions())
    assert caught.value.message == message
    assert caught.value.fault is WalletFault.INSUFFICIENT_FUNDS
    assert len(list_coins(wallet)) == 1


async def test_fee_above_maxtxfee_is_refused(node: HostNode, manager: WalletManager) -> None:
    wallet = await funded(node, manager)
    with pytest.raises(
        WalletError, match=r"Fee exceeds maximum configured by user \(e.g. -maxtxfee, maxfeerate\)"
    ):
        await pay(wallet, [Recipient(ANYONE, COIN)], SpendOptions(feerate=COIN))


async def test_reorganisation_takes_a_payment_back(node: HostNode, manager: WalletManager) -> None:
    wallet = await funded(node, manager)
    sent = await pay(wallet, [Recipient(await wallet.new_script("bech32m"), COIN)], SpendOptions())
    (block,) = await node.mine(1)
    await wallet.synced()
    assert wallet.ledger.depth(wallet.ledger.txs[sent.tx.txid]) == 1
    await node.invalidate(block)
    await wallet.synced()
    assert wallet.ledger.depth(wallet.ledger.txs[sent.tx.txid]) == 0
    await eventually(lambda: sent.tx.txid in wallet.ledger.in_mempool)
    assert balances(wallet).trusted == 50 * COIN - sent.fee
    await node.mine(2)
    await wallet.synced()
    assert wallet.ledger.depth(wallet.ledger.txs[sent.tx.txid]) == 2


async def test_coinbase_of_a_left_block_is_gone(node: HostNode, manager: WalletManager) -> None:
    wallet = await manager.create("shop")
    (block,) = await node.mine(1, await wallet.new_script("bech32"))
    await wallet.synced()
    await node.invalidate(block)
    await node.mine(1)
    await wallet.synced()
    assert balances(wallet).immature == 0
    assert list(wallet.ledger.unspent()) == [] or all(w.record.is_abandoned for _, _, w in wallet.ledger.unspent())


async def test_wallet_comes_back_as_it_was(node: HostNode, manager: WalletManager) -> None:
    wallet = await funded(node, manager, blocks=3)
    await pay(wallet, [Recipient(ANYONE, 70 * COIN)], SpendOptions(comment="rent"))
    await node.mine(1)
    await wallet.synced()
    before = balances(wallet), len(wallet.ledger.txs), len(wallet.ledger.scripts), wallet.ledger.cursor
    await manager.unload("shop")
    await node.mine(2)
    again = await manager.load("shop")
    await again.synced()
    assert (balances(again), len(again.ledger.txs), len(again.ledger.scripts)) == before[:3]
    await pay(again, [Recipient(ANYONE, 70 * COIN)], SpendOptions())
    assert [wtx.record.comment for wtx in again.ledger.txs.values()].count("rent") == 1


async def test_wallet_is_restored_from_its_words(node: HostNode, manager: WalletManager) -> None:
    wallet = await funded(node, manager)
    assert wallet.words is not None
    await pay(wallet, [Recipient(ANYONE, COIN)], SpendOptions())
    await node.mine(1)
    await wallet.synced()
    copy = await manager.create("copy", words=wallet.words)
    await copy.synced()
    assert balances(copy).trusted == balances(wallet).trusted


async def test_encrypted_wallet_pays_only_while_open(node: HostNode, manager: WalletManager) -> None:
    wallet = await funded(node, manager)
    await wallet.encrypt("correct horse")
    assert wallet.is_locked
    with pytest.raises(WalletError) as caught:
        await pay(wallet, [Recipient(ANYONE, COIN)], SpendOptions())
    assert caught.value.fault is WalletFault.UNLOCK_NEEDED
    with pytest.raises(WalletError) as caught:
        wallet.unlock_keys("wrong", 60)
    assert caught.value.fault is WalletFault.PASSPHRASE_INCORRECT
    await wallet.new_script("bech32")  # public keys are enough to receive
    await manager.unload("shop")
    wallet = await manager.load("shop")
    assert wallet.is_locked
    assert wallet.words is None
    wallet.unlock_keys("correct horse", 60)
    await pay(wallet, [Recipient(ANYONE, COIN)], SpendOptions())


async def test_accounts_of_plug_ins_are_followed_but_not_handed_out(
    node: HostNode, manager: WalletManager
) -> None:
    wallet = await funded(node, manager)
    account = await wallet.open_account("store-1")
    assert await wallet.open_account("store-1") is account
    script = await wallet.account_script(account, 7)
    handed_out = {await wallet.new_script("bech32") for _ in range(10)}
    assert script not in handed_out
    await pay(wallet, [Recipient(script, COIN)], SpendOptions())
    await node.mine(1)
    await wallet.synced()
    assert wallet.ledger.is_mine(script)


async def test_paying_many_times_from_unconfirmed_change(node: HostNode, manager: WalletManager) -> None:
    wallet = await funded(node, manager)
    for _ in range(10):
        await pay(wallet, [Recipient(ANYONE, COIN)], SpendOptions())
    assert len(node.pool.txids()) == 10
    await node.mine(1)
    await wallet.synced()
    assert len(wallet.ledger.txs) == 11


async def test_wallet_names_stay_in_the_folder(node: HostNode, manager: WalletManager, tmp_path: Path) -> None:
    for name in ("", "..", "a/b", "../x", "%", "ä", "c d", "."):
        await manager.create(name, blank=True)
    assert sorted(manager.list_dir()) == sorted(("", "..", "a/b", "../x", "%", "ä", "c d", "."))
    assert os.listdir(tmp_path) == ["wallets"]
    for name in ("\0", "\ud800", "x" * 1000):
        with pytest.raises(WalletError):
            await manager.create(name)


async def test_wallets_named_for_start_are_loaded(node: HostNode, manager: WalletManager, tmp_path: Path) -> None:
    await manager.create("one", load_on_startup=True)
    await manager.create("two")
    await manager.stop()
    later = WalletManager(node, tmp_path / "wallets")
    await later.start()
    assert later.names() == ["one"]
    await later.stop()


def test_new_wallets_have_twelve_words() -> None:
    assert len(mnemonic_of(bytes(16)).split()) == 12
    assert script_to_address(b"\x00\x14" + bytes(20), REGTEST) is not None


async def test_a_payment_that_the_mempool_has_not_is_offered_at_start(tmp_path: Path) -> None:
    async with host_node(tmp_path, options=[("keypool", "10"), ("walletbroadcast", "0")]) as node:
        wallets = WalletManager(node, tmp_path / "wallets")
        wallet = await funded(node, wallets)
        sent = await pay(wallet, [Recipient(ANYONE, COIN)], SpendOptions())
        assert sent.tx.txid not in node.pool
        await wallets.unload("shop")
        node.config.flags = {}
        await wallets.load("shop")
        await eventually(lambda: sent.tx.txid in node.pool)
        await wallets.stop()


async def test_notifications_name_wallet_transaction_and_block(node: HostNode, tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    wallets = WalletManager(node, tmp_path / "told", lambda _key, values: told.append((values["w"], values["b"])))
    wallet = await wallets.create("shop")
    (block,) = await node.mine(1, await wallet.new_script("bech32"))
    await wallet.synced()
    await until(lambda: bool(told))  # once the records are written
    assert told == [("shop", block[::-1].hex())]
    await wallets.stop()
