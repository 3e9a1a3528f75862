"""Measured processes: a child's report, and its cost according to the kernel."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
CHECKOUT = Path(__file__).resolve().parents[1]


class ContenderError(Exception):
    """A measured process failed; the message has its last lines."""


def run_contender(name: str, *arguments: str | int, timeout: float = 300) -> dict[str, Any]:
    """Run `benchmarks.contenders.<name>` to its end, at most `timeout` seconds.

    Returns the JSON object of its last line, with `cpu_s` added. Raises ContenderError.
    """
    command = [sys.executable, "-m", f"benchmarks.contenders.{name}", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    before = os.times()
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise ContenderError(f"{name} took longer than {timeout:.0f} s:\n{err[-2000:]}") from None
    after = os.times()
    if process.returncode != 0 or "{" not in out:
        raise ContenderError(f"{name} ended with status {process.returncode}:\n{err[-2000:]}")
    report: dict[str, Any] = json.loads(out[out.rindex("{") :])
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {**report, "cpu_s": round(used, 2)}


def cpu_us(pid: int) -> int:
    """CPU time a process and its threads have used so far, microseconds (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_US


def rss_mb(pid: int) -> float:
    """Resident memory of a process, MB of 2**20 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def median(values: Sequence[float]) -> float:
    """The middle value; the mean of the two middle values for an even count."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quantile(values: Sequence[float], share: int) -> float:
    """The value at `share` percent, below 100, of the sorted values."""
    return sorted(values)[len(values) * share // 100]
