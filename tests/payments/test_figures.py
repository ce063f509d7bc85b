"""Figures that are kept with the payments are those that the payments make."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from gldnode.primitives.amount import COIN
from payments.errors import PaymentError
from payments.figures import DAY_S, Figures, MethodSum, add_figures, average_text, period_rows, share_text
from payments.invoice import Status
from payments.layout import SCHEMA_VERSION, figures_key
from payments.recount import migrate_counts, migrate_figures, recompute, stored_figures
from payments.service import InvoiceFilter
from storage.kv import WriteBatch
from storage.schema import SCHEMA_KEY, ensure_schema
from tests.support.campaign import campaign, campaign_seed
from tests.support.till import Till, open_till


def check(till: Till) -> None:
    with till.service.database.reader() as reader:
        assert stored_figures(reader) == {
            place: figures for place, figures in recompute(reader).items() if figures != Figures()
        }


async def step(till: Till, rng: random.Random) -> None:
    """One thing that happens to a shop."""
    invoices = till.service.list_invoices(till.store.id, InvoiceFilter(include_archived=True)).invoices
    match rng.choice(("make", "pay", "pay", "part", "mine", "mine", "mark", "wait", "reorganise")):
        case "make":
            await till.make_invoice(rng.choice(("0.5", "1.25", None)))
        case "pay" if invoices and till.has_coins:
            await till.pay(rng.choice(invoices), rng.randrange(COIN // 100, COIN // 4))
        case "part" if invoices and till.has_coins:
            await till.pay(rng.choice(invoices), COIN // 50)
        case "mine":
            await till.mine()
        case "mark" if invoices:
            chosen = rng.choice(invoices)
            with suppress(PaymentError):  # what may not be marked now is not the matter here
                await till.service.mark_invoice(chosen.id, rng.choice((Status.SETTLED, Status.INVALID)))
        case "wait":
            till.pass_time(rng.choice((600, DAY_S // 2, DAY_S)))
            await till.mine()
            await till.tick()
        case "reorganise" if till.node.chain.tip.height > 110:
            await till.invalidate(till.node.chain.tip.hash)
            await till.mine(2)


@pytest.mark.asyncio
async def test_kept_figures_are_those_made_from_scratch(tmp_path: Path) -> None:
    rng = random.Random(campaign_seed("figures"))
    async with open_till(tmp_path, coins=3) as till:
        for _ in range(campaign(40, 1500)):
            await step(till, rng)
            check(till)
        with till.service.database.reader() as reader:
            assert stored_figures(reader)


@pytest.mark.asyncio
async def test_a_reorganisation_that_kills_a_settled_payment_takes_it_out_of_the_figures(tmp_path: Path) -> None:
    async with open_till(tmp_path) as till:
        invoice = await till.make_invoice("1.5")
        paid = await till.pay(invoice)
        (block,) = await till.mine()
        now = till.now
        assert till.service.figures(till.store.id, now, now).total == 150_000_000
        rival = till.rival(paid, [])
        await till.invalidate(block)
        await till.mine_only([rival])
        await till.mine(1)
        check(till)
        assert till.service.figures(till.store.id, 0, now).count == 0


@pytest.mark.asyncio
async def test_a_database_from_before_gets_its_figures(tmp_path: Path) -> None:
    async with open_till(tmp_path) as till:
        invoice = await till.make_invoice("1.5")
        await till.pay(invoice)
        await till.mine()
        kv = till.service.database.kv
        with till.service.database.reader() as reader:
            kept = stored_figures(reader)
        batch = WriteBatch()
        for store_id, day in kept:
            batch.delete(figures_key(store_id, day))
        batch.put(SCHEMA_KEY, b"1")
        kv.write(batch, sync=True)
        ensure_schema(kv, SCHEMA_VERSION, {1: migrate_figures, 2: migrate_counts})
        with till.service.database.reader() as reader:
            assert stored_figures(reader) == kept != {}


@pytest.mark.asyncio
async def test_a_statistic_reads_a_row_a_day_whatever_the_history(tmp_path: Path) -> None:
    async with open_till(tmp_path) as till:
        for _ in range(30):
            await till.make_invoice("0.1")
        with till.service.database.reader() as reader:
            rows = list(reader.iterate(prefix=figures_key(till.store.id), keys_only=True))
        assert len(rows) == 1


def test_periods_and_texts() -> None:
    def of(amount: int) -> Figures:
        return Figures({"CHAIN": MethodSum(1, amount)}, {})

    monday = 1_800_230_400  # 2027-01-18
    days = [
        (monday, of(1)),
        (monday + 6 * DAY_S, of(2)),
        (monday + 7 * DAY_S, of(4)),
        (monday + 14 * DAY_S, of(8)),
    ]
    weeks = [(name, figures.total) for name, _, figures in period_rows(days, "week")]
    assert weeks == [("2027-W03", 3), ("2027-W04", 4), ("2027-W05", 8)]
    months = [(name, figures.count, figures.total) for name, _, figures in period_rows(days, "month")]
    assert months == [("2027-01", 3, 7), ("2027-02", 1, 8)]
    assert period_rows([(monday, Figures({}, {"New": 3}))], "day") == []
    assert add_figures([]) == Figures()
    assert (share_text(1, 3), share_text(1, 1), share_text(0, 0), share_text(1, 2)) == ("33.33", "100", "0", "50")
    assert (average_text(375_000_000, 2), average_text(0, 0)) == ("1.875", "0")
