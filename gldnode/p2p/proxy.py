"""Connections through a SOCKS5 proxy (RFC 1928), with names resolved by the proxy: Tor and its like."""

import asyncio

from gldnode.p2p.options import Dialer

__all__ = ["ProxyError", "socks5_dialer"]

_REPLIES = {
    1: "general failure",
    2: "connection not allowed",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "protocol error",
    8: "address type not supported",
}


class ProxyError(OSError):
    """The proxy could not or would not connect."""


def socks5_dialer(proxy_host: str, proxy_port: int, credentials: tuple[str, str] | None = None) -> Dialer:
    """Dial through the proxy; with `credentials` Tor takes a circuit of its own for each pair."""

    async def dial(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(proxy_host, proxy_port)
        try:
            await _negotiate(reader, writer, host, port, credentials)
        except (asyncio.IncompleteReadError, OSError) as error:
            writer.close()
            raise ProxyError(f"proxy {proxy_host}:{proxy_port}: {error}") from error
        return reader, writer

    return dial


async def _negotiate(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
    credentials: tuple[str, str] | None,
) -> None:
    name = host.encode("idna" if not host.isascii() else "ascii")
    if len(name) > 255:
        raise ProxyError("hostname too long")
    writer.write(b"\x05\x02\x00\x02" if credentials else b"\x05\x01\x00")
    version, method = await reader.readexactly(2)
    if version != 5:
        raise ProxyError("not a SOCKS5 proxy")
    if method == 2 and credentials is not None:
        user, password = (text.encode() for text in credentials)
        writer.write(b"\x01" + bytes((len(user),)) + user + bytes((len(password),)) + password)
        if (await reader.readexactly(2))[1] != 0:
            raise ProxyError("authentication refused")
    elif method != 0:
        raise ProxyError("no authentication method in common")
    writer.write(b"\x05\x01\x00\x03" + bytes((len(name),)) + name + port.to_bytes(2, "big"))
    version, reply, _, kind = await reader.readexactly(4)
    if reply != 0:
        raise ProxyError(_REPLIES.get(reply, f"error {reply}"))
    size = {1: 4, 4: 16}.get(kind)
    if size is None:
        size = (await reader.readexactly(1))[0]
    await reader.readexactly(size + 2)
