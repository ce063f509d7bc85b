"""secp256k1 again, over the `ecdsa` library and slow: what the tests hold libsecp256k1 against.

Nothing of the node imports this module, and `ecdsa` is installed for development only.
"""

from typing import Any

from ecdsa import SECP256k1, ellipticcurve
from ecdsa.util import sigdecode_der

from gldnode.primitives.hashes import tagged_hash

__all__ = [
    "lift_x",
    "point_of_pubkey",
    "pubkey_of",
    "sign_schnorr",
    "tweak_xonly",
    "verify_ecdsa",
    "verify_schnorr",
]

_CURVE = SECP256k1.curve
_G = SECP256k1.generator
_N = int(SECP256k1.order)
_P = int(_CURVE.p())


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _point(x: int, y: int) -> Any:
    return ellipticcurve.PointJacobi(_CURVE, x, y, 1, _N)


def lift_x(x: int) -> Any:
    """The point with that x and an even y, None where there is none (BIP 340)."""
    if x >= _P:
        return None
    square = (pow(x, 3, _P) + 7) % _P
    y = pow(square, (_P + 1) // 4, _P)
    if y * y % _P != square:
        return None
    return _point(x, y if y % 2 == 0 else _P - y)


def point_of_pubkey(pubkey: bytes) -> Any:
    """The point of a compressed, uncompressed or hybrid key, None where the bytes are no key."""
    if len(pubkey) == 33 and pubkey[0] in (2, 3):
        point = lift_x(_int(pubkey[1:]))
        if point is None or pubkey[0] == 2:
            return point
        return _point(point.x(), _P - point.y())
    if len(pubkey) == 65 and pubkey[0] in (4, 6, 7):
        x, y = _int(pubkey[1:33]), _int(pubkey[33:])
        if x >= _P or y >= _P or not _CURVE.contains_point(x, y):
            return None
        if pubkey[0] != 4 and pubkey[0] & 1 != y & 1:
            return None
        return _point(x, y)
    return None


def pubkey_of(seckey: bytes) -> bytes:
    """Compressed public key."""
    point = (_G * _int(seckey)).to_affine()
    return bytes((2 + point.y() % 2,)) + int(point.x()).to_bytes(32, "big")


def verify_ecdsa(signature_der: bytes, digest: bytes, pubkey: bytes) -> bool:
    """Strict DER; any S."""
    point = point_of_pubkey(pubkey)
    if point is None:
        return False
    try:
        r, s = sigdecode_der(signature_der, _N)
    except Exception:  # the library raises half a dozen kinds
        return False
    if not (1 <= r < _N and 1 <= s < _N):
        return False
    inverse = pow(s, -1, _N)
    total = _G * (_int(digest) * inverse % _N) + point * (r * inverse % _N)
    return bool(total != ellipticcurve.INFINITY and total.to_affine().x() % _N == r)


def verify_schnorr(signature: bytes, message: bytes, xonly: bytes) -> bool:
    """BIP 340."""
    if len(signature) != 64 or len(xonly) != 32:
        return False
    point = lift_x(_int(xonly))
    r, s = _int(signature[:32]), _int(signature[32:])
    if point is None or r >= _P or s >= _N:
        return False
    challenge = _int(tagged_hash("BIP0340/challenge", signature[:32] + xonly + message)) % _N
    total = _G * s + point * (_N - challenge)
    if total == ellipticcurve.INFINITY:
        return False
    affine = total.to_affine()
    return bool(affine.y() % 2 == 0 and affine.x() == r)


def sign_schnorr(seckey: bytes, message: bytes, aux: bytes) -> bytes:
    """BIP 340's default signing."""
    secret = _int(seckey)
    pubkey = pubkey_of(seckey)
    if pubkey[0] == 3:
        secret = _N - secret
    masked = secret ^ _int(tagged_hash("BIP0340/aux", aux))
    nonce_hash = tagged_hash("BIP0340/nonce", masked.to_bytes(32, "big") + pubkey[1:] + message)
    nonce = _int(nonce_hash) % _N
    point = (_G * nonce).to_affine()
    if point.y() % 2:
        nonce = _N - nonce
    r = int(point.x()).to_bytes(32, "big")
    challenge = _int(tagged_hash("BIP0340/challenge", r + pubkey[1:] + message)) % _N
    return r + ((nonce + challenge * secret) % _N).to_bytes(32, "big")


def tweak_xonly(xonly: bytes, merkle_root: bytes) -> tuple[bytes, int] | None:
    """Output key and parity of a taproot output, None where there is none (BIP 341)."""
    point = lift_x(_int(xonly))
    tweak = _int(tagged_hash("TapTweak", xonly + merkle_root))
    if point is None or tweak >= _N:
        return None
    total = point + _G * tweak
    if total == ellipticcurve.INFINITY:
        return None
    affine = total.to_affine()
    return int(affine.x()).to_bytes(32, "big"), affine.y() % 2
