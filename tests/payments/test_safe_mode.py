"""Two branches of nearly equal work: the shop waits until one of them has won."""

from collections.abc import Iterator, ValuesView
from pathlib import Path
from typing import Any

import pytest

from gldnode.chain.entry import BlockEntry
from payments.invoice import Status
from tests.support.till import Till, open_till


async def fork(till: Till) -> None:
    """Two blocks on the same parent, both known and valid."""
    (first,) = await till.mine()
    await till.invalidate(first)
    await till.mine()
    await till.node.run_in_validation(lambda: till.node.chainstate.reconsider(first))
    await till.settle()
    rival = till.node.chain.rival()
    assert rival is not None
    assert rival.height == rival.fork_height + 1 == till.node.chain.tip.height


async def test_a_rival_is_found_while_a_block_arrives(tmp_path: Path) -> None:
    """The validation thread may add an entry between any two calls of the thread that looks."""

    class Growing(dict[bytes, BlockEntry]):
        grown = False

        def values(self) -> Any:
            if self.grown:
                return super().values()
            self.grown = True
            return Interrupted(self)

    class Interrupted(ValuesView[BlockEntry]):
        def __reversed__(self) -> Iterator[BlockEntry]:
            entries: Growing = self._mapping  # type: ignore[attr-defined]  # typeshed does not tell of it
            backwards = reversed(dict.values(entries))
            entries[bytes(32)] = till.node.chainstate.tip_entry
            return backwards

    async with open_till(tmp_path) as till:
        await fork(till)
        index = till.node.chainstate._index
        expected = till.node.chain.rival()
        plain, growing = index.entries, Growing(index.entries)
        index.entries = growing
        assert till.node.chain.rival() == expected
        assert growing.grown
        index.entries = plain


async def test_nothing_settles_while_two_tips_compete(tmp_path: Path) -> None:
    async with open_till(tmp_path) as till:
        assert till.node.chain.rival() is None
        await fork(till)
        invoice = await till.make_invoice("1", expiration_s=100_000)
        await till.pay(invoice)
        await till.mine()
        mode = till.service.safe_mode()
        assert mode is not None
        assert mode.contested
        assert till.status(invoice) is Status.PROCESSING
        assert any("competes" in sentence for sentence in till.service.explain(invoice.id))
        await till.mine(9)
        assert till.status(invoice) is Status.PROCESSING
        await till.mine(1)
        assert till.service.safe_mode() is None
        assert till.status(invoice) is Status.SETTLED


async def test_the_operator_may_accept_a_competing_branch(tmp_path: Path) -> None:
    async with open_till(tmp_path, coins=2) as till:
        await fork(till)
        invoices = [await till.make_invoice("1", expiration_s=100_000) for _ in range(2)]
        await till.pay(invoices[0])
        await till.mine()
        assert till.status(invoices[0]) is Status.PROCESSING
        assert await till.service.acknowledge_reorganisation()
        assert till.status(invoices[0]) is Status.SETTLED
        await till.pay(invoices[1])
        await till.mine()
        assert till.status(invoices[1]) is Status.SETTLED
        assert till.service.safe_mode() is None


@pytest.mark.parametrize("option", [[], [("safemode", "0")]])
async def test_the_safe_mode_can_be_switched_off(tmp_path: Path, option: list[tuple[str, str]]) -> None:
    async with open_till(tmp_path, options=option) as till:
        await fork(till)
        invoice = await till.make_invoice("1", expiration_s=100_000)
        await till.pay(invoice)
        await till.mine()
        assert (till.status(invoice) is Status.SETTLED) == bool(option)
