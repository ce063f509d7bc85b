"""The guard of outgoing HTTP."""

import pytest

from gldnode.params import MAIN, REGTEST
from payments.errors import ValidationError
from payments.outgoing import AddressGuard, OutgoingClient, OutgoingError, check_url
from tests.support.receiver import open_receiver


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a00:1::1",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(OutgoingError):
        AddressGuard().check(address, 443)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_public_addresses_pass(address: str) -> None:
    AddressGuard().check(address, 443)


def test_loopback_passes_where_it_is_allowed_but_never_our_own_port() -> None:
    guard = AddressGuard(allow_loopback=True, own_ports=frozenset((8080,)))
    guard.check("127.0.0.1", 9000)
    guard.check("::1", 9000)
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        with pytest.raises(OutgoingError):
            guard.check(address, 8080)
    with pytest.raises(OutgoingError):
        guard.check("10.0.0.1", 9000)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/",
        "http:///x",
        "https://u:p@x/",
        "https://x:0/",
        "https://x y/",
        "javascript:1",
        "//x",
        "https://[::1",
    ],
)
def test_urls_that_are_not_called(url: str) -> None:
    with pytest.raises(ValidationError):
        check_url(url, REGTEST, "url")


def test_plain_http_is_for_the_regtest_networks() -> None:
    check_url("http://shop.example/hook", REGTEST, "url")
    check_url("http://shop.example/hook", MAIN, "url", allow_http=True)
    with pytest.raises(ValidationError):
        check_url("http://shop.example/hook", MAIN, "url")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_no_spelling_of_loopback_gets_a_byte(host: str) -> None:
    async with open_receiver() as receiver:
        client = OutgoingClient(AddressGuard(), "test", timeout_s=5)
        try:
            with pytest.raises(OutgoingError):
                await client.post_json(receiver.url.replace("127.0.0.1", host), b"{}", {})
        finally:
            await client.close()
        assert receiver.received == []


async def test_an_endpoint_that_does_not_answer_is_left() -> None:
    async with open_receiver() as receiver:
        receiver.answer = lambda _: None
        client = OutgoingClient(AddressGuard(allow_loopback=True), "test", timeout_s=0.1)
        try:
            with pytest.raises(OutgoingError, match=r"no answer within 0\.1 seconds"):
                await client.post_json(receiver.url, b"{}", {})
        finally:
            await client.close()
