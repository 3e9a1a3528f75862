"""How often a lane that cannot write says so."""

import logging

import pytest

from streams.engine.outage import Outage


def test_an_outage_is_told_at_once_and_then_less_and_less_often(caplog: pytest.LogCaptureFixture) -> None:
    """Failures every second for two hours: lines at 0, 10, 30, 70, 150, 310, 630 s, then every 600 s; then one end."""
    now = [0.0]
    outage = Outage("alerts.history/3", lambda: now[0])
    told: list[float] = []
    with caplog.at_level(logging.INFO, "streams.engine.outage"):
        for second in range(7_200):
            now[0] = second
            outage.failed("243 NOT_ENOUGH_SPACE")
            told += [second] * len(caplog.records)
            assert all("alerts.history/3" in line and "243 NOT_ENOUGH_SPACE" in line for line in caplog.messages)
            caplog.clear()
        assert told == [0, 10, 30, 70, 150, 310, *range(630, 7_200, 600)]
        assert outage.seconds == 7_199
        outage.over()
        outage.over()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert (outage.seconds, outage.reason) == (0.0, "")
        caplog.clear()
        outage.failed("516 AUTHENTICATION_FAILED")
        assert len(caplog.records) == 1
