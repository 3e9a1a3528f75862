"""Passwords: argon2id with the library's defaults (RFC 9106, section 4, second recommended option)."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 12
LONGEST = 512
#: Each takes 64 MiB and a tenth of a second of a core: so many at a time, the others wait.
_AT_A_TIME = 2


class Passwords:
    """Hashes and verifies in threads, so that no other request waits."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        # Verified where there is no password, so that an unknown login takes as long as a known one.
        self._nobody = self._hasher.hash("nobody")
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    async def hash(self, password: str) -> str:
        """The password's hash in PHC format."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password; never without a hash, which takes as long."""
        async with self._turns:
            return await asyncio.to_thread(self._verify, hashed or self._nobody, password) and hashed is not None

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
