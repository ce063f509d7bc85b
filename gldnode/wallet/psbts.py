"""The roles that work on PSBTs, BIP 174: updater, signer, combiner, finalizer, extractor."""

from collections.abc import Sequence

from gldnode.crypto.secp256k1 import sign_ecdsa, sign_schnorr, tweak_seckey
from gldnode.descriptors import Expansion
from gldnode.primitives.codec import Reader, compact_size, var_bytes
from gldnode.primitives.hashes import hash160
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, parse_tx, serialize_tx_out
from gldnode.psbt import Psbt, PsbtError, PsbtMap, key
from gldnode.psbt_fields import In, Out
from gldnode.script.errors import ScriptError
from gldnode.script.flags import STANDARD_SCRIPT_VERIFY_FLAGS
from gldnode.script.sighash import SIGHASH_ALL, SIGHASH_DEFAULT, SighashCache
from gldnode.script.templates import ScriptKind, p2sh_script, p2wsh_script, solve
from gldnode.script.verify import verify_input
from gldnode.wallet.signing import SigningKeys, sign_input

__all__ = [
    "combine",
    "extract",
    "finalize_input",
    "input_utxo",
    "is_finalized",
    "sign_psbt_input",
    "update_input",
    "update_output",
]

_FINAL_DROPS = (
    In.PARTIAL_SIG,
    In.SIGHASH_TYPE,
    In.REDEEM_SCRIPT,
    In.WITNESS_SCRIPT,
    In.BIP32_DERIVATION,
    In.TAP_KEY_SIG,
    In.TAP_SCRIPT_SIG,
    In.TAP_LEAF_SCRIPT,
    In.TAP_BIP32_DERIVATION,
    In.TAP_INTERNAL_KEY,
    In.TAP_MERKLE_ROOT,
)


def input_utxo(psbt: Psbt, index: int) -> TxOut | None:
    """What the input spends, as far as the PSBT tells."""
    pairs = psbt.inputs[index]
    previous = pairs.get(key(In.NON_WITNESS_UTXO))
    if previous is not None:
        return parse_tx(previous).outputs[psbt.prevout(index).vout]
    raw = pairs.get(key(In.WITNESS_UTXO))
    if raw is None:
        return None
    reader = Reader(raw)
    return TxOut(reader.i64(), reader.var_bytes())


def is_finalized(pairs: PsbtMap) -> bool:
    return key(In.FINAL_SCRIPTSIG) in pairs or key(In.FINAL_SCRIPTWITNESS) in pairs


def _spent(psbt: Psbt) -> list[TxOut]:
    return [input_utxo(psbt, index) or TxOut(0, b"") for index in range(len(psbt.inputs))]


def _origin_value(fingerprint: bytes, path: Sequence[int]) -> bytes:
    return fingerprint + b"".join(step.to_bytes(4, "little") for step in path)


# --- updater ---


def update_input(
    pairs: PsbtMap, utxo: TxOut, previous: Tx | None, expansion: Expansion | None, *, with_paths: bool = True
) -> None:
    """Add what is known of the coin and of the script that it pays to."""
    if is_finalized(pairs):
        return
    kind = solve(utxo.script_pubkey).kind
    inner = expansion.inner_scripts if expansion is not None else ()
    redeem = next((s for s in inner if p2sh_script(s) == utxo.script_pubkey), None)
    witness_script = next((s for s in inner if p2wsh_script(s) in (utxo.script_pubkey, redeem)), None)
    is_witness = str(kind).startswith("witness") or (
        redeem is not None and str(solve(redeem).kind).startswith("witness")
    )
    if previous is not None and kind is not ScriptKind.WITNESS_V1_TAPROOT:
        pairs[key(In.NON_WITNESS_UTXO)] = previous.raw
    if is_witness:
        pairs[key(In.WITNESS_UTXO)] = serialize_tx_out(utxo)
    if redeem is not None:
        pairs[key(In.REDEEM_SCRIPT)] = redeem
    if witness_script is not None:
        pairs[key(In.WITNESS_SCRIPT)] = witness_script
    if expansion is None:
        return
    if expansion.taproot is not None:
        pairs[key(In.TAP_INTERNAL_KEY)] = expansion.taproot.internal_key
        if expansion.taproot.merkle_root:
            pairs[key(In.TAP_MERKLE_ROOT)] = expansion.taproot.merkle_root
        if with_paths:
            own = expansion.keys[0]
            value = compact_size(0) + _origin_value(own.fingerprint, own.path)
            pairs[key(In.TAP_BIP32_DERIVATION, own.xonly)] = value
    elif with_paths:
        for one in expansion.keys:
            pairs[key(In.BIP32_DERIVATION, one.pubkey)] = _origin_value(one.fingerprint, one.path)


def update_output(pairs: PsbtMap, script: bytes, expansion: Expansion, *, with_paths: bool = True) -> None:
    """Add what is known of an output of our own."""
    redeem = next((s for s in expansion.inner_scripts if p2sh_script(s) == script), None)
    witness_script = next((s for s in expansion.inner_scripts if p2wsh_script(s) in (script, redeem)), None)
    if redeem is not None:
        pairs[key(Out.REDEEM_SCRIPT)] = redeem
    if witness_script is not None:
        pairs[key(Out.WITNESS_SCRIPT)] = witness_script
    if expansion.taproot is not None:
        pairs[key(Out.TAP_INTERNAL_KEY)] = expansion.taproot.internal_key
        if with_paths:
            own = expansion.keys[0]
            value = compact_size(0) + _origin_value(own.fingerprint, own.path)
            pairs[key(Out.TAP_BIP32_DERIVATION, own.xonly)] = value
    elif with_paths:
        for one in expansion.keys:
            pairs[key(Out.BIP32_DERIVATION, one.pubkey)] = _origin_value(one.fingerprint, one.path)


# --- signer ---


def _check_scripts(psbt: Psbt, index: int, utxo: TxOut) -> tuple[bytes, bool]:
    """The script to sign for and whether it is a witness one, with BIP 174's checks of a signer."""
    pairs = psbt.inputs[index]
    script = utxo.script_pubkey
    redeem = pairs.get(key(In.REDEEM_SCRIPT))
    if redeem is not None:
        if p2sh_script(redeem) != script:
            raise PsbtError("redeemScript does not match the scriptPubKey")
        script = redeem
    is_witness = str(solve(script).kind).startswith("witness")
    witness_script = pairs.get(key(In.WITNESS_SCRIPT))
    if witness_script is not None:
        if p2wsh_script(witness_script) != script:
            raise PsbtError("witnessScript does not match the scriptPubKey or redeemScript")
        script = witness_script
    if not is_witness and key(In.NON_WITNESS_UTXO) not in pairs:
        raise PsbtError("A witness UTXO is provided for a non-witness input")
    return script, is_witness


def _keys_of(pairs: PsbtMap) -> SigningKeys:
    """Scripts and public keys that the input carries."""
    keys = SigningKeys()
    for kind in (In.REDEEM_SCRIPT, In.WITNESS_SCRIPT):
        script = pairs.get(key(kind))
        if script is not None:
            keys.add_script(script)
    for name in pairs:
        if name[0] in (In.PARTIAL_SIG, In.BIP32_DERIVATION):
            keys.add_pubkey(name[1:])
    return keys


def sign_psbt_input(psbt: Psbt, index: int, keys: SigningKeys, hash_type: int | None = None) -> bool:
    """Add the signatures that `keys` can make; whether any was added. Raises PsbtError where a signer must refuse.

    hash_type: None takes the input's own or the default.
    """
    pairs = psbt.inputs[index]
    utxo = input_utxo(psbt, index)
    if utxo is None or is_finalized(pairs):
        return False
    declared = pairs.get(key(In.SIGHASH_TYPE))
    wanted = int.from_bytes(declared, "little") if declared is not None else hash_type
    if hash_type is not None and declared is not None and wanted != hash_type:
        raise PsbtError("Specified sighash value does not match value stored in PSBT")
    script, is_witness = _check_scripts(psbt, index, utxo)
    cache = SighashCache(psbt.unsigned_tx(), _spent(psbt))
    kind, data = solve(script)
    if kind is ScriptKind.WITNESS_V1_TAPROOT:
        return _sign_taproot(psbt, index, data[0], cache, keys, wanted or SIGHASH_DEFAULT)
    hash_type = wanted or SIGHASH_ALL
    if kind is ScriptKind.WITNESS_V0_KEYHASH:
        script = b"\x76\xa9\x14" + data[0] + b"\x88\xac"
        kind, data = solve(script)
    if kind is ScriptKind.PUBKEYHASH:
        found = keys.pubkeys.get(data[0])
        pubkeys = [found] if found is not None else [pk for pk in keys.secrets if hash160(pk) == data[0]]
    elif kind is ScriptKind.PUBKEY:
        pubkeys = [data[0]]
    elif kind is ScriptKind.MULTISIG:
        pubkeys = list(data[1:-1])
    else:
        return False
    added = False
    for pubkey in pubkeys:
        secret = keys.secrets.get(pubkey)
        if secret is None or key(In.PARTIAL_SIG, pubkey) in pairs:
            continue
        if is_witness:
            digest = cache.segwit_v0(index, script, utxo.amount, hash_type)
        else:
            digest = cache.legacy(index, script, hash_type)
        pairs[key(In.PARTIAL_SIG, pubkey)] = sign_ecdsa(secret, digest) + bytes((hash_type,))
        added = True
    if added and hash_type != SIGHASH_ALL:
        pairs[key(In.SIGHASH_TYPE)] = hash_type.to_bytes(4, "little")
    return added


def _sign_taproot(
    psbt: Psbt, index: int, output_key: bytes, cache: SighashCache, keys: SigningKeys, hash_type: int
) -> bool:
    pairs = psbt.inputs[index]
    if key(In.TAP_KEY_SIG) in pairs or any(input_utxo(psbt, i) is None for i in range(len(psbt.inputs))):
        return False
    tree = keys.taproot.get(output_key)
    internal = pairs.get(key(In.TAP_INTERNAL_KEY)) or (tree.internal_key if tree is not None else None)
    root = pairs.get(key(In.TAP_MERKLE_ROOT)) or (tree.merkle_root if tree is not None else b"")
    secret = keys.secrets.get(internal) if internal is not None else None
    digest = cache.taproot(index, hash_type)
    if secret is None or digest is None:
        return False
    tail = bytes((hash_type,)) if hash_type else b""
    pairs[key(In.TAP_KEY_SIG)] = sign_schnorr(tweak_seckey(secret, root), digest) + tail
    return True


# --- combiner, finalizer, extractor ---


def combine(psbts: Sequence[Psbt]) -> Psbt:
    """All that any of them knows. Raises PsbtError when they are not of one transaction."""
    first = psbts[0]
    out = Psbt(dict(first.globals), [dict(one) for one in first.inputs], [dict(one) for one in first.outputs])
    txid = first.unsigned_tx().txid
    for other in psbts[1:]:
        if other.unsigned_tx().txid != txid or other.version != first.version:
            raise PsbtError("PSBTs not compatible (different transactions)")
        out.globals = {**other.globals, **out.globals}
        for mine, theirs in zip(out.inputs + out.outputs, other.inputs + other.outputs, strict=True):
            for name, value in theirs.items():
                mine.setdefault(name, value)
    return out


def finalize_input(psbt: Psbt, index: int) -> bool:
    """Put the final scripts together from the signatures; whether the input is final now."""
    pairs = psbt.inputs[index]
    if is_finalized(pairs):
        return True
    utxo = input_utxo(psbt, index)
    if utxo is None:
        return False
    tx = psbt.unsigned_tx()
    signatures = [value for name, value in pairs.items() if name[0] == In.PARTIAL_SIG]
    tap_sig = pairs.get(key(In.TAP_KEY_SIG))
    if tap_sig is not None:
        signatures.append(tap_sig)
    inputs = list(tx.inputs)
    inputs[index] = TxIn(inputs[index].prevout, b"", inputs[index].sequence, tuple(signatures))
    signed_by = make_tx(tx.version, inputs, tx.outputs, tx.lock_time)
    found = sign_input(SighashCache(signed_by, _spent(psbt)), index, _keys_of(pairs))
    if not found.is_complete or not _verifies(psbt, index, found.script_sig, found.witness):
        return False
    if found.script_sig:
        pairs[key(In.FINAL_SCRIPTSIG)] = found.script_sig
    if found.witness:
        pairs[key(In.FINAL_SCRIPTWITNESS)] = _encode_witness(found.witness)
    for name in [name for name in pairs if name[0] in _FINAL_DROPS]:
        del pairs[name]
    return True


def _verifies(psbt: Psbt, index: int, script_sig: bytes, witness: tuple[bytes, ...]) -> bool:
    tx = psbt.unsigned_tx()
    inputs = list(tx.inputs)
    inputs[index] = TxIn(inputs[index].prevout, script_sig, inputs[index].sequence, witness)
    signed = make_tx(tx.version, inputs, tx.outputs, tx.lock_time)
    try:
        verify_input(signed, index, _spent(psbt), STANDARD_SCRIPT_VERIFY_FLAGS)
    except ScriptError:
        return False
    return True


def _encode_witness(witness: Sequence[bytes]) -> bytes:
    return compact_size(len(witness)) + b"".join(map(var_bytes, witness))


def extract(psbt: Psbt) -> Tx | None:
    """The network transaction; None while an input is not final."""
    if not all(is_finalized(pairs) for pairs in psbt.inputs):
        return None
    tx = psbt.unsigned_tx()
    inputs = []
    for txin, pairs in zip(tx.inputs, psbt.inputs, strict=True):
        raw = pairs.get(key(In.FINAL_SCRIPTWITNESS))
        witness: tuple[bytes, ...] = ()
        if raw is not None:
            reader = Reader(raw)
            witness = tuple(reader.var_bytes() for _ in range(reader.compact_size()))
        inputs.append(TxIn(txin.prevout, pairs.get(key(In.FINAL_SCRIPTSIG), b""), txin.sequence, witness))
    return make_tx(tx.version, inputs, tx.outputs, tx.lock_time)
