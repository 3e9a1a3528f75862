"""`stormweir storm` against the whole stack: every shape and way in balances, and a loss is a failure."""

import asyncio
import os
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.settings import Settings
from streams.embedded.stack import PROCESSES, Stack
from tests.conftest import free_base


async def _storm(settings: Settings, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, JSON result and output of one storm."""
    path = settings.data_dir.with_name("result.json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.cli", "storm", "--services", "5", "--json", str(path), *options),
        env={**os.environ, **settings.environ(), "COLUMNS": "120"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode in {0, 1}, output
    return process.returncode, orjson.loads(path.read_bytes()), output


@pytest.mark.stack
async def test_storms_balance_and_a_loss_does_not(tmp_path: Path) -> None:
    """Through HTTP, one or many alerts a request, and Kafka, all is stored once; without a writer, it says so."""
    networks = (ip_network("127.0.0.0/8"),)
    settings = Settings(data_dir=tmp_path / "data", port_base=free_base(), allowed_networks=networks)
    stack = Stack(settings, processes=("receiver", *PROCESSES))
    await stack.start()
    try:
        status, result, output = await _storm(settings, "--alerts", "3000", "--keys", "100")
        assert status == 0, output
        assert (result["sent"], result["accepted"], result["stored"]) == (3000, 3000, 3000)
        assert result["outcomes"] == {"opened": 100, "deduplicated": 2900}
        assert (result["incidents"], result["notifications"], result["drained"]) == (100, 100, True)

        status, result, output = await _storm(settings, "--shape", "resolve-wave", "--keys", "100")
        assert status == 0, output
        assert (result["stored"], result["outcomes"]) == (100, {"resolved": 100})

        status, result, output = await _storm(
            settings, *("--alerts", "3000", "--shape", "unique", "--per-request", "16", "--seed", "2")
        )
        assert status == 0, output
        assert (result["stored"], result["incidents"]) == (3000, 3000)

        for encoding, seed in (("json", "3"), ("avro", "4")):
            status, result, output = await _storm(
                settings,
                *("--alerts", "3000", "--shape", "flapping", "--keys", "500", "--via", "kafka"),
                *("--encoding", encoding, "--seed", seed),
            )
            assert status == 0, output
            assert (result["accepted"], result["stored"], result["dead_letters"]) == (3000, 3000, 0)
            assert result["outcomes"]["resolved"] == 1500

        stack.kill("writer", hold=True)
        status, result, output = await _storm(settings, "--alerts", "300", "--seed", "5", "--deadline", "3")
        assert status == 1, output
        assert (result["accepted"], result["stored"], result["unaccounted"]) == (300, 0, 300)
        assert len(result["missing"]) == 20
        assert "300 accepted alerts are unaccounted for" in output
    finally:
        await stack.stop()
