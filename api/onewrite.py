"""Answers whose headers do not depend on the request, written with their bodies in one piece."""

import asyncio
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.client_exceptions import ClientConnectionResetError
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_writer import HttpVersion11

from gldnode.rpc.answer import JSON, JsonAnswer

__all__ = ["takes_one_write", "write_at_once"]

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {JSON}\r\n".encode()
    for status in HTTPStatus
}
_ONE_WRITE = 1 << 16  # a larger body is not copied behind its headers


def takes_one_write(request: web.BaseRequest) -> bool:
    """HTTP/1.1 on a connection that is kept: no header depends on the request."""
    return request.version == HttpVersion11 and request.keep_alive and request.method != hdrs.METH_HEAD


def write_at_once(transport: asyncio.Transport | None, answer: JsonAnswer) -> None:
    """Headers and body in one write, or two for a large body. Raises ConnectionError."""
    if transport is None or transport.is_closing():
        raise ClientConnectionResetError("the caller went away")
    body = answer.body
    head = b"%bContent-Length: %d\r\n%bDate: %b\r\n\r\n" % (
        _STATUS_LINES[answer.status],
        len(body),
        answer.common.lines,
        rfc822_formatted_time().encode(),
    )
    if len(body) <= _ONE_WRITE:
        transport.write(head + body)
    else:
        transport.write(head)
        transport.write(body)
