"""Script rules where a block meets them: which flags bind, what counts as a signature operation, when."""

from collections.abc import Iterator, Sequence

import pytest

from gldnode.chain.options import AcceptStatus, ChainOptions
from gldnode.crypto.secp256k1 import sign_schnorr, tweak_pubkey, tweak_seckey, xonly_of
from gldnode.errors import Reject
from gldnode.params import BTC_REGTEST, ChainParams
from gldnode.primitives.block import Block
from gldnode.primitives.codec import compact_size
from gldnode.primitives.hashes import hash160, sha256, tagged_hash
from gldnode.primitives.tx import SEQUENCE_FINAL, OutPoint, Tx, TxIn, TxOut, make_tx, with_witnesses
from gldnode.script.script import push_data, push_int
from gldnode.script.sighash import SighashCache
from tests.support.chain import ANYONE, Key, RegtestChain, spend

_VALUE = 100_000
_KEY = Key(11)
_UPGRADE = 150
"""Height at which the late network below gets its rules."""


def _p2sh(redeem: bytes) -> bytes:
    return b"\xa9\x14" + hash160(redeem) + b"\x87"


def _p2wsh(script: bytes) -> bytes:
    return b"\x00\x20" + sha256(script)


class Stage:
    """A chain with a purse that pays for every case."""

    def __init__(self, params: ChainParams = BTC_REGTEST, options: ChainOptions | None = None) -> None:
        self.chain = RegtestChain(params, options=options)
        self.purse = self.chain.mature_coin()

    def fund(self, script: bytes, count: int = 1) -> list[tuple[bytes, TxOut]]:
        """`count` confirmed outputs with `script`."""
        output = TxOut(_VALUE, script)
        prevout, coin = self.purse
        change = TxOut(coin.amount - count * _VALUE, ANYONE)
        tx = spend([(prevout, coin)], [output] * count + [change])
        self.purse = (tx.outpoint(count), change)
        self.chain.mine(1, [tx])
        return [(tx.outpoint(vout), output) for vout in range(count)]

    def take(
        self,
        coins: Sequence[tuple[bytes, TxOut]],
        script_sig: bytes = b"",
        witness: Sequence[bytes] = (),
        *,
        outputs: Sequence[TxOut] = (TxOut(0, ANYONE),),
        version: int = 2,
        lock_time: int = 0,
        sequence: int = SEQUENCE_FINAL - 1,
    ) -> Tx:
        inputs = [TxIn(OutPoint(prevout), script_sig, sequence) for prevout, _ in coins]
        tx = make_tx(version, inputs, outputs, lock_time)
        return with_witnesses(tx, [witness] * len(inputs)) if witness else tx

    def verdict(self, *txs: Tx) -> str:
        """The reason why a block with `txs` is refused, "" when it is taken; the chain is as before."""
        block: Block = self.chain.block(txs)
        try:
            assert self.chain.accept(block).status is AcceptStatus.CONNECTED
        except Reject as error:
            return error.reason
        self.chain.state.invalidate(block.hash)
        return ""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.chain.close()


def _failed(text: str) -> str:
    return f"block-script-verify-flag-failed ({text})"


# output script, input script, witness, verdict
_SPENDS: dict[str, tuple[bytes, bytes, Sequence[bytes], str]] = {
    "true": (b"\x51", b"", (), ""),
    "nothing on the stack": (
        b"",
        b"",
        (),
        _failed("Script evaluated without error but finished with a false/empty top stack element"),
    ),
    "return": (b"\x00\x63\x6a\x68\x6a", b"", (), _failed("OP_RETURN was encountered")),
    "disabled opcode in a branch not taken": (
        b"\x00\x63\x7e\x68\x51",
        b"",
        (),
        _failed("Attempted to use a disabled opcode"),
    ),
    "unbalanced conditional": (b"\x51\x63", b"", (), _failed("Invalid OP_IF construction")),
    "more on the stack than needed": (b"\x51", b"\x51\x51", (), ""),
    "an operation in the input script": (b"\x51", b"\x61", (), ""),
    "201 operations": (b"\x61" * 201 + b"\x51", b"", (), ""),
    "202 operations": (b"\x61" * 202 + b"\x51", b"", (), _failed("Operation limit exceeded")),
    "push of 520 bytes": (b"\x75\x51", push_data(bytes(520)), (), ""),
    "push of 521 bytes": (b"\x75\x51", push_data(bytes(521)), (), _failed("Push value size limit exceeded")),
    "upgradable opcode": (b"\xb9\x51", b"", (), ""),
    "lock time opcode": (
        push_int(500) + b"\xb1",
        b"",
        (),
        _failed("Locktime requirement not satisfied"),
    ),
    "sequence opcode": (push_int(50) + b"\xb2", b"", (), _failed("Locktime requirement not satisfied")),
    "negative lock time": (b"\x4f\xb1", b"", (), _failed("Negative locktime")),
    "script hash": (_p2sh(b"\x51"), push_data(b"\x51"), (), ""),
    "script hash of a false script": (
        _p2sh(b"\x00"),
        push_data(b"\x00"),
        (),
        _failed("Script evaluated without error but finished with a false/empty top stack element"),
    ),
    "script hash with an operation in the input": (
        _p2sh(b"\x51"),
        b"\x61" + push_data(b"\x51"),
        (),
        _failed("Only push operators allowed in signatures"),
    ),
    "script hash of another script": (
        _p2sh(b"\x51"),
        push_data(b"\x52"),
        (),
        _failed("Script evaluated without error but finished with a false/empty top stack element"),
    ),
    "witness script hash": (_p2wsh(b"\x51"), b"", (b"\x51",), ""),
    "witness script hash without a witness": (
        _p2wsh(b"\x51"),
        b"",
        (),
        _failed("Witness program was passed an empty witness"),
    ),
    "witness script hash of another script": (
        _p2wsh(b"\x51"),
        b"",
        (b"\x52",),
        _failed("Witness program hash mismatch"),
    ),
    "witness script that leaves two items": (
        _p2wsh(b"\x51\x51"),
        b"",
        (b"\x51\x51",),
        _failed("Stack size must be exactly one after execution"),
    ),
    "witness with an input script": (
        _p2wsh(b"\x51"),
        b"\x51",
        (b"\x51",),
        _failed("Witness requires empty scriptSig"),
    ),
    "witness program in a script hash": (_p2sh(_p2wsh(b"\x51")), push_data(_p2wsh(b"\x51")), (b"\x51",), ""),
    "witness program in a script hash with more": (
        _p2sh(_p2wsh(b"\x51")),
        b"\x51" + push_data(_p2wsh(b"\x51")),
        (b"\x51",),
        _failed("Witness requires only-redeemscript scriptSig"),
    ),
    "witness for an ordinary script": (
        b"\x51",
        b"",
        (b"\x51",),
        _failed("Witness provided for non-witness script"),
    ),
    "version 0 program of 21 bytes": (
        b"\x00\x15" + b"\x01" * 21,
        b"",
        (b"\x51",),
        _failed("Witness program has incorrect length"),
    ),
    "version 2 program": (b"\x52\x20" + b"\x01" * 32, b"", (b"\x51",), ""),
    "version 1 program of 31 bytes": (b"\x51\x1f" + b"\x01" * 31, b"", (b"\x51",), ""),
    "pay to anchor": (b"\x51\x02\x4e\x73", b"", (), ""),
    "witness item of 520 bytes": (_p2wsh(b"\x75\x51"), b"", (bytes(520), b"\x75\x51"), ""),
    "witness item of 521 bytes": (
        _p2wsh(b"\x75\x51"),
        b"",
        (bytes(521), b"\x75\x51"),
        _failed("Push value size limit exceeded"),
    ),
    "minimal if is policy in version 0": (_p2wsh(b"\x63\x51\x68"), b"", (b"\x02", b"\x63\x51\x68"), ""),
    "a dummy that is not null": (
        b"\x00\x00\xae",
        b"\x51",
        (),
        _failed("Dummy CHECKMULTISIG argument must be zero"),
    ),
}


@pytest.mark.parametrize("name", _SPENDS)
def test_spend_in_a_block(name: str, stage: Stage) -> None:
    script, script_sig, witness, expected = _SPENDS[name]
    assert stage.verdict(stage.take(stage.fund(script), script_sig, witness)) == expected


# -- signature operations: one script many times --


def test_operations_of_revealed_scripts_count(stage: Stage) -> None:
    """80,000 is the limit of the cost: an operation in P2SH costs 4, one in P2WSH 1."""
    p2sh = b"\x00\x63" + b"\xac" * 100 + b"\x68\x51"
    assert stage.verdict(_revealed(stage, p2sh, 200)) == ""
    assert stage.verdict(_revealed(stage, p2sh, 201)) == "bad-blk-sigops"
    p2wsh = b"\x00\x63" + b"\xac" * 160 + b"\x68\x51"
    assert stage.verdict(_witnessed(stage, p2wsh, 500)) == ""
    assert stage.verdict(_witnessed(stage, p2wsh, 501)) == "bad-blk-sigops"


def _revealed(stage: Stage, redeem: bytes, count: int) -> Tx:
    return stage.take(stage.fund(_p2sh(redeem), count), push_data(redeem))


def _witnessed(stage: Stage, script: bytes, count: int) -> Tx:
    return stage.take(stage.fund(_p2wsh(script), count), b"", [script])


def test_operations_of_tapscript_do_not_count(stage: Stage) -> None:
    script = b"\x00\x63" + b"\xac" * 1_000 + b"\x68\x51"
    output, witness = _tapscript(script)
    assert stage.verdict(stage.take(stage.fund(output, 21), b"", witness)) == ""


def _tapscript(script: bytes, version: int = 0xC0) -> tuple[bytes, list[bytes]]:
    """An output with one leaf, and the witness that reveals it."""
    internal = xonly_of(_KEY.secret)
    leaf = tagged_hash("TapLeaf", bytes((version,)) + compact_size(len(script)) + script)
    output, parity = tweak_pubkey(internal, leaf)
    return b"\x51\x20" + output, [script, bytes((version | parity,)) + internal]


def test_taproot_key_path_and_its_failures(stage: Stage) -> None:
    output, _ = tweak_pubkey(xonly_of(_KEY.secret))
    coins = stage.fund(b"\x51\x20" + output)
    tx = stage.take(coins)
    digest = SighashCache(tx, [coins[0][1]]).taproot(0, 0)
    assert digest is not None
    signature = sign_schnorr(tweak_seckey(_KEY.secret), digest)
    assert stage.verdict(with_witnesses(tx, [[signature]])) == ""
    broken = signature[:40] + bytes((signature[40] ^ 1,)) + signature[41:]
    assert stage.verdict(with_witnesses(tx, [[broken]])) == _failed("Invalid Schnorr signature")
    assert stage.verdict(with_witnesses(tx, [[signature[:-1]]])) == _failed("Invalid Schnorr signature size")
    assert stage.verdict(with_witnesses(tx, [[signature + b"\x04"]])) == _failed(
        "Invalid Schnorr signature hash type"
    )


@pytest.mark.parametrize(
    ("script", "version", "expected"),
    [
        (b"\x51", 0xC0, ""),
        (
            b"\x00",
            0xC0,
            _failed("Script evaluated without error but finished with a false/empty top stack element"),
        ),
        (b"\x50", 0xC0, ""),  # OP_SUCCESS
        (b"\x00", 0xC2, ""),  # another leaf version
        (b"\x52\x63\x51\x68", 0xC0, _failed("OP_IF/NOTIF argument must be minimal in tapscript")),
        (b"\x00\x00\x00\xae", 0xC0, _failed("OP_CHECKMULTISIG(VERIFY) is not available in tapscript")),
    ],
)
def test_tapscript_leaves(script: bytes, version: int, expected: str, stage: Stage) -> None:
    output, witness = _tapscript(script, version)
    assert stage.verdict(stage.take(stage.fund(output), b"", witness)) == expected


def test_a_tapscript_with_a_wrong_branch_is_refused(stage: Stage) -> None:
    output, (script, control) = _tapscript(b"\x51")
    assert stage.verdict(stage.take(stage.fund(output), b"", [script, control + bytes(32)])) == _failed(
        "Witness program hash mismatch"
    )
    assert stage.verdict(stage.take(stage.fund(output), b"", [script, control[:-1]])) == _failed(
        "Invalid Taproot control block size"
    )


# -- rules that begin at a height --


_LATE: dict[str, tuple[str, bytes, bytes, str]] = {
    "BIP 65": ("cltv", push_int(10_000) + b"\xb1", b"", _failed("Locktime requirement not satisfied")),
    "BIP 112": ("csv", push_int(10_000) + b"\xb2", b"", _failed("Locktime requirement not satisfied")),
    "BIP 147": ("segwit", b"\x00\x00\xae", b"\x51", _failed("Dummy CHECKMULTISIG argument must be zero")),
}


@pytest.mark.parametrize("name", _LATE)
def test_rule_binds_from_its_height(name: str) -> None:
    deployment, script, script_sig, expected = _LATE[name]
    stage = Stage(options=ChainOptions(test_activation_heights=((deployment, _UPGRADE),)))
    coins = stage.fund(script)
    tx = stage.take(coins, script_sig)
    stage.chain.mine(_UPGRADE - 2 - stage.chain.height)
    assert stage.verdict(tx) == ""  # at height 149
    stage.chain.mine(1)
    assert stage.verdict(tx) == expected


def test_relative_locks_bind_from_their_height() -> None:
    stage = Stage(options=ChainOptions(test_activation_heights=(("csv", _UPGRADE),)))
    tx = stage.take(stage.fund(ANYONE), sequence=1_000)
    stage.chain.mine(_UPGRADE - 2 - stage.chain.height)
    assert stage.verdict(tx) == ""
    stage.chain.mine(1)
    assert stage.verdict(tx) == "bad-txns-nonfinal"


def test_strict_signatures_bind_from_their_height() -> None:
    """A signature with a padded R is taken before BIP 66 and refused after."""
    stage = Stage(options=ChainOptions(test_activation_heights=(("dersig", _UPGRADE),)))
    script = push_data(_KEY.pubkey) + b"\xac\x91"  # NOT: the signature may be wrong, its form not
    padded = b"\x30\x06\x02\x01\x00\x02\x01\x00" + b"\x01"
    tx = stage.take(stage.fund(script), push_data(padded[:3] + b"\x02\x00\x01\x02\x01\x01\x01"))
    stage.chain.mine(_UPGRADE - 2 - stage.chain.height)
    assert stage.verdict(tx) == ""
    stage.chain.mine(1)
    assert stage.verdict(tx) == _failed("Non-canonical DER signature")


def test_lock_times_are_measured_by_the_median_from_bip_113_on() -> None:
    stage = Stage(options=ChainOptions(test_activation_heights=(("csv", _UPGRADE),)))
    coins = stage.fund(ANYONE)
    stage.chain.mine(_UPGRADE - 2 - stage.chain.height)
    median = stage.chain.tip.median_time_past
    tx = stage.take(coins, lock_time=median)
    assert stage.verdict(tx) == ""  # the block's own time is later
    stage.chain.mine(1)
    assert stage.verdict(stage.take(coins, lock_time=stage.chain.tip.median_time_past)) == "bad-txns-nonfinal"
    assert stage.verdict(stage.take(coins, lock_time=stage.chain.tip.median_time_past - 1)) == ""
