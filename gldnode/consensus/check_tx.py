"""What every transaction must be, whatever the chain says (Core: consensus/tx_check.cpp, CheckTxInputs)."""

from collections.abc import Sequence
from typing import Final

from gldnode.errors import Reject, RejectKind
from gldnode.params import ChainParams
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import NULL_OUTPOINT, WITNESS_SCALE_FACTOR, Tx

__all__ = ["MAX_BLOCK_WEIGHT", "check_transaction", "check_tx_inputs"]

MAX_BLOCK_WEIGHT: Final = 4_000_000
MIN_COINBASE_SCRIPT: Final = 2
MAX_COINBASE_SCRIPT: Final = 100


def check_transaction(tx: Tx, params: ChainParams) -> None:
    """The rules that need nothing but the transaction, in Core's order (CheckTransaction). Raises Reject."""
    inputs, outputs = tx.inputs, tx.outputs
    # 1. Something in, something out, and not larger than a block.
    if not inputs:
        raise Reject("bad-txns-vin-empty")
    if not outputs:
        raise Reject("bad-txns-vout-empty")
    if tx.base_size * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT:
        raise Reject("bad-txns-oversize")
    # 2. Amounts in range, one by one and together (CVE-2010-5139).
    max_money = params.max_money
    total = 0
    for output in outputs:
        amount = output.amount
        if amount < 0:
            raise Reject("bad-txns-vout-negative")
        if amount > max_money:
            raise Reject("bad-txns-vout-toolarge")
        total += amount
        if total > max_money:
            raise Reject("bad-txns-txouttotal-toolarge")
    # 3. No output spent twice within it (CVE-2018-17144).
    if len(inputs) == 1:
        # 4a. A coinbase has a short script and nothing else has the null prevout.
        txin = inputs[0]
        if txin.prevout == NULL_OUTPOINT and not (
            MIN_COINBASE_SCRIPT <= len(txin.script_sig) <= MAX_COINBASE_SCRIPT
        ):
            raise Reject("bad-cb-length")
        return
    prevouts = {txin.prevout for txin in inputs}
    if len(prevouts) != len(inputs):
        raise Reject("bad-txns-inputs-duplicate")
    # 4b.
    if NULL_OUTPOINT in prevouts:
        raise Reject("bad-txns-prevout-null")


def check_tx_inputs(tx: Tx, coins: Sequence[Coin], height: int, params: ChainParams) -> int:
    """The fee of `tx` in a block at `height`; coins[i] is what tx.inputs[i] spends (CheckTxInputs).

    Raises Reject: immature coinbase, or amounts that do not add up.
    """
    max_money = params.max_money
    total = 0
    for coin in coins:
        if coin.is_coinbase and height - coin.height < params.coinbase_maturity:
            raise Reject(
                "bad-txns-premature-spend-of-coinbase",
                f"tried to spend coinbase at depth {height - coin.height}",
                RejectKind.CONTEXT,
            )
        total += coin.amount
        if coin.amount < 0 or coin.amount > max_money or total > max_money:
            raise Reject("bad-txns-inputvalues-outofrange")
    paid = 0
    for output in tx.outputs:
        paid += output.amount
    if total < paid:
        raise Reject("bad-txns-in-belowout", f"value in ({_coins(total)}) < value out ({_coins(paid)})")
    return total - paid


def _coins(amount: int) -> str:
    return f"{amount // 100_000_000}.{amount % 100_000_000:08d}"
