"""Which output pays which invoice, and that the price of knowing does not grow with the shop."""

from pathlib import Path

import pytest

from gldnode.params import REGTEST
from gldnode.primitives.tx import NULL_OUTPOINT, Tx, TxIn, TxOut, make_tx
from payments.invoice import Invoice
from payments.layout import Watch
from payments.matching import match_outputs, named_invoice
from payments.methods import AddressSource, parse_chain_method
from storage.database import Database
from tests.payments.test_invoice import make
from tests.support.storage_faults import FaultKV
from tests.support.till import XPUB, op_return, open_till

OWN, FIXED, OTHER = b"\x00\x14own", b"\x00\x14fixed", b"\x00\x14other"
ID = "btngpay_" + "A" * 22
SECOND = "btngpay_" + "B" * 22


def tx_of(*outputs: TxOut) -> Tx:
    return make_tx(2, [TxIn(NULL_OUTPOINT, b"", 0)], outputs)


def matches(tx: Tx, script: bytes = FIXED, own_address: bool = False) -> list[tuple[int, str | None]]:
    from msgspec.structs import replace

    known: dict[str, Invoice] = {ID: replace(make(), id=ID, script=script, own_address=own_address)}
    watched = {OWN: Watch("own-invoice"), FIXED: Watch(store_id="s")}
    return [(m.vout, m.invoice_id) for m in match_outputs(tx, watched.get, known.get)]


MEMO = op_return(ID.encode())


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([TxOut(1, OTHER)], []),
        ([TxOut(1, OWN), TxOut(2, OTHER), TxOut(3, OWN)], [(0, "own-invoice"), (2, "own-invoice")]),
        ([TxOut(1, FIXED)], [(0, None)]),
        ([TxOut(1, FIXED), MEMO], [(0, ID)]),
        ([MEMO, TxOut(1, FIXED), TxOut(1, FIXED)], [(1, ID), (2, ID)]),
        ([TxOut(1, FIXED), MEMO, MEMO], [(0, None)]),
        ([TxOut(1, FIXED), MEMO, op_return(SECOND.encode())], [(0, None)]),
        ([TxOut(1, FIXED), op_return(SECOND.encode())], [(0, None)]),
        ([TxOut(1, FIXED), MEMO, op_return(b"hello")], [(0, ID)]),
        ([TxOut(1, OWN), MEMO], [(0, "own-invoice")]),
    ],
)
def test_which_output_pays_which_invoice(outputs: list[TxOut], expected: list[tuple[int, str | None]]) -> None:
    assert matches(tx_of(*outputs)) == expected


def test_a_memo_counts_only_for_the_address_of_its_invoice() -> None:
    tx = tx_of(TxOut(1, FIXED), MEMO)
    assert matches(tx, script=OTHER) == [(0, None)]
    assert matches(tx, own_address=True) == [(0, None)]


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\x6a",
        b"\x6a\x4c",
        b"\x6a\x4c\x1e" + ID.encode()[:-1],
        b"\x6a\x1e" + ID.encode() + b"\x00",
        b"\x6a\x4d\x1e",
        b"\x6a\x1f" + ID.encode(),
        b"\x6a\x03\xff\xff\xff",
        b"\x6a\x51",
        op_return(b"btngpay_0OIl" + b"A" * 18).script_pubkey,
    ],
)
def test_what_is_no_memo(script: bytes) -> None:
    assert named_invoice(tx_of(TxOut(0, script))) is None


@pytest.mark.parametrize("push", [b"\x1e", b"\x4c\x1e", b"\x4d\x1e\x00"])
def test_one_push_in_any_form_is_a_memo(push: bytes) -> None:
    assert named_invoice(tx_of(TxOut(0, b"\x6a" + push + ID.encode()))) == ID


async def test_reads_for_a_block_do_not_grow_with_open_invoices(tmp_path: Path) -> None:
    kv = FaultKV()
    async with open_till(tmp_path, coins=2, database=lambda: Database(kv)) as till:
        invoice = await till.make_invoice("1", expiration_s=100_000)
        reads = []
        for _ in range(2):
            await till.pay(invoice, 10_000_000)
            before = kv.reads
            await till.mine()
            reads.append(kv.reads - before)
            for _ in range(150):
                await till.make_invoice("1", expiration_s=100_000)
        # The second block finds one payment more on the invoice, and nothing else.
        assert reads[1] <= reads[0] + 4


def test_addresses_prepared_ahead_are_those_that_are_derived() -> None:
    method = parse_chain_method(XPUB, REGTEST)
    source, plain = AddressSource(method.text, REGTEST), AddressSource(method.text, REGTEST)
    for index in (0, 1, 2, 7, 8, 3, 4, 5):
        assert source.take(index) == plain.derive(index)
        assert source.undertake()
        assert not source.undertake()
        source.prepare()
    assert [source.take(index) for index in range(6, 400)] == [plain.derive(index) for index in range(6, 400)]
    source.prepare()
    assert [source.take(index) for index in range(400, 480)] == [plain.derive(index) for index in range(400, 480)]
