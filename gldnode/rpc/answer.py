"""An answer of JSON that is whole: most of what this server says.

aiohttp makes a dictionary of headers for each answer and takes it apart again, in six calls. This one is a status
and a body, and the connection (api/onewrite.py) writes it with fixed header lines in one piece. Given further
headers, or to another server than ours, it is aiohttp's ordinary answer.
"""

from collections.abc import Mapping

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

__all__ = ["JSON", "CommonHeaders", "JsonAnswer"]

JSON = "application/json"
"""Exactly: ElectrumX compares the whole value."""


class CommonHeaders:
    """Headers that many answers have, encoded once."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self.pairs = pairs
        self.lines = "".join(f"{name}: {value}\r\n" for name, value in pairs.items()).encode("ascii")

    def add_to(self, response: web.StreamResponse) -> None:
        """What the answer has already stays as it is."""
        for name, value in self.pairs.items():
            response.headers.setdefault(name, value)


_NONE = CommonHeaders({})


class JsonAnswer(web.StreamResponse):
    """`body` is encoded JSON. What is put into `headers` is sent, the ordinary way."""

    _send_headers_immediately = False  # with the body, in one write

    def __init__(self, body: bytes, status: int = 200) -> None:
        super().__init__(status=status)
        self.body = body
        self.common = _NONE

    @property
    def is_plain(self) -> bool:
        """No headers of its own, and no wish for the connection's end: it can be written in one piece."""
        return not self._headers and self._keep_alive is None and self._cookies is None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """As aiohttp's own answers."""
        self.headers.setdefault(hdrs.CONTENT_TYPE, JSON)
        self.common.add_to(self)
        self.headers[hdrs.CONTENT_LENGTH] = str(len(self.body))
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """As aiohttp's own answers; nothing behind the headers where the method is HEAD."""
        await super().write_eof(b"" if self._must_be_empty_body else self.body)
