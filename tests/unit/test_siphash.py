"""SipHash-2-4 against Core's published cases."""

from gldnode.primitives.siphash import siphash
from tests.support.vectors import load_json


def test_published_cases() -> None:
    for case in load_json("bitcoin-core/siphash.json"):
        k0, k1 = (int(half, 16) for half in case["key"])
        data = b"".join(
            bytes.fromhex(chunk) if isinstance(chunk, str) else int(chunk).to_bytes(8, "little")
            for chunk in case["input"]
        )
        assert siphash(k0, k1, data) == int(case["expected"]["siphash24"], 16), case
