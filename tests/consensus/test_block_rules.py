"""Each rule of blocks by a block that breaks it, on a regtest chain."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from gldnode.chain.options import AcceptStatus, ChainOptions
from gldnode.consensus.check_block import MAX_FUTURE_BLOCK_TIME_S, coinbase_height_script
from gldnode.consensus.subsidy import block_subsidy
from gldnode.errors import Reject, RejectKind
from gldnode.params import BTC_REGTEST, REGTEST
from gldnode.primitives.block import Block, make_block, make_header
from gldnode.primitives.tx import NULL_OUTPOINT, SEQUENCE_FINAL, OutPoint, Tx, TxIn, TxOut, make_tx, with_witnesses
from tests.support.chain import ANYONE, Key, RegtestChain, make_coinbase, mine_block, spend

_SUBSIDY = REGTEST.initial_subsidy
_FEW = 20


@dataclass
class Scene:
    """A chain with coins that anyone can spend, shared by all cases: none of them changes it."""

    chain: RegtestChain
    coins: list[tuple[OutPoint, TxOut]]
    fresh: tuple[OutPoint, TxOut]
    """A coinbase output that is one block too young."""
    keyed: tuple[OutPoint, TxOut]
    key: Key

    def block(self, *txs: Tx, **options: object) -> Block:
        return mine_block(self.chain.params, self.chain.tip, txs, **options)  # type: ignore[arg-type]

    def pay(self, *outputs: TxOut, coin: int = 0, **options: object) -> Tx:
        return spend([self.coins[coin]], outputs or [TxOut(1_000, ANYONE)], **options)  # type: ignore[arg-type]

    @property
    def height(self) -> int:
        """Of the next block."""
        return self.chain.height + 1

    def coinbase(self, *outputs: TxOut, script_sig: bytes | None = None, more: int = 0) -> Tx:
        script = coinbase_height_script(self.height) + b"\x00" if script_sig is None else script_sig
        amount = block_subsidy(self.height, self.chain.params) + more
        return make_tx(1, [TxIn(NULL_OUTPOINT, script, SEQUENCE_FINAL)], outputs or [TxOut(amount, ANYONE)], 0)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    chain = RegtestChain()
    key = Key(7)
    blocks = chain.mine(_FEW)
    keyed = chain.mine(script=key.script)[0]
    chain.mine(REGTEST.coinbase_maturity - 2)
    fresh = chain.state.read_block(chain.state.block_hash(chain.height - 97) or b"")
    assert fresh is not None
    chain.mine(1)
    yield Scene(
        chain,
        [(block.txs[0].outpoint(0), block.txs[0].outputs[0]) for block in blocks],
        (fresh.txs[0].outpoint(0), fresh.txs[0].outputs[0]),
        (keyed.txs[0].outpoint(0), keyed.txs[0].outputs[0]),
        key,
    )
    chain.close()


Case = Callable[[Scene], Block]


def _with_header(block: Block, **fields: object) -> Block:
    """The same transactions under a header with other fields and no new proof of work."""
    names = ("version", "prev_hash", "merkle_root", "time", "bits", "nonce")
    values = {name: getattr(block.header, name) for name in names} | fields
    return make_block(make_header(**values), block.txs)


def _without_work(scene: Scene) -> Block:
    block = scene.block()
    for nonce in range(1_000):
        changed = _with_header(block, nonce=nonce)
        if changed.hash[31] & 0x80:
            return changed
    raise AssertionError("every nonce has proof of work")


def _many_sigops(scene: Scene, count: int) -> Block:
    script = b"\xac" * count
    return scene.block(scene.pay(TxOut(1_000, script)))


def _heavy(scene: Scene, *, witness: bool) -> Block:
    tx = scene.pay(TxOut(1_000, b"\x6a" + bytes(100)))
    if witness:
        tx = with_witnesses(tx, [[bytes(3_999_900)]])
        return scene.block(tx)
    big = make_tx(2, tx.inputs, [TxOut(0, b"\x6a" + bytes(499_900)) for _ in range(2)], 0)
    return scene.block(big)


def _two_spends(scene: Scene) -> Block:
    return scene.block(scene.pay(TxOut(1_000, ANYONE)), scene.pay(TxOut(2_000, ANYONE)))


def _out_of_order(scene: Scene) -> Block:
    first = scene.pay(TxOut(5_000, ANYONE))
    second = spend([(first.outpoint(0), first.outputs[0])], [TxOut(4_000, ANYONE)])
    return scene.block(second, first)


def _bad_signature(scene: Scene) -> Block:
    tx = spend([scene.keyed], [TxOut(1_000, ANYONE)], scene.key)
    signature, pubkey = tx.inputs[0].witness
    return scene.block(with_witnesses(tx, [[signature[:9] + bytes((signature[9] ^ 1,)) + signature[10:], pubkey]]))


def _commitment(scene: Scene, change: Callable[[Tx], Tx]) -> Block:
    """A block with a witness whose coinbase has been changed after the commitment was made."""
    block = scene.block(spend([scene.keyed], [TxOut(1_000, ANYONE)], scene.key))
    return scene.block(*block.txs[1:], coinbase=change(block.txs[0]))


def _with_stack(coinbase: Tx, stack: list[bytes]) -> Tx:
    return with_witnesses(coinbase, [stack])


def _without_commitment(coinbase: Tx) -> Tx:
    return make_tx(coinbase.version, coinbase.inputs, coinbase.outputs[:1], 0)


def _wrong_commitment(coinbase: Tx) -> Tx:
    script = coinbase.outputs[1].script_pubkey
    wrong = TxOut(0, script[:-1] + bytes((script[-1] ^ 1,)))
    return make_tx(coinbase.version, coinbase.inputs, [coinbase.outputs[0], wrong], 0)


_CASES: dict[str, tuple[str, Case]] = {
    # header
    "no proof of work": ("high-hash", _without_work),
    "bits that the rule does not ask for": ("bad-diffbits", lambda s: s.block(bits=0x207FFFFE)),
    "time at the median": ("time-too-old", lambda s: s.block(time=s.chain.tip.median_time_past)),
    "time two hours and a second ahead": (
        "time-too-new",
        lambda s: s.block(time=s.chain.clock.now() + MAX_FUTURE_BLOCK_TIME_S + 1),
    ),
    "version 1": ("bad-version(0x00000001)", lambda s: s.block(version=1)),
    "version 3": ("bad-version(0x00000003)", lambda s: s.block(version=3)),
    "version -1": ("bad-version(0xffffffff)", lambda s: s.block(version=-1)),
    "unknown parent": (
        "prev-blk-not-found",
        lambda s: _reworked(s.block(), prev_hash=bytes(31) + b"\x01"),
    ),
    # transactions and header
    "wrong merkle root": ("bad-txnmrklroot", lambda s: _reworked(s.block(), merkle_root=bytes(32))),
    "repeated tail": (
        "bad-txns-duplicate",
        lambda s: _repeat_last(s.block(s.pay(coin=0), s.pay(coin=1))),
    ),
    "no transactions": ("bad-blk-length", lambda s: _reworked(s.block(), merkle_root=bytes(32), txs=())),
    "over a million bytes": ("bad-blk-length", lambda s: _heavy(s, witness=False)),
    "over the weight": ("bad-blk-weight", lambda s: _heavy(s, witness=True)),
    "first is no coinbase": ("bad-cb-missing", lambda s: s.block(coinbase=s.pay())),
    "two coinbases": ("bad-cb-multiple", lambda s: s.block(make_coinbase(s.height, 1, extra=b"\x07"))),
    "coinbase script of one byte": (
        "bad-cb-length",
        lambda s: s.block(coinbase=s.coinbase(script_sig=b"\x51")),
    ),
    "coinbase script of 101 bytes": (
        "bad-cb-length",
        lambda s: s.block(coinbase=s.coinbase(script_sig=coinbase_height_script(s.height).ljust(101, b"\x00"))),
    ),
    "no height in the coinbase": (
        "bad-cb-height",
        lambda s: s.block(coinbase=s.coinbase(script_sig=b"\x01\x01\x00")),
    ),
    "another height in the coinbase": (
        "bad-cb-height",
        lambda s: s.block(coinbase=s.coinbase(script_sig=coinbase_height_script(s.height + 1) + b"\x00")),
    ),
    "height in too many bytes": (
        "bad-cb-height",
        lambda s: s.block(coinbase=s.coinbase(script_sig=b"\x04" + s.height.to_bytes(4, "little"))),
    ),
    "coinbase takes a grain too much": ("bad-cb-amount", lambda s: s.block(coinbase=s.coinbase(more=1))),
    "coinbase takes fees that are not paid": (
        "bad-cb-amount",
        lambda s: s.block(s.pay(TxOut(_SUBSIDY - 5, ANYONE)), fees=6),
    ),
    # transactions
    "no inputs": ("bad-txns-vin-empty", lambda s: s.block(make_tx(2, [], [TxOut(1, ANYONE)]))),
    "no outputs": ("bad-txns-vout-empty", lambda s: s.block(make_tx(2, s.pay().inputs, []))),
    "negative output": ("bad-txns-vout-negative", lambda s: s.block(s.pay(TxOut(-1, ANYONE)))),
    "output above the maximum": (
        "bad-txns-vout-toolarge",
        lambda s: s.block(s.pay(TxOut(REGTEST.max_money + 1, ANYONE))),
    ),
    "outputs above the maximum together": (
        "bad-txns-txouttotal-toolarge",
        lambda s: s.block(s.pay(TxOut(REGTEST.max_money, ANYONE), TxOut(1, ANYONE))),
    ),
    "an output spent twice in one transaction": (
        "bad-txns-inputs-duplicate",
        lambda s: s.block(spend([s.coins[0], s.coins[0]], [TxOut(1, ANYONE)])),
    ),
    "null prevout beside another": (
        "bad-txns-prevout-null",
        lambda s: s.block(spend([s.coins[0], (NULL_OUTPOINT, s.coins[0][1])], [TxOut(1, ANYONE)])),
    ),
    "an output spent twice in one block": ("bad-txns-inputs-missingorspent", _two_spends),
    "spends a later transaction of the block": ("bad-txns-inputs-missingorspent", _out_of_order),
    "spends what never was": (
        "bad-txns-inputs-missingorspent",
        lambda s: s.block(spend([(OutPoint(bytes(35) + b"\x01"), s.coins[0][1])], [TxOut(1, ANYONE)])),
    ),
    "spends the genesis output": (
        "bad-txns-inputs-missingorspent",
        lambda s: s.block(spend([(REGTEST.genesis.txs[0].outpoint(0), s.coins[0][1])], [TxOut(1, ANYONE)])),
    ),
    "spends an unspendable output": (
        "bad-txns-inputs-missingorspent",
        lambda s: _spend_of(s, TxOut(0, b"\x6a")),
    ),
    "coinbase one block too young": (
        "bad-txns-premature-spend-of-coinbase",
        lambda s: s.block(spend([s.fresh], [TxOut(1, ANYONE)])),
    ),
    "pays more than it has": (
        "bad-txns-in-belowout",
        lambda s: s.block(s.pay(TxOut(_SUBSIDY + 1, ANYONE))),
    ),
    "lock time at this height": (
        "bad-txns-nonfinal",
        lambda s: s.block(s.pay(lock_time=s.height)),
    ),
    "lock time at the median time": (
        "bad-txns-nonfinal",
        lambda s: s.block(s.pay(lock_time=s.chain.tip.median_time_past)),
    ),
    "relative lock of more blocks than have passed": (
        "bad-txns-nonfinal",
        lambda s: s.block(s.pay(coin=19, sequence=s.height - 20 + 1)),
    ),
    "relative lock of more time than has passed": (
        "bad-txns-nonfinal",
        lambda s: s.block(s.pay(coin=19, sequence=1 << 22 | 1)),
    ),
    # signature operations
    "20,001 operations in outputs": ("bad-blk-sigops", lambda s: _many_sigops(s, 20_001)),
    "1,001 multisigs in outputs": (
        "bad-blk-sigops",
        lambda s: s.block(s.pay(TxOut(1_000, b"\xae" * 1_001))),
    ),
    # scripts and witnesses
    "a false script": (
        "block-script-verify-flag-failed (Script evaluated without error but finished with a false/empty top stack"
        " element)",
        lambda s: _spend_of(s, TxOut(1_000, b"\x00")),
    ),
    "a changed signature": ("block-script-verify-flag-failed (", _bad_signature),
    "a witness without commitment": ("unexpected-witness", lambda s: _commitment(s, _without_commitment)),
    "a wrong commitment": ("bad-witness-merkle-match", lambda s: _commitment(s, _wrong_commitment)),
    "a reserved value of 31 bytes": (
        "bad-witness-nonce-size",
        lambda s: _commitment(s, lambda tx: _with_stack(tx, [bytes(31)])),
    ),
    "two reserved values": (
        "bad-witness-nonce-size",
        lambda s: _commitment(s, lambda tx: _with_stack(tx, [bytes(32), bytes(32)])),
    ),
    "another reserved value": (
        "bad-witness-merkle-match",
        lambda s: _commitment(s, lambda tx: _with_stack(tx, [bytes(31) + b"\x01"])),
    ),
    "no reserved value": (
        "bad-witness-nonce-size",
        lambda s: _commitment(s, lambda tx: _with_stack(tx, [])),
    ),
}


def _reworked(block: Block, txs: tuple[Tx, ...] | None = None, **fields: object) -> Block:
    """With other header fields and new proof of work."""
    for nonce in range(1_000):
        changed = _with_header(block, nonce=nonce, **fields)
        if not changed.hash[31] & 0x80:
            return changed if txs is None else make_block(changed.header, txs)
    raise AssertionError("no nonce has proof of work")


def _repeat_last(block: Block) -> Block:
    return make_block(block.header, [*block.txs, block.txs[-1]])


def _spend_of(scene: Scene, output: TxOut) -> Block:
    """A transaction with `output` and one that spends it, in one block."""
    first = scene.pay(output)
    second = spend([(first.outpoint(0), output)], [TxOut(0, ANYONE)])
    return scene.block(first, second)


@pytest.mark.parametrize("name", _CASES)
def test_block_is_rejected(name: str, scene: Scene) -> None:
    reason, make = _CASES[name]
    before = scene.chain.state.tip
    with pytest.raises(Reject) as caught:
        scene.chain.accept(make(scene))
    assert caught.value.reason.startswith(reason) if reason.endswith("(") else caught.value.reason == reason
    assert scene.chain.state.tip == before


_TAKEN: dict[str, Case] = {
    "time one second behind the median": lambda s: s.block(time=s.chain.tip.median_time_past + 1),
    "time two hours ahead": lambda s: s.block(time=s.chain.clock.now() + MAX_FUTURE_BLOCK_TIME_S),
    "version 4": lambda s: s.block(version=4),
    "version 0x7fffffff": lambda s: s.block(version=0x7FFFFFFF),
    "coinbase script of 100 bytes": lambda s: s.block(
        coinbase=s.coinbase(script_sig=coinbase_height_script(s.height).ljust(100, b"\x00"))
    ),
    "coinbase without outputs of value": lambda s: s.block(coinbase=s.coinbase(TxOut(0, ANYONE))),
    "coinbase with all fees": lambda s: s.block(s.pay(TxOut(_SUBSIDY - 5, ANYONE)), fees=5),
    "a chain of spends in order": lambda s: _chain_of_spends(s, 50),
    "coinbase just old enough": lambda s: s.block(s.pay(coin=19)),
    "lock time one below this height": lambda s: s.block(s.pay(lock_time=s.height - 1)),
    "lock time one below the median time": lambda s: s.block(s.pay(lock_time=s.chain.tip.median_time_past - 1)),
    "lock time that no input minds": lambda s: s.block(s.pay(lock_time=s.height + 9, sequence=0xFFFFFFFF)),
    "relative lock of as many blocks as have passed": lambda s: s.block(s.pay(coin=19, sequence=s.height - 20)),
    "relative lock in a version 1 transaction": lambda s: s.block(s.pay(coin=19, sequence=0xFFFF, version=1)),
    "disabled relative lock": lambda s: s.block(s.pay(coin=19, sequence=1 << 31 | 0xFFFF)),
    "20,000 operations in outputs": lambda s: _many_sigops(s, 20_000),
    "a signed spend with its witness": lambda s: s.block(spend([s.keyed], [TxOut(1_000, ANYONE)], s.key)),
    "the last of two commitments counts": lambda s: _commitment(s, _two_commitments),
    "a commitment without witnesses": lambda s: s.block(commit_to_witness=True),
    "an output of more than 10,000 bytes": lambda s: s.block(s.pay(TxOut(0, bytes(10_001)))),
}


def _chain_of_spends(scene: Scene, length: int) -> Block:
    txs = [scene.pay(TxOut(_SUBSIDY, ANYONE))]
    for _ in range(length - 1):
        txs.append(spend([(txs[-1].outpoint(0), txs[-1].outputs[0])], [TxOut(_SUBSIDY, ANYONE)]))
    return scene.block(*txs)


def _two_commitments(coinbase: Tx) -> Tx:
    wrong = TxOut(0, coinbase.outputs[1].script_pubkey[:-1] + b"\xff")
    return make_tx(coinbase.version, coinbase.inputs, [coinbase.outputs[0], wrong, coinbase.outputs[1]], 0)


@pytest.mark.parametrize("name", _TAKEN)
def test_block_is_accepted_and_can_be_left_again(name: str, scene: Scene) -> None:
    before = scene.chain.state.tip
    block = _TAKEN[name](scene)
    assert scene.chain.accept(block).status is AcceptStatus.CONNECTED
    scene.chain.state.invalidate(block.hash)
    assert scene.chain.state.tip == before


def test_a_child_of_a_failed_block_is_refused(scene: Scene) -> None:
    bad = scene.block(coinbase=scene.coinbase(more=2))
    with pytest.raises(Reject, match="bad-cb-amount"):
        scene.chain.accept(bad)
    entry = scene.chain.state.entry(bad.hash)
    assert entry is not None
    assert entry.is_failed
    with pytest.raises(Reject, match="bad-prevblk"):
        scene.chain.accept(mine_block(REGTEST, entry))
    with pytest.raises(Reject, match="duplicate-invalid"):
        scene.chain.accept(bad)


def test_a_mutated_block_does_not_spoil_the_real_one(scene: Scene) -> None:
    real = scene.block(spend([scene.keyed], [TxOut(1_500, ANYONE)], scene.key))
    stripped = make_block(real.header, [with_witnesses(tx, [[]] * len(tx.inputs)) for tx in real.txs])
    with pytest.raises(Reject) as caught:
        scene.chain.accept(stripped)
    assert caught.value.kind is RejectKind.MUTATED
    assert scene.chain.accept(real).status is AcceptStatus.CONNECTED
    scene.chain.state.invalidate(real.hash)


def test_an_unspent_coinbase_cannot_be_made_again() -> None:
    """BIP 30, where BIP 34 does not make coinbases differ yet."""
    options = ChainOptions(test_activation_heights=(("bip34", 1_000), ("segwit", 1_000)))
    chain = RegtestChain(BTC_REGTEST, options=options)
    coinbase = make_tx(1, [TxIn(NULL_OUTPOINT, b"\x00\x00", SEQUENCE_FINAL)], [TxOut(1_000, ANYONE)])
    chain.accept(mine_block(chain.params, chain.tip, coinbase=coinbase))
    with pytest.raises(Reject, match="bad-txns-BIP30"):
        chain.accept(mine_block(chain.params, chain.tip, coinbase=coinbase))
    chain.mine(100)
    spent = spend([(coinbase.outpoint(0), coinbase.outputs[0])], [TxOut(900, ANYONE)])
    chain.mine(1, [spent])
    assert chain.accept(mine_block(chain.params, chain.tip, coinbase=coinbase)).is_new
    with pytest.raises(Reject, match="bad-txns-BIP30"):  # a spend that was confirmed before
        chain.accept(mine_block(chain.params, chain.tip, [spent]))


def test_witnesses_are_unexpected_before_segwit() -> None:
    options = ChainOptions(test_activation_heights=(("segwit", 200),))
    chain = RegtestChain(BTC_REGTEST, options=options)
    key = Key(3)
    coin = chain.mature_coin(key.script)
    tx = spend([coin], [TxOut(1_000, ANYONE)], key)
    with pytest.raises(Reject, match="unexpected-witness"):
        chain.accept(chain.block([tx]))
    chain.mine(200 - chain.height - 1)
    assert chain.accept(chain.block([tx])).status is AcceptStatus.CONNECTED


def test_a_header_far_back_may_fork_but_not_below_a_checkpoint() -> None:
    plain = RegtestChain()
    blocks = plain.mine(10)
    params = replace(REGTEST, checkpoints=((5, blocks[4].hash),))
    chain = RegtestChain(params)
    for block in blocks:
        chain.accept(block)
    below, at = chain.tip.ancestor(2), chain.tip.ancestor(4)
    with pytest.raises(Reject, match="checkpoint mismatch"):
        chain.accept(chain.block(prev=at))
    assert chain.accept(chain.block(prev=chain.tip.ancestor(5))).status is AcceptStatus.SIDE
    with pytest.raises(Reject, match="bad-fork-prior-to-checkpoint"):
        chain.accept(chain.block(prev=below, script=Key(2).script))
    loose = RegtestChain(params, options=ChainOptions(checkpoints=False))
    for block in blocks:
        loose.accept(block)
    assert loose.accept(loose.block(prev=loose.tip.ancestor(4))).status is AcceptStatus.SIDE
