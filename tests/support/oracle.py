"""Signature hashes written straight from the rules, without sharing or caching: what the tests compare with."""

from collections.abc import Sequence
from hashlib import sha256 as _sha256

from gldnode.primitives.codec import var_bytes
from gldnode.primitives.hashes import sha256d, tagged_hash
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, serialize_tx_out

__all__ = ["bip143_digest", "bip341_digest", "legacy_digest"]


def _sha(data: bytes) -> bytes:
    return _sha256(data).digest()


def _le(n: int, size: int) -> bytes:
    return (n & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def legacy_digest(tx: Tx, index: int, script_code: bytes, hash_type: int) -> bytes:
    """The original algorithm: edit a copy of the transaction, serialise it, hash it.

    `script_code` without OP_CODESEPARATORs.
    """
    base, anyone = hash_type & 0x1F, hash_type & 0x80
    inputs = [
        TxIn(txin.prevout, script_code if n == index else b"", txin.sequence) for n, txin in enumerate(tx.inputs)
    ]
    outputs: Sequence[TxOut] = tx.outputs
    if base in (2, 3):
        inputs = [txin if n == index else TxIn(txin.prevout, txin.script_sig, 0) for n, txin in enumerate(inputs)]
    if base == 2:
        outputs = []
    elif base == 3:
        if index >= len(tx.outputs):
            return _le(1, 32)
        outputs = [TxOut(-1, b"")] * index + [tx.outputs[index]]
    if anyone:
        inputs = [inputs[index]]
    return sha256d(make_tx(tx.version, inputs, outputs, tx.lock_time).raw + _le(hash_type, 4))


def bip143_digest(tx: Tx, index: int, script_code: bytes, amount: int, hash_type: int) -> bytes:
    base, anyone = hash_type & 0x1F, hash_type & 0x80
    zero = bytes(32)
    prevouts = zero if anyone else sha256d(b"".join(txin.prevout for txin in tx.inputs))
    sequences = zero
    if not anyone and base not in (2, 3):
        sequences = sha256d(b"".join(_le(txin.sequence, 4) for txin in tx.inputs))
    outputs = zero
    if base not in (2, 3):
        outputs = sha256d(b"".join(map(serialize_tx_out, tx.outputs)))
    elif base == 3 and index < len(tx.outputs):
        outputs = sha256d(serialize_tx_out(tx.outputs[index]))
    txin = tx.inputs[index]
    return sha256d(
        _le(tx.version, 4)
        + prevouts
        + sequences
        + txin.prevout
        + var_bytes(script_code)
        + _le(amount, 8)
        + _le(txin.sequence, 4)
        + outputs
        + _le(tx.lock_time, 4)
        + _le(hash_type, 4)
    )


def bip341_digest(
    tx: Tx,
    index: int,
    spent: Sequence[TxOut],
    hash_type: int,
    annex: bytes | None = None,
    leaf: tuple[bytes, int] | None = None,
) -> bytes | None:
    """`leaf`: leaf hash and position of the last OP_CODESEPARATOR."""
    if hash_type not in (0, 1, 2, 3, 0x81, 0x82, 0x83):
        return None
    message = bytes((0, hash_type)) + _le(tx.version, 4) + _le(tx.lock_time, 4)
    if hash_type & 0x80 == 0:
        message += _sha(b"".join(txin.prevout for txin in tx.inputs))
        message += _sha(b"".join(_le(output.amount, 8) for output in spent))
        message += _sha(b"".join(var_bytes(output.script_pubkey) for output in spent))
        message += _sha(b"".join(_le(txin.sequence, 4) for txin in tx.inputs))
    if hash_type & 3 not in (2, 3):
        message += _sha(b"".join(map(serialize_tx_out, tx.outputs)))
    message += bytes(((2 if leaf else 0) + (0 if annex is None else 1),))
    if hash_type & 0x80:
        txin = tx.inputs[index]
        message += txin.prevout + serialize_tx_out(spent[index]) + _le(txin.sequence, 4)
    else:
        message += _le(index, 4)
    if annex is not None:
        message += _sha(var_bytes(annex))
    if hash_type & 3 == 3:
        if index >= len(tx.outputs):
            return None
        message += _sha(serialize_tx_out(tx.outputs[index]))
    if leaf:
        message += leaf[0] + b"\x00" + _le(leaf[1], 4)
    return tagged_hash("TapSighash", message)
