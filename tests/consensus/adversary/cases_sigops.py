"""Signature operations: 80,000 units of cost fit into a block, in whatever form they come."""

from collections.abc import Callable

from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx
from tests.consensus.adversary.scripts import (
    PUBKEY,
    Leaf,
    p2sh,
    p2tr_key_only,
    p2wpkh,
    p2wsh,
    push,
    sha256,
    sign_taproot_key,
    sign_v0,
    unlock,
)
from tests.consensus.adversary.scripts import keyhash as p2pkh
from tests.consensus.adversary.steps import Spot
from tests.consensus.adversary.workshop import ANYONE, COIN, Bench, accepted, case, height_push, rejected

_VALUE = COIN // 10
_CHECKSIG, _MULTISIG = b"\xac", b"\xae"
_REASON = "bad-blk-sigops"


def _with_output(b: Bench, script: bytes, *, coin: int = 0) -> Tx:
    return b.pay(TxOut(_VALUE, ANYONE), TxOut(0, script), coin=coin)


# -- in outputs, four units each; too many are seen before the header is taken --

for _name, _script, _most in (
    ("OP_CHECKSIG", b"\xac", 20_000),
    ("OP_CHECKSIGVERIFY", b"\xad", 20_000),
    ("OP_CHECKMULTISIG as 20", b"\xae", 1_000),
    ("OP_CHECKMULTISIGVERIFY as 20", b"\xaf", 1_000),
    ("bare OP_3 OP_CHECKMULTISIG as 20 too", b"\x53\xae", 1_000),
):
    accepted(f"sigops: {_name}, as many as fit", lambda b, s=_script, n=_most: b.block(_with_output(b, s * n)))  # type: ignore[misc]
    rejected(
        f"sigops: {_name}, one too many",
        _REASON,
        lambda b, s=_script, n=_most: b.block(_with_output(b, s * (n + 1))),  # type: ignore[misc]
    )

accepted("sigops: in pushed data they are none", lambda b: b.block(_with_output(b, push(_CHECKSIG * 30_000))))
accepted(
    "sigops: behind a push that runs past the end they are none",
    lambda b: b.block(_with_output(b, _CHECKSIG * 20_000 + b"\x4e\xff\xff\x00\x00" + _CHECKSIG * 100)),
)
rejected(
    "sigops: before a push that runs past the end they count",
    _REASON,
    lambda b: b.block(_with_output(b, _CHECKSIG * 20_001 + b"\x4e\xff\xff\x00\x00")),
)
rejected(
    "sigops: behind a push too big to be executed they count",
    _REASON,
    lambda b: b.block(_with_output(b, push(bytes(521)) + _CHECKSIG * 20_001)),
)
accepted(
    "sigops: behind a cut-off OP_PUSHDATA2 they are none",
    lambda b: b.block(_with_output(b, _CHECKSIG * 20_000 + b"\x4d\xac")),
)
rejected(
    "sigops: unspendable outputs count", _REASON, lambda b: b.block(_with_output(b, b"\x6a" + _CHECKSIG * 20_001))
)
rejected(
    "sigops: spread over many outputs",
    _REASON,
    lambda b: b.block(b.pay(TxOut(_VALUE, ANYONE), *[TxOut(0, _CHECKSIG * 100)] * 200, TxOut(0, _CHECKSIG))),
)
accepted(
    "sigops: the coinbase's own script counts, exactly full",
    lambda b: b.block(
        _with_output(b, _CHECKSIG * 19_980),
        first=b.coinbase(script_sig=height_push(b.height) + _CHECKSIG * 20),
    ),
)
rejected(
    "sigops: the coinbase's own script counts, one too many",
    _REASON,
    lambda b: b.block(
        _with_output(b, _CHECKSIG * 19_981),
        first=b.coinbase(script_sig=height_push(b.height) + _CHECKSIG * 20),
    ),
)


def _in_script_sigs(b: Bench, count: int) -> Spot:
    """In input scripts, where they are never executed; the other half of the block is in outputs."""
    script_sig = b"\x00\x63" + _CHECKSIG * 100 + b"\x68"
    inputs = [TxIn(b.coins[n][0], script_sig, 0xFFFFFFFF) for n in range(100)]
    tx = make_tx(2, inputs, [TxOut(100 * _VALUE, ANYONE), TxOut(0, _CHECKSIG * (count - 10_000))])
    return b.block(tx)


accepted("sigops: in input scripts, as many as fit", lambda b: _in_script_sigs(b, 20_000))
rejected("sigops: in input scripts, one too many", _REASON, lambda b: _in_script_sigs(b, 20_001))


# -- in what is executed for an output: seen when the coins are known, and remembered --

_NEVER = b"\x00\x63%b\x68\x51"
"""OP_0 OP_IF … OP_ENDIF OP_1: counted, not executed."""


def _hidden(
    b: Bench,
    wrap: Callable[[bytes], bytes],
    script: bytes,
    open_: Callable[[bytes], dict[str, object]],
    count: int,
) -> list[Tx]:
    """One transaction with `count` outputs locked by `script`, and one that spends them all."""
    funding = b.make(wrap(script), count=count)
    unlocked = open_(script)
    inputs = [
        TxIn(
            funding.outpoint(n),
            unlocked.get("script_sig", b""),  # type: ignore[arg-type]
            0xFFFFFFFF,
            unlocked.get("witness", ()),  # type: ignore[arg-type]
        )
        for n in range(count)
    ]
    return [funding, make_tx(2, inputs, [TxOut(_VALUE // count * count, ANYONE)])]


def _fill(b: Bench, txs: list[Tx], used: int, spare: int) -> Spot:
    """`txs`, which cost `used`, and outputs that leave `spare` units of cost; −4 is one operation too many."""
    rest = 80_000 - used - spare
    assert rest % 4 == 0
    return b.block(*txs, _with_output(b, _CHECKSIG * (rest // 4), coin=1), fees=0)


def _p2sh(script: bytes) -> dict[str, object]:
    return {"script_sig": push(script)}


def _p2wsh(script: bytes) -> dict[str, object]:
    return {"witness": (script,)}


def _p2sh_p2wsh(script: bytes) -> dict[str, object]:
    return {"script_sig": push(p2wsh(script)), "witness": (script,)}


_FORMS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], dict[str, object]], bytes, int, int]] = {
    # how to wrap, how to open, what stands inside, its cost, how many inputs
    "P2SH OP_CHECKSIG": (p2sh, _p2sh, _CHECKSIG * 199, 199 * 4, 20),
    "P2SH bare OP_CHECKMULTISIG as 20": (p2sh, _p2sh, _MULTISIG * 199, 199 * 80, 5),
    "P2SH OP_3 OP_CHECKMULTISIG as 3": (p2sh, _p2sh, b"\x53\xae" * 199, 199 * 12, 20),
    "P2SH OP_16 OP_CHECKMULTISIGVERIFY as 16": (p2sh, _p2sh, b"\x60\xaf" * 199, 199 * 64, 5),
    "P2SH pushed 16 OP_CHECKMULTISIG as 20": (p2sh, _p2sh, b"\x01\x10\xae" * 150, 150 * 80, 5),
    "P2WSH OP_CHECKSIG": (p2wsh, _p2wsh, _CHECKSIG * 196, 196, 20),
    "P2WSH bare OP_CHECKMULTISIG as 20": (p2wsh, _p2wsh, _MULTISIG * 199, 199 * 20, 20),
    "P2WSH OP_4 OP_CHECKMULTISIG as 4": (p2wsh, _p2wsh, b"\x54\xae" * 199, 199 * 4, 20),
    "P2SH-P2WSH bare OP_CHECKMULTISIG as 20": (
        lambda script: p2sh(p2wsh(script)),
        _p2sh_p2wsh,
        _MULTISIG * 199,
        199 * 20,
        20,
    ),
}
for _name, (_wrap, _open, _inner, _cost, _count) in _FORMS.items():

    def _build(b: Bench, spare: int, wrap=_wrap, open_=_open, inner=_inner, cost=_cost, count=_count) -> Spot:  # type: ignore[no-untyped-def]
        script = _NEVER % inner
        return _fill(b, _hidden(b, wrap, script, open_, count), cost * count, spare)

    accepted(f"sigops: {_name}, exactly full", lambda b, f=_build: f(b, 0))  # type: ignore[misc]
    rejected(
        f"sigops: {_name}, one too many",
        _REASON,
        lambda b, f=_build: f(b, -4),  # type: ignore[misc]
        again="duplicate-invalid",
    )


def _witness_units(b: Bench, more: int) -> Spot:
    """A single unit over, which only a witness program can be."""
    script = _NEVER % (_CHECKSIG * (196 + more))
    return _fill(b, _hidden(b, p2wsh, script, _p2wsh, 1), 196, 0)


rejected("sigops: one witness unit too many", _REASON, lambda b: _witness_units(b, 1), again="duplicate-invalid")


def _keyhash_spends(b: Bench, count: int, spare: int) -> Spot:
    txs = []
    for n in range(count):
        funding = b.make(p2wpkh(), coin=10 + n)
        coin = b.out(funding)
        tx = b.pay(coins=[coin])
        txs += [funding, unlock(tx, witness=[sign_v0(tx, coin, p2pkh()), PUBKEY])]
    return _fill(b, txs, 4, spare)


accepted("sigops: four P2WPKH inputs are four units", lambda b: _keyhash_spends(b, 4, 0))
rejected(
    "sigops: a fifth P2WPKH input is one unit too many",
    _REASON,
    lambda b: _keyhash_spends(b, 5, 0),
    again="duplicate-invalid",
)


@case("sigops: neither taproot keys nor tapscripts count")
def _taproot_free(b: Bench) -> None:
    by_key = b.make(p2tr_key_only(), coin=2)
    key_spend = b.pay(coins=[b.out(by_key)])
    key_spend = unlock(key_spend, witness=[sign_taproot_key(key_spend, b.out(by_key))])
    leaf = Leaf(b"\x00\x63" + _CHECKSIG * 5_000 + b"\x68\x51")
    by_leaf = b.make(leaf.script_pubkey, coin=3)
    leaf_spend = b.pay(coins=[b.out(by_leaf)], witness=leaf.witness())
    b.accepts(_fill(b, [by_key, key_spend, by_leaf, leaf_spend], 0, 0))


@case("sigops: an unknown witness version counts nothing")
def _future_free(b: Bench) -> None:
    funding = b.make(b"\x52\x20" + sha256(b""), coin=2)
    b.accepts(_fill(b, [funding, b.pay(coins=[b.out(funding)], witness=[_CHECKSIG * 9_000])], 0, 0))


@case("sigops: what a spent output's own script holds was counted in its own block")
def _counted_once(b: Bench) -> None:
    funding = b.make(_NEVER % (_CHECKSIG * 199), count=100)
    first = b.block(funding)
    b.accepts(first)
    tx = b.pay(coins=[b.out(funding, n) for n in range(100)])
    full = b.block(tx, _with_output(b, _CHECKSIG * 20_000, coin=1), on=first)
    b.accepts(full)
