"""Builds blocks for the adversarial cases on a chain of its own, without asking the node under test anything.

The base chain has `TIP` blocks on btc-regtest, where each buried rule begins at another height (`ACTIVATION`), so
that a case can stand just below or just above any of them. Merkle roots, witness commitments, median times and
subsidies are worked out here from their definitions, apart from the node's code.
"""

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256 as _sha256
from typing import ClassVar

from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import Block, BlockHeader, make_block, make_header
from gldnode.primitives.tx import (
    NULL_OUTPOINT,
    SEQUENCE_FINAL,
    OutPoint,
    Tx,
    TxIn,
    TxOut,
    make_tx,
    with_witnesses,
)
from tests.consensus.adversary.steps import Clock, Decide, GiveBlock, GiveBytes, GiveHeader, LooksLike, Spot, Step

__all__ = [
    "ACTIVATION",
    "ANYONE",
    "BITS",
    "COIN",
    "COIN_HEIGHT",
    "NOW",
    "SPACING",
    "TIP",
    "Bench",
    "Case",
    "Coins",
    "base_chain",
    "double_sha",
    "height_push",
    "merkle",
    "reward",
]

ANYONE = b"\x51"
COIN = 100_000_000
BITS = 0x207FFFFF
SPACING = 512
"""Seconds between base blocks: one unit of BIP 68's relative time."""
ACTIVATION = {"bip34": 116, "dersig": 117, "cltv": 118, "csv": 119, "segwit": 120}
COIN_HEIGHT = 111
"""Where the base chain makes the coins that the cases spend."""
TIP = 130
_COINS = 400
COIN_VALUE = COIN // 10
_GENESIS = BTC_REGTEST.genesis
NOW = _GENESIS.header.time + (TIP + 1) * SPACING

Coins = tuple[OutPoint, TxOut]
_STAYS_INVALID = (
    "bad-txns-nonfinal",
    "bad-cb-height",
    "bad-blk-weight",
    "bad-txns-inputs-missingorspent",
    "bad-txns-premature-spend-of-coinbase",
    "bad-txns-in-belowout",
    "bad-txns-inputvalues-outofrange",
    "bad-txns-accumulated-fee-outofrange",
    "bad-cb-amount",
    "bad-txns-BIP30",
    "block-script-verify-flag-failed",
)
"""Reasons that come after the header was taken, and that the hash answers for: the node remembers them."""


def double_sha(data: bytes) -> bytes:
    return _sha256(_sha256(data).digest()).digest()


def merkle(leaves: Sequence[bytes]) -> bytes:
    """The root by its definition: halves, the last one repeated where it has no neighbour."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else bytes(32)
    pairs = [(leaves[i], leaves[min(i + 1, len(leaves) - 1)]) for i in range(0, len(leaves), 2)]
    return merkle([double_sha(a + b) for a, b in pairs])


def height_push(height: int) -> bytes:
    """BIP 34's height, as a script builder pushes it."""
    if height <= 16:
        return bytes((0x50 + height,))
    size = 1
    while height >= 1 << (8 * size - 1):
        size += 1
    return bytes((size,)) + height.to_bytes(size, "little")


def reward(height: int) -> int:
    """btc-regtest halves every 150 blocks."""
    return 50 * COIN >> height // 150


def solve(header: BlockHeader, *, valid: bool = True) -> BlockHeader:
    """With a nonce that meets the regtest target, or with one that does not."""
    while (header.hash[31] < 0x80) is not valid:
        header = make_header(
            header.version,
            header.prev_hash,
            header.merkle_root,
            header.time,
            header.bits,
            (header.nonce + 1) & 0xFFFFFFFF,
        )
    return header


def commitment(txs: Sequence[Tx], reserved: bytes = bytes(32)) -> TxOut:
    """The output that commits to the witnesses of `txs`, which stand behind the coinbase."""
    root = merkle([bytes(32), *(tx.wtxid for tx in txs)])
    return TxOut(0, b"\x6a\x24\xaa\x21\xa9\xed" + double_sha(root + reserved))


def coinbase(
    height: int,
    *,
    amount: int | None = None,
    outputs: Sequence[TxOut] | None = None,
    script_sig: bytes | None = None,
    extra: bytes = b"",
    more: Sequence[TxOut] = (),
    reserved: Sequence[bytes] = (),
    version: int = 2,
    lock_time: int = 0,
    sequence: int = SEQUENCE_FINAL,
) -> Tx:
    """A coinbase for a block at `height`; `more` follows the output that takes the reward."""
    if script_sig is None:
        script_sig = height_push(height) + b"\x00" + extra
    value = reward(height) if amount is None else amount
    paid = [TxOut(value, ANYONE)] if outputs is None else list(outputs)
    txin = TxIn(NULL_OUTPOINT, script_sig, sequence, tuple(reserved))
    return make_tx(version, [txin], [*paid, *more], lock_time)


def assemble(
    prev: Spot,
    txs: Sequence[Tx],
    *,
    version: int = 4,
    time: int | None = None,
    bits: int = BITS,
    root: bytes | None = None,
    prev_hash: bytes | None = None,
    solved: bool = True,
    nonce: int = 0,
) -> Spot:
    """A block of exactly these transactions, the coinbase among them; `nonce` is where its search begins."""
    header = make_header(
        version,
        prev.hash if prev_hash is None else prev_hash,
        merkle([tx.txid for tx in txs]) if root is None else root,
        prev.time + SPACING if time is None else time,
        bits,
        nonce,
    )
    return Spot(make_block(solve(header, valid=solved), txs), prev.height + 1, prev)


@cache
def base_chain() -> tuple[list[Spot], list[Coins]]:
    """Genesis and `TIP` blocks, and the coins that one of them makes."""
    spots = [Spot(_GENESIS, 0, None)]
    coins: list[Coins] = []
    for height in range(1, TIP + 1):
        txs = [coinbase(height, extra=b"\x04base")]
        if height == COIN_HEIGHT:
            sources = [spots[h].block.txs[0].outpoint(0) for h in range(1, 10)]
            outputs = [TxOut(COIN_VALUE, ANYONE)] * _COINS
            rest = len(sources) * 50 * COIN - _COINS * COIN_VALUE
            inputs = [TxIn(source, b"", SEQUENCE_FINAL) for source in sources]
            txs.append(make_tx(2, inputs, [*outputs, TxOut(rest, ANYONE)]))
            coins = [(txs[1].outpoint(vout), outputs[vout]) for vout in range(_COINS)]
        spots.append(assemble(spots[-1], txs))
    return spots, coins


class Bench:
    """Where one case is made: its blocks, and the steps with their expected answers."""

    def __init__(self, name: str, at: int) -> None:
        self.name = name
        self.base, self.coins = base_chain()
        self.at = self.base[at]
        """The block that the case stands on: the tip when it begins."""
        self.steps: list[Step] = []
        self.tip = self.at
        self.roots: list[bytes] = []
        """Hashes of the case's blocks that stand on the base chain: the case is over when they are invalidated."""
        self._made = 0
        self._tag = double_sha(name.encode())[:6]
        self._base_hashes = {spot.hash for spot in self.base}

    # -- making --

    @property
    def height(self) -> int:
        """Of the next block on the base."""
        return self.at.height + 1

    def extra(self) -> bytes:
        """Coinbase bytes that no other block has."""
        self._made += 1
        return b"\x08" + self._tag + self._made.to_bytes(2, "little")

    def pay(
        self,
        *outputs: TxOut,
        coin: int = 0,
        coins: Sequence[Coins] | None = None,
        script_sig: bytes = b"",
        version: int = 2,
        lock_time: int = 0,
        sequence: int = SEQUENCE_FINAL,
        witness: Sequence[bytes] = (),
    ) -> Tx:
        """Spends a base coin (or `coins`) to `outputs`; by default all that it has to anyone."""
        taken = [self.coins[coin]] if coins is None else list(coins)
        given = list(outputs) or [TxOut(sum(output.amount for _, output in taken), ANYONE)]
        tx = make_tx(version, [TxIn(prevout, script_sig, sequence) for prevout, _ in taken], given, lock_time)
        return with_witnesses(tx, [witness] * len(taken)) if witness else tx

    def make(self, script: bytes, *, coin: int = 0, count: int = 1, amount: int | None = None) -> Tx:
        """A transaction whose first `count` outputs have `script`, each with the same share of a base coin."""
        share = COIN_VALUE // count if amount is None else amount
        return self.pay(*[TxOut(share, script)] * count, coin=coin)

    @staticmethod
    def out(tx: Tx, vout: int = 0) -> Coins:
        return tx.outpoint(vout), tx.outputs[vout]

    def block(
        self,
        *txs: Tx,
        on: Spot | None = None,
        fees: int = 0,
        first: Tx | None = None,
        version: int = 4,
        time: int | None = None,
        bits: int = BITS,
        root: bytes | None = None,
        prev_hash: bytes | None = None,
        solved: bool = True,
        commit: bool | None = None,
    ) -> Spot:
        """A block on `on` (the case's base) with a fitting coinbase, or with `first` in its place."""
        prev = on or self.at
        height = prev.height + 1
        if commit is None:
            commit = any(tx.has_witness for tx in txs)
        if first is None:
            first = coinbase(
                height,
                amount=reward(height) + fees,
                extra=self.extra(),
                more=[commitment(txs)] if commit else (),
                reserved=[bytes(32)] if commit else (),
            )
        return assemble(
            prev,
            [first, *txs],
            version=version,
            time=time,
            bits=bits,
            root=root,
            prev_hash=prev_hash,
            solved=solved,
            nonce=int.from_bytes(self._tag[:4], "little"),
        )

    def coinbase(self, **options: object) -> Tx:
        """A coinbase for the next block on the base."""
        options.setdefault("extra", self.extra())
        return coinbase(self.height, **options)  # type: ignore[arg-type]

    def branch(self, on: Spot, count: int, *txs: Tx) -> list[Spot]:
        """`count` blocks in a row on `on`, the first one with `txs`."""
        made: list[Spot] = []
        for number in range(count):
            made.append(self.block(*(txs if number == 0 else ()), on=made[-1] if made else on))
        return made

    # -- asking --

    def _gives(self, spot: Spot, answer: str | None, tip: Spot | None = None) -> None:
        if spot.block.header.prev_hash in self._base_hashes and spot.hash not in self._base_hashes:
            self.roots.append(spot.hash)
        self.tip = tip or self.tip
        self.steps.append(GiveBlock(spot.block, answer, self.tip))

    def accepts(self, *spots: Spot) -> None:
        """Each becomes the tip."""
        for spot in spots:
            self._gives(spot, None, spot)

    def sides(self, *spots: Spot, tip: Spot | None = None) -> None:
        """Each is stored beside the active chain (or is unable to get there): `inconclusive`."""
        for spot in spots:
            self._gives(spot, "inconclusive", tip)

    def rejects(self, spot: Spot, reason: str, *, again: str | None = None, tip: Spot | None = None) -> None:
        """Refused with `reason`, and the second time with `again`: by default what the reason's kind demands."""
        self._gives(spot, reason, tip)
        if again is None:
            again = "duplicate-invalid" if reason.startswith(_STAYS_INVALID) else reason
        self._gives(spot, again)

    def repeats(self, spot: Spot) -> None:
        self._gives(spot, "duplicate")

    def gives(self, spot: Spot, answer: str | None, *, tip: Spot | None = None) -> None:
        """Any answer, once."""
        self._gives(spot, answer, tip)

    def undecodable(self, data: bytes) -> None:
        self.steps.append(GiveBytes(data, self.tip))

    def header(self, spot: Spot, answer: str | None = None) -> None:
        if answer is None and spot.block.header.prev_hash in self._base_hashes:
            self.roots.append(spot.hash)
        self.steps.append(GiveHeader(spot.block.header, answer))

    def decide(self, verb: str, spot: Spot, *, tip: Spot) -> None:
        self.tip = tip
        self.steps.append(Decide(verb, spot.hash, tip))

    def clock(self, now: int) -> None:
        self.steps.append(Clock(now))

    def tips(self, status: dict[Spot, str]) -> None:
        self.steps.append(LooksLike({spot.hash: word for spot, word in status.items()}))


class Case:
    """A named chain of steps on the base chain's block at height `at`."""

    registry: ClassVar[dict[str, "Case"]] = {}

    def __init__(self, name: str, at: int, build: Callable[[Bench], None]) -> None:
        assert name not in self.registry, name
        self.name, self.at, self.build = name, at, build
        self.registry[name] = self

    @cache  # noqa: B019 - cases live as long as the module
    def bench(self) -> Bench:
        """The case, made once."""
        bench = Bench(self.name, self.at)
        self.build(bench)
        assert bench.steps, self.name
        return bench


def case(name: str, at: int = TIP) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Registers a function that makes a case."""

    def register(build: Callable[[Bench], None]) -> Callable[[Bench], None]:
        Case(name, at, build)
        return build

    return register


def accepted(name: str, make: Callable[[Bench], Spot], at: int = TIP) -> None:
    """A case of one good block."""
    Case(name, at, lambda bench: bench.accepts(make(bench)))


def rejected(
    name: str, reason: str, make: Callable[[Bench], Spot], at: int = TIP, *, again: str | None = None
) -> None:
    """A case of one bad block."""
    Case(name, at, lambda bench: bench.rejects(make(bench), reason, again=again))


def with_transactions(block: Block, txs: Sequence[Tx]) -> Block:
    """The same header over other transactions."""
    return make_block(block.header, txs)
