"""A regtest chain in memory with a mempool, and coins that anyone may spend."""

from collections.abc import Sequence

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import MockableClock
from gldnode.errors import Reject
from gldnode.events import RemovalReason
from gldnode.mempool.core import MempoolEvent
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.pool import Mempool
from gldnode.mempool.results import Accepted
from gldnode.mining.generate import generate_block, generate_blocks
from gldnode.params import REGTEST, ChainParams
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import BlockHash, Txid
from gldnode.primitives.tx import OutPoint, Tx, TxIn, TxOut, make_tx
from gldnode.script.templates import p2wsh_script

__all__ = ["ANYONE", "START_TIME", "PoolLab", "spend_witness"]

OP_TRUE = b"\x51"
ANYONE = p2wsh_script(OP_TRUE)
"""A standard output that anyone may spend, with the witness of `spend_witness`."""
START_TIME = REGTEST.genesis.header.time + 86_400
RBF = 0xFFFFFFFD


def spend_witness() -> tuple[bytes, ...]:
    return (OP_TRUE,)


class PoolLab:
    """The real chainstate and mempool on a clock that stands still, with 25 mature coinbases to spend."""

    def __init__(
        self, options: MempoolOptions | None = None, params: ChainParams = REGTEST, blocks: int = 125
    ) -> None:
        self.clock = MockableClock()
        self.clock.set_mock_time(START_TIME)
        self.chain = Chainstate.open(params, None, ChainOptions(), self.clock)
        self.pool = Mempool(self.chain, options or MempoolOptions(), self.clock)
        self.chain.add_listener(self.pool.apply)
        self.events: list[MempoolEvent] = []
        self.pool.on_event(self.events.append)
        self._free: list[OutPoint] = []
        self._first_unripe = 1
        if blocks:
            self.mine(blocks)

    def mine(self, count: int = 1) -> list[BlockHash]:
        return generate_blocks(self.chain, self.pool, self.clock, count, ANYONE)

    def mine_exactly(self, *txs: Tx) -> BlockHash:
        block = generate_block(self.chain, self.clock, ANYONE, txs)
        assert block is not None
        return block.hash

    @property
    def has_funds(self) -> bool:
        """Whether `fund` has something to give."""
        ripe = self.chain.tip.height - self.chain.params.coinbase_maturity + 1
        return bool(self._free) or self._first_unripe <= ripe

    def fund(self) -> OutPoint:
        """A confirmed, mature output worth a block's subsidy, never handed out before."""
        while not self._free:
            ripe = self.chain.tip.height - self.chain.params.coinbase_maturity + 1
            assert self._first_unripe <= ripe, "mine more blocks first"
            entry = self.chain.entry_at(self._first_unripe)
            assert entry is not None
            block = self.chain.read_block(entry.hash)
            assert block is not None
            self._free.append(block.txs[0].outpoint(0))
            self._first_unripe += 1
        return self._free.pop(0)

    def coin(self, prevout: OutPoint) -> Coin:
        coin = self.pool.coin(prevout)
        assert coin is not None
        return coin

    def tx(
        self,
        *prevouts: OutPoint,
        fee: int = 1_000,
        outputs: int = 1,
        version: int = 2,
        sequence: int = RBF,
        lock_time: int = 0,
        pad: int = 0,
        scripts: Sequence[bytes] | None = None,
        extra: Sequence[TxOut] = (),
        known: Sequence[Tx] = (),
    ) -> Tx:
        """A transaction that spends these outputs (a fresh coinbase if none) and pays `fee`.

        `pad` bytes of data make it larger; `known` are unconfirmed parents that the pool does not have.
        """
        spent = prevouts or (self.fund(),)
        own = {one.outpoint(n): out.amount for one in known for n, out in enumerate(one.outputs)}
        total = sum(own[prevout] if prevout in own else self.coin(prevout).amount for prevout in spent)
        total -= fee + sum(out.amount for out in extra)
        targets = list(scripts) if scripts is not None else [ANYONE] * outputs
        share = total // len(targets)
        outs = [TxOut(share, script) for script in targets]
        outs[0] = TxOut(total - share * (len(targets) - 1), targets[0])
        outs += extra
        if pad:
            outs.append(TxOut(0, b"\x6a\x4e" + pad.to_bytes(4, "little") + bytes(pad)))
        inputs = [TxIn(prevout, b"", sequence, spend_witness()) for prevout in spent]
        return make_tx(version, inputs, outs, lock_time)

    def add(self, *prevouts: OutPoint, fee: int = 1_000, outputs: int = 1, pad: int = 0, version: int = 2) -> Tx:
        """Make such a transaction and put it into the pool."""
        tx = self.tx(*prevouts, fee=fee, outputs=outputs, pad=pad, version=version)
        self.pool.accept(tx)
        return tx

    def chain_of(self, length: int, fee: int = 1_000) -> list[Tx]:
        """A chain of unconfirmed transactions in the pool."""
        txs = [self.add(fee=fee)]
        while len(txs) < length:
            txs.append(self.add(txs[-1].outpoint(0), fee=fee))
        return txs

    def accept(self, tx: Tx) -> Accepted:
        return self.pool.accept(tx)

    def reason(self, tx: Tx) -> str:
        """Why the pool refuses `tx`; "" when it takes it in."""
        try:
            self.pool.accept(tx)
        except Reject as reject:
            return reject.reason
        return ""

    def reject(self, tx: Tx) -> Reject:
        """The refusal of `tx`, which must be one."""
        try:
            self.pool.accept(tx)
        except Reject as reject:
            return reject
        raise AssertionError("was accepted")

    def removed(self) -> list[tuple[Txid, RemovalReason]]:
        """What left the pool so far, and why."""
        return [(event.tx.txid, event.reason) for event in self.events if hasattr(event, "reason")]
