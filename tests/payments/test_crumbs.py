"""An invoice paid in dust by a stranger stays quick, and a real payment still counts."""

from pathlib import Path

import pytest

from gldnode.primitives.amount import COIN
from gldnode.primitives.tx import TxOut
from payments import ledger
from payments.invoice import FeeMode, Status
from storage.database import Database
from tests.support.storage_faults import FaultKV
from tests.support.till import open_till

DUST = 1_000


async def test_dust_behind_the_first_payments_is_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "FREE_PAYMENTS", 10)
    kv = FaultKV()
    async with open_till(tmp_path, coins=2, database=lambda: Database(kv), network_fee_mode=FeeMode.NEVER) as till:
        invoice = await till.make_invoice("1", expiration_s=100_000)
        for count in (25, 30):
            coin = till.take_coin()
            tx = till.spend([coin], [TxOut(DUST, invoice.script)] * count, fee=20_000)
            await till.send(tx)
            till._purse.append((tx.outpoint(count), tx.outputs[-1].amount))
        await till.mine()
        assert len(till.load(invoice).payments) == 10
        assert any("kept apart" in sentence for sentence in till.service.explain(invoice.id))
        before = kv.reads
        await till.tick()
        assert kv.reads - before < 50
        await till.pay(invoice, COIN - 10 * DUST)
        await till.mine()
        assert till.status(invoice) is Status.SETTLED
        again = await till.make_invoice("1")
        with till.service.database.reader() as reader:
            crumb = next(row[1:] for row, _ in reader.iterate(prefix=b"l"))
        with pytest.raises(Exception, match="payment-not-found"):
            await till.service.assign(till.store.id, again.id, crumb)
        (*_, listed) = till.service.unassigned(till.store.id)
        assert (listed.amount, listed.address, listed.invoice_id) == (DUST, invoice.address, invoice.id)
        count = len(till.service.unassigned(till.store.id))
        assigned = await till.service.assign(till.store.id, invoice.id, crumb)
        assert len(assigned.payments) == 12
        assert len(till.service.unassigned(till.store.id)) == count - 1


async def test_an_invoice_has_a_limit_of_payments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FREE_PAYMENTS", 2)
    monkeypatch.setattr(ledger, "MAX_PAYMENTS", 4)
    async with open_till(tmp_path, coins=7) as till:
        invoice = await till.make_invoice("1", expiration_s=100_000)
        for _ in range(6):
            await till.pay(invoice, COIN // 100)
        await till.mine()
        loaded = till.load(invoice)
        assert len(loaded.payments) == 4
        assert any("2 further payments" in sentence for sentence in till.service.explain(invoice.id))
        (block,) = await till.mine()
        await till.invalidate(block)
        assert len(till.load(invoice).payments) == 4
