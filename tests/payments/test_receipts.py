"""Receipts: what they prove, and that nothing of them can be changed."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from gldnode.params import MAIN, REGTEST
from payments.errors import PaymentError
from payments.receipts import Receipt, ReceiptError, parse_receipt, verify_receipt
from tests.support.till import open_till


async def test_a_receipt_proves_the_payment_and_nothing_of_it_can_be_changed(tmp_path: Path) -> None:
    async with open_till(tmp_path) as till:
        invoice = await till.make_invoice("1.5")
        with pytest.raises(PaymentError, match="receipt-not-available"):
            till.service.receipt(invoice.id)
        await till.pay(invoice)
        await till.mine(2)
        receipt = parse_receipt(msgspec.json.encode(till.service.receipt(invoice.id)))
        height_of = till.node.chain.height_of
        findings = verify_receipt(receipt, REGTEST, height_of)  # type: ignore[arg-type]
        assert "at height" in findings[1]
        assert "not looked up" in verify_receipt(receipt, REGTEST)[1]
        with pytest.raises(ReceiptError, match="network"):
            verify_receipt(receipt, MAIN)
        with pytest.raises(ReceiptError, match="not at height"):
            verify_receipt(receipt, REGTEST, lambda _: None)
        for forged in _forgeries(receipt):
            with pytest.raises(ReceiptError):
                verify_receipt(forged, REGTEST)


def _forgeries(receipt: Receipt) -> list[Receipt]:
    (paid,) = receipt.payments
    changed = [
        replace(paid, amount="9.00000000"),
        replace(paid, vout=1),
        replace(paid, index=paid.index ^ 1),
        replace(paid, branch=paid.branch[:-1]),
        replace(paid, header="00" * 80),
        replace(paid, raw_tx=paid.raw_tx[:-2] + "01"),
        replace(paid, raw_tx="zz"),
    ]
    return [
        replace(receipt, amount="2"),
        replace(receipt, invoice_id="btngpay_x"),
        replace(receipt, identity="00" * 32),
        replace(receipt, signature="zz"),
        replace(receipt, payments=()),
        *(replace(receipt, payments=(one,)) for one in changed),
    ]


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"network":1}'])
def test_what_is_no_receipt_is_refused(text: bytes) -> None:
    with pytest.raises(ReceiptError):
        parse_receipt(text)
