"""The wallet's RPC methods: Core's fields, codes and sentences."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gldnode.address import encode_wif
from gldnode.crypto.secp256k1 import pubkey_of
from gldnode.descriptors import add_checksum
from gldnode.primitives.hashes import hash160
from gldnode.rpc.context import RpcContext, Services
from gldnode.rpc.errors import RpcError
from gldnode.rpc.json import decode, encode
from gldnode.rpc.methods import build_registry
from gldnode.rpc.registry import Registry
from gldnode.script.templates import p2pk_script, p2pkh_script, p2sh_script, p2wpkh_script
from gldnode.wallet import crypter
from gldnode.wallet.manager import WalletManager
from tests.support.host import HostNode, host_node

COINBASE = Decimal(50)


class Rpc:
    """Calls methods as a client's JSON would, and reads the answers with exact numbers."""

    def __init__(self, node: HostNode, registry: Registry, services: Services, wallet: str | None = None) -> None:
        self.node, self.registry, self.services, self.wallet = node, registry, services, wallet

    def of(self, wallet: str) -> "Rpc":
        return Rpc(self.node, self.registry, self.services, wallet)

    async def __call__(self, method: str, *args: Any, **named: Any) -> Any:
        import json

        params = decode(encode(named if named else list(args)))
        ctx = RpcContext(self.node, self.services, self.registry, None, "test", self.wallet)  # type: ignore[arg-type]
        return json.loads(encode(await self.registry.call(ctx, method, params)), parse_float=Decimal)

    async def refused(self, method: str, *args: Any, **named: Any) -> tuple[int, str]:
        with pytest.raises(RpcError) as caught:
            await self(method, *args, **named)
        return caught.value.code, caught.value.message


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of guessing a passphrase is not under test here."""
    monkeypatch.setattr(crypter, "_N", 1 << 4)


@pytest.fixture
async def rpc(tmp_path: Path) -> AsyncIterator[Rpc]:
    async with host_node(tmp_path, options=[("keypool", "5")]) as node:
        wallets = WalletManager(node, tmp_path / "wallets")
        services = Services()
        services.add(wallets)
        yield Rpc(node, build_registry(node.params, with_wallet=True), services)
        await wallets.stop()


async def funded(rpc: Rpc, name: str = "shop") -> Rpc:
    await rpc("createwallet", name)
    shop = rpc.of(name)
    info = await shop("getaddressinfo", await shop("getnewaddress"))
    await rpc.node.mine(1, bytes.fromhex(info["scriptPubKey"]))
    await rpc.node.mine(100)
    return shop


async def test_wallet_selection_by_path(rpc: Rpc) -> None:
    assert (await rpc.refused("getbalance"))[0] == -18
    await rpc("createwallet", "a")
    assert await rpc("getbalance") == 0
    await rpc("createwallet", "b")
    code, message = await rpc.refused("getbalance")
    assert code == -19
    assert "/wallet/<walletname>" in message
    assert await rpc.of("a")("getbalance") == 0
    assert await rpc.of("c").refused("getbalance") == (-18, "Requested wallet does not exist or is not loaded")
    assert await rpc("listwallets") == ["a", "b"]


async def test_loading_and_unloading(rpc: Rpc) -> None:
    assert await rpc("createwallet", "a") == {"name": "a"}
    assert await rpc.refused("loadwallet", "a") == (-35, 'Wallet "a" is already loaded.')
    assert (await rpc.refused("createwallet", "a"))[0] == -4
    await rpc("unloadwallet", "a")
    assert await rpc("listwallets") == []
    assert [one["name"] for one in (await rpc("listwalletdir"))["wallets"]] == ["a"]
    assert (await rpc.refused("loadwallet", "b"))[0] == -18
    assert await rpc("loadwallet", "a") == {"name": "a"}
    assert (await rpc.refused("unloadwallet"))[0] == -8


async def test_sendtoaddress_and_what_is_seen_of_it(rpc: Rpc) -> None:
    shop = await funded(rpc)
    await rpc("createwallet", "other")
    other = rpc.of("other")
    address = await other("getnewaddress", "rent")
    txid = await shop("sendtoaddress", address, "1.5", "for may", "landlord")
    await rpc.node.mine(1)
    seen = await other("gettransaction", txid, None, True)
    assert seen["amount"] == Decimal("1.5")
    assert seen["confirmations"] == 1
    assert seen["details"][0]["category"] == "receive"
    assert seen["details"][0]["label"] == "rent"
    assert seen["decoded"]["txid"] == txid
    sent = await shop("gettransaction", txid)
    assert sent["amount"] == Decimal("-1.5")
    assert sent["fee"] < 0
    assert (sent["comment"], sent["to"]) == ("for may", "landlord")
    assert await shop("getbalance") == COINBASE - Decimal("1.5") + sent["fee"]
    assert await other("getreceivedbyaddress", address) == Decimal("1.5")
    assert await other("getreceivedbylabel", "rent") == Decimal("1.5")
    (coin,) = await other("listunspent")
    assert coin["amount"] == Decimal("1.5")
    assert coin["label"] == "rent"
    assert coin["spendable"]
    listed = await other("listtransactions")
    assert [one["txid"] for one in listed] == [txid]
    since = await other("listsinceblock")
    assert [one["txid"] for one in since["transactions"]] == [txid]
    assert (await other("listsinceblock", since["lastblock"]))["transactions"] == []


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("nonsense", 1), -5, "Invalid Bitcoin address: nonsense"),
        (("{address}", -1), -3, "Amount out of range"),
        (("{address}", "1e999999999"), -3, "Invalid amount"),
        (("{address}", "0.000000001"), -3, "Invalid amount"),
        (("{address}", 0), -6, "Transaction amount too small"),
        (("{address}", 50), -6, "Insufficient funds"),
        (("{address}", 100_000_001), -3, "Amount out of range"),
    ],
)
async def test_wrong_sends_are_refused(rpc: Rpc, args: tuple[Any, ...], code: int, message: str) -> None:
    shop = await funded(rpc)
    address = await shop("getnewaddress")
    filled = [arg.format(address=address) if isinstance(arg, str) else arg for arg in args]
    assert await shop.refused("sendtoaddress", *filled) == (code, message)


async def test_fee_rates(rpc: Rpc) -> None:
    shop = await funded(rpc)
    address = await shop("getnewaddress")
    code, message = await shop.refused("sendtoaddress", address=address, amount=1, fee_rate=0.5)
    assert (code, message.split(" is lower")[0]) == (-6, "Fee rate (0.500 sat/vB)")
    too_much = await shop.refused("sendtoaddress", address=address, amount=1, fee_rate=100_000)
    assert too_much == (-6, "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)")
    txid = await shop("sendtoaddress", address=address, amount=1, fee_rate="2.125")
    entry = rpc.node.pool.get(bytes.fromhex(txid)[::-1])  # type: ignore[arg-type]
    assert entry is not None
    assert entry.fee == pytest.approx(entry.vsize * 2.125, abs=4)
    both = await shop.refused("sendtoaddress", address=address, amount=1, fee_rate=1, conf_target=6)
    assert both[0] == -8


async def test_sendmany_send_and_sendall(rpc: Rpc) -> None:
    shop = await funded(rpc)
    a, b = [await shop("getnewaddress", "", kind) for kind in ("legacy", "bech32m")]
    await shop("sendmany", "", {a: 1, b: "2.5"}, None, "", [b])
    sent = await shop("send", [{a: 1}, {"data": "00ff"}])
    assert sent["complete"]
    decoded = (await shop("gettransaction", sent["txid"], None, True))["decoded"]
    assert [out["scriptPubKey"]["hex"] for out in decoded["vout"] if out["value"] == 0] == ["6a0200ff"]
    await rpc.node.mine(1)
    all_of_it = await shop("sendall", [b])
    assert all_of_it["complete"]
    await rpc.node.mine(1)
    coins = await shop("listunspent")
    assert [coin["address"] for coin in coins] == [b]
    duplicate = await shop.refused("sendmany", "", {a: 1}, None, "", [a, a])
    assert duplicate == (-8, "Invalid parameter 'subtract fee from output', duplicated position: 0")


async def test_bumpfee_replaces(rpc: Rpc) -> None:
    shop = await funded(rpc)
    await rpc("createwallet", "other")
    address = await rpc.of("other")("getnewaddress")
    txid = await shop("sendtoaddress", address, 1)
    bumped = await shop("bumpfee", txid)
    assert bumped["fee"] > bumped["origfee"]
    assert {one[::-1].hex() for one in rpc.node.pool.txids()} == {bumped["txid"]}
    assert (await shop.refused("bumpfee", txid))[0] == -4
    assert (await shop("gettransaction", txid))["replaced_by_txid"] == bumped["txid"]
    await rpc.node.mine(1)
    assert await rpc.of("other")("getbalance") == 1
    assert (await shop("gettransaction", txid))["confirmations"] == -1
    assert (await shop.refused("bumpfee", bumped["txid"]))[0] == -4
    assert await shop.refused("bumpfee", "00" * 32) == (-5, "Invalid or non-wallet transaction id")


async def test_locked_coins_are_not_spent(rpc: Rpc) -> None:
    shop = await funded(rpc)
    (coin,) = await shop("listunspent")
    prevout = {"txid": coin["txid"], "vout": coin["vout"]}
    assert await shop("lockunspent", False, [prevout])
    assert await shop("listlockunspent") == [prevout]
    assert await shop("listunspent") == []
    assert (await shop.refused("sendtoaddress", coin["address"], 1))[1] == "Insufficient funds"
    again = await shop.refused("lockunspent", False, [prevout])
    assert again == (-8, "Invalid parameter, output already locked")
    assert await shop("lockunspent", True, [prevout])
    unknown = await shop.refused("lockunspent", True, [{"txid": "00" * 32, "vout": 0}])
    assert unknown == (-8, "Invalid parameter, unknown transaction")


async def test_raw_transaction_funded_and_signed(rpc: Rpc) -> None:
    shop = await funded(rpc)
    address = await shop("getnewaddress")
    raw = await rpc("createrawtransaction", [], {address: 3})
    funded_tx = await shop("fundrawtransaction", raw)
    assert funded_tx["changepos"] in (0, 1)
    signed = await shop("signrawtransactionwithwallet", funded_tx["hex"])
    assert signed["complete"]
    await rpc("sendrawtransaction", signed["hex"])
    unsigned = await rpc("createrawtransaction", [{"txid": "11" * 32, "vout": 0}], {address: 1})
    partial = await shop("signrawtransactionwithwallet", unsigned)
    assert not partial["complete"]
    assert partial["errors"][0]["error"] == "Input not found or already spent"
    assert (await shop.refused("signrawtransactionwithwallet", "00"))[0] == -22


async def test_watching_wallet_from_descriptors(rpc: Rpc) -> None:
    shop = await funded(rpc)
    listed = (await shop("listdescriptors"))["descriptors"]
    assert len([one for one in listed if one["active"]]) == 8
    assert not any("prv" in one["desc"] for one in listed)
    await rpc("createwallet", "watch", True)
    watch = rpc.of("watch")
    requests = [
        {"desc": one["desc"], "timestamp": 0, "active": True, "internal": one["internal"], "range": [0, 30]}
        for one in listed
    ]
    assert all(result["success"] for result in await watch("importdescriptors", requests))
    assert await watch("getbalance") == await shop("getbalance")
    assert (await watch.refused("sendtoaddress", await watch("getnewaddress"), 1))[0] == -4
    private = (await shop("listdescriptors", True))["descriptors"]
    refused = await watch("importdescriptors", [{"desc": private[0]["desc"], "timestamp": "now"}])
    assert refused[0]["error"] == {
        "code": -4,
        "message": "Cannot import private keys to a wallet with private keys disabled",
    }
    assert (await watch.refused("listdescriptors", True))[0] == -4


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ({}, -8, "Descriptor not found."),
        ({"desc": "x"}, -3, "Missing required timestamp field for key"),
        (
            {"desc": "addr(x)", "timestamp": True},
            -3,
            'Expected number or "now" timestamp value for key. got type bool',
        ),
        ({"desc": "raw(00)", "timestamp": 0}, -5, "Missing checksum"),
        (
            {"desc": add_checksum("raw(00)"), "timestamp": 0, "active": True},
            -8,
            "Active descriptors must be ranged",
        ),
        (
            {"desc": add_checksum("raw(00)"), "timestamp": 0, "range": 5},
            -8,
            "Range should not be specified for an un-ranged descriptor",
        ),
    ],
)
async def test_wrong_imports(rpc: Rpc, request_: dict[str, Any], code: int, message: str) -> None:
    await rpc("createwallet", "w")
    (result,) = await rpc("importdescriptors", [request_])
    assert not result["success"]
    assert result["error"] == {"code": code, "message": message}


async def test_key_imported_as_combo_receives_and_spends_every_form(rpc: Rpc) -> None:
    """What Core's test framework does with importprivkey."""
    await rpc("createwallet", "w", False, True)
    secret = bytes(31) + b"\x2a"
    text = add_checksum(f"combo({encode_wif(secret, rpc.node.params)})")
    pubkey = pubkey_of(secret)
    scripts = [p2pk_script(pubkey), p2pkh_script(hash160(pubkey)), p2wpkh_script(hash160(pubkey))]
    scripts.append(p2sh_script(scripts[2]))
    for script in scripts:
        await rpc.node.mine(1, script)
    await rpc.node.mine(100)
    (result,) = await rpc("importdescriptors", [{"desc": text, "timestamp": 0, "label": "coinbase"}])
    assert result["success"], result
    assert await rpc("getbalance") == 4 * COINBASE
    target = (await rpc("deriveaddresses", (await rpc("getdescriptorinfo", text))["descriptor"]))[0]
    sent = await rpc("sendall", [target])
    await rpc.node.mine(1)
    assert (await rpc("gettransaction", sent["txid"]))["confirmations"] == 1
    assert len((await rpc("gettransaction", sent["txid"], None, True))["decoded"]["vin"]) == 4


async def test_encryption_and_its_errors(rpc: Rpc) -> None:
    shop = await funded(rpc)
    assert (await shop.refused("walletpassphrase", "x", 1))[0] == -15
    assert (await shop.refused("walletlock"))[0] == -15
    await shop("encryptwallet", "secret words")
    assert (await shop.refused("encryptwallet", "again"))[0] == -15
    locked = -13, "Error: Please enter the wallet passphrase with walletpassphrase first."
    address = await shop("getnewaddress")
    assert await shop.refused("sendtoaddress", address, 1) == locked
    assert await shop.refused("listdescriptors", True) == locked
    wrong = await shop.refused("walletpassphrase", "no", 10)
    assert wrong == (-14, "Error: The wallet passphrase entered was incorrect.")
    await shop("walletpassphrase", "secret words", 60)
    assert (await shop("getwalletinfo"))["unlocked_until"] > 0
    await shop("sendtoaddress", address, 1)
    await shop("walletpassphrasechange", "secret words", "other words")
    await shop("walletlock")
    assert (await shop.refused("walletpassphrase", "secret words", 10))[0] == -14
    await shop("walletpassphrase", "other words", 60)


async def test_backup_and_restore(rpc: Rpc, tmp_path: Path) -> None:
    shop = await funded(rpc)
    file = tmp_path / "backup.file"
    await shop("backupwallet", str(file))
    await rpc("restorewallet", "copy", str(file))
    assert await rpc.of("copy")("getbalance") == COINBASE
    await rpc.of("copy")("sendtoaddress", await shop("getnewaddress"), 1)
    file.write_bytes(b"not a backup")
    assert (await rpc.refused("restorewallet", "bad", str(file)))[0] == -4
    assert (await rpc.refused("restorewallet", "none", str(tmp_path / "nowhere")))[0] == -8
    assert "bad" not in [one["name"] for one in (await rpc("listwalletdir"))["wallets"]]


async def test_addresses_and_labels(rpc: Rpc) -> None:
    await rpc("createwallet", "w")
    kinds = {"legacy": "pkh", "p2sh-segwit": "sh(wpkh", "bech32": "wpkh", "bech32m": "tr"}
    for kind, start in kinds.items():
        address = await rpc("getnewaddress", "label", kind)
        info = await rpc("getaddressinfo", address)
        assert info["ismine"]
        assert info["solvable"]
        assert info["desc"].startswith(start)
        assert info["parent_desc"].startswith(start)
        assert info["labels"] == ["label"]
        assert not info["ischange"]
        if kind == "p2sh-segwit":
            assert info["script"] == "witness_v0_keyhash"
            assert info["embedded"]["witness_program"] == info["hex"][4:]
        assert (await rpc("validateaddress", address))["isvalid"]
    change = await rpc("getrawchangeaddress")
    assert (await rpc("getaddressinfo", change))["ischange"]
    assert len(await rpc("getaddressesbylabel", "label")) == 4
    assert await rpc("listlabels") == ["label"]
    assert await rpc.refused("getnewaddress", "", "p2pk") == (-5, "Unknown address type 'p2pk'")
    assert await rpc.refused("getnewaddress", "*") == (-11, "Invalid label name")
    assert (await rpc.refused("getaddressinfo", "nonsense"))[0] == -5


async def test_messages_signed_and_verified(rpc: Rpc) -> None:
    await rpc("createwallet", "w")
    address = await rpc("getnewaddress", "", "legacy")
    signature = await rpc("signmessage", address, "hello")
    assert await rpc("verifymessage", address, signature, "hello") is True
    assert await rpc("verifymessage", address, signature, "hallo") is False
    segwit = await rpc("getnewaddress")
    assert await rpc.refused("signmessage", segwit, "x") == (-3, "Address does not refer to key")
    assert await rpc.refused("verifymessage", address, "???", "x") == (-3, "Malformed base64 encoding")
    assert await rpc.refused("verifymessage", "x", "", "x") == (-5, "Invalid address")


async def test_descriptor_tools(rpc: Rpc) -> None:
    text = "wpkh(02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9)"
    info = await rpc("getdescriptorinfo", text)
    assert info["descriptor"] == add_checksum(text)
    assert not info["isrange"]
    (address,) = await rpc("deriveaddresses", info["descriptor"])
    assert (await rpc("validateaddress", address))["witness_version"] == 0
    assert await rpc.refused("deriveaddresses", text) == (-5, "Missing checksum")
    ranged = await rpc.refused("deriveaddresses", info["descriptor"], [0, 2])
    assert ranged == (-8, "Range should not be specified for an un-ranged descriptor")
    keys = ["02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", text[5:-1]]
    multisig = await rpc("createmultisig", 2, keys, "bech32")
    assert (await rpc("deriveaddresses", multisig["descriptor"])) == [multisig["address"]]
    assert (await rpc.refused("createmultisig", 3, keys))[0] == -8


async def test_multisig_signed_by_two_in_turn(rpc: Rpc) -> None:
    shop = await funded(rpc)
    wifs, keys = [], []
    for _ in range(2):
        info = await shop("getaddressinfo", await shop("getnewaddress", "", "legacy"))
        keys.append(info["pubkey"])
        wallet = rpc.services.require(WalletManager).select("shop")
        keychain, index = wallet.ledger.scripts[bytes.fromhex(info["scriptPubKey"])]
        secret = wallet.ledger.keychains[keychain].signing_expansion(index).keys[0].secret
        assert secret is not None
        wifs.append(encode_wif(secret, rpc.node.params))
    for kind in ("legacy", "p2sh-segwit", "bech32"):
        multisig = await rpc("createmultisig", 2, keys, kind)
        txid = await shop("sendtoaddress", multisig["address"], 1)
        decoded = (await shop("gettransaction", txid, None, True))["decoded"]
        (vout,) = [
            out["n"] for out in decoded["vout"] if out["scriptPubKey"].get("address") == multisig["address"]
        ]
        raw = await rpc(
            "createrawtransaction", [{"txid": txid, "vout": vout}], {await shop("getnewaddress"): "0.99"}
        )
        script = decoded["vout"][vout]["scriptPubKey"]["hex"]
        about = {"txid": txid, "vout": vout, "scriptPubKey": script, "amount": 1}
        about["redeemScript" if kind == "legacy" else "witnessScript"] = multisig["redeemScript"]
        first = await rpc("signrawtransactionwithkey", raw, wifs[:1], [about])
        assert not first["complete"]
        second = await rpc("signrawtransactionwithkey", first["hex"], wifs[1:], [about])
        assert second["complete"], second
        await rpc("sendrawtransaction", second["hex"])


def test_answers_are_json() -> None:
    assert msgspec.json.decode(encode({"a": 1})) == {"a": 1}
