"""The table of the payments database names every key that a busy shop has."""

import re
from pathlib import Path

import pytest

from payments import layout
from payments.requests import PaymentRequest
from storage.schema import SCHEMA_KEY
from tests.support.till import open_till


@pytest.mark.asyncio
async def test_every_key_is_in_the_table(tmp_path: Path) -> None:
    prefixes = tuple(prefix.encode() for prefix in re.findall(r"^\| `([^`]+)`", layout.__doc__ or "", re.M))
    assert len(prefixes) > 40
    async with open_till(tmp_path, coins=2) as till:
        service = till.service
        user = await service.accounts.create_user("a@example.com", "a good password", is_admin=True)
        await service.accounts.set_role(till.store.id, user.id, "Owner", new=True)
        await service.notices.set_unwanted(user.id, [])
        await service.requests.put(PaymentRequest("bill", till.store.id, 1, 5, "GLD", "Bill", expires_at=5), 1)
        await service.create_webhook(till.store.id, "http://127.0.0.1:9/hook")
        await till.pay(await till.make_invoice("1"))
        await till.mine()
        await till.pay(await till.make_invoice("2"))
        unknown = {
            key
            for key, _ in service.database.kv.iterate(keys_only=True)
            if key != SCHEMA_KEY and not key.startswith(prefixes)
        }
        assert unknown == set()
        letters = [prefix for prefix in prefixes if len(prefix) == 1]
        assert len(set(letters)) == len(letters)  # no prefix means two things
