"""Scripts that fail in a block, each in its own way, and what only policy forbids and a block may hold."""

from collections.abc import Callable, Sequence

from gldnode.crypto.secp256k1 import sign_ecdsa
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx
from tests.consensus.adversary.scripts import (
    KEY,
    OTHER_KEY,
    PUBKEY,
    PUBKEY_LONG,
    Leaf,
    keyhash,
    multisig,
    p2sh,
    p2tr_key_only,
    p2wpkh,
    p2wsh,
    push,
    sign_legacy,
    sign_taproot_key,
    sign_v0,
    unlock,
)
from tests.consensus.adversary.steps import Spot
from tests.consensus.adversary.workshop import ANYONE, COIN, Bench, Coins, accepted, case, rejected

_VALUE = COIN // 10
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

Unlocking = tuple[bytes, Sequence[bytes]]
Opener = Callable[[Tx, Coins], Unlocking]


def _spent(b: Bench, script: bytes, open_: Opener) -> Spot:
    """An output with `script`, and what spends it in the same block."""
    made = b.make(script)
    coin = b.out(made)
    tx = b.pay(coins=[coin])
    return b.block(made, unlock(tx, *open_(tx, coin)))


def _title(name: str) -> str:
    return name if name.startswith("tapscript") else f"script: {name}"


def _fails(name: str, text: str, script: bytes, open_: Opener | bytes = b"", at: int = 130) -> None:
    opener = open_ if callable(open_) else lambda tx, coin: (open_, ())
    rejected(_title(name), f"block-script-verify-flag-failed ({text})", lambda b: _spent(b, script, opener), at=at)


def _works(name: str, script: bytes, open_: Opener | bytes = b"", at: int = 130) -> None:
    opener = open_ if callable(open_) else lambda tx, coin: (open_, ())
    accepted(_title(name), lambda b: _spent(b, script, opener), at=at)


def _witness(*stack: bytes) -> Opener:
    return lambda tx, coin: (b"", stack)


# -- the interpreter's own errors --

_FALSE = "Script evaluated without error but finished with a false/empty top stack element"
_fails("false at the end", _FALSE, b"\x00")
_fails("negative zero at the end is false", _FALSE, b"\x01\x80")
_fails("empty stack at the end", _FALSE, b"\x51\x75")
_fails("OP_RETURN", "OP_RETURN was encountered", b"\x51\x6a")
_works("OP_RETURN where it is not reached", b"\x51\x00\x63\x6a\x68")
_fails("input script of 10,001 bytes", "Script is too big", b"\x51", b"\x61" * 10_001)
_fails("push of 521 bytes", "Push value size limit exceeded", b"\x75\x51", push(bytes(521)))
_works("push of 520 bytes", b"\x75\x51", push(bytes(520)))
_fails(
    "push of 521 bytes where it is not reached",
    "Push value size limit exceeded",
    b"\x00\x63" + push(bytes(521)) + b"\x68\x51",
)
_fails("202 operations", "Operation limit exceeded", b"\x61" * 202 + b"\x51")
_works("201 operations", b"\x61" * 201 + b"\x51")
_fails("202 operations, most not reached", "Operation limit exceeded", b"\x00\x63" + b"\x61" * 200 + b"\x68\x51")
_fails("1,001 elements", "Stack size limit exceeded", b"\x51" * 1_001)
_works("1,000 elements", b"\x51" * 1_000)
_fails(
    "keys of a multisig count as operations",
    "Operation limit exceeded",
    b"\x61" * 182 + b"\x00\x00" + b"\x51" * 20 + b"\x01\x14\xae",
)
_fails("OP_VERIFY", "Script failed an OP_VERIFY operation", b"\x00\x69\x51")
_fails("OP_EQUALVERIFY", "Script failed an OP_EQUALVERIFY operation", b"\x51\x52\x88\x51")
_fails("OP_NUMEQUALVERIFY", "Script failed an OP_NUMEQUALVERIFY operation", b"\x51\x52\x9d\x51")
_fails("OP_CHECKSIGVERIFY", "Script failed an OP_CHECKSIGVERIFY operation", b"\x00" + push(PUBKEY) + b"\xad\x51")
_fails(
    "OP_CHECKMULTISIGVERIFY",
    "Script failed an OP_CHECKMULTISIGVERIFY operation",
    b"\x00\x00\x51" + push(PUBKEY) + b"\x51\xaf\x51",
)
_fails(
    "number of five bytes", "Script number overflowed or is non-minimally encoded", b"\x05\x01\x00\x00\x00\x00\x8b"
)
_fails("OP_RESERVED", "Opcode missing or not understood", b"\x51\x50")
_works("OP_RESERVED where it is not reached", b"\x51\x00\x63\x50\x68")
_fails("OP_VERIF where it is not reached", "Opcode missing or not understood", b"\x51\x00\x63\x65\x68")
_fails("opcode 0xba", "Opcode missing or not understood", b"\x51\xba")
_fails("push past the end", "Opcode missing or not understood", b"\x51\x02\x01")
_fails("OP_CAT", "Attempted to use a disabled opcode", b"\x51\x51\x7e")
_fails("OP_CAT where it is not reached", "Attempted to use a disabled opcode", b"\x51\x00\x63\x7e\x68")
_fails("OP_DUP on an empty stack", "Operation not valid with the current stack size", b"\x76\x51")
_fails("OP_FROMALTSTACK on an empty stack", "Operation not valid with the current altstack size", b"\x6c\x51")
_fails("OP_PICK too deep", "Operation not valid with the current stack size", b"\x51\x52\x79")
_fails("OP_IF without OP_ENDIF", "Invalid OP_IF construction", b"\x51\x63\x51")
_fails("OP_ENDIF without OP_IF", "Invalid OP_IF construction", b"\x51\x68")
_fails("OP_IF on an empty stack", "Operation not valid with the current stack size", b"\x63\x68\x51")
_fails("OP_IF begun in the input script", "Invalid OP_IF construction", b"\x51\x68", b"\x51\x63")
_fails("21 keys", "Pubkey count negative or limit exceeded", b"\x00\x00" + b"\x51" * 21 + b"\x01\x15\xae")
_fails("-1 keys", "Pubkey count negative or limit exceeded", b"\x00\x00\x4f\xae")
_fails(
    "more signatures than keys",
    "Signature count negative or greater than pubkey count",
    b"\x00\x00\x00\x52" + push(PUBKEY) + b"\x51\xae",
)
_works("none of no keys", b"\x00\x00\x00\xae")
_works("none of 20 keys", b"\x00\x00" + b"\x51" * 20 + b"\x01\x14\xae")
_works("upgradable NOPs", b"\xb0\xb3\xb4\xb5\xb6\xb7\xb8\xb9\x51")
_works("two true elements at the end", b"\x51\x51")
_works("pushes that are longer than needed", b"\x4e\x01\x00\x00\x00\x01\x75\x4d\x01\x00\x02")
_works("an input script that does more than push", b"\x51", b"\x51\x75")
_works("input script leaves what the output's false script ignores", b"", b"\x51")

# -- legacy signatures --


def _signed(
    script: bytes, *, hash_type: int = 1, key: bytes = KEY, edit: Callable[[bytes], bytes] = bytes
) -> Opener:
    return lambda tx, coin: (push(edit(sign_legacy(tx, script, hash_type, key=key))), ())


_PK = push(PUBKEY) + b"\xac"
_works("P2PK", _PK, _signed(_PK))
_fails("P2PK by another key", _FALSE, _PK, _signed(_PK, key=OTHER_KEY))
_fails("P2PK over another script", _FALSE, _PK, _signed(b"\x51"))
_fails("P2PK with an empty signature", _FALSE, _PK, b"\x00")
_fails("signature without a hash type", "Non-canonical DER signature", _PK, _signed(_PK, edit=lambda s: s[:-1]))
_fails(
    "signature with a long-form length",
    "Non-canonical DER signature",
    _PK,
    _signed(_PK, edit=lambda s: s[:1] + b"\x81" + s[1:]),
)
_fails(
    "signature with a byte too many",
    "Non-canonical DER signature",
    _PK,
    _signed(_PK, edit=lambda s: s[:-1] + b"\x00" + s[-1:]),
)
_fails("signature that is not DER at all", "Non-canonical DER signature", _PK, push(b"\x01" * 71))
_works(
    "signature with a byte too many below BIP 66",
    _PK,
    _signed(_PK, edit=lambda s: s[:-1] + b"\x00" + s[-1:]),
    at=115,
)
_fails(
    "signature with a byte too many at BIP 66",
    "Non-canonical DER signature",
    _PK,
    _signed(_PK, edit=lambda s: s[:-1] + b"\x00" + s[-1:]),
    at=116,
)


def _high_s(signature: bytes) -> bytes:
    r_size = signature[3]
    r = signature[4 : 4 + r_size]
    s = _ORDER - int.from_bytes(signature[6 + r_size : -1], "big")
    s_bytes = s.to_bytes(s.bit_length() // 8 + 1, "big")
    body = b"\x02" + bytes((r_size,)) + r + b"\x02" + bytes((len(s_bytes),)) + s_bytes
    return b"\x30" + bytes((len(body),)) + body + signature[-1:]


_works("signature with a high S", _PK, _signed(_PK, edit=_high_s))
_works("hash type 0x00", _PK, _signed(_PK, hash_type=0))
_works("hash type 0x50, which no one defined", _PK, _signed(_PK, hash_type=0x50))
_works("SIGHASH_SINGLE|ANYONECANPAY", _PK, _signed(_PK, hash_type=0x83))
_fails("hash type changed after signing", _FALSE, _PK, _signed(_PK, edit=lambda s: s[:-1] + b"\x02"))
_HYBRID = bytes((6 | PUBKEY_LONG[-1] & 1,)) + PUBKEY_LONG[1:]
_works("hybrid key", push(_HYBRID) + b"\xac", _signed(push(_HYBRID) + b"\xac"))
_WRONG_HYBRID = bytes((_HYBRID[0] ^ 1,)) + _HYBRID[1:]
_fails(
    "hybrid key of the wrong parity", _FALSE, push(_WRONG_HYBRID) + b"\xac", _signed(push(_WRONG_HYBRID) + b"\xac")
)
_fails("key of an unknown kind", _FALSE, push(b"\x05" + PUBKEY[1:]) + b"\xac", _signed(_PK))
_works("failed signature that OP_NOT turns", _PK + b"\x91", _signed(_PK))
_fails(
    "P2PKH with another key's hash",
    "Script failed an OP_EQUALVERIFY operation",
    keyhash(b"other"),
    lambda tx, coin: (push(sign_legacy(tx, keyhash(b"other"))) + push(PUBKEY), ()),
)
_works("P2PKH", keyhash(), lambda tx, coin: (push(sign_legacy(tx, keyhash())) + push(PUBKEY), ()))
_works(
    "OP_CODESEPARATOR: only what follows is signed",
    b"\x51\x75\xab" + _PK,
    _signed(_PK),
)
_fails(
    "OP_CODESEPARATOR: what comes before is not signed", _FALSE, b"\x51\x75\xab" + _PK, _signed(b"\x51\x75" + _PK)
)


@case("script: SIGHASH_SINGLE without its output signs the number one")
def _single_bug(b: Bench) -> None:
    made = b.make(_PK, count=2)
    signature = sign_ecdsa(KEY, b"\x01" + bytes(31)) + b"\x03"
    first = TxIn(b.coins[5][0], b"", 0)
    inputs = [first, TxIn(made.outpoint(0), push(signature), 0)]
    b.accepts(b.block(made, make_tx(1, inputs, [TxOut(_VALUE, ANYONE)])))


_TWO = multisig(2, [PUBKEY, PUBKEY_LONG])


def _multi(dummy: bytes, *keys: bytes, script: bytes = _TWO) -> Opener:
    return lambda tx, coin: (dummy + b"".join(push(sign_legacy(tx, script, key=key)) for key in keys), ())


_works("2 of 2", _TWO, _multi(b"\x00", KEY, KEY))
_fails("2 of 2 with one signature wrong", _FALSE, _TWO, _multi(b"\x00", KEY, OTHER_KEY))
_fails(
    "multisig dummy that is not empty",
    "Dummy CHECKMULTISIG argument must be zero",
    _TWO,
    _multi(b"\x51", KEY, KEY),
)
_works("multisig dummy that is not empty below BIP 147", _TWO, _multi(b"\x51", KEY, KEY), at=118)
_fails(
    "multisig dummy that is not empty at BIP 147",
    "Dummy CHECKMULTISIG argument must be zero",
    _TWO,
    _multi(b"\x51", KEY, KEY),
    at=119,
)
_fails(
    "multisig without its dummy", "Operation not valid with the current stack size", _TWO, _multi(b"", KEY, KEY)
)

# -- P2SH --

_fails("P2SH with another script", _FALSE, p2sh(b"\x51"), push(b"\x52"))
_fails("P2SH with a false script", _FALSE, p2sh(b"\x00"), push(b"\x00"))
_fails(
    "P2SH whose input script does more than push",
    "Only push operators allowed in signatures",
    p2sh(b"\x51"),
    b"\x61" + push(b"\x51"),
)
_works("P2SH", p2sh(b"\x51"), push(b"\x51"))
_works(
    "P2SH of what looks like P2SH is not opened again", p2sh(p2sh(b"\x00")), push(b"\x00") + push(p2sh(b"\x00"))
)

# -- witness version 0 --

_EMPTY = "Witness program was passed an empty witness"
_MISMATCH = "Witness program hash mismatch"


def _keyhash_v0(key: bytes = KEY, pubkey: bytes = PUBKEY) -> Opener:
    return lambda tx, coin: (b"", (sign_v0(tx, coin, keyhash(pubkey), key=key), pubkey))


_works("P2WPKH", p2wpkh(), _keyhash_v0())
_fails("P2WPKH by another key", _FALSE, p2wpkh(), _keyhash_v0(OTHER_KEY))
_fails("P2WPKH without witness", _MISMATCH, p2wpkh())
_fails("P2WPKH with a third element", _MISMATCH, p2wpkh(), _witness(b"", PUBKEY, PUBKEY))
_fails(
    "P2WPKH with another key",
    "Script failed an OP_EQUALVERIFY operation",
    p2wpkh(),
    _witness(b"\x01", PUBKEY_LONG),
)
_works("P2WPKH with an uncompressed key", p2wpkh(PUBKEY_LONG), _keyhash_v0(pubkey=PUBKEY_LONG))
_fails(
    "P2WPKH with an input script",
    "Witness requires empty scriptSig",
    p2wpkh(),
    lambda tx, coin: (b"\x51", _keyhash_v0()(tx, coin)[1]),
)
_fails("P2WSH without witness", _EMPTY, p2wsh(b"\x51"))
_fails("P2WSH with another script", _MISMATCH, p2wsh(b"\x51"), _witness(b"\x52"))
_fails(
    "P2WSH that leaves two elements",
    "Stack size must be exactly one after execution",
    p2wsh(b"\x51\x51"),
    _witness(b"\x51\x51"),
)
_fails("P2WSH with a false script", _FALSE, p2wsh(b"\x00"), _witness(b"\x00"))
_fails(
    "P2WSH element of 521 bytes",
    "Push value size limit exceeded",
    p2wsh(b"\x75\x51"),
    _witness(bytes(521), b"\x75\x51"),
)
_fails("P2WSH script of 10,001 bytes", "Script is too big", p2wsh(b"\x61" * 10_001), _witness(b"\x61" * 10_001))
_works("P2WSH OP_IF on two", p2wsh(b"\x63\x51\x68"), _witness(b"\x02", b"\x63\x51\x68"))
_fails(
    "version 0 program of 21 bytes",
    "Witness program has incorrect length",
    b"\x00\x15" + b"\x01" * 21,
    _witness(b""),
)
_fails("version 0 program of 2 bytes", "Witness program has incorrect length", b"\x00\x02\x01\x01")
_fails("witness for a script that has none", "Witness provided for non-witness script", ANYONE, _witness(b""))
_fails(
    "P2SH-P2WSH with more than the script",
    "Witness requires only-redeemscript scriptSig",
    p2sh(p2wsh(b"\x51")),
    lambda tx, coin: (b"\x51" + push(p2wsh(b"\x51")), (b"\x51",)),
)
_works("P2SH-P2WSH", p2sh(p2wsh(b"\x51")), lambda tx, coin: (push(p2wsh(b"\x51")), (b"\x51",)))
_works("witness version 16 with any witness", b"\x60\x28" + b"\x01" * 40, _witness(bytes(1_000), b""))
_works("witness version 1 of 33 bytes", b"\x51\x21" + b"\x01" * 33)
_works("pay to anchor", b"\x51\x02\x4e\x73")
_works(
    "witness version 1 in P2SH has no rules",
    p2sh(b"\x51\x20" + bytes(31) + b"\x01"),
    push(b"\x51\x20" + bytes(31) + b"\x01"),
)
_fails("version 2 program of zeros is false", _FALSE, b"\x52\x02\x00\x00")

# -- taproot --

_OUT = p2tr_key_only()
_works("taproot by key", _OUT, lambda tx, coin: (b"", (sign_taproot_key(tx, coin),)))
_works("taproot by key with a hash type", _OUT, lambda tx, coin: (b"", (sign_taproot_key(tx, coin, 0x83),)))
_fails("taproot without witness", _EMPTY, _OUT)
_fails(
    "taproot signature of 63 bytes",
    "Invalid Schnorr signature size",
    _OUT,
    lambda tx, coin: (b"", (sign_taproot_key(tx, coin)[:-1],)),
)
_fails(
    "taproot signature with hash type 0x00",
    "Invalid Schnorr signature hash type",
    _OUT,
    lambda tx, coin: (b"", (sign_taproot_key(tx, coin) + b"\x00",)),
)
_fails(
    "taproot signature with hash type 0x04",
    "Invalid Schnorr signature hash type",
    _OUT,
    lambda tx, coin: (b"", (sign_taproot_key(tx, coin) + b"\x04",)),
)
_fails(
    "taproot signature with a bit changed",
    "Invalid Schnorr signature",
    _OUT,
    lambda tx, coin: (b"", (bytes((sign_taproot_key(tx, coin)[0] ^ 1,)) + sign_taproot_key(tx, coin)[1:],)),
)
_fails(
    "taproot with an input script",
    "Witness requires empty scriptSig",
    _OUT,
    lambda tx, coin: (b"\x51", (sign_taproot_key(tx, coin),)),
)
_fails(
    "taproot key that is no point", "Invalid Schnorr signature", b"\x51\x20" + b"\xff" * 32, _witness(bytes(64))
)
_fails(
    "taproot signature over no annex, with one",
    "Invalid Schnorr signature",
    _OUT,
    lambda tx, coin: (b"", (sign_taproot_key(tx, coin), b"\x50annex")),
)


def _leaf(
    name: str, script: bytes, text: str | None, *stack: bytes, version: int = 0xC0, sign: bool = False
) -> None:
    leaf = Leaf(script, version)

    def open_(tx: Tx, coin: Coins) -> Unlocking:
        signed = (leaf.sign(tx, coin),) if sign else ()
        return b"", leaf.witness(*signed, *stack)

    if text is None:
        _works(f"tapscript: {name}", leaf.script_pubkey, open_)
    else:
        _fails(f"tapscript: {name}", text, leaf.script_pubkey, open_)


_XONLY = PUBKEY[1:]
_leaf("true", b"\x51", None)
_leaf("false", b"\x00", _FALSE)
_leaf("two elements left", b"\x51\x51", "Stack size must be exactly one after execution")
_leaf("signature", push(_XONLY) + b"\xac", None, sign=True)
_leaf("empty signature", push(_XONLY) + b"\xac", _FALSE, b"")
_leaf("signature that does not verify", push(_XONLY) + b"\xac", "Invalid Schnorr signature", bytes(64))
_leaf(
    "signature of 65 bytes with hash type 0x00",
    push(_XONLY) + b"\xac",
    "Invalid Schnorr signature hash type",
    bytes(65),
)
_leaf("empty key", b"\x00\xac", "Empty public key in tapscript", b"\x01")
_leaf("key of an unknown kind", push(b"\x05" * 33) + b"\xac", None, b"\x01")
_leaf("OP_CHECKMULTISIG", b"\x00\x00\x00\xae", "OP_CHECKMULTISIG(VERIFY) is not available in tapscript")
_leaf("OP_IF on two", b"\x63\x51\x68", "OP_IF/NOTIF argument must be minimal in tapscript", b"\x02")
_leaf("OP_SUCCESS", b"\x50\x00", None)
_leaf("OP_SUCCESS before a push past the end", b"\x50\x4e", None)
_leaf("OP_SUCCESS behind a push past the end", b"\x4e\x50", "Opcode missing or not understood")
_leaf("OP_SUCCESS with an element of 521 bytes", b"\x50", None, bytes(521))
_leaf("OP_SUCCESS with 1,001 elements", b"\x50", None, *[b""] * 1_001)
_leaf("1,001 elements", b"\x51", "Stack size limit exceeded", *[b""] * 1_001)
_leaf("element of 521 bytes", b"\x75\x51", "Push value size limit exceeded", bytes(521))
_leaf("300 operations", b"\x61" * 300 + b"\x51", None)
_leaf("script of 20,000 bytes", b"\x61" * 20_000 + b"\x51", None)
_leaf("unknown leaf version", b"\x6a", None, version=0xC2)
_leaf("OP_CHECKSIGADD", b"\x00" + push(_XONLY) + b"\xba\x51\x9c", None, sign=True)
_leaf("OP_CHECKSIGADD short of one", b"\x00" + push(_XONLY) + b"\xba\x51\x9c", _FALSE, b"")


def _budget_case(name: str, spare: int, text: str | None) -> None:
    """`spare`: bytes of witness more than the checks cost."""
    checks = 20
    for padding in range(400):
        script = b"\x61" * padding + (b"\x76" + push(_XONLY) + b"\xad") * (checks - 1) + push(_XONLY) + b"\xac"
        leaf = Leaf(script)
        size = 1 + 1 + 64 + (1 if len(script) < 253 else 3) + len(script) + 1 + 33
        if size + 50 - 50 * checks == spare:
            break
    else:
        raise AssertionError(name)

    def open_(tx: Tx, coin: Coins) -> Unlocking:
        return b"", leaf.witness(leaf.sign(tx, coin))

    if text is None:
        _works(name, leaf.script_pubkey, open_)
    else:
        _fails(name, text, leaf.script_pubkey, open_)


_budget_case("tapscript: signature budget used up exactly", 0, None)
_budget_case(
    "tapscript: signature budget short by one byte",
    -1,
    "Too much signature validation relative to witness weight",
)

_ANNEXED = Leaf(push(_XONLY) + b"\xac")
_works(
    "tapscript: annex that is signed",
    _ANNEXED.script_pubkey,
    lambda tx, coin: (b"", _ANNEXED.witness(_ANNEXED.sign(tx, coin, annex=b"\x50"), annex=b"\x50")),
)
_fails(
    "tapscript: annex that is not signed",
    "Invalid Schnorr signature",
    _ANNEXED.script_pubkey,
    lambda tx, coin: (b"", _ANNEXED.witness(_ANNEXED.sign(tx, coin), annex=b"\x50")),
)
_works(
    "taproot by key with scripts behind it",
    _ANNEXED.script_pubkey,
    lambda tx, coin: (b"", (_ANNEXED.sign_key_path(tx, coin),)),
)
_fails(
    "tapscript: another script",
    _MISMATCH,
    _ANNEXED.script_pubkey,
    lambda tx, coin: (b"", [b"\x51", _ANNEXED.control]),
)
_fails(
    "tapscript: parity bit changed",
    _MISMATCH,
    _ANNEXED.script_pubkey,
    lambda tx, coin: (b"", [_ANNEXED.script, bytes((_ANNEXED.control[0] ^ 1,)) + _ANNEXED.control[1:]]),
)
_fails(
    "tapscript: control block of 34 bytes",
    "Invalid Taproot control block size",
    _ANNEXED.script_pubkey,
    lambda tx, coin: (b"", [_ANNEXED.script, _ANNEXED.control + b"\x00"]),
)
_fails(
    "tapscript: control block of 32 bytes",
    "Invalid Taproot control block size",
    _ANNEXED.script_pubkey,
    lambda tx, coin: (b"", [_ANNEXED.script, _ANNEXED.control[:32]]),
)
_fails(
    "tapscript: control block of 129 nodes",
    "Invalid Taproot control block size",
    _ANNEXED.script_pubkey,
    lambda tx, coin: (b"", [_ANNEXED.script, _ANNEXED.control + bytes(32 * 129)]),
)


# -- where the failure stands --


@case("script: a failure in the last of two hundred inputs")
def _last_input(b: Bench) -> None:
    made = b.make(b"\x00", coin=201)
    tx = b.pay(coins=[*[b.coins[n] for n in range(199)], b.out(made)])
    b.rejects(b.block(made, tx), f"block-script-verify-flag-failed ({_FALSE})")
    good = unlock(
        b.pay(coins=[*[b.coins[n] for n in range(199)], b.out(b.make(b"", coin=201))]), b"\x51", index=199
    )
    b.accepts(b.block(b.make(b"", coin=201), good))


@case("script: of two failures the first counts")
def _first_failure(b: Bench) -> None:
    false, returns = b.make(b"\x00", coin=1), b.make(b"\x51\x6a", coin=2)
    one, two = b.pay(coins=[b.out(false)]), b.pay(coins=[b.out(returns)])
    b.rejects(b.block(false, returns, one, two), f"block-script-verify-flag-failed ({_FALSE})")
    b.rejects(b.block(false, returns, two, one), "block-script-verify-flag-failed (OP_RETURN was encountered)")
