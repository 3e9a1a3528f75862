"""Which incident a button is about: the short text that a vendor carries for us and gives back with a click."""

from typing import NamedTuple


class Subject(NamedTuple):
    """An incident as a command names it. Its text is `<incident id>.<correlation key>.<tenant>`, ids in hexadecimal.

    >>> Subject("default", bytes(16), b"key").text()
    '00000000000000000000000000000000.6b6579.default'
    """

    tenant: str
    incident_id: bytes
    correlation_key: bytes

    def text(self) -> str:
        """The text that a button carries."""
        return f"{self.incident_id.hex()}.{self.correlation_key.hex()}.{self.tenant}"

    @classmethod
    def read(cls, text: str) -> "Subject":
        """The subject of a button's text. Raises ValueError for any other text."""
        incident, _, rest = text.partition(".")
        key, _, tenant = rest.partition(".")
        subject = cls(tenant, bytes.fromhex(incident), bytes.fromhex(key))
        if len(subject.incident_id) != 16 or not subject.correlation_key or not tenant or subject.text() != text:
            raise ValueError("the text names no incident")
        return subject
