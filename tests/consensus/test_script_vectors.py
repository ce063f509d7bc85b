"""The interpreter against Bitcoin Core's script and transaction vectors."""

from typing import Any

from gldnode.primitives.amount import COIN
from gldnode.primitives.hashes import from_display_hex
from gldnode.primitives.tx import NULL_OUTPOINT, Tx, TxIn, TxOut, make_tx, outpoint, parse_tx
from gldnode.script.flags import ScriptFlags
from gldnode.script.sighash import SighashCache
from gldnode.script.tapscript import TapLeaf, taproot_output
from gldnode.script.verify import ScriptError, verify_input
from tests.support.script_asm import ALL_FLAGS, fill_flags, parse_flags, parse_script, trim_flags
from tests.support.vectors import load_json

_G = bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")


def _error_name(
    tx: Tx, index: int, spent: list[TxOut], flags: ScriptFlags, cache: SighashCache | None = None
) -> str:
    try:
        verify_input(tx, index, spent, flags, cache)
    except ScriptError as error:
        return str(error.name.value)
    return "OK"


def _spend(script_sig: bytes, script_pubkey: bytes, witness: tuple[bytes, ...], amount: int) -> Tx:
    """The standard pair of transactions of Core's script tests; returns the second."""
    credit = make_tx(1, [TxIn(NULL_OUTPOINT, b"\x00\x00", 0xFFFFFFFF)], [TxOut(amount, script_pubkey)], 0)
    txin = TxIn(credit.outpoint(0), script_sig, 0xFFFFFFFF, witness)
    return make_tx(1, [txin], [TxOut(amount, b"")], 0)


def _witness(items: list[str]) -> tuple[list[bytes], bytes | None]:
    """Witness items with the taproot placeholders filled in, and the taproot output script if there is one."""
    script: bytes | None = None
    for item in items:
        if item.startswith("#SCRIPT#"):
            script = parse_script(item.removeprefix("#SCRIPT#"))
    if script is None:
        return [bytes.fromhex(item) for item in items], None
    output = taproot_output(_G, TapLeaf(script))
    stack = []
    for item in items:
        if item.startswith("#SCRIPT#"):
            stack.append(script)
        elif item == "#CONTROLBLOCK#":
            stack.append(output.leaves[0][1])
        else:
            stack.append(bytes.fromhex(item))
    return stack, output.output_xonly


def _script_case(row: list[Any]) -> tuple[bytes, bytes, tuple[bytes, ...], int, ScriptFlags, str]:
    witness: list[bytes] = []
    taproot: bytes | None = None
    amount = 0
    if isinstance(row[0], list):
        witness, taproot = _witness(row[0][:-1])
        amount = round(row[0][-1] * COIN)
        row = row[1:]
    script_pubkey = row[1]
    if "#TAPROOTOUTPUT#" in script_pubkey:
        assert taproot is not None
        script_pubkey = script_pubkey.replace("#TAPROOTOUTPUT#", f"0x{taproot.hex()}")
    return (
        parse_script(row[0]),
        parse_script(script_pubkey),
        tuple(witness),
        amount,
        parse_flags(row[2]),
        row[3],
    )


def test_every_script_vector_ends_as_core_says() -> None:
    rows = [row for row in load_json("bitcoin-core/script_tests.json") if len(row) > 1]
    assert len(rows) == 1233
    wrong = []
    for row in rows:
        script_sig, script_pubkey, witness, amount, flags, expected = _script_case(row)
        tx = _spend(script_sig, script_pubkey, witness, amount)
        spent = [TxOut(amount, script_pubkey)]
        flags = fill_flags(flags)
        result = _error_name(tx, 0, spent, flags)
        if result != expected:
            wrong.append((result, row))
        # Fewer rules never make a valid spend invalid; more never an invalid one valid.
        for bit in range(21):
            flag = ScriptFlags(1 << bit)
            if expected == "OK" and flags & flag:
                ok = _error_name(tx, 0, spent, trim_flags(flags & ~flag)) == "OK"
            elif expected != "OK" and not flags & flag:
                ok = _error_name(tx, 0, spent, fill_flags(flags | flag)) != "OK"
            else:
                continue
            if not ok:
                wrong.append((f"with {flag!r} turned", row))
    assert not wrong, wrong[:5]


def _tx_case(row: list[Any]) -> tuple[Tx, list[TxOut]]:
    tx = parse_tx(bytes.fromhex(row[1]))
    coins = {
        outpoint(from_display_hex(prevout[0]), prevout[1] & 0xFFFFFFFF): TxOut(
            prevout[3] if len(prevout) > 3 else 0, parse_script(prevout[2])
        )
        for prevout in row[0]
    }
    return tx, [coins.get(txin.prevout, TxOut(0, b"")) for txin in tx.inputs]


def _verifies(tx: Tx, spent: list[TxOut], flags: ScriptFlags, cache: SighashCache) -> bool:
    return all(_error_name(tx, index, spent, flags, cache) == "OK" for index in range(len(tx.inputs)))


def _cases(name: str) -> list[list[Any]]:
    return [row for row in load_json(name) if isinstance(row[0], list)]


def test_valid_transactions_verify_with_all_but_their_excluded_flags_and_with_any_fewer() -> None:
    rows = _cases("bitcoin-core/tx_valid.json")
    assert len(rows) == 121
    for row in rows:
        tx, spent = _tx_case(row)
        excluded = parse_flags(row[2])
        flags = trim_flags(ALL_FLAGS & ~excluded)
        cache = SighashCache(tx, spent)
        assert _verifies(tx, spent, flags, cache), row
        for bit in range(21):
            one = ScriptFlags(1 << bit)
            assert _verifies(tx, spent, trim_flags(flags & ~one), cache), (row, one)
            assert _verifies(tx, spent, trim_flags(fill_flags(one) & flags), cache), (row, one)
            # The excluded flags are the fewest: with one of them it fails.
            if excluded & one:
                assert not _verifies(tx, spent, fill_flags(flags | one), cache), (row, one)


def test_invalid_transactions_fail_with_their_flags_and_with_any_more() -> None:
    rows = _cases("bitcoin-core/tx_invalid.json")
    assert len(rows) == 93
    for row in rows:
        tx, spent = _tx_case(row)
        if row[2] == "BADTX":
            assert not _passes_context_free_checks(tx), row
            continue
        assert _passes_context_free_checks(tx), row
        flags = fill_flags(parse_flags(row[2]))
        cache = SighashCache(tx, spent)
        assert not _verifies(tx, spent, flags, cache), row
        for bit in range(21):
            one = ScriptFlags(1 << bit)
            assert not _verifies(tx, spent, fill_flags(flags | one), cache), (row, one)
            # The flags are the fewest: without one of them it verifies.
            if flags & one:
                assert _verifies(tx, spent, trim_flags(flags & ~one), cache), (row, one)


def _passes_context_free_checks(tx: Tx) -> bool:
    from gldnode.consensus.check_tx import check_transaction
    from gldnode.errors import Reject
    from gldnode.params import BTC_REGTEST

    try:
        check_transaction(tx, BTC_REGTEST)
    except Reject:
        return False
    return True
