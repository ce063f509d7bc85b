"""Version 2 transport, BIP 324: every byte on the wire looks random. Bytes in, messages and bytes out.

`V2Cipher` is the packet encryption; `V2Transport` is the handshake around it (keys, garbage, version packet)
and the packet stream. Randomness comes in as arguments.
"""

import hmac
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from gldnode.crypto import secp256k1
from gldnode.p2p.framing import MAX_PAYLOAD, FramingError, Message

__all__ = ["MAX_GARBAGE", "SHORT_ID_COMMANDS", "V2Cipher", "V2Transport", "looks_like_v1"]

ELLSWIFT_SIZE: Final = 64
MAX_GARBAGE: Final = 4095
TERMINATOR_SIZE: Final = 16
REKEY_INTERVAL: Final = 224
LENGTH_SIZE: Final = 3
TAG_SIZE: Final = 16
HEADER_SIZE: Final = 1
IGNORE_BIT: Final = 0x80
V1_PREFIX_SIZE: Final = 16
_V1_COMMAND: Final = b"version\0\0\0\0\0"

SHORT_ID_COMMANDS: Final = (
    "",
    "addr",
    "block",
    "blocktxn",
    "cmpctblock",
    "feefilter",
    "filteradd",
    "filterclear",
    "filterload",
    "getblocks",
    "getblocktxn",
    "getdata",
    "getheaders",
    "headers",
    "inv",
    "mempool",
    "merkleblock",
    "notfound",
    "ping",
    "pong",
    "sendcmpct",
    "tx",
    "getcfilters",
    "cfilter",
    "getcfheaders",
    "cfheaders",
    "getcfcheckpt",
    "cfcheckpt",
    "addrv2",
)
_ID_OF: Final = {command: index for index, command in enumerate(SHORT_ID_COMMANDS) if command}


def looks_like_v1(message_start: bytes, first: bytes) -> bool:
    """Whether a connection that begins with these 16 bytes speaks version 1."""
    return first[:V1_PREFIX_SIZE] == message_start + _V1_COMMAND


def _hkdf_expand(prk: bytes, info: bytes) -> bytes:
    """One 32-byte block of HKDF-SHA256 (RFC 5869)."""
    return hmac.digest(prk, info + b"\x01", "sha256")


class _LengthCipher:
    """FSChaCha20: the key stream goes on from chunk to chunk, with a new key every 224 chunks."""

    def __init__(self, key: bytes) -> None:
        self._epoch = 0
        self._chunks = 0
        self._start(key)

    def _start(self, key: bytes) -> None:
        nonce = bytes(4) + bytes(4) + self._epoch.to_bytes(8, "little")
        self._stream = Cipher(ChaCha20(key, nonce), mode=None).encryptor()

    def crypt(self, chunk: bytes) -> bytes:
        out = self._stream.update(chunk)
        self._chunks += 1
        if self._chunks == REKEY_INTERVAL:
            key = self._stream.update(bytes(32))
            self._chunks = 0
            self._epoch += 1
            self._start(key)
        return out


class _PacketCipher:
    """FSChaCha20Poly1305: a nonce per packet, a new key every 224 packets."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._packets = 0

    def _nonce(self) -> bytes:
        epoch, within = divmod(self._packets, REKEY_INTERVAL)
        return within.to_bytes(4, "little") + epoch.to_bytes(8, "little")

    def _step(self) -> None:
        self._packets += 1
        if self._packets % REKEY_INTERVAL == 0:
            epoch = self._packets // REKEY_INTERVAL - 1
            nonce = b"\xff\xff\xff\xff" + epoch.to_bytes(8, "little")
            self._aead = ChaCha20Poly1305(self._aead.encrypt(nonce, bytes(32), b"")[:32])

    def encrypt(self, plain: bytes, aad: bytes) -> bytes:
        out = self._aead.encrypt(self._nonce(), plain, aad)
        self._step()
        return out

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        """Raises InvalidTag."""
        out = self._aead.decrypt(self._nonce(), sealed, aad)
        self._step()
        return out


class V2Cipher:
    """The keys of one connection: ours for sending, theirs for receiving."""

    def __init__(
        self, message_start: bytes, secret: bytes, ours: bytes, theirs: bytes, *, initiating: bool
    ) -> None:
        """`ours` and `theirs` are the 64-byte ElligatorSwift keys; `secret` belongs to ours."""
        initiator, responder = (ours, theirs) if initiating else (theirs, ours)
        shared = secp256k1.ellswift_xdh(initiator, responder, secret, we_initiate=initiating)
        prk = hmac.digest(b"bitcoin_v2_shared_secret" + message_start, shared, "sha256")
        lengths = (_hkdf_expand(prk, b"initiator_L"), _hkdf_expand(prk, b"responder_L"))
        packets = (_hkdf_expand(prk, b"initiator_P"), _hkdf_expand(prk, b"responder_P"))
        terminators = _hkdf_expand(prk, b"garbage_terminators")
        halves = (terminators[:TERMINATOR_SIZE], terminators[TERMINATOR_SIZE:])
        send, receive = (0, 1) if initiating else (1, 0)
        self._send_length, self._receive_length = _LengthCipher(lengths[send]), _LengthCipher(lengths[receive])
        self._send_packet, self._receive_packet = _PacketCipher(packets[send]), _PacketCipher(packets[receive])
        self.send_terminator, self.receive_terminator = halves[send], halves[receive]
        self.session_id = _hkdf_expand(prk, b"session_id")

    def encrypt(self, contents: bytes, aad: bytes = b"", *, ignore: bool = False) -> bytes:
        """One packet: encrypted length, header and contents, tag."""
        header = bytes((IGNORE_BIT if ignore else 0,))
        return self._send_length.crypt(len(contents).to_bytes(LENGTH_SIZE, "little")) + self._send_packet.encrypt(
            header + contents, aad
        )

    def decrypt_length(self, sealed: bytes) -> int:
        """The length of the contents, from a packet's first three bytes."""
        return int.from_bytes(self._receive_length.crypt(sealed), "little")

    def decrypt(self, sealed: bytes, aad: bytes = b"") -> tuple[bytes, bool]:
        """(contents, whether to ignore them). Raises FramingError for a wrong tag."""
        try:
            plain = self._receive_packet.decrypt(sealed, aad)
        except InvalidTag:
            raise FramingError("V2 transport error: packet decryption failure") from None
        return plain[HEADER_SIZE:], bool(plain[0] & IGNORE_BIT)


class _State(Enum):
    KEY = auto()
    GARBAGE = auto()
    VERSION = auto()
    APP = auto()


class V2Transport:
    """One side of a version 2 connection, sans IO.

    Send `handshake()` first (the initiator at once; the responder when it has seen that the other side does not
    speak version 1). `feed` takes what arrived and returns the messages; `pending()` is what must be sent
    in answer.
    """

    def __init__(
        self, message_start: bytes, *, initiating: bool, secret: bytes, key_entropy: bytes, garbage: bytes
    ) -> None:
        """`secret` and `key_entropy` are 32 unpredictable bytes each, `garbage` at most 4,095."""
        assert len(garbage) <= MAX_GARBAGE
        self._message_start = message_start
        self._initiating = initiating
        self._secret = secret
        self._ours = secp256k1.ellswift_create(secret, key_entropy)
        self._garbage = garbage
        self._state = _State.KEY
        self._buffer = bytearray()
        self._searched = 0
        self._length: int | None = None
        self._aad = b""
        self._pending = b""
        self._cipher: V2Cipher | None = None

    @property
    def is_established(self) -> bool:
        """Whether both sides can send messages."""
        return self._state is _State.APP

    @property
    def session_id(self) -> bytes | None:
        return self._cipher.session_id if self._cipher else None

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def handshake(self) -> bytes:
        """Our key and garbage."""
        return self._ours + self._garbage

    def pending(self) -> bytes:
        """Bytes that must go out now, once."""
        out, self._pending = self._pending, b""
        return out

    def encode(self, command: str, payload: bytes) -> bytes:
        """A message as a packet. Only when `can_send`."""
        assert self._cipher is not None
        short = _ID_OF.get(command)
        name = bytes((short,)) if short else b"\0" + command.encode("ascii").ljust(12, b"\0")
        return self._cipher.encrypt(name + payload)

    @property
    def can_send(self) -> bool:
        """Whether messages may be sent: after the key of the other side has arrived."""
        return self._cipher is not None

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes, one by one.

        Raises FramingError behind those that came before the fault: the connection must end.
        """
        self._buffer += data
        messages: list[Message] = []
        while self._advance(messages):
            yield from messages
            messages.clear()

    def _advance(self, messages: list[Message]) -> bool:
        """One step, False when it needs more bytes. A step gives one message at most."""
        match self._state:
            case _State.KEY:
                return self._take_key()
            case _State.GARBAGE:
                return self._take_garbage()
            case _:
                return self._take_packet(messages)

    def _take_key(self) -> bool:
        if not self._initiating and self._buffer[4:V1_PREFIX_SIZE] == _V1_COMMAND:
            raise FramingError(
                f"V2 transport error: V1 peer with wrong MessageStart {bytes(self._buffer[:4]).hex()}"
            )
        if len(self._buffer) < ELLSWIFT_SIZE:
            return False
        theirs = bytes(self._buffer[:ELLSWIFT_SIZE])
        del self._buffer[:ELLSWIFT_SIZE]
        self._cipher = V2Cipher(self._message_start, self._secret, self._ours, theirs, initiating=self._initiating)
        self._pending += self._cipher.send_terminator + self._cipher.encrypt(b"", self._garbage)
        self._state = _State.GARBAGE
        return True

    def _take_garbage(self) -> bool:
        assert self._cipher is not None
        end = self._buffer.find(self._cipher.receive_terminator, self._searched)
        if end < 0:
            if len(self._buffer) >= MAX_GARBAGE + TERMINATOR_SIZE:
                raise FramingError("V2 transport error: missing garbage terminator")
            self._searched = max(0, len(self._buffer) - TERMINATOR_SIZE + 1)
            return False
        if end > MAX_GARBAGE:
            raise FramingError("V2 transport error: missing garbage terminator")
        self._aad = bytes(self._buffer[:end])
        del self._buffer[: end + TERMINATOR_SIZE]
        self._state = _State.VERSION
        return True

    def _take_packet(self, messages: list[Message]) -> bool:
        assert self._cipher is not None
        if self._length is None:
            if len(self._buffer) < LENGTH_SIZE:
                return False
            self._length = self._cipher.decrypt_length(bytes(self._buffer[:LENGTH_SIZE]))
            del self._buffer[:LENGTH_SIZE]
            if self._length > MAX_PAYLOAD + 13:
                raise FramingError(f"V2 transport error: packet too large ({self._length} bytes)")
        size = HEADER_SIZE + self._length + TAG_SIZE
        if len(self._buffer) < size:
            return False
        contents, ignore = self._cipher.decrypt(bytes(self._buffer[:size]), self._aad)
        del self._buffer[:size]
        self._aad, self._length = b"", None
        if ignore:
            return True
        if self._state is _State.VERSION:
            self._state = _State.APP  # the contents are for later versions of the transport
            return True
        message = _decode_contents(contents)
        if message is not None:
            messages.append(message)
        return True


def _decode_contents(contents: bytes) -> Message | None:
    """The message in a packet; None for an unknown short id and a bad name, which Core skips too."""
    if not contents:
        return None
    if contents[0]:
        if contents[0] >= len(SHORT_ID_COMMANDS):
            return None
        return Message(SHORT_ID_COMMANDS[contents[0]], contents[1:])
    name = contents[1:13]
    text = name.rstrip(b"\0")
    if len(name) < 12 or not all(0x20 <= byte <= 0x7E for byte in text):
        return None
    return Message(text.decode("ascii"), contents[13:])
