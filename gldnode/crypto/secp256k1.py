"""secp256k1 through libsecp256k1: the only module that calls it, with `pointadder`.

libsecp256k1 aborts the process on an illegal argument (an all-zero public key object, say), so every length is
checked before a call and every return value before the next one. Calls release the GIL; each thread has its own
buffers, so threads may verify at the same time.

Secret keys, digests and x-only keys are 32 bytes; public keys are SEC1 (33 or 65 bytes).
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from gldnode.crypto.der import compact_of_lax_der
from gldnode.errors import NodeError
from gldnode.primitives.hashes import tagged_hash

__all__ = [
    "CURVE_ORDER",
    "EcdsaVerify",
    "InvalidKey",
    "SchnorrVerify",
    "check_taproot_tweak",
    "combine_pubkeys",
    "ecdh",
    "ecdsa_verifier",
    "ellswift_create",
    "ellswift_decode",
    "ellswift_xdh",
    "is_low_der_signature",
    "is_valid_pubkey",
    "is_valid_seckey",
    "is_valid_xonly",
    "pubkey_of",
    "pubkey_tweak_add",
    "recover",
    "schnorr_verifier",
    "seckey_tweak_add",
    "serialize_pubkey",
    "sign_ecdsa",
    "sign_recoverable",
    "sign_schnorr",
    "strict_ecdsa_verifier",
    "taproot_tweak",
    "tweak_pubkey",
    "tweak_seckey",
    "verify_ecdsa",
    "verify_schnorr",
    "xonly_of",
    "xonly_tweak_add",
]

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

EcdsaVerify = Callable[[bytes, bytes, bytes], bool]
"""(DER signature without the hash type, digest, public key) -> whether it verifies."""
SchnorrVerify = Callable[[bytes, bytes, bytes], bool]
"""(64-byte signature, message, x-only key) -> whether it verifies."""

_CTX: Final[Any] = GLOBAL_CONTEXT.ctx  # randomised once against side channels; only read after that
_STATIC: Final[Any] = lib.secp256k1_context_static  # enough to parse and verify
_COMPRESSED: Final = lib.SECP256K1_EC_COMPRESSED
_UNCOMPRESSED: Final = lib.SECP256K1_EC_UNCOMPRESSED


class InvalidKey(NodeError):
    """A secret or public key, or a tweak, that is not one."""


def ecdsa_verifier() -> EcdsaVerify:
    """A verifier with buffers of its own, for one thread.

    Decides as Core's CPubKey::Verify: BER as lax as OpenSSL once took it, high S normalised first.
    """
    key: Any = ffi.new("secp256k1_pubkey *")
    sig: Any = ffi.new("secp256k1_ecdsa_signature *")
    parse_key, parse_der = lib.secp256k1_ec_pubkey_parse, lib.secp256k1_ecdsa_signature_parse_der
    parse_compact, normalize = (
        lib.secp256k1_ecdsa_signature_parse_compact,
        lib.secp256k1_ecdsa_signature_normalize,
    )
    verify, ctx = lib.secp256k1_ecdsa_verify, _STATIC

    def verify_one(sig_der: bytes, digest: bytes, pubkey: bytes) -> bool:
        if not parse_key(ctx, key, pubkey, len(pubkey)):
            return False
        # The library's strict parser reads a negative integer as zero, Core's lax one as unsigned:
        # its answer is ours only where both integers are positive.
        if not (
            parse_der(ctx, sig, sig_der, len(sig_der))
            and sig_der[1] < 0x80
            and sig_der[4] < 0x80
            and sig_der[6 + sig_der[3]] < 0x80
        ):
            compact = compact_of_lax_der(sig_der)
            if compact is None or not parse_compact(ctx, sig, compact):
                return False
        normalize(ctx, sig, sig)
        return bool(len(digest) == 32 and verify(ctx, sig, digest, key))

    return verify_one


def strict_ecdsa_verifier() -> EcdsaVerify:
    """A verifier for one thread that says True only for what every rule takes: BIP 66's DER and a low S.

    False means nothing: ask another. It makes as few calls as can be, for each gives the GIL away and has to win
    it back. The library's own parser takes strict DER only, what it reads as zero (negative or too large numbers)
    never verifies, and neither does a high S that is not normalised first.
    """
    key: Any = ffi.new("secp256k1_pubkey *")
    sig: Any = ffi.new("secp256k1_ecdsa_signature *")
    parse_key, parse_der = lib.secp256k1_ec_pubkey_parse, lib.secp256k1_ecdsa_signature_parse_der
    verify, ctx = lib.secp256k1_ecdsa_verify, _STATIC

    def verify_one(sig_der: bytes, digest: bytes, pubkey: bytes) -> bool:
        if not (parse_der(ctx, sig, sig_der, len(sig_der)) and parse_key(ctx, key, pubkey, len(pubkey))):
            return False
        if len(sig_der) > 72 or sig_der[sig_der[3] + 5] > 32:  # a high S in all but a hair: save the work
            return False
        return len(digest) == 32 and verify(ctx, sig, digest, key) == 1

    return verify_one


def schnorr_verifier() -> SchnorrVerify:
    """A BIP 340 verifier with buffers of its own, for one thread."""
    key: Any = ffi.new("secp256k1_xonly_pubkey *")
    parse_key, verify, ctx = lib.secp256k1_xonly_pubkey_parse, lib.secp256k1_schnorrsig_verify, _STATIC

    def verify_one(signature: bytes, message: bytes, xonly: bytes) -> bool:
        if len(signature) != 64 or len(xonly) != 32 or not parse_key(ctx, key, xonly):
            return False
        return bool(verify(ctx, signature, message, len(message), key))

    return verify_one


class _Buffers(threading.local):
    """What the functions below write into; each thread sees its own."""

    def __init__(self) -> None:
        self.verify_ecdsa = ecdsa_verifier()
        self.verify_schnorr = schnorr_verifier()
        self.pubkey: Any = ffi.new("secp256k1_pubkey *")
        self.xonly: Any = ffi.new("secp256k1_xonly_pubkey *")
        self.keypair: Any = ffi.new("secp256k1_keypair *")
        self.signature: Any = ffi.new("secp256k1_ecdsa_signature *")
        self.recoverable: Any = ffi.new("secp256k1_ecdsa_recoverable_signature *")
        self.out: Any = ffi.new("unsigned char [72]")
        self.size: Any = ffi.new("size_t *")
        self.flag: Any = ffi.new("int *")


_buffers = _Buffers()


def verify_ecdsa(sig_der: bytes, digest: bytes, pubkey: bytes) -> bool:
    """Whether `sig_der` (without hash type) signs `digest`; lax DER and high S are taken, as in consensus."""
    return _buffers.verify_ecdsa(sig_der, digest, pubkey)


def verify_schnorr(signature: bytes, message: bytes, xonly: bytes) -> bool:
    """Whether the 64 bytes are a BIP 340 signature of `message` (any length) by `xonly`."""
    return _buffers.verify_schnorr(signature, message, xonly)


def is_low_der_signature(sig_der: bytes) -> bool:
    """Whether S is in the lower half (Core: CheckLowS); False where nothing parses."""
    compact = compact_of_lax_der(sig_der)
    signature = _buffers.signature
    if compact is None or not lib.secp256k1_ecdsa_signature_parse_compact(_STATIC, signature, compact):
        return False
    return not lib.secp256k1_ecdsa_signature_normalize(_STATIC, ffi.NULL, signature)


# Keys


def is_valid_seckey(seckey: bytes) -> bool:
    return len(seckey) == 32 and bool(lib.secp256k1_ec_seckey_verify(_STATIC, seckey))


def is_valid_pubkey(pubkey: bytes) -> bool:
    """Whether the bytes are a point of the curve (Core: IsFullyValid); hybrid forms included."""
    return bool(lib.secp256k1_ec_pubkey_parse(_STATIC, _buffers.pubkey, pubkey, len(pubkey)))


def is_valid_xonly(xonly: bytes) -> bool:
    return len(xonly) == 32 and bool(lib.secp256k1_xonly_pubkey_parse(_STATIC, _buffers.xonly, xonly))


def _require(good: object, message: str) -> None:
    if not good:
        raise InvalidKey(message)


def _load_pubkey(pubkey: bytes) -> Any:
    _require(is_valid_pubkey(pubkey), "not a public key")
    return _buffers.pubkey


def _load_keypair(seckey: bytes) -> Any:
    _require(len(seckey) == 32, "a secret key has 32 bytes")
    keypair = _buffers.keypair
    _require(lib.secp256k1_keypair_create(_CTX, keypair, seckey), "not a secret key")
    return keypair


def _dump_pubkey(pubkey: Any, compressed: bool) -> bytes:
    out, size = _buffers.out, _buffers.size
    size[0] = 65
    flags = _COMPRESSED if compressed else _UNCOMPRESSED
    done = lib.secp256k1_ec_pubkey_serialize(_STATIC, out, size, pubkey, flags)
    assert done
    return bytes(ffi.buffer(out, size[0]))


def _dump_xonly(xonly: Any) -> bytes:
    done = lib.secp256k1_xonly_pubkey_serialize(_STATIC, _buffers.out, xonly)
    assert done
    return bytes(ffi.buffer(_buffers.out, 32))


def pubkey_of(seckey: bytes, *, compressed: bool = True) -> bytes:
    """Public key of a secret key. Raises InvalidKey."""
    _require(len(seckey) == 32, "a secret key has 32 bytes")
    _require(lib.secp256k1_ec_pubkey_create(_CTX, _buffers.pubkey, seckey), "not a secret key")
    return _dump_pubkey(_buffers.pubkey, compressed)


def xonly_of(seckey: bytes) -> bytes:
    """x coordinate of the public key, BIP 340. Raises InvalidKey."""
    return pubkey_of(seckey)[1:]


def serialize_pubkey(pubkey: bytes, *, compressed: bool = True) -> bytes:
    """The same point in the other (or the same) form. Raises InvalidKey."""
    return _dump_pubkey(_load_pubkey(pubkey), compressed)


def combine_pubkeys(pubkeys: Sequence[bytes]) -> bytes:
    """Sum of the points, compressed. Raises InvalidKey, also for a sum at infinity."""
    _require(pubkeys, "no keys to add")
    points = [ffi.new("secp256k1_pubkey *") for _ in pubkeys]
    for point, pubkey in zip(points, pubkeys, strict=True):
        _require(lib.secp256k1_ec_pubkey_parse(_STATIC, point, pubkey, len(pubkey)), "not a public key")
    array = ffi.new("secp256k1_pubkey *[]", points)
    _require(
        lib.secp256k1_ec_pubkey_combine(_STATIC, _buffers.pubkey, array, len(points)), "the keys add to nothing"
    )
    return _dump_pubkey(_buffers.pubkey, True)


def seckey_tweak_add(seckey: bytes, tweak: bytes) -> bytes:
    """`seckey` + `tweak` modulo the order. Raises InvalidKey."""
    _require(is_valid_seckey(seckey) and len(tweak) == 32, "not a secret key")
    out = _buffers.out
    ffi.memmove(out, seckey, 32)
    _require(lib.secp256k1_ec_seckey_tweak_add(_STATIC, out, tweak), "the tweak has no key")
    return bytes(ffi.buffer(out, 32))


def pubkey_tweak_add(pubkey: bytes, tweak: bytes, *, compressed: bool = True) -> bytes:
    """`pubkey` + `tweak`·G. Raises InvalidKey."""
    _require(len(tweak) == 32, "a tweak has 32 bytes")
    point = _load_pubkey(pubkey)
    _require(lib.secp256k1_ec_pubkey_tweak_add(_STATIC, point, tweak), "the tweak has no key")
    return _dump_pubkey(point, compressed)


def ecdh(seckey: bytes, pubkey: bytes) -> bytes:
    """SHA-256 of the compressed shared point. Raises InvalidKey."""
    _require(is_valid_seckey(seckey), "not a secret key")
    point = _load_pubkey(pubkey)
    out = _buffers.out
    _require(lib.secp256k1_ecdh(_STATIC, out, point, seckey, ffi.NULL, ffi.NULL), "no shared secret")
    return bytes(ffi.buffer(out, 32))


# Taproot (BIP 341)


def taproot_tweak(internal_xonly: bytes, merkle_root: bytes = b"") -> bytes:
    """What the internal key is tweaked with; no root (empty) for an output without scripts."""
    return tagged_hash("TapTweak", internal_xonly + merkle_root)


def xonly_tweak_add(xonly: bytes, tweak: bytes) -> tuple[bytes, int]:
    """x of `xonly` + `tweak`·G, and the parity of its y. Raises InvalidKey."""
    _require(is_valid_xonly(xonly) and len(tweak) == 32, "not an x-only key")
    buffers = _buffers
    pubkey, flag = buffers.pubkey, buffers.flag
    _require(lib.secp256k1_xonly_pubkey_tweak_add(_STATIC, pubkey, buffers.xonly, tweak), "the tweak has no key")
    done = lib.secp256k1_xonly_pubkey_from_pubkey(_STATIC, buffers.xonly, flag, pubkey)
    assert done
    return _dump_xonly(buffers.xonly), int(flag[0])


def tweak_pubkey(internal_xonly: bytes, merkle_root: bytes = b"") -> tuple[bytes, int]:
    """Output key of a taproot output, and the parity of its y. Raises InvalidKey."""
    return xonly_tweak_add(internal_xonly, taproot_tweak(internal_xonly, merkle_root))


def tweak_seckey(seckey: bytes, merkle_root: bytes = b"") -> bytes:
    """Secret key of the taproot output whose internal key is that of `seckey`. Raises InvalidKey."""
    keypair = _load_keypair(seckey)
    tweak = taproot_tweak(xonly_of(seckey), merkle_root)
    _require(lib.secp256k1_keypair_xonly_tweak_add(_STATIC, keypair, tweak), "the tweak has no key")
    out = _buffers.out
    done = lib.secp256k1_keypair_sec(_STATIC, out, keypair)
    assert done
    return bytes(ffi.buffer(out, 32))


def check_taproot_tweak(output_xonly: bytes, parity: int, internal_xonly: bytes, merkle_root: bytes) -> bool:
    """Whether the output key with that parity commits to the internal key and the root."""
    if len(output_xonly) != 32 or not is_valid_xonly(internal_xonly):
        return False
    tweak = taproot_tweak(internal_xonly, merkle_root)
    return bool(
        lib.secp256k1_xonly_pubkey_tweak_add_check(_STATIC, output_xonly, parity & 1, _buffers.xonly, tweak)
    )


# Signing


def sign_ecdsa(seckey: bytes, digest: bytes, *, grind: bool = True) -> bytes:
    """DER signature (no hash type) with RFC 6979 nonce and low S; `grind` searches a low R as Core does.

    Verified before it leaves. Raises InvalidKey.
    """
    _require(is_valid_seckey(seckey), "not a secret key")
    assert len(digest) == 32
    signature, out, size = _buffers.signature, _buffers.out, _buffers.size
    counter = 0
    while True:
        extra = counter.to_bytes(4, "little") + bytes(28) if counter else ffi.NULL
        done = lib.secp256k1_ecdsa_sign(_CTX, signature, digest, seckey, ffi.NULL, extra)
        assert done
        size[0] = 72
        done = lib.secp256k1_ecdsa_signature_serialize_der(_STATIC, out, size, signature)
        assert done
        der = bytes(ffi.buffer(out, size[0]))
        if not grind or der[3] <= 32:
            break
        counter += 1
    assert verify_ecdsa(der, digest, pubkey_of(seckey))
    return der


def sign_schnorr(seckey: bytes, message: bytes, aux: bytes = bytes(32)) -> bytes:
    """BIP 340 signature of `message`; `aux` are 32 unpredictable bytes where there are some.

    Verified before it leaves. Raises InvalidKey.
    """
    keypair = _load_keypair(seckey)
    assert len(aux) == 32
    out = _buffers.out
    if len(message) == 32:
        done = lib.secp256k1_schnorrsig_sign32(_CTX, out, message, keypair, aux)
    else:
        aux_buffer = ffi.new("unsigned char [32]", aux)
        params = ffi.new("secp256k1_schnorrsig_extraparams *")
        params.magic = b"\xda\x6f\xb3\x8c"
        params.noncefp = ffi.NULL
        params.ndata = aux_buffer
        done = lib.secp256k1_schnorrsig_sign_custom(_CTX, out, message, len(message), keypair, params)
    assert done
    signature = bytes(ffi.buffer(out, 64))
    assert verify_schnorr(signature, message, xonly_of(seckey))
    return signature


def sign_recoverable(seckey: bytes, digest: bytes) -> tuple[bytes, int]:
    """Compact signature (r and s, 64 bytes) and the recovery id, 0–3. Raises InvalidKey."""
    _require(is_valid_seckey(seckey), "not a secret key")
    assert len(digest) == 32
    signature, out, flag = _buffers.recoverable, _buffers.out, _buffers.flag
    done = lib.secp256k1_ecdsa_sign_recoverable(_CTX, signature, digest, seckey, ffi.NULL, ffi.NULL)
    assert done
    done = lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_STATIC, out, flag, signature)
    assert done
    return bytes(ffi.buffer(out, 64)), int(flag[0])


def recover(signature: bytes, recovery_id: int, digest: bytes, *, compressed: bool = True) -> bytes | None:
    """Public key that made the compact signature, None where there is none."""
    if len(signature) != 64 or len(digest) != 32 or not 0 <= recovery_id <= 3:
        return None
    parsed, pubkey = _buffers.recoverable, _buffers.pubkey
    if not lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_STATIC, parsed, signature, recovery_id):
        return None
    if not lib.secp256k1_ecdsa_recover(_STATIC, pubkey, parsed, digest):
        return None
    return _dump_pubkey(pubkey, compressed)


# ElligatorSwift (BIP 324)


def ellswift_create(seckey: bytes, aux: bytes) -> bytes:
    """A 64-byte encoding of the public key that looks random; `aux` are 32 unpredictable bytes.

    Raises InvalidKey.
    """
    _require(is_valid_seckey(seckey) and len(aux) == 32, "not a secret key")
    out = _buffers.out
    _require(lib.secp256k1_ellswift_create(_CTX, out, seckey, aux), "not a secret key")
    return bytes(ffi.buffer(out, 64))


def ellswift_decode(encoding: bytes) -> bytes:
    """Compressed public key that the 64 bytes stand for: every 64 bytes stand for one."""
    _require(len(encoding) == 64, "an ElligatorSwift encoding has 64 bytes")
    done = lib.secp256k1_ellswift_decode(_STATIC, _buffers.pubkey, encoding)
    assert done
    return _dump_pubkey(_buffers.pubkey, True)


def ellswift_xdh(initiator: bytes, responder: bytes, seckey: bytes, *, we_initiate: bool) -> bytes:
    """BIP 324's shared secret of the two 64-byte encodings; `seckey` belongs to ours. Raises InvalidKey."""
    _require(len(initiator) == 64 and len(responder) == 64 and is_valid_seckey(seckey), "not a key or an encoding")
    out = _buffers.out
    hash_function = lib.secp256k1_ellswift_xdh_hash_function_bip324
    party = 0 if we_initiate else 1
    _require(
        lib.secp256k1_ellswift_xdh(_STATIC, out, initiator, responder, seckey, party, hash_function, ffi.NULL),
        "no shared secret",
    )
    return bytes(ffi.buffer(out, 32))
