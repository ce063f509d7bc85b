"""Payments to a fixed merchant address: by memo, by claim, by hand."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gldnode.address import script_to_address
from gldnode.messages import sign_message
from gldnode.params import REGTEST
from gldnode.primitives.amount import COIN
from gldnode.primitives.hashes import to_display_hex
from gldnode.primitives.tx import Tx, TxOut
from payments.claims import claim_text
from payments.errors import PaymentError
from payments.invoice import Invoice, Status
from payments.service import BtngInvoiceDraft, Claim
from tests.support.chain import Key
from tests.support.till import MERCHANT, Till, op_return, open_till


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    async with open_till(tmp_path, chain=MERCHANT, coins=2) as opened:
        yield opened


async def make(till: Till, amount: str = "1") -> Invoice:
    return (await till.service.create_btng_invoice(till.store.id, BtngInvoiceDraft(MERCHANT, amount))).invoice


async def send(till: Till, *outputs: TxOut) -> Tx:
    return await till.send(till.spend([till.take_coin()], outputs))


def claim_of(invoice: Invoice, tx: Tx, **fields: str) -> Claim:
    return Claim(invoice.id, to_display_hex(tx.txid), **fields)


async def test_the_memo_names_the_invoice(till: Till) -> None:
    first, second = await make(till), await make(till)
    await till.pay(second, memo=True)
    assert [till.status(i) for i in (first, second)] == [Status.NEW, Status.PROCESSING]


async def test_two_memos_name_nobody(till: Till) -> None:
    first, second = await make(till), await make(till)
    memos = [op_return(i.id.encode()) for i in (first, second)]
    await send(till, TxOut(COIN, first.script), *memos)
    assert [till.status(i) for i in (first, second)] == [Status.NEW] * 2
    assert [u.amount for u in till.service.unassigned(till.store.id)] == [COIN]


async def test_a_claim_by_txid_is_taken_where_it_is_unmistakable(till: Till) -> None:
    invoice, other = await make(till, "1"), await make(till, "2")
    tx = await send(till, TxOut(COIN, invoice.script))
    claimed = await till.service.claim(claim_of(invoice, tx))
    assert claimed.payments[0].claimed == "amount"
    await till.mine()
    assert till.status(invoice) is Status.SETTLED
    assert till.service.unassigned(till.store.id) == []
    with pytest.raises(PaymentError, match="payment-already-claimed"):
        await till.service.claim(claim_of(other, tx))
    assert (await till.service.claim(claim_of(invoice, tx))).id == invoice.id


async def test_a_claim_that_could_be_a_neighbours_needs_a_proof(till: Till) -> None:
    invoice, _ = await make(till), await make(till)
    tx = await send(till, TxOut(COIN, invoice.script))
    with pytest.raises(PaymentError) as caught:
        await till.service.claim(claim_of(invoice, tx))
    assert (caught.value.code, caught.value.status) == ("claim-proof-required", 409)
    assert caught.value.extra["messageToSign"] == claim_text(invoice.id, tx.outpoint(0), REGTEST)
    assert till.status(invoice) is Status.NEW


async def test_a_payment_from_before_the_invoice_needs_a_proof(till: Till) -> None:
    first = await make(till, "3")
    tx = await send(till, TxOut(COIN, first.script))
    till.pass_time(5)
    invoice = await make(till, "1")
    with pytest.raises(PaymentError, match="claim-proof-required"):
        await till.service.claim(claim_of(invoice, tx))


async def test_the_key_that_paid_proves_the_claim(till: Till) -> None:
    key = Key(7)
    payer = script_to_address(b"\x76\xa9\x14" + key.script[2:] + b"\x88\xac", REGTEST)
    assert payer is not None
    payer_script = b"\x76\xa9\x14" + key.script[2:] + b"\x88\xac"
    purse = await send(till, TxOut(3 * COIN, payer_script))
    await till.mine()
    invoice, neighbour = await make(till), await make(till)
    tx = p2pkh_payment(key, purse, payer_script, TxOut(COIN, invoice.script))
    await till.send(tx)
    text = claim_text(invoice.id, tx.outpoint(0), REGTEST)
    wrong = sign_message(Key(8).secret, text)
    for fields in (
        {"proof": wrong},
        {"from_address": payer, "proof": wrong},
        {"from_address": payer, "proof": "?"},
    ):
        with pytest.raises(PaymentError):
            await till.service.claim(claim_of(invoice, tx, **fields))
    stranger = claim_of(neighbour, tx, from_address=payer, proof=sign_message(key.secret, text))
    with pytest.raises(PaymentError, match="wrong-proof"):
        await till.service.claim(stranger)
    proof = sign_message(key.secret, text)
    claimed = await till.service.claim(claim_of(invoice, tx, from_address=payer, proof=proof))
    assert claimed.payments[0].claimed == "proof"


def p2pkh_payment(key: Key, purse: Tx, script: bytes, output: TxOut) -> Tx:
    from gldnode.crypto.secp256k1 import sign_ecdsa
    from gldnode.primitives.hashes import sha256d
    from gldnode.primitives.tx import TxIn, make_tx

    change = TxOut(purse.outputs[0].amount - output.amount - 10_000, script)
    draft = make_tx(2, [TxIn(purse.outpoint(0), script, 0xFFFFFFFF)], [output, change])
    signature = sign_ecdsa(key.secret, sha256d(draft.raw + b"\x01\x00\x00\x00")) + b"\x01"
    script_sig = bytes((len(signature),)) + signature + b"\x21" + key.pubkey
    return make_tx(2, [TxIn(purse.outpoint(0), script_sig, 0xFFFFFFFF)], [output, change])


async def test_an_unknown_transaction_changes_nothing(till: Till) -> None:
    invoice = await make(till)
    same = await till.service.claim(Claim(invoice.id, "ab" * 32))
    assert same == invoice


async def test_what_is_refused(till: Till) -> None:
    invoice = await make(till)
    small = await send(till, TxOut(COIN - 1, invoice.script))
    elsewhere = await send(till, TxOut(COIN, b"\x00\x14" + bytes(20)))
    for tx, code in ((small, "payment-too-small"), (elsewhere, "payment-to-another-address")):
        with pytest.raises(PaymentError) as caught:
            await till.service.claim(claim_of(invoice, tx))
        assert (caught.value.code, caught.value.status) == (code, 409)
    for txid in ("", "zz" * 32, "ab" * 31):
        with pytest.raises(PaymentError) as caught:
            await till.service.claim(Claim(invoice.id, txid))
        assert caught.value.status == 422
    with pytest.raises(PaymentError, match="invoice-not-found"):
        await till.service.claim(Claim("btngpay_" + "1" * 22, "ab" * 32))
    assert till.load(invoice) == invoice


async def test_parallel_claims_of_one_output_give_it_to_one_invoice(till: Till) -> None:
    tx = await send(till, TxOut(COIN, (await make(till, "5")).script))
    invoices = [await make(till, "1") for _ in range(2)]
    outpoint = bytes(tx.outpoint(0))
    wishes = [till.service.assign(till.store.id, i.id, outpoint) for i in invoices]
    results = await asyncio.gather(*wishes, return_exceptions=True)
    assert sum(isinstance(result, PaymentError) for result in results) == 1
    assert sum(len(till.load(i).payments) for i in invoices) == 1


async def test_a_claimed_payment_is_followed_through_a_reorganisation(till: Till) -> None:
    invoice = await make(till)
    tx = await send(till, TxOut(COIN, invoice.script))
    (block,) = await till.mine()
    await till.service.claim(claim_of(invoice, tx))
    assert till.status(invoice) is Status.SETTLED
    await till.invalidate(block)
    assert till.load(invoice).payments[0].height == -1
    await till.mine(2)
    assert till.load(invoice).payments[0].height > 0


async def test_unassigned_payments_follow_the_chain(till: Till) -> None:
    invoice = await make(till, "9")
    await send(till, TxOut(COIN, invoice.script))
    (block,) = await till.mine()
    height = till.node.chain.tip.height
    assert [u.height for u in till.service.unassigned(till.store.id)] == [height]
    await till.invalidate(block)
    assert [u.height for u in till.service.unassigned(till.store.id)] == [-1]
    await till.mine(2)
    assert [u.height for u in till.service.unassigned(till.store.id)] == [height]
