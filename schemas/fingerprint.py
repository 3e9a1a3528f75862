"""Identities: hashes over length-prefixed parts (no two distinct tuples share an input), and UUIDs."""

import time
from random import getrandbits
from uuid import UUID

from xxhash import xxh3_64_intdigest, xxh3_128_digest

SCOPE_BYTES = 8


def digest(*parts: str) -> bytes:
    """16 bytes: xxh3_128 over the UTF-8 of all parts, each preceded by its number of characters and a colon.

    >>> digest("a", "bc") == digest("ab", "c")
    False
    """
    return xxh3_128_digest("".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass"))


def fingerprint(tenant: str, service: str, dedup_key: str, installation: str = "") -> bytes:
    """The identity of an alert: the same key, service and tenant give the same 16 bytes.

    `installation` is the sender's installation, for tools whose alert keys are unique within one installation only.
    """
    return digest(tenant, service, dedup_key, installation) if installation else digest(tenant, service, dedup_key)


def scope(*parts: str) -> bytes:
    """What is decided on together: 8 bytes from tenant and service, or from tenant and the values of a group that spans
    services. It is the key of alerts between dedup and correlation, and the end of an incident's id.
    """
    return digest("scope", *parts)[:SCOPE_BYTES]


def scope_of(incident_id: bytes) -> bytes:
    """The scope in which the incident with this id opened."""
    return incident_id[-SCOPE_BYTES:]


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of `key` between our own stages: xxh3_64 mod partitions (fixed by a test vector)."""
    return xxh3_64_intdigest(key) % partitions


def uuid7(at_ms: int | None = None) -> bytes:
    """A new UUIDv7 (RFC 9562, section 5.7) as 16 bytes: 48 bits of milliseconds, 74 random bits.

    The id is unique but not secret: it comes from Python's generator, which the system seeds at the start and after
    a fork. Asking the system for every id would cost three times as much and hand the interpreter to other threads.
    """
    milliseconds = int(time.time() * 1000) if at_ms is None else at_ms
    chance = getrandbits(74)
    head = milliseconds << 16 | 0x7000 | chance >> 62
    return (head << 64 | 0x8000_0000_0000_0000 | chance & 0x3FFF_FFFF_FFFF_FFFF).to_bytes(16, "big")


def derived_uuid(base: bytes, index: int) -> bytes:
    """The id of the `index`-th alert inside the request `base`: deterministic, and a valid UUIDv7."""
    if index == 0:
        return base
    tail = bytearray(xxh3_128_digest(b"%b#%d" % (base, index))[:10])
    tail[0] = 0x70 | (tail[0] & 0x0F)
    tail[2] = 0x80 | (tail[2] & 0x3F)
    return base[:6] + bytes(tail)


def uuid_text(value: bytes) -> str:
    """The 36-character form of a 16-byte id."""
    return str(UUID(bytes=value))
