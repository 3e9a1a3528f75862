"""Matchers and what rules decide."""

import pytest

from schemas.wire.alert import Action, Alert, Severity
from streams.policy.language import check, compile_alert

ALERT = Alert(
    tenant="default", service="web", integration="", provider="kafka", event_id=bytes(16), dedup_key="k",
    fingerprint=bytes(16), action=Action.TRIGGER, severity=Severity.CRITICAL, summary='say "hi"', source="host-1",
    class_="cpu", labels={"env": "prod", "team": "a|b"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("matcher", "holds"),
    [
        ('service="web"', True),
        ('service!="web"', False),
        ('severity=~"critical|error"', True),
        ('severity=~"crit"', False),
        ('severity!~"warn.*"', True),
        ('labels.env="prod"', True),
        ('env="prod"', True),
        ('missing=""', True),
        ('missing!=""', False),
        ('team="a|b"', True),
        ('summary="say \\"hi\\""', True),
        ('class =~ "c.u"', True),
    ],
)
def test_matchers(matcher: str, holds: bool) -> None:
    """Equality and anchored RE2, over fields and labels; what is missing is empty."""
    assert compile_alert([matcher])(ALERT) is holds


@pytest.mark.parametrize("bad", ["", "service", 'service=="web"', 'a=~"("', 'a=~"(?=x)"', '="x"'])
def test_a_bad_matcher_is_refused_with_words(bad: str) -> None:
    """What cannot be compiled raises ValueError naming it."""
    with pytest.raises(ValueError, match=r"\S"):
        check([bad])


def test_no_pattern_freezes_a_worker() -> None:
    """A pattern that takes backtracking engines minutes is answered at once."""
    alert = Alert(**{name: getattr(ALERT, name) for name in ALERT.__struct_fields__} | {"summary": "a" * 5000 + "!"})
    assert not compile_alert(['summary=~"(a+)+"'])(alert)
