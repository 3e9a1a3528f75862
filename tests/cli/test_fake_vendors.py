"""`stormweir fake-vendors`: every fake is served until the command is told to end."""

import json
import re
import signal
import subprocess
import sys
import urllib.request

from sinks.fakes import fakes


def test_every_fake_is_served_until_sigterm() -> None:
    """One line each with name, address and description; `/_seen` answers there; SIGTERM ends it with status 0."""
    command = [sys.executable, "-m", "streams.cli", "fake-vendors"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            served = {}
            for _ in fakes():
                found = re.fullmatch(r"(\S+) +(http://127\.0\.0\.1:\d+)  (.+)\n", process.stdout.readline())
                assert found
                served[found[1]] = found[2]
                with urllib.request.urlopen(f"{found[2]}/_seen", timeout=10) as answer:
                    assert isinstance(json.load(answer), dict)
            assert set(served) == set(fakes())
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
