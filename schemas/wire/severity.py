"""The only table of severity words; every provider, mapping and rule uses it."""

from collections.abc import Mapping

from schemas.wire.alert import Severity

#: The severity of a trigger without one (fail open: a person must look at it).
DEFAULT_SEVERITY = Severity.ERROR

#: The four canonical names, as the Events API, rules and configuration write them.
SEVERITY_NAMES: Mapping[str, Severity] = {severity.name.lower(): severity for severity in Severity}

_WORDS = {
    Severity.CRITICAL: "critical crit fatal emergency emerg disaster page p1 s1 sev0 down",
    Severity.ERROR: "error err high major p2 s2 sev1 unreachable",
    Severity.WARNING: "warning warn medium moderate average minor p3 s3 sev2 unknown",
    Severity.INFO: "info information informational low notice debug note none ok p4 p5 s4 s5 sev3 sev4",
}
_SEVERITY_OF = {word: severity for severity, words in _WORDS.items() for word in words.split()}


def severity_of(word: str) -> Severity | None:
    """The severity of a vendor's word, in any case, surrounding space ignored; None for an unknown word.

    >>> severity_of(" Fatal ")
    <Severity.CRITICAL: 4>
    """
    return _SEVERITY_OF.get(word) or _SEVERITY_OF.get(word.strip().lower())
