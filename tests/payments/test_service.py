"""The service: stores, keys, creation with its refusals, lists, repetition."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gldnode.primitives.amount import COIN
from payments.errors import PaymentError, ValidationError
from payments.invoice import FeeMode, Invoice, SpeedPolicy, Status
from payments.plugin import PaymentsPlugin
from payments.service import BtngInvoiceDraft, Idempotency, InvoiceDraft, InvoiceFilter
from payments.stores import DepthRule, StoreSettings
from payments.upkeep import tidy
from tests.support.host import host_node
from tests.support.till import MERCHANT, XPUB, Till, open_till


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    async with open_till(tmp_path, coins=0, options=[("rate", "USD=2"), ("rate", "JPY=300")]) as opened:
        yield opened


async def test_a_node_without_stores_leaves_nothing_on_disk(tmp_path: Path) -> None:
    async with host_node(tmp_path) as node:
        plugin = PaymentsPlugin()
        await plugin.start(node)
        service = plugin.service
        assert (service.stores(), service.api_keys(), service.authenticate("x")) == ([], [], None)
        assert service.invoice("btngpay_" + "1" * 22) is None
        with pytest.raises(PaymentError, match="store-not-found"):
            await service.create_invoice("none", InvoiceDraft("1"))
        assert not node.payments_dir.exists()
        await plugin.stop()


async def test_keys_are_kept_as_hashes_only(till: Till) -> None:
    text, record = await till.service.create_api_key("till", ["btcpay.store.CanCreateInvoice:" + till.store.id])
    assert record.permissions == (f"btcpay.store.cancreateinvoice:{till.store.id}",)
    assert len(record.id) == 7
    assert till.service.authenticate(text) == record
    assert till.service.authenticate(text[:-1] + "g") is None
    with till.service.database.reader() as rows:
        assert all(text.encode() not in value for _, value in rows.iterate())
    assert await till.service.revoke_api_key(record.id)
    assert till.service.authenticate(text) is None
    assert not await till.service.revoke_api_key(record.id)


@pytest.mark.parametrize("permission", ["", "btcpay", "btcpay.store.x:", "unrestricted:a b", "btcpay..x", "\x00"])
async def test_unknown_permissions_are_refused(till: Till, permission: str) -> None:
    with pytest.raises(ValidationError):
        await till.service.create_api_key("x", [permission])


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 51},
        {"name": "x", "invoice_expiration": 59},
        {"name": "x", "monitoring_expiration": 25 * 86_400},
        {"name": "x", "payment_tolerance": 101 * 10**8},
    ],
)
async def test_store_settings_are_checked(till: Till, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await till.service.create_store(StoreSettings(**fields))


@pytest.mark.parametrize(
    "config",
    [
        "",
        "nonsense",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        XPUB[:-1] + "x",
        "wpkh(" + XPUB + "/0)",
        "wpkh(" + XPUB + "/0/*",
        "combo(" + XPUB + "/0/*)",
        "x" * 5000,
    ],
)
async def test_a_wrong_payment_method_is_refused(till: Till, config: str) -> None:
    with pytest.raises(ValidationError) as caught:
        await till.service.set_chain_method(till.store.id, config)
    assert caught.value.problems[0].path == "config"


async def test_every_kind_of_payment_method_gives_addresses(till: Till) -> None:
    seen = set()
    for config in (
        XPUB,
        f"{XPUB}-[legacy]",
        f"{XPUB}-[p2sh]",
        f"{XPUB}-[taproot]",
        f"wpkh([d34db33f/84h/1h/0h]{XPUB}/5/*)",
    ):
        await till.service.set_chain_method(till.store.id, config)
        invoice = await till.make_invoice("1")
        assert [(0, invoice.address)] == list(till.service.preview_addresses(config, 0, 1))
        seen.add(invoice.address)
    assert len(seen) == 5


async def test_the_index_belongs_to_the_descriptor_and_not_to_the_store(till: Till) -> None:
    other = await till.service.create_store(StoreSettings(name="Other"), chain=f"wpkh([d34db33f/84h]{XPUB}/0/*)")
    first = await till.make_invoice("1")
    second = (await till.service.create_invoice(other.id, InvoiceDraft("1", "GLD"))).invoice
    assert (first.key_index, second.key_index) == (0, 1)


async def test_a_fixed_address_belongs_to_one_store(till: Till) -> None:
    store = await till.service.create_store(StoreSettings(name="Fixed"), chain=MERCHANT)
    with pytest.raises(ValidationError, match="already in use"):
        await till.service.create_store(StoreSettings(name="Thief"), chain=MERCHANT)
    found = till.service.merchant_store(MERCHANT)
    assert found is not None
    assert found.id == store.id
    assert till.service.merchant_store("nonsense") is None


AMOUNTS = [
    "-1",
    "",
    "abc",
    "1e999999999",
    "NaN",
    "Infinity",
    "1_000",
    " 12 ",
    "-0",
    "१२",
    "0.000000001",
    "1" * 30,
    "100000001",
]


@pytest.mark.parametrize("amount", AMOUNTS)
async def test_amounts_that_are_refused(till: Till, amount: str) -> None:
    with pytest.raises(ValidationError) as caught:
        await till.make_invoice(amount)
    assert caught.value.problems[0].path == "Amount"
    assert till.service.list_invoices(till.store.id, InvoiceFilter()).invoices == []


async def test_other_refusals(till: Till) -> None:
    for fields in (
        {"expiration_s": 0},
        {"expiration_s": 10**12},
        {"monitoring_s": -1},
        {"payment_tolerance": "101"},
        {"payment_tolerance": "x"},
        {"payment_methods": ("XMR-CHAIN",)},
        {"memo": "x" * 1025},
        {"memo": "a\x00b"},
        {"memo": "a\u202eb"},
        {"callback_url": "ftp://x"},
    ):
        with pytest.raises(ValidationError):
            await till.make_invoice("1", **fields)
    for draft, code in (
        (InvoiceDraft("1", "EUR"), "rate-unavailable"),
        (InvoiceDraft("0.00000001", "GLD"), "amount-too-low"),
    ):
        with pytest.raises(PaymentError) as caught:
            await till.service.create_invoice(till.store.id, draft)
        assert caught.value.code == code
    for amount in ("0", "0.00"):
        with pytest.raises(ValidationError):
            await till.service.create_btng_invoice(till.store.id, BtngInvoiceDraft(till.store.id, amount))


async def test_without_a_payment_method_there_is_no_invoice(till: Till) -> None:
    await till.service.remove_chain_method(till.store.id)
    with pytest.raises(PaymentError, match="No wallet has been linked"):
        await till.make_invoice("1")


async def test_fiat_prices_freeze_their_rate(till: Till) -> None:
    invoice = (await till.service.create_invoice(till.store.id, InvoiceDraft("5.00", "usd"))).invoice
    assert (invoice.currency, invoice.price, invoice.rate) == ("USD", 5 * COIN, 2 * 10**12)
    yen = (await till.service.create_invoice(till.store.id, InvoiceDraft("1000.4", "JPY"))).invoice
    assert yen.price == 1000 * COIN


async def test_limits_and_depths_of_the_store(till: Till) -> None:
    await till.service.update_store(
        till.store.id,
        {
            "minimum_amount": COIN,
            "maximum_amount": 10 * COIN,
            "depth_by_amount": (DepthRule(5 * COIN, 4),),
            "network_fee_mode": FeeMode.ALWAYS,
        },
    )
    for amount in ("0.5", "11"):
        with pytest.raises(ValidationError):
            await till.make_invoice(amount)
    assert (await till.make_invoice("4", speed_policy=SpeedPolicy.HIGH)).depth == 0
    assert (await till.make_invoice("5", speed_policy=SpeedPolicy.HIGH)).depth == 4
    assert (await till.make_invoice("5")).next_fee > 0


async def test_zero_amount_needs_no_address_and_is_settled(till: Till) -> None:
    invoice = await till.make_invoice("0")
    assert till.status(invoice) is Status.SETTLED
    assert invoice.address == ""


def repeat(key: str = "k", body: bytes = b"body") -> Idempotency:
    return Idempotency("me", "POST /x", key, body, lambda invoice: invoice.id.encode())


async def test_a_hundred_identical_creations_make_one_invoice(till: Till) -> None:
    draft = InvoiceDraft("1", "GLD")
    sent = await asyncio.gather(
        *(till.service.create_invoice(till.store.id, draft, idempotency=repeat()) for _ in range(100))
    )
    assert len({one.invoice.id for one in sent}) == 1
    assert sum(one.stored is None for one in sent) == 1
    assert {one.stored for one in sent} == {None, sent[0].invoice.id.encode()}
    with pytest.raises(PaymentError, match="idempotency-key-reused"):
        await till.service.create_invoice(till.store.id, draft, idempotency=repeat(body=b"other"))


async def test_parallel_creations_never_share_an_address(till: Till) -> None:
    invoices = await asyncio.gather(*(till.make_invoice("1") for _ in range(200)))
    assert len({invoice.address for invoice in invoices}) == 200


async def test_lists_are_newest_first_and_paged(till: Till) -> None:
    made: list[Invoice] = []
    for number in range(7):
        till.pass_time(1)
        metadata = b'{"orderId":"o%d","buyerEmail":"Ann@x.y"}' % (number % 2)
        made.append(await till.make_invoice("1", metadata=metadata))
    made.reverse()
    ids = [invoice.id for invoice in made]
    listed = till.service.list_invoices

    def found(**fields: Any) -> list[str]:
        return [i.id for i in listed(till.store.id, InvoiceFilter(**fields)).invoices]

    assert found() == ids
    assert found(skip=2, take=3) == ids[2:5]
    page = listed(till.store.id, InvoiceFilter(take=3))
    rest = listed(till.store.id, InvoiceFilter(take=10, cursor=page.cursor))
    assert [i.id for i in (*page.invoices, *rest.invoices)] == ids
    assert rest.cursor is None
    assert found(order_ids=("o0",)) == ids[::2]
    assert found(order_ids=("o0", "o1")) == ids
    assert found(text="ann@") == ids
    assert found(text=ids[3].lower()) == [ids[3]]
    assert found(text=ids[3].lower(), order_ids=("o0",)) == []
    assert found(start=made[2].created_at, end=made[1].created_at) == ids[1:3]
    await till.service.mark_invoice(ids[0], Status.SETTLED)
    assert found(statuses=(Status.SETTLED,)) == [ids[0]]
    await till.service.archive(ids[0])
    assert found() == ids[1:]
    assert found(include_archived=True) == ids
    await till.service.unarchive(ids[0])
    with pytest.raises(PaymentError, match="already-unarchived"):
        await till.service.unarchive(ids[0])
    for cursor in ("", "x", "1", "٣-a", "1-é"):
        with pytest.raises(ValidationError):
            found(cursor=cursor)


async def test_new_metadata_moves_the_order_id(till: Till) -> None:
    invoice = await till.make_invoice("1", metadata=b'{"orderId":"a"}')
    await till.service.set_metadata(invoice.id, b'{"orderId":"b"}')
    assert till.service.list_invoices(till.store.id, InvoiceFilter(order_ids=("a",))).invoices == []
    assert len(till.service.list_invoices(till.store.id, InvoiceFilter(order_ids=("b",))).invoices) == 1


async def test_waiting_for_a_change(till: Till) -> None:
    invoice = await till.make_invoice("1")
    waiting = asyncio.create_task(till.service.wait_invoice(invoice.id, invoice.revision, 5))
    await asyncio.sleep(0.01)
    await till.service.mark_invoice(invoice.id, Status.INVALID)
    changed = await waiting
    assert changed is not None
    assert till.service.state(changed).status is Status.INVALID
    assert await till.service.wait_invoice(invoice.id, changed.revision, 0.01) == changed


async def test_an_old_tip_takes_no_invoices(tmp_path: Path) -> None:
    async with open_till(tmp_path, coins=0, options=[("maxtipage", "3600")]) as till:
        with pytest.raises(PaymentError) as caught:
            await till.make_invoice("1")
        assert (caught.value.code, caught.value.status) == ("not-ready", 503)
        await till.service.update_store(till.store.id, {"allow_unsynced": True})
        await till.make_invoice("1")


async def test_old_answers_and_deliveries_are_forgotten(till: Till) -> None:
    hook = await till.service.create_webhook(
        till.store.id, "http://127.0.0.1:9/nobody", automatic_redelivery=False
    )
    draft = InvoiceDraft("1", "GLD")
    first = await till.service.create_invoice(till.store.id, draft, idempotency=repeat())
    while not till.service.deliveries(hook.id):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await tidy(till.service.database, till.now)
    assert len(till.service.deliveries(hook.id)) == 1
    again = await till.service.create_invoice(till.store.id, draft, idempotency=repeat())
    assert again.invoice.id == first.invoice.id
    till.pass_time(61 * 86_400)
    await tidy(till.service.database, till.now)
    assert till.service.deliveries(hook.id) == []
    with till.service.database.reader() as rows:
        assert not list(rows.iterate(prefix=b"g"))
        assert not list(rows.iterate(prefix=b"G"))
    later = await till.service.create_invoice(till.store.id, draft, idempotency=repeat())
    assert later.invoice.id != first.invoice.id
