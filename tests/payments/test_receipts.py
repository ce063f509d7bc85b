"""Receipts: what they prove, and that nothing of them can be changed."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gldnode.cli import main
from gldnode.headerfile import HeadersFault, parse_anchor, read_headers
from gldnode.params import MAIN, REGTEST
from payments.errors import PaymentError
from payments.receipts import Receipt, ReceiptError, parse_receipt, verify_receipt
from tests.support.till import Till, open_till


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
        replace(paid, depth=9),
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


async def header_file(till: Till, start: int = 0) -> bytes:
    chain = till.node.chain
    hashes = [chain.block_hash(height) for height in range(start, chain.tip.height + 1)]
    return b"".join(chain.header(one) or b"" for one in hashes if one is not None)


async def test_a_receipt_is_checked_against_a_file_of_headers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_till(tmp_path) as till:
        invoice = await till.make_invoice("1.5")
        await till.pay(invoice)
        await till.mine(3)
        whole, behind = await header_file(till), await header_file(till, 50)
        receipt = msgspec.json.encode(till.service.receipt(invoice.id))
        anchor = f"50:{(till.node.chain.block_hash(50) or b'')[::-1].hex()}"
    assert msgspec.json.decode(receipt)["payments"][0]["depth"] == 3
    (tmp_path / "receipt.json").write_bytes(receipt)
    for name, data in (("all", whole), ("part", behind), ("short", whole[:-240])):
        (tmp_path / name).write_bytes(data)

    def verify(headers: str, *flags: str) -> tuple[int, dict[str, Any]]:
        words = ["-regtest", f"-datadir={tmp_path}", *flags, "verifyreceipt", str(tmp_path / "receipt.json")]
        status = main([*words, "--headers", str(tmp_path / headers)])
        return status, json.loads(capsys.readouterr().out)

    status, found = verify("all")
    assert status == 0
    assert "with 3 confirmations" in found["findings"][1]
    assert verify("part", f"-anchor={anchor}")[0] == 0
    for wrong in (verify("part"), verify("short"), verify("all", f"-anchor={anchor}"), verify("all", "-anchor=x")):
        assert wrong[0] == 1
        assert not wrong[1]["valid"]


def test_headers_that_are_no_chain_are_refused() -> None:
    genesis = REGTEST.genesis.header.serialize()
    for data in (b"", genesis[:-1], genesis + genesis, genesis + bytes(80), bytes(80)):
        with pytest.raises(HeadersFault):
            read_headers(data, REGTEST)
    anchor = (0, bytes(REGTEST.genesis.hash))
    with pytest.raises(HeadersFault):
        read_headers(genesis + genesis, REGTEST, anchor)
    assert read_headers(genesis, REGTEST, anchor).tip_height == 0
    for text in ("", "5", "x:" + "00" * 32, "5:zz"):
        with pytest.raises(HeadersFault):
            parse_anchor(text)
