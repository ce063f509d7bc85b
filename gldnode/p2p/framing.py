"""Version 1 transport: message start, command, length, checksum, payload. Bytes in, messages out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gldnode.errors import NodeError
from gldnode.primitives.hashes import sha256d

__all__ = ["HEADER_SIZE", "MAX_PAYLOAD", "Deframer", "FramingError", "Message", "encode_frame"]

HEADER_SIZE: Final = 24
MAX_PAYLOAD: Final = 4_000_000
"""Core's MAX_PROTOCOL_MESSAGE_LENGTH, bytes."""
_COMMAND_SIZE: Final = 12


class FramingError(NodeError):
    """The stream is not this protocol, or breaks its limits: the connection must end."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came: its command and its payload, whose content nobody has looked at yet."""

    command: str
    payload: bytes


def encode_frame(message_start: bytes, command: str, payload: bytes) -> bytes:
    """`payload` behind its 24-byte header."""
    name = command.encode("ascii")
    assert len(name) <= _COMMAND_SIZE
    assert len(payload) <= MAX_PAYLOAD
    return b"".join(
        (
            message_start,
            name.ljust(_COMMAND_SIZE, b"\0"),
            len(payload).to_bytes(4, "little"),
            sha256d(payload)[:4],
            payload,
        )
    )


def _command(field: bytes) -> str | None:
    """The command's text: printable ASCII, then zero bytes only; None for anything else."""
    name = field.rstrip(b"\0")
    if not all(0x20 <= byte <= 0x7E for byte in name):
        return None
    return name.decode("ascii")


def _ignore(text: str) -> None:
    pass


class Deframer:
    """Cuts the stream into messages. Feeding the same bytes in any split gives the same messages.

    A message whose checksum or command field is wrong is dropped and counted (Core does so too); a wrong
    message start or a payload above the limit raises FramingError. `log` gets Core's sentence about either.
    """

    __slots__ = ("_buffer", "_log", "_message_start", "dropped")

    def __init__(self, message_start: bytes, log: Callable[[str], None] = _ignore) -> None:
        self._message_start = message_start
        self._log = log
        self._buffer = bytearray()
        self.dropped = 0

    @property
    def buffered(self) -> int:
        """Bytes of a message that has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes, one by one. Raises FramingError behind those that came before it."""
        buffer = self._buffer
        buffer += data
        pos = 0
        try:
            while len(buffer) - pos >= 4:
                if buffer[pos : pos + 4] != self._message_start:
                    raise FramingError(
                        f"Header error: Wrong MessageStart {bytes(buffer[pos : pos + 4]).hex()} received"
                    )
                if len(buffer) - pos < HEADER_SIZE:
                    break
                length = int.from_bytes(buffer[pos + 16 : pos + 20], "little")
                command = _command(bytes(buffer[pos + 4 : pos + 16]))
                if length > MAX_PAYLOAD:
                    raise FramingError(f"Header error: Size too large ({command or '?'}, {length} bytes)")
                end = pos + HEADER_SIZE + length
                if len(buffer) < end:
                    break
                message = self._checked(command, bytes(buffer[pos + 20 : end]))
                pos = end
                if message is not None:
                    yield message
        finally:
            del buffer[:pos]

    def _checked(self, command: str | None, body: bytes) -> Message | None:
        """The message, when its checksum (the body's first four bytes) and its name are good."""
        checksum, payload = body[:4], body[4:]
        expected = sha256d(payload)[:4]
        if checksum != expected:
            self._log(
                f"Header error: Wrong checksum ({command or '?'}, {len(payload)} bytes), "
                f"expected {expected.hex()} was {checksum.hex()}"
            )
        elif command is None:
            self._log(f"Header error: Invalid message type ({len(payload)} bytes)")
        else:
            return Message(command, payload)
        self.dropped += 1
        return None
