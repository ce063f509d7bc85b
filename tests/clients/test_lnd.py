"""Two unmodified lnds with our daemon as their `bitcoind`: ZeroMQ tells one of them, the other asks."""

import base64
import hmac
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.environments import free_port
from tests.support.lnd import Lnd, LndError, require_lnd
from tests.support.waiting import wait_for

FUNDS = 5 * 10**8
CAPACITY = 2_000_000


class Town:
    """Our node, who mines and has coins, and two who pay each other over Lightning."""

    def __init__(self, node: DaemonProcess, alice: Lnd, bob: Lnd) -> None:
        self.node, self.alice, self.bob = node, alice, bob

    def mine(self, count: int = 1) -> list[str]:
        blocks: list[str] = self.node.call("generatetoaddress", count, self.node.call("getnewaddress"))
        self.alice.wait_synced()
        self.bob.wait_synced()
        return blocks

    def mine_until_settled(self) -> None:
        """Until no channel is on its way in or out: sweeps follow each other over several blocks."""
        for _ in range(40):
            if not self.alice.pending() and not self.bob.pending():
                return
            self.mine()
        raise AssertionError(f"{self.alice.pending()} {self.bob.pending()}")

    @staticmethod
    def pay(payer: Lnd, payee: Lnd, amount: int) -> None:
        """Over Lightning, as soon as the payer's switch knows the channel."""
        invoice = payee.post("/v1/invoices", value=str(amount), memo="bread")
        request = invoice["payment_request"]
        wait_for(lambda: payer.pay(request)["status"] == "SUCCEEDED", "the invoice is paid")
        assert payee.get("/v1/invoices?num_max_invoices=1&reversed=true")["invoices"][0]["state"] == "SETTLED"
        for one in (payer, payee):
            wait_for(lambda one=one: not one.channels()[0]["pending_htlcs"], "it is out of the way")  # type: ignore[misc]

    def open_channel(self, **kind: object) -> str:
        """A channel from Alice to Bob, confirmed and usable; its outpoint."""
        opened = self.alice.post(
            "/v1/channels",
            node_pubkey_string=self.bob.info()["identity_pubkey"],
            local_funding_amount=str(CAPACITY),
            sat_per_vbyte="5",
            **kind,
        )
        assert opened["output_index"] in (0, 1)
        wait_for(lambda: len(self.alice.pending()) == len(self.bob.pending()) == 1, "the channel is pending")
        (point,) = (one["channel"]["channel_point"] for one in self.alice.pending())
        assert point.partition(":")[0] in self.node.call("getrawmempool")
        self.mine(6)
        wait_for(lambda: bool(self.alice.channels() and self.bob.channels()), "the channel is active")
        return str(point)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    require_lnd()
    folder = tmp_path_factory.mktemp("lnd")
    blocks, txs = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    proof = hmac.new(b"salt", b"password", "sha256").hexdigest()
    flags = (
        f"-rpcport={free_port()}",  # the same after a restart
        f"-rpcauth=lnd:salt${proof}",  # a cookie would change with the restart
        f"-zmqpubrawblock={blocks}",
        f"-zmqpubrawtx={txs}",
        "-txindex",
        "-fallbackfee=0.0002",
        "-btc-compat",
        "-nopayments",
    )
    login = ("--bitcoind.rpcuser=lnd", "--bitcoind.rpcpass=password")
    told = (
        f"--bitcoind.zmqpubrawblock={blocks}",
        f"--bitcoind.zmqpubrawtx={txs}",
        "--bitcoind.zmqreaddeadline=1s",
    )
    asks = (
        "--bitcoind.rpcpolling",
        "--bitcoind.blockpollinginterval=1s",
        "--bitcoind.txpollinginterval=1s",
    )
    with DaemonProcess(folder / "node", *flags, network="btc-regtest") as node:
        node.call("createwallet", "w")
        node.call("generatetoaddress", 110, node.call("getnewaddress"))
        with (
            Lnd(folder / "alice", node, *login, *told, has_seed=True) as alice,
            Lnd(folder / "bob", node, *login, *asks) as bob,
        ):
            for one in (alice, bob):
                one.wait_ready()
            town = Town(node, alice, bob)
            town.mine()
            yield town


@pytest.fixture(scope="module")
def funded(town: Town) -> Town:
    """Both have coins, and a connection to each other."""
    for one in (town.alice, town.bob):
        txid = town.node.call("sendtoaddress", one.new_address(), "5")
        wait_for(lambda one=one: one.balance() == (0, FUNDS), "lnd saw the payment before its block")  # type: ignore[misc]
        (block,) = town.mine()
        assert txid in town.node.call("getblock", block)["tx"]
        wait_for(lambda one=one: one.balance() == (FUNDS, 0), "lnd saw the confirmation")  # type: ignore[misc]
    address = {"pubkey": town.bob.info()["identity_pubkey"], "host": f"127.0.0.1:{town.bob.p2p_port}"}
    town.alice.post("/v1/peers", addr=address, perm=True)
    wait_for(lambda: town.alice.info()["num_peers"] == town.bob.info()["num_peers"] == 1, "they are connected")
    return town


def test_lnd_starts_makes_its_wallet_and_is_synced(town: Town) -> None:
    for one in (town.alice, town.bob):
        info = one.info()
        assert info["synced_to_chain"]
        assert info["block_height"] == town.node.call("getblockcount")
        assert info["chains"] == [{"chain": "bitcoin", "network": "regtest"}]


def test_a_channel_is_opened_paid_over_and_closed_together(funded: Town) -> None:
    town = funded
    point = town.open_channel()
    town.pay(town.alice, town.bob, 25_000)
    town.pay(town.bob, town.alice, 1_000)

    before = town.bob.balance()[0]
    txid = town.alice.close_channel(point)
    wait_for(lambda: txid in town.node.call("getrawmempool"), "the closing transaction is in our mempool")
    town.mine_until_settled()
    closed = town.alice.get("/v1/channels/closed")["channels"]
    assert (closed[-1]["channel_point"], closed[-1]["close_type"]) == (point, "COOPERATIVE_CLOSE")
    wait_for(lambda: town.bob.balance()[0] == before + 24_000, "Bob's share is in his wallet")


def test_a_channel_is_closed_by_force_and_swept(funded: Town) -> None:
    town = funded
    point = town.open_channel()
    town.pay(town.alice, town.bob, 50_000)
    town.alice.close_channel(point, force=True)
    wait_for(lambda: bool(town.node.call("getrawmempool")), "the commitment is in our mempool")
    before = town.alice.balance()[0]
    town.mine_until_settled()
    for one, kind in ((town.alice, "LOCAL_FORCE_CLOSE"), (town.bob, "REMOTE_FORCE_CLOSE")):
        closed = one.get("/v1/channels/closed")["channels"]
        assert (closed[-1]["channel_point"], closed[-1]["close_type"]) == (point, kind)
    wait_for(lambda: town.alice.balance()[0] > before + CAPACITY - 100_000, "Alice has her part back")


def test_a_taproot_channel_is_closed_by_force(funded: Town) -> None:
    town = funded
    point = town.open_channel(commitment_type="SIMPLE_TAPROOT", private=True)
    town.pay(town.alice, town.bob, 30_000)
    town.bob.close_channel(point, force=True)
    wait_for(lambda: bool(town.node.call("getrawmempool")), "the commitment is in our mempool")
    town.mine_until_settled()
    closed = town.bob.get("/v1/channels/closed")["channels"]
    assert (closed[-1]["channel_point"], closed[-1]["close_type"]) == (point, "LOCAL_FORCE_CLOSE")


def test_lnd_pays_on_chain_raises_the_fee_and_is_told_of_double_spends(funded: Town) -> None:
    town = funded
    node, bob = town.node, town.bob
    shop = node.call("getnewaddress")
    sent = bob.post("/v1/transactions", addr=shop, amount="300000", sat_per_vbyte="2")["txid"]
    wait_for(lambda: sent in node.call("getrawmempool"), "the payment is in our mempool")
    paid = node.call("getrawtransaction", sent, 1)
    (change,) = (one["n"] for one in paid["vout"] if one["scriptPubKey"]["address"] != shop)
    outpoint = {"txid_str": sent, "output_index": change}
    bob.post("/v2/wallet/bumpfee", outpoint=outpoint, sat_per_vbyte="20", immediate=True, budget="50000")
    wait_for(lambda: node.call("getmempoolentry", sent)["descendantcount"] == 2, "a child pays for it")
    (child,) = node.call("getmempoolentry", sent)["spentby"]
    entry = node.call("getmempoolentry", child)
    assert entry["depends"] == [sent]
    assert entry["fees"]["base"] * 10**8 >= 19 * entry["vsize"]

    spent = [{"txid": paid["vin"][0]["txid"], "vout": paid["vin"][0]["vout"]}]
    unsigned = node.call("createrawtransaction", spent, {shop: 0.001})
    other = base64.b64encode(bytes.fromhex(unsigned)).decode()
    with pytest.raises(LndError, match="script"):
        bob.post("/v2/wallet/tx", tx_hex=other)
    (block,) = town.mine()
    assert {sent, child} <= set(node.call("getblock", block)["tx"])
    with pytest.raises(LndError, match="output already spent"):
        bob.post("/v2/wallet/tx", tx_hex=other)


def test_a_reorganisation_is_followed(funded: Town) -> None:
    town = funded
    before = {one: one.balance()[0] for one in (town.alice, town.bob)}
    txids = [town.node.call("sendtoaddress", one.new_address("TAPROOT_PUBKEY"), "1") for one in before]
    (block,) = town.mine()
    for one, amount in before.items():
        wait_for(lambda one=one, amount=amount: one.balance() == (amount + 10**8, 0), "confirmed")  # type: ignore[misc]
    town.node.call("invalidateblock", block)
    address = town.node.call("getnewaddress")
    for _ in range(3):
        town.node.call("generateblock", address, [])
    town.alice.wait_synced()
    town.bob.wait_synced()
    assert set(txids) <= set(town.node.call("getrawmempool"))
    for one, amount in before.items():
        wait_for(lambda one=one, amount=amount: one.balance() == (amount, 10**8), "unconfirmed again")  # type: ignore[misc]
    town.mine()
    for one, amount in before.items():
        wait_for(lambda one=one, amount=amount: one.balance() == (amount + 10**8, 0), "confirmed again")  # type: ignore[misc]


def test_our_restart_and_theirs_are_survived(funded: Town) -> None:
    town = funded
    point = town.open_channel()
    assert town.node.stop() == 0
    town.node.start()
    town.node.call("loadwallet", "w")
    town.node.call("generatetoaddress", 2, town.node.call("getnewaddress"))

    def is_back() -> bool:
        # What ZeroMQ publishes before lnd has connected again is lost; the next block makes it ask for it.
        town.node.call("generatetoaddress", 1, town.node.call("getnewaddress"))
        time.sleep(1)
        return town.alice.is_synced and town.bob.is_synced

    wait_for(is_back, "both have the tip")
    town.alice.restart()
    town.mine(1)
    wait_for(lambda: bool(town.alice.channels() and town.bob.channels()), "the channel is active again")
    town.pay(town.alice, town.bob, 7_000)
    txid = town.bob.close_channel(point)
    wait_for(lambda: txid in town.node.call("getrawmempool"), "the closing transaction is in our mempool")
    town.mine_until_settled()
    assert town.alice.is_running
    assert town.bob.is_running
