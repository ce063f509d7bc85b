"""Changes of good examples, where atheris is not at hand."""

import random
from collections.abc import Sequence

__all__ = ["mutate"]

_TELLING = (b"\x00", b"\xff", b"\x80", b"\x7f", b"\xfd\xff\xff", b"\xfe\xff\xff\xff\x7f", b"\xff" * 9, b"\x00" * 8)
_SIGNS = (
    b"(",
    b")",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b'"',
    b"/",
    b"*",
    b"#",
    b"'",
    b"-",
    b".",
    b"1e9",
    b"\xc3",
    b" ",
)


def mutate(rng: random.Random, good: Sequence[bytes], limit: int = 4_000) -> bytes:
    """One of the examples with some changes."""
    data = bytearray(rng.choice(good))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.randrange(256)
            case 2:
                data[at:at] = rng.choice(_TELLING)
            case 3:
                data[at:at] = rng.choice(_SIGNS)
            case 4:
                del data[at : at + rng.choice((1, 1, 2, 4, 40))]
            case 5:
                piece = data[at : at + rng.randrange(1, 40)]
                data[at:at] = piece * rng.choice((1, 2, 30))
            case 6:
                other = rng.choice(good)
                start = rng.randrange(len(other) + 1)
                data[at:] = other[start:]
            case _:
                del data[at:]
    return bytes(data[:limit])
