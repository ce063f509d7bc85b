"""The RPC handler by itself: loading, faults of methods, whitelists by default, cookies."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from gldnode.config import Config, ConfigError, load_config
from gldnode.entropy import SystemEntropy
from gldnode.errors import DecodeError, NodeError, Reject
from gldnode.options import known_keys
from gldnode.params import NETWORKS
from gldnode.rpc.auth import RpcAuth, remove_cookie, write_cookie
from gldnode.rpc.context import RpcContext, Services
from gldnode.rpc.registry import MethodGroup, Registry
from gldnode.rpc.server import RpcHttp, ServerState
from tests.support.http import StubHost, parse_answer, running_sites

methods = MethodGroup("Test")
FAULTS: dict[str, Exception] = {
    "reject": Reject("bad-txns", "why"),
    "decode": DecodeError("not that"),
    "fault": NodeError("Disk space is too low!"),
    "bug": ZeroDivisionError("hidden"),
}


def declare(name: str, fault: Exception) -> None:
    @methods.method(name, "Fails.")
    async def fail(ctx: RpcContext) -> None:
        raise fault


for _name, _fault in FAULTS.items():
    declare(_name, _fault)


@methods.method("ready", "Answers while the node loads.", needs_warm=False)
async def ready(ctx: RpcContext) -> str:
    return ctx.user


def make(auth: RpcAuth, warmup: str | None = None) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/", rpc_of(auth, warmup).handle)
    return app


def auth_of(*flags: str, base: Path) -> RpcAuth:
    config: Config = load_config([f"-datadir={base}", *flags], known_keys(), NETWORKS, default_base=base)
    return RpcAuth.from_config(config)


def rpc_of(auth: RpcAuth, warmup: str | None = None) -> RpcHttp:
    return RpcHttp(None, Registry([methods]), Services(), auth, ServerState(0, warmup))  # type: ignore[arg-type]


async def ask(client: Any, method: str, user: str = "u", password: str = "p", **more: Any) -> tuple[int, Any]:
    header = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    body = json.dumps({"id": 1, "method": method, **more})
    async with client.post("/", data=body, headers={"Authorization": header}) as response:
        text = await response.text()
        return response.status, json.loads(text) if text.startswith("{") else text


async def test_while_loading_everything_is_answered_with_what_the_node_does(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    auth = auth_of("-rpcuser=u", "-rpcpassword=p", base=tmp_path)
    client = await aiohttp_client(make(auth, "Loading block index…"))
    for method in ("bug", "no such method"):
        status, reply = await ask(client, method)
        assert (status, reply["error"]) == (500, {"code": -28, "message": "Loading block index…"})
    assert (await ask(client, "ready"))[1]["result"] == "u"


@pytest.mark.parametrize(
    ("method", "code", "message"),
    [
        ("reject", -26, "bad-txns, why"),
        ("decode", -8, "not that"),
        ("fault", -1, "Disk space is too low!"),
        ("bug", -1, "Internal error: ZeroDivisionError; see debug.log"),
    ],
)
async def test_a_methods_fault_is_one_answer(
    aiohttp_client: AiohttpClient, tmp_path: Path, method: str, code: int, message: str
) -> None:
    client = await aiohttp_client(make(auth_of("-rpcuser=u", "-rpcpassword=p", base=tmp_path)))
    status, reply = await ask(client, method)
    assert (status, reply["error"]) == (500, {"code": code, "message": message})
    status, reply = await ask(client, method, jsonrpc="2.0")
    assert (status, reply["error"]["code"]) == (200, code)


async def test_without_a_whitelist_of_ones_own_nothing_is_allowed_by_default(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    users = ("-rpcuser=u", "-rpcpassword=p", "-rpcwhitelist=other:ready")
    client = await aiohttp_client(make(auth_of(*users, base=tmp_path)))
    assert (await ask(client, "ready"))[0] == 403
    client = await aiohttp_client(make(auth_of(*users, "-rpcwhitelistdefault=0", base=tmp_path)))
    assert (await ask(client, "ready"))[0] == 200
    both = (*users[:2], "-rpcwhitelist=u:ready,bug", "-rpcwhitelist=u:ready,fault")
    client = await aiohttp_client(make(auth_of(*both, base=tmp_path)))
    assert [(await ask(client, method))[0] for method in ("ready", "bug", "fault")] == [200, 403, 403]


def test_rpcauth_lines_are_checked(tmp_path: Path) -> None:
    for line in ("", "user", "user:salt", "user:salt$short", "a:b:c$" + "0" * 64):
        with pytest.raises(ConfigError, match="Invalid -rpcauth argument"):
            auth_of(f"-rpcauth={line}", base=tmp_path)


def test_cookie_is_private_and_only_ours_is_removed(tmp_path: Path) -> None:
    path = tmp_path / ".cookie"
    password = write_cookie(path, SystemEntropy())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == f"__cookie__:{password}"
    other = write_cookie(path, SystemEntropy(), "group")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    remove_cookie(path, password)
    assert path.exists()
    remove_cookie(path, other)
    assert not path.exists()
    with pytest.raises(ConfigError, match="rpccookieperms"):
        write_cookie(path, SystemEntropy(), "everyone")


@pytest.mark.parametrize("pause_s", [0, 0.05])
async def test_a_body_that_breaks_on_its_way_is_the_callers_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pause_s: float
) -> None:
    rpc = rpc_of(auth_of("-rpcuser=u", "-rpcpassword=p", base=tmp_path))
    head = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic "
        + base64.b64encode(b"u:p")
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    )
    async with running_sites(StubHost(), rpc=rpc.handle) as running:
        answer = parse_answer(await running.wire.exchange(head, b"zzzzz", pause_s=pause_s))
    assert answer.status == 400
    assert not caplog.records


def test_a_header_that_proved_a_user_is_known_again(tmp_path: Path) -> None:
    auth = auth_of("-rpcuser=u", "-rpcpassword=p", base=tmp_path)
    header = "Basic " + base64.b64encode(b"u:p").decode()
    for _ in range(2):
        assert auth.user_of(header) == "u"
        assert auth.user_of(header[:-1]) is None
        assert auth.user_of("Basic " + base64.b64encode(b"u:q").decode()) is None
        assert auth.user_of("Basic \udcff") is None
    auth.add_user("v", "w")
    assert auth.user_of(header) == "u"
