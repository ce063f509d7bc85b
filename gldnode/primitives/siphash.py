"""SipHash-2-4, for the short ids of compact blocks (BIP 152) and the filters of BIP 158."""

__all__ = ["siphash"]

_M = 0xFFFFFFFFFFFFFFFF


def siphash(k0: int, k1: int, data: bytes) -> int:
    """64 bits of keyed hash; k0 and k1 are the key's halves, little-endian."""
    v0 = 0x736F6D6570736575 ^ k0
    v1 = 0x646F72616E646F6D ^ k1
    v2 = 0x6C7967656E657261 ^ k0
    v3 = 0x7465646279746573 ^ k1
    whole = len(data) & ~7
    tail = int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    for word, rounds in [*((word, 2) for word in words), (tail, 2), (0, 4)]:
        if rounds == 4:
            v2 ^= 0xFF
        else:
            v3 ^= word
        for _ in range(rounds):
            v0 = (v0 + v1) & _M
            v1 = (v1 << 13 | v1 >> 51) & _M ^ v0
            v0 = (v0 << 32 | v0 >> 32) & _M
            v2 = (v2 + v3) & _M
            v3 = (v3 << 16 | v3 >> 48) & _M ^ v2
            v0 = (v0 + v3) & _M
            v3 = (v3 << 21 | v3 >> 43) & _M ^ v0
            v2 = (v2 + v1) & _M
            v1 = (v1 << 17 | v1 >> 47) & _M ^ v2
            v2 = (v2 << 32 | v2 >> 32) & _M
        if rounds == 2:
            v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3
