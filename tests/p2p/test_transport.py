"""Framing and the encrypted transport: published vectors, any split of the bytes, hostile bytes."""

import csv
import io
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.crypto import secp256k1
from gldnode.p2p.framing import Deframer, FramingError, Message, encode_frame
from gldnode.p2p.v2transport import V2Cipher, V2Transport, looks_like_v1
from tests.support.vectors import read_text

MAGIC = bytes.fromhex("fabfb5da")
BITCOIN_MAIN_MAGIC = bytes.fromhex("f9beb4d9")
COMMANDS = st.sampled_from(["version", "tx", "inv", "sendaddrv2", "wtxidrelay", "unknown-name"])
MESSAGES = st.lists(st.builds(Message, COMMANDS, st.binary(max_size=200)), max_size=6)


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read_text(name))))


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


def test_packet_encoding_vectors_of_bip324() -> None:
    for row in rows("bips/bip324-packet_encoding_test_vectors.csv"):
        cipher = V2Cipher(
            BITCOIN_MAIN_MAGIC,
            bytes.fromhex(row["in_priv_ours"]),
            bytes.fromhex(row["in_ellswift_ours"]),
            bytes.fromhex(row["in_ellswift_theirs"]),
            initiating=row["in_initiating"] == "1",
        )
        assert cipher.session_id.hex() == row["out_session_id"]
        assert cipher.send_terminator.hex() == row["mid_send_garbage_terminator"]
        assert cipher.receive_terminator.hex() == row["mid_recv_garbage_terminator"]
        for _ in range(int(row["in_idx"])):
            cipher.encrypt(b"")
        packet = cipher.encrypt(
            bytes.fromhex(row["in_contents"]) * int(row["in_multiply"]),
            bytes.fromhex(row["in_aad"]),
            ignore=row["in_ignore"] == "1",
        ).hex()
        assert not row["out_ciphertext"] or packet == row["out_ciphertext"]
        assert packet.endswith(row["out_ciphertext_endswith"])


def test_ellswift_decoding_vectors_of_bip324() -> None:
    for row in rows("bips/bip324-ellswift_decode_test_vectors.csv"):
        assert secp256k1.ellswift_decode(bytes.fromhex(row["ellswift"]))[1:].hex() == row["x"]


@given(MESSAGES, st.lists(st.integers(0, 5000), max_size=8))
def test_version_1_messages_survive_any_split(messages: list[Message], cuts: list[int]) -> None:
    stream = b"".join(encode_frame(MAGIC, m.command, m.payload) for m in messages)
    deframer = Deframer(MAGIC)
    assert [m for chunk in chunks(stream, cuts) for m in deframer.feed(chunk)] == messages
    assert deframer.buffered == 0


def test_a_wrong_checksum_drops_the_message_and_keeps_the_connection() -> None:
    bad = bytearray(encode_frame(MAGIC, "ping", bytes(8)))
    bad[-1] ^= 1
    deframer = Deframer(MAGIC)
    assert list(deframer.feed(bytes(bad) + encode_frame(MAGIC, "pong", b"x"))) == [Message("pong", b"x")]
    assert deframer.dropped == 1


def test_a_foreign_network_and_an_oversized_length_end_the_connection() -> None:
    with pytest.raises(FramingError, match="Wrong MessageStart"):
        list(Deframer(MAGIC).feed(b"\x00" * 4))
    head = MAGIC + b"block".ljust(12, b"\0") + (4_000_001).to_bytes(4, "little") + bytes(4)
    with pytest.raises(FramingError, match="Size too large"):
        list(Deframer(MAGIC).feed(head))


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_a_framing_error(data: bytes) -> None:
    for feed in (Deframer(MAGIC).feed, side(True).feed):
        try:
            list(feed(data))
        except FramingError:
            continue


def side(initiating: bool, garbage: bytes = b"") -> V2Transport:
    seed = b"\x01" * 32 if initiating else b"\x02" * 32
    return V2Transport(MAGIC, initiating=initiating, secret=seed, key_entropy=seed, garbage=garbage)


def shake_hands(a: V2Transport, b: V2Transport) -> None:
    list(b.feed(a.handshake()))
    list(a.feed(b.handshake() + b.pending()))
    list(b.feed(a.pending()))


@settings(max_examples=30)
@given(MESSAGES, st.lists(st.integers(0, 9000), max_size=8), st.binary(max_size=300), st.binary(max_size=4095))
def test_version_2_messages_survive_any_split(
    messages: list[Message], cuts: list[int], garbage_a: bytes, garbage_b: bytes
) -> None:
    a, b = side(True, garbage_a), side(False, garbage_b)
    list(b.feed(a.handshake()))
    list(a.feed(b.handshake() + b.pending()))
    stream = a.pending() + b"".join(a.encode(m.command, m.payload) for m in messages)
    assert [m for chunk in chunks(stream, cuts) for m in b.feed(chunk)] == messages
    assert b.is_established
    assert a.is_established
    assert a.session_id == b.session_id


def test_keys_change_every_224_packets_on_both_sides() -> None:
    a, b = side(True), side(False)
    shake_hands(a, b)
    for i in range(1000):
        sent = Message("ping", i.to_bytes(8, "little"))
        assert list(b.feed(a.encode(sent.command, sent.payload))) == [sent]


def test_a_changed_byte_ends_the_connection() -> None:
    a, b = side(True), side(False)
    shake_hands(a, b)
    packet = bytearray(a.encode("ping", bytes(8)))
    packet[-1] ^= 1
    with pytest.raises(FramingError, match="decryption"):
        list(b.feed(bytes(packet)))


def test_garbage_without_end_is_refused() -> None:
    a = side(True)
    with pytest.raises(FramingError, match="garbage"):
        list(a.feed(side(False).handshake() + bytes(4200)))


def test_version_1_is_recognised_by_its_first_bytes() -> None:
    assert looks_like_v1(MAGIC, encode_frame(MAGIC, "version", bytes(86)))
    assert not looks_like_v1(MAGIC, side(True).handshake())
