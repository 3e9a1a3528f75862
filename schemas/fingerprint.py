"""Identity: hashes over length-prefixed parts, so that no two distinct tuples share an input."""

import time
from random import getrandbits
from uuid import UUID

from xxhash import xxh3_64_intdigest, xxh3_128_digest


def digest(*parts: str) -> bytes:
    """16 bytes, xxh3_128 over the UTF-8 of each part preceded by its number of characters and a colon.

    >>> digest("a", "bc") == digest("ab", "c")
    False
    """
    return xxh3_128_digest("".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass"))


def fingerprint(tenant: str, service: str, dedup_key: str, installation: str = "") -> bytes:
    """The identity of an alert: same key, service and tenant, same 16 bytes.

    `installation` is the integration whose tool made up the key, where its keys are unique inside it only.
    """
    return digest(tenant, service, dedup_key, installation) if installation else digest(tenant, service, dedup_key)


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of `key` between our own stages: xxh3_64 mod partitions (fixed by a test vector)."""
    return xxh3_64_intdigest(key) % partitions


def uuid7(at_ms: int | None = None) -> bytes:
    """A new UUIDv7 (RFC 9562, section 5.7) as 16 bytes: 48 bits of milliseconds, 74 random bits.

    Unique, not secret: Python's generator is seeded by the system at the start and after a fork, and asking the
    system for every id would cost three times as much and give other threads the interpreter.
    """
    milliseconds = int(time.time() * 1000) if at_ms is None else at_ms
    chance = getrandbits(74)
    head = milliseconds << 16 | 0x7000 | chance >> 62
    return (head << 64 | 0x8000_0000_0000_0000 | chance & 0x3FFF_FFFF_FFFF_FFFF).to_bytes(16, "big")


def derived_uuid(base: bytes, index: int) -> bytes:
    """The id of the `index`-th alert inside the request `base`: deterministic, still a valid UUIDv7."""
    if index == 0:
        return base
    tail = bytearray(xxh3_128_digest(b"%b#%d" % (base, index))[:10])
    tail[0] = 0x70 | (tail[0] & 0x0F)
    tail[2] = 0x80 | (tail[2] & 0x3F)
    return base[:6] + bytes(tail)


def uuid_text(value: bytes) -> str:
    """The 36-character form of a 16-byte id."""
    return str(UUID(bytes=value))
