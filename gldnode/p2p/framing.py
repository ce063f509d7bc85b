"""Version 1 transport: message start, command, length, checksum, payload. Bytes in, messages out."""

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


class Deframer:
    """Cuts the stream into messages. Feeding the same bytes in any split gives the same messages.

    A message whose checksum or command field is wrong is dropped and counted (Core does so too); a wrong
    message start or a payload above the limit raises FramingError.
    """

    __slots__ = ("_buffer", "_message_start", "dropped")

    def __init__(self, message_start: bytes) -> None:
        self._message_start = message_start
        self._buffer = bytearray()
        self.dropped = 0

    @property
    def buffered(self) -> int:
        """Bytes of a message that has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises FramingError; what came before it is then lost."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        pos = 0
        while len(buffer) - pos >= 4:
            if buffer[pos : pos + 4] != self._message_start:
                raise FramingError("invalid message start")
            if len(buffer) - pos < HEADER_SIZE:
                break
            length = int.from_bytes(buffer[pos + 16 : pos + 20], "little")
            if length > MAX_PAYLOAD:
                raise FramingError(f"oversized message: {length} bytes")
            end = pos + HEADER_SIZE + length
            if len(buffer) < end:
                break
            payload = bytes(buffer[pos + HEADER_SIZE : end])
            command = _command(bytes(buffer[pos + 4 : pos + 16]))
            if command is None or buffer[pos + 20 : pos + 24] != sha256d(payload)[:4]:
                self.dropped += 1
            else:
                messages.append(Message(command, payload))
            pos = end
        del buffer[:pos]
        return messages
