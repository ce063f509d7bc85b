"""Connecting a block to the coins, and taking it off again: pure functions of block and coins.

`connect_block` looks coins up in a view and returns what changes; nothing is written. Order and reasons are those
of Core's ConnectBlock.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from struct import Struct as Packer
from typing import Protocol

from gldnode.consensus.check_tx import check_tx_inputs
from gldnode.consensus.locks import check_sequence_locks
from gldnode.consensus.sizes import MAX_BLOCK_SIGOPS_COST, legacy_sigops, sigop_cost
from gldnode.consensus.subsidy import block_subsidy
from gldnode.errors import Reject
from gldnode.params import ChainParams
from gldnode.primitives.block import Block
from gldnode.primitives.coin import BlockUndo, Coin
from gldnode.primitives.tx import OutPoint, Tx
from gldnode.script.batch import verify_inputs
from gldnode.script.flags import ScriptFlags
from gldnode.script.script import MAX_SCRIPT_SIZE, is_unspendable

__all__ = [
    "BlockDelta",
    "BlockRules",
    "CoinsChange",
    "CoinsView",
    "connect_block",
    "disconnect_block",
]

_U32 = Packer("<I")


class CoinsView(Protocol):
    """Where unspent outputs are looked up."""

    def get(self, prevout: bytes, /) -> Coin | None: ...


@dataclass(frozen=True, slots=True)
class BlockRules:
    """What binds a block in its place."""

    params: ChainParams
    height: int
    flags: ScriptFlags
    median_time: int
    """Median time past of the parent, Unix seconds."""
    median_time_before: Callable[[int], int]
    """Median time past of the block before the given height, on this chain."""
    verify_scripts: bool = True
    """False only below `-assumevalid`."""
    may_overwrite: bool = False
    """One of BIP 30's two exceptions."""
    is_verified: Callable[[Tx], bool] | None = None
    """Whether the scripts of a transaction have been verified with these flags before."""
    pool: Executor | None = None
    """Threads for signature checks, as `verify_inputs` takes them."""


@dataclass(frozen=True, slots=True)
class CoinsChange:
    """What happens to the coins: first `spent` are taken away, then `created` are added."""

    spent: Sequence[bytes]
    created: dict[OutPoint, Coin]


@dataclass(frozen=True, slots=True)
class BlockDelta(CoinsChange):
    """What a block does to the coins."""

    undo: BlockUndo
    fees: int
    input_count: int


def connect_block(
    block: Block, view: CoinsView, rules: BlockRules, sigops: Sequence[int] | None = None
) -> BlockDelta:
    """What `block` does to the coins of `view`, when it may.

    The block has passed `check_block`, whose result `sigops` is, and `contextual_check_block`. Raises Reject.
    """
    coinbase = block.txs[0]
    overwritten = _existing_outputs(coinbase, view)
    if (
        not rules.may_overwrite
        and (
            overwritten
            # Where every coinbase names its height none comes again, and then no payment's inputs do either.
            or (rules.params.deployments.bip34 > 1 and any(_existing_outputs(tx, view) for tx in block.txs[1:]))
        )
    ):
        raise Reject("bad-txns-BIP30", "tried to overwrite transaction")
    try:
        delta = _connect(block, view, rules, sigops, overwritten)
    except Reject as error:
        # A repeated transaction that is not a coinbase lacks inputs; Core looks for it first and says so.
        if any(_existing_outputs(tx, view) for tx in block.txs[1:]) and not rules.may_overwrite:
            raise Reject("bad-txns-BIP30", "tried to overwrite transaction") from None
        raise Reject(error.reason, error.detail) from None
    return delta


def _existing_outputs(tx: Tx, view: CoinsView) -> list[OutPoint]:
    """Its outputs that are coins already, BIP 30."""
    return [prevout for vout in range(len(tx.outputs)) if view.get(prevout := tx.outpoint(vout)) is not None]


def _connect(
    block: Block, view: CoinsView, rules: BlockRules, sigops: Sequence[int] | None, overwritten: list[OutPoint]
) -> BlockDelta:
    params, height, flags = rules.params, rules.height, rules.flags
    check_relative = height >= params.deployments.csv
    max_money = params.max_money
    created: dict[OutPoint, Coin] = {}
    spent: list[bytes] = list(overwritten)
    spent_here: set[bytes] = set()
    undo: list[tuple[Coin, ...]] = []
    jobs: list[tuple[Tx, tuple[Coin, ...]]] = []
    is_verified = rules.is_verified
    fees = cost = 0
    lookup = view.get
    take_created = created.pop
    pack = _U32.pack

    for index, tx in enumerate(block.txs):
        coins: tuple[Coin, ...] = ()
        if index:
            # 1. Every input has its coin, made before and not spent before.
            found = []
            for txin in tx.inputs:
                prevout = txin.prevout
                coin = take_created(prevout, None)
                if coin is None:
                    coin = None if prevout in spent_here else lookup(prevout)
                    if coin is None:
                        raise Reject(
                            "bad-txns-inputs-missingorspent", f"CheckTxInputs: inputs missing/spent in {tx!r}"
                        )
                    spent_here.add(prevout)
                    spent.append(prevout)
                found.append(coin)
            coins = tuple(found)
            undo.append(coins)
            # 2. Maturity and amounts.
            fees += check_tx_inputs(tx, coins, height, params)
            if fees > max_money:
                raise Reject("bad-txns-accumulated-fee-outofrange", "accumulated fee in the block out of range")
            # 3. Relative lock times, BIP 68.
            if check_relative and tx.version & 0xFFFFFFFF >= 2:
                check_sequence_locks(
                    tx, [coin.height for coin in coins], rules.median_time_before, height, rules.median_time
                )
        # 4. Signature operations, BIP 16 and 141.
        legacy = legacy_sigops(tx) if sigops is None else sigops[index]
        cost += sigop_cost(tx, coins, flags, legacy)
        if cost > MAX_BLOCK_SIGOPS_COST:
            raise Reject("bad-blk-sigops", "too many sigops")
        if index and rules.verify_scripts and not (is_verified is not None and is_verified(tx)):
            jobs.append((tx, coins))
        # 5. Its outputs are coins for what follows in the block.
        txid = tx.txid
        is_coinbase = not index
        for vout, output in enumerate(tx.outputs):
            script = output.script_pubkey
            if script[:1] != b"\x6a" and len(script) <= MAX_SCRIPT_SIZE:
                created[OutPoint(txid + pack(vout))] = Coin(output.amount, script, height, is_coinbase)

    # 6. The coinbase takes no more than fees and subsidy.
    reward = sum(output.amount for output in block.txs[0].outputs)
    allowed = fees + block_subsidy(height, params)
    if reward > allowed:
        raise Reject("bad-cb-amount", f"coinbase pays too much (actual={reward} vs limit={allowed})")
    # 7. Scripts: by far the most work, and all together so that threads can share it.
    if jobs:
        _verify_scripts(jobs, rules)
    return BlockDelta(spent, created, tuple(undo), fees, sum(map(len, undo)))


def _verify_scripts(jobs: list[tuple[Tx, tuple[Coin, ...]]], rules: BlockRules) -> None:
    failure = verify_inputs(jobs, rules.flags, rules.pool)
    if failure is not None:
        number, index, error = failure
        tx = jobs[number][0]
        raise Reject(
            f"block-script-verify-flag-failed ({error})",
            f"input {index} of {tx.txid[::-1].hex()} (wtxid {tx.wtxid[::-1].hex()}), "
            f"spending {tx.inputs[index].prevout!r}",
        )


def disconnect_block(block: Block, undo: BlockUndo) -> CoinsChange:
    """What taking `block` off does to the coins; `undo` is what connecting it spent."""
    spent: list[bytes] = []
    created: dict[OutPoint, Coin] = {}
    for index in range(len(block.txs) - 1, -1, -1):
        tx = block.txs[index]
        for vout, output in enumerate(tx.outputs):
            if not is_unspendable(output.script_pubkey):
                prevout = tx.outpoint(vout)
                if created.pop(prevout, None) is None:
                    spent.append(prevout)
        if index:
            for txin, coin in zip(tx.inputs, undo[index - 1], strict=True):
                created[txin.prevout] = coin
    return CoinsChange(spent, created)
