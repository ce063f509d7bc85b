"""An in-process chain that mines in milliseconds: blocks, spends and forks without mempool or network."""

from collections.abc import Sequence
from pathlib import Path

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.entry import BlockEntry
from gldnode.chain.options import AcceptResult, ChainOptions
from gldnode.clock import Clock, MockableClock
from gldnode.consensus.check_block import coinbase_height_script
from gldnode.consensus.merkle import merkle_root, witness_merkle_root
from gldnode.consensus.pow import has_valid_proof_of_work, next_bits
from gldnode.consensus.subsidy import block_subsidy
from gldnode.crypto.secp256k1 import pubkey_of, sign_ecdsa
from gldnode.params import REGTEST, ChainParams
from gldnode.primitives.block import Block, BlockHeader, make_block, make_header
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import hash160, sha256, sha256d
from gldnode.primitives.tx import (
    NULL_OUTPOINT,
    SEQUENCE_FINAL,
    OutPoint,
    Tx,
    TxIn,
    TxOut,
    make_tx,
    serialize_tx_out,
    with_witnesses,
)

__all__ = [
    "ANYONE",
    "Key",
    "RegtestChain",
    "make_coinbase",
    "mine_block",
    "mine_header",
    "spend",
    "witness_commitment_output",
]

ANYONE = b"\x51"
"""OP_TRUE: an output that anyone can spend without a signature."""


class Key:
    """A private key with its P2WPKH output script, made from a number."""

    def __init__(self, number: int = 1) -> None:
        self.secret = sha256(b"test key %d" % number)
        self.pubkey = pubkey_of(self.secret)
        self.script = b"\x00\x14" + hash160(self.pubkey)

    def sign(self, tx: Tx, index: int, coin: TxOut | Coin) -> tuple[bytes, bytes]:
        """The witness of a P2WPKH input, BIP 143 with SIGHASH_ALL."""
        script_code = b"\x19\x76\xa9\x14" + hash160(self.pubkey) + b"\x88\xac"
        preimage = b"".join(
            (
                (tx.version & 0xFFFFFFFF).to_bytes(4, "little"),
                sha256d(b"".join(txin.prevout for txin in tx.inputs)),
                sha256d(b"".join(txin.sequence.to_bytes(4, "little") for txin in tx.inputs)),
                tx.inputs[index].prevout,
                script_code,
                coin.amount.to_bytes(8, "little"),
                tx.inputs[index].sequence.to_bytes(4, "little"),
                sha256d(b"".join(map(serialize_tx_out, tx.outputs))),
                tx.lock_time.to_bytes(4, "little"),
                b"\x01\x00\x00\x00",
            )
        )
        return sign_ecdsa(self.secret, sha256d(preimage)) + b"\x01", self.pubkey


def witness_commitment_output(block: Block) -> TxOut:
    """The coinbase output that commits to the block's witnesses, with a reserved value of zeros."""
    return TxOut(0, bytes.fromhex("6a24aa21a9ed") + sha256d(witness_merkle_root(block) + bytes(32)))


def make_coinbase(
    height: int,
    amount: int,
    script: bytes = ANYONE,
    *,
    extra: bytes = b"",
    outputs: Sequence[TxOut] = (),
    witness: bool = True,
) -> Tx:
    """A coinbase of `amount` to `script`; `extra` goes into its input script and makes it different."""
    script_sig = coinbase_height_script(height) + b"\x00" + extra
    reserved = (bytes(32),) if witness else ()
    txin = TxIn(NULL_OUTPOINT, script_sig, SEQUENCE_FINAL, reserved)
    return make_tx(2, [txin], [TxOut(amount, script), *outputs], 0)


def mine_header(
    params: ChainParams, version: int, prev_hash: bytes, root: bytes, time: int, bits: int
) -> BlockHeader:
    """A header with proof of work; quick on the regtest networks, where every second nonce does."""
    nonce = 0
    while True:
        header = make_header(version, prev_hash, root, time, bits, nonce)
        if has_valid_proof_of_work(header.hash, bits, params):
            return header
        nonce += 1


def mine_block(
    params: ChainParams,
    prev: BlockEntry,
    txs: Sequence[Tx] = (),
    *,
    fees: int = 0,
    script: bytes = ANYONE,
    time: int | None = None,
    version: int = 0x20000000,
    extra: bytes = b"",
    coinbase: Tx | None = None,
    commit_to_witness: bool | None = None,
    bits: int | None = None,
) -> Block:
    """A block on `prev` with `txs` behind its coinbase, which takes the subsidy and `fees`.

    It commits to the witnesses where there are any. Nothing is checked: a block that breaks a rule is made
    just as readily.
    """
    height = prev.height + 1
    if time is None:
        time = max(prev.time + 1, prev.median_time_past + 1)
    if commit_to_witness is None:
        commit_to_witness = any(tx.has_witness for tx in txs)
    if coinbase is None:
        reward = block_subsidy(height, params) + fees
        coinbase = make_coinbase(height, reward, script, extra=extra, witness=commit_to_witness)
        if commit_to_witness:
            draft = make_block(params.genesis.header, [coinbase, *txs])
            output = witness_commitment_output(draft)
            coinbase = make_coinbase(height, reward, script, extra=extra, outputs=[output])
    root, _ = merkle_root([coinbase.txid, *(tx.txid for tx in txs)])
    claimed = next_bits(prev, time, params) if bits is None else bits
    header = mine_header(params, version, prev.hash, root, time, claimed)
    return make_block(header, [coinbase, *txs])


def spend(
    prevouts: Sequence[tuple[OutPoint, TxOut | Coin]],
    outputs: Sequence[TxOut],
    key: Key | None = None,
    *,
    version: int = 2,
    lock_time: int = 0,
    sequence: int = 0xFFFFFFFD,
) -> Tx:
    """A transaction that spends `prevouts`: OP_TRUE ones bare, those of `key` with its signature."""
    tx = make_tx(version, [TxIn(prevout, b"", sequence) for prevout, _ in prevouts], outputs, lock_time)
    if key is None:
        return tx
    return with_witnesses(
        tx,
        [
            key.sign(tx, index, coin) if coin.script_pubkey == key.script else ()
            for index, (_, coin) in enumerate(prevouts)
        ],
    )


class RegtestChain:
    """A `Chainstate` with a stopped clock, some hours after genesis, and a miner.

    The tip is recent from the first block on, so that every block is durable at once and followers see it.
    """

    def __init__(
        self,
        params: ChainParams = REGTEST,
        data_dir: Path | None = None,
        options: ChainOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        if clock is None:
            clock = MockableClock()
            clock.set_mock_time(params.genesis.header.time + 6 * 3600)
        self.clock = clock
        self.state = Chainstate.open(params, data_dir, options or ChainOptions(), clock)
        self.params = self.state.params
        self.key = Key()
        self._made = 0

    @property
    def tip(self) -> BlockEntry:
        return self.state.tip_entry

    @property
    def height(self) -> int:
        return self.state.tip.height

    def block(
        self,
        txs: Sequence[Tx] = (),
        *,
        prev: BlockEntry | None = None,
        fees: int = 0,
        script: bytes = ANYONE,
        time: int | None = None,
    ) -> Block:
        """A new block, unlike any before it, not yet given to the chain."""
        self._made += 1
        extra = self._made.to_bytes(4, "little")
        return mine_block(
            self.params, prev or self.tip, txs, fees=fees, script=script, time=time, extra=b"\x04" + extra
        )

    def accept(self, block: Block) -> AcceptResult:
        return self.state.accept_block(block, requested=True)

    def mine(
        self,
        count: int = 1,
        txs: Sequence[Tx] = (),
        *,
        prev: BlockEntry | None = None,
        fees: int = 0,
        script: bytes = ANYONE,
    ) -> list[Block]:
        """`count` blocks on `prev` (the tip), the first one with `txs`; all accepted."""
        blocks = []
        for number in range(count):
            block = self.block(
                txs if number == 0 else (), prev=prev, fees=fees if number == 0 else 0, script=script
            )
            prev = self.accept(block).entry
            blocks.append(block)
        return blocks

    def mature_coin(self, script: bytes = ANYONE) -> tuple[OutPoint, TxOut]:
        """The coinbase output of a new block, 100 blocks deep."""
        block = self.mine(script=script)[0]
        self.mine(self.params.coinbase_maturity)
        return block.txs[0].outpoint(0), block.txs[0].outputs[0]

    def close(self) -> None:
        self.state.close()
