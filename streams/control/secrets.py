"""Secrets are sealed on the topic `control` and plain in memory (docs/adr/0010-secrets.md).

A sealed field is `{"key_id": <id of the key>, "sealed": <Fernet token of the value's JSON>}`; no plain value looks like
that, because a header's name has no underscore. https://github.com/fernet/spec/blob/master/Spec.md
"""

import os
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

from schemas.control import AnyRecord, Record, secrets_of
from schemas.settings import Settings, SettingsError
from streams.process.errors import OperatorError

#: The name of the embedded installation's file of keys, in the data directory.
KEY_FILE = "secret.keys"
#: Stands for the id of a key where a secret is not sealed.
PLAIN = "plain"
_ID_LENGTH = 12


class SealError(Exception):
    """Secrets of a record that cannot be opened; the message names the fields and shows nothing of their values."""


class MissingKeysError(OperatorError):
    """Records that cannot be opened with the keys here. `unopened` are their keys on the topic with the missing ids."""

    def __init__(self, unopened: Mapping[str, frozenset[str]]) -> None:
        missing = ", ".join(sorted(frozenset().union(*unopened.values())))
        super().__init__(
            f"the secrets of {len(unopened)} records cannot be opened, because keys are missing here ({missing}): set "
            "STORMWEIR_SECRET_KEYS (docs/secrets.md)"
        )


class SecretKeys:
    """Fernet keys by id: the first seals, each opens what it sealed. Without keys, secrets are written plain."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Raises ValueError for a key that is not 32 bytes in URL-safe base64; the message has its place only."""
        self._keys: dict[str, Fernet] = {}
        for place, key in enumerate(keys, 1):
            try:
                self._keys[_key_id(key)] = Fernet(key)
            except ValueError:
                raise ValueError(f"key {place} is not 32 bytes in URL-safe base64") from None

    @classmethod
    def of(cls, settings: Settings) -> "SecretKeys":
        """The keys of the settings, none if there are none. Raises SettingsError for keys that cannot be used."""
        if settings.secret_keys and settings.secret_keys_file:
            raise SettingsError("STORMWEIR_SECRET_KEYS and STORMWEIR_SECRET_KEYS_FILE: only one of them can be set")
        source, text = "STORMWEIR_SECRET_KEYS", settings.secret_keys
        if not text and (path := key_file(settings)) is not None:
            source = f"STORMWEIR_SECRET_KEYS_FILE={path}"
            try:
                text = path.read_text()
            except FileNotFoundError:
                if not settings.secret_keys_file:
                    return cls()
                raise SettingsError(f"{source}: there is no such file") from None
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{source}: cannot be read ({type(error).__name__})") from None
            if not text.strip():
                raise SettingsError(f"{source}: there is no key in it")
        try:
            return cls(re.split(r"[\s,]+", text.strip(" \t\r\n,")) if text else ())
        except ValueError as error:
            raise SettingsError(f"{source}: {error}; `stormweir secrets new-key` makes one") from None

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys in their order: 12 hexadecimal characters of a hash, which tell nothing about the key."""
        return tuple(self._keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"SecretKeys({', '.join(self._keys)})"

    def seal(self, record: AnyRecord) -> dict[str, Any]:
        """The record's secrets as the topic holds them, by field: sealed with the first key; empty without keys."""
        if not self._keys:
            return {}
        key_id, fernet = next(iter(self._keys.items()))
        return {
            name: {"key_id": key_id, "sealed": fernet.encrypt(orjson.dumps(value)).decode()}
            for name, value in stored_secrets(type(record), record.model_dump(mode="json")).items()
        }

    def open(self, model: type[Record], fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields with every secret opened; plain ones stay as they are. Raises SealError."""
        sealed = {name: value for name, value in stored_secrets(model, fields).items() if _is_sealed(value)}
        unknown = [name for name, value in sealed.items() if value["key_id"] not in self._keys]
        if unknown:
            missing = ", ".join(sorted({sealed[name]["key_id"] for name in unknown}))
            raise SealError(f"secret_key_unknown: {', '.join(unknown)} (sealed with the key {missing})")
        opened = dict(fields)
        for name, value in sealed.items():
            try:
                opened[name] = orjson.loads(self._keys[value["key_id"]].decrypt(value["sealed"]))
            except (InvalidToken, ValueError):
                raise SealError(f"secret_damaged: {name} (sealed with the key {value['key_id']})") from None
        return opened


#: Without keys: what is plain can be read and written, what is sealed cannot be opened.
NO_KEYS = SecretKeys()


def stored_secrets(model: type[Record], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that hold a secret which is to be sealed. Empty ones and hashes are left out."""
    marked = secrets_of(model)
    return {name: fields[name] for name, mark in marked.items() if not mark.hashed and fields.get(name)}


def seals_of(model: type[Record], fields: Mapping[str, Any]) -> frozenset[str]:
    """The ids of the keys that seal a record's secrets on the topic; PLAIN is among them if one is not sealed."""
    secrets = stored_secrets(model, fields).values()
    return frozenset(value["key_id"] if _is_sealed(value) else PLAIN for value in secrets)


def key_file(settings: Settings) -> Path | None:
    """The file with the keys: the one that is set, else, with the embedded Kafka, the one in the data directory."""
    if settings.secret_keys_file:
        return Path(settings.secret_keys_file)
    return None if settings.kafka else settings.data_dir / KEY_FILE


def new_key() -> str:
    """A new key: 32 bytes from the system's random source, in URL-safe base64."""
    return Fernet.generate_key().decode()


def make_key_file(settings: Settings) -> Path | None:
    """Make the embedded installation's file with a new key, unless keys are set or it is there. Return a new file.

    Only this user can read the file. Raises OSError.
    """
    path = key_file(settings)
    if path is None or settings.secret_keys or settings.secret_keys_file or path.exists():
        return None
    # Renamed when complete, so that a kill leaves no file without a key.
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{new_key()}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return path


def _is_sealed(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"key_id", "sealed"}
        and all(isinstance(part, str) for part in value.values())
        and re.fullmatch(rf"[0-9a-f]{{{_ID_LENGTH}}}", value["key_id"]) is not None
    )


def _key_id(key: str) -> str:
    return sha256(urlsafe_b64decode(key)).hexdigest()[:_ID_LENGTH]
