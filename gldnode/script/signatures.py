"""The opcodes that check signatures, and how signatures and keys must be encoded."""

from typing import Final

from gldnode.crypto.der import is_strict_der
from gldnode.crypto.secp256k1 import is_low_der_signature
from gldnode.script import opcodes as op
from gldnode.script.checker import SigVersion
from gldnode.script.errors import ScriptErrorName
from gldnode.script.flags import ScriptFlags
from gldnode.script.number import encode_number
from gldnode.script.script import MAX_PUBKEYS_PER_MULTISIG, find_and_delete, push_data
from gldnode.script.stack import FALSE, TRUE, Handler, Machine, fail

__all__ = [
    "MAX_OPS_PER_SCRIPT",
    "SIGNATURE_HANDLERS",
    "check_pubkey_encoding",
    "check_signature_encoding",
]

MAX_OPS_PER_SCRIPT: Final = 201
VALIDATION_WEIGHT_PER_SIGOP: Final = 50

_ENCODING_FLAGS: Final = int(ScriptFlags.DERSIG | ScriptFlags.LOW_S | ScriptFlags.STRICTENC)
_LOW_S: Final = int(ScriptFlags.LOW_S)
_STRICTENC: Final = int(ScriptFlags.STRICTENC)
_NULLFAIL: Final = int(ScriptFlags.NULLFAIL)
_CONST_SCRIPTCODE: Final = int(ScriptFlags.CONST_SCRIPTCODE)
_WITNESS_PUBKEYTYPE: Final = int(ScriptFlags.WITNESS_PUBKEYTYPE)


def check_signature_encoding(signature: bytes, flags: int) -> None:
    """DER, low S and hash type, as far as `flags` ask for them; an empty signature is fine. Raises ScriptError."""
    if not signature:
        return
    if flags & _ENCODING_FLAGS and not is_strict_der(signature):
        fail(ScriptErrorName.SIG_DER)
    if flags & _LOW_S and not is_low_der_signature(signature[:-1]):
        fail(ScriptErrorName.SIG_HIGH_S)
    if flags & _STRICTENC and not 1 <= signature[-1] & 0x7F <= 3:
        fail(ScriptErrorName.SIG_HASHTYPE)


def check_pubkey_encoding(pubkey: bytes, flags: int, sig_version: SigVersion) -> None:
    """No hybrid keys, and only compressed ones in witness v0, as far as `flags` ask for it. Raises ScriptError."""
    compressed = len(pubkey) == 33 and pubkey[0] in (2, 3)
    if flags & _STRICTENC and not (compressed or (len(pubkey) == 65 and pubkey[0] == 4)):
        fail(ScriptErrorName.PUBKEYTYPE)
    if flags & _WITNESS_PUBKEYTYPE and sig_version is SigVersion.WITNESS_V0 and not compressed:
        fail(ScriptErrorName.WITNESS_PUBKEYTYPE)


def _delete_signature(m: Machine, script_code: bytes, signature: bytes) -> bytes:
    """A legacy signature does not cover itself."""
    script_code, found = find_and_delete(script_code, push_data(signature))
    if found and m.flags & _CONST_SCRIPTCODE:
        fail(ScriptErrorName.SIG_FINDANDDELETE)
    return script_code


def _eval_checksig_ecdsa(m: Machine, signature: bytes, pubkey: bytes) -> bool:
    script_code = m.script_code()
    if m.sig_version is SigVersion.BASE:
        script_code = _delete_signature(m, script_code, signature)
    check_signature_encoding(signature, m.flags)
    check_pubkey_encoding(pubkey, m.flags, m.sig_version)
    success = m.checker.check_ecdsa(signature, pubkey, script_code, m.sig_version)
    if not success and signature and m.flags & _NULLFAIL:
        fail(ScriptErrorName.SIG_NULLFAIL)
    return success


def _eval_checksig_tapscript(m: Machine, signature: bytes, pubkey: bytes) -> bool:
    """BIP 342: a wrong signature fails the script; an empty one only the check, and costs no budget."""
    success = bool(signature)
    if success:
        m.data.validation_weight_left -= VALIDATION_WEIGHT_PER_SIGOP
        if m.data.validation_weight_left < 0:
            fail(ScriptErrorName.TAPSCRIPT_VALIDATION_WEIGHT)
    if not pubkey:
        fail(ScriptErrorName.TAPSCRIPT_EMPTY_PUBKEY)
    elif len(pubkey) == 32:
        if success:
            m.checker.check_schnorr(signature, pubkey, m.sig_version, m.data)
    elif m.flags & ScriptFlags.DISCOURAGE_UPGRADABLE_PUBKEYTYPE:
        fail(ScriptErrorName.DISCOURAGE_UPGRADABLE_PUBKEYTYPE)
    return success


def _eval_checksig(m: Machine, signature: bytes, pubkey: bytes) -> bool:
    if m.sig_version is SigVersion.TAPSCRIPT:
        return _eval_checksig_tapscript(m, signature, pubkey)
    return _eval_checksig_ecdsa(m, signature, pubkey)


def _checksig(m: Machine) -> None:
    m.need(2)
    stack = m.stack
    success = _eval_checksig(m, stack[-2], stack[-1])
    stack[-2:] = (TRUE if success else FALSE,)


def _checksig_verify(m: Machine) -> None:
    m.need(2)
    if not _eval_checksig(m, m.stack[-2], m.stack[-1]):
        fail(ScriptErrorName.CHECKSIGVERIFY)
    del m.stack[-2:]


def _checksig_add(m: Machine) -> None:
    if m.sig_version is not SigVersion.TAPSCRIPT:
        fail(ScriptErrorName.BAD_OPCODE)
    m.need(3)
    total = m.number(2)
    success = _eval_checksig(m, m.stack[-3], m.stack[-1])
    m.stack[-3:] = (encode_number(total + success),)


def _checkmultisig(m: Machine) -> None:
    m.stack.append(TRUE if _eval_checkmultisig(m) else FALSE)


def _checkmultisig_verify(m: Machine) -> None:
    if not _eval_checkmultisig(m):
        fail(ScriptErrorName.CHECKMULTISIGVERIFY)


def _eval_checkmultisig(m: Machine) -> bool:
    """[dummy] [signatures] m [keys] n: signatures in the order of their keys. The dummy is an old mistake."""
    if m.sig_version is SigVersion.TAPSCRIPT:
        fail(ScriptErrorName.TAPSCRIPT_CHECKMULTISIG)
    stack = m.stack
    m.need(1)
    key_count = m.number(1)
    if not 0 <= key_count <= MAX_PUBKEYS_PER_MULTISIG:
        fail(ScriptErrorName.PUBKEY_COUNT)
    m.op_count += key_count
    if m.op_count > MAX_OPS_PER_SCRIPT:
        fail(ScriptErrorName.OP_COUNT)
    m.need(key_count + 2)
    sig_count = m.number(key_count + 2)
    if not 0 <= sig_count <= key_count:
        fail(ScriptErrorName.SIG_COUNT)
    used = key_count + sig_count + 3  # the dummy and both counts
    m.need(used)
    # From the top of the stack down, which is the order they are checked in.
    keys = stack[-2 : -2 - key_count : -1]
    signatures = stack[-3 - key_count : -3 - key_count - sig_count : -1]

    success = _match_signatures(m, signatures, keys)
    if not success and m.flags & _NULLFAIL and any(signatures):
        fail(ScriptErrorName.SIG_NULLFAIL)
    if m.flags & ScriptFlags.NULLDUMMY and stack[-used]:
        fail(ScriptErrorName.SIG_NULLDUMMY)
    del stack[-used:]
    return success


def _match_signatures(m: Machine, signatures: list[bytes], keys: list[bytes]) -> bool:
    """Whether each signature is that of a key, in the same order; stops when too few keys are left."""
    script_code = m.script_code()
    if m.sig_version is SigVersion.BASE:
        for signature in signatures:
            script_code = _delete_signature(m, script_code, signature)
    matched = 0
    for tried, key in enumerate(keys):
        if matched == len(signatures):
            break
        if len(signatures) - matched > len(keys) - tried:
            return False
        signature = signatures[matched]
        check_signature_encoding(signature, m.flags)
        check_pubkey_encoding(key, m.flags, m.sig_version)
        if m.checker.check_ecdsa(signature, key, script_code, m.sig_version):
            matched += 1
    return matched == len(signatures)


SIGNATURE_HANDLERS: Final[dict[int, Handler]] = {
    op.OP_CHECKSIG: _checksig,
    op.OP_CHECKSIGVERIFY: _checksig_verify,
    op.OP_CHECKSIGADD: _checksig_add,
    op.OP_CHECKMULTISIG: _checkmultisig,
    op.OP_CHECKMULTISIGVERIFY: _checkmultisig_verify,
}
