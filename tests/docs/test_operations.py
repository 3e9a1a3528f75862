"""docs/operations.md: settings, ports, commands and metrics are those of the code."""

import os
import re
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml

from schemas.settings import CHOICES, PORTS, PREFIX, RANGES, Settings
from tests.docs.conftest import Reader
from tests.docs.page import ROOT, blocks, codes, read, section, table

PAGE = read("docs/operations.md")

#: Prints every metric that exists once all modules were imported, in a process of its own.
_METRICS = """
from importlib import import_module
from pkgutil import walk_packages

from prometheus_client import REGISTRY

for room in ("schemas", "sinks", "streams"):
    for module in walk_packages(import_module(room).__path__, f"{room}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
from streams.gateway.metrics import GatewayMetrics

REGISTRY.register(GatewayMetrics())
for metric in REGISTRY.collect():
    if metric.name.startswith("stormweir_"):
        print(metric.name + ("_total" if metric.type == "counter" else ""))
"""


def _columns(text: str) -> list[str]:
    return [codes(row[0])[0] for row in table(text)]


def test_every_setting_is_listed() -> None:
    """Names, order and defaults are those of the dataclass; ranges and choices are told."""
    rows = table(section(PAGE, "Settings"))
    listed = [(codes(row[0])[0], codes(row[1])[0] if codes(row[1]) else row[1]) for row in rows]
    plain = Settings()
    assert listed == [
        (PREFIX + field.name.upper(), str(getattr(plain, field.name) or "empty"))
        for field in fields(Settings)
        if field.name != "kafka_properties"  # docs/kafka.md lists those
    ]
    told = {codes(row[0])[0].removeprefix(PREFIX).lower(): f"{row[1]} {row[2]}" for row in rows}
    for name, (low, high) in RANGES.items():
        assert name == "max_keys" or f"{low} to {high}" in told[name]
    for name, choices in CHOICES.items():
        assert all(choice in told[name] for choice in choices)


def test_every_port_is_listed() -> None:
    """Roles and numbers are those of the settings."""
    listed = [tuple(row) for row in table(section(PAGE, "Ports"))]
    base = Settings().port_base
    assert listed == [(f"`{role}`", f"base + {port}", str(base + port)) for role, port in PORTS.items()]


def test_every_command_is_listed() -> None:
    """The tables of processes name each file of streams/cli, and nothing else."""
    listed = {
        code.split()[1] for line in section(PAGE, "Processes").splitlines() for code in codes(line[:30]) if " " in code
    }
    assert listed == {path.stem.rstrip("_").replace("_", "-") for path in (ROOT / "streams/cli").glob("[a-z]*.py")}


def test_every_metric_is_listed() -> None:
    """The names of the table are those in the registry once everything is imported."""
    done = subprocess.run([sys.executable, "-c", _METRICS], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sorted(_columns(section(PAGE, "Metrics"))) == sorted(done.stdout.split())


def test_the_alerts_to_set_are_about_metrics_that_exist() -> None:
    """Each expression of the page's rules names metrics of the table."""
    (text,) = blocks(PAGE, "yaml")
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    known = set(_columns(section(PAGE, "Metrics")))
    named = {rule["alert"]: set(re.findall(r"stormweir_\w+", rule["expr"])) for rule in rules}
    assert len(named) == len(rules) == 4
    assert all(names and names <= known for names in named.values())


@pytest.mark.stack
def test_each_process_has_the_metrics_it_is_said_to_have(reader: Reader) -> None:
    """What the table says of a process is in that process's answer, or is silent until it first counts."""
    for name, processes, _ in table(section(PAGE, "Metrics")):
        for process in processes.split(", "):
            answer = reader.bash(f"curl -sS --fail http://127.0.0.1:{8400 + PORTS[f'admin.{process}']}/metrics")
            assert f"# TYPE {codes(name)[0].removesuffix('_total')}" in answer, (name, process)


@pytest.mark.stack
def test_the_endpoints_answer(reader: Reader) -> None:
    """Each path of the table answers on each admin port, and the curl command works."""
    for path in _columns(section(PAGE, "Endpoints of the admin ports")):
        for role, port in PORTS.items():
            if role.startswith("admin."):
                reader.bash(f"curl -sS --fail http://127.0.0.1:{8400 + port}{path}")
    for block in blocks(PAGE, "bash"):
        reader.bash(block)


@pytest.mark.stack
def test_the_questions_of_the_page_are_answered(reader: Reader) -> None:
    """Every SQL block runs."""
    for query in blocks(PAGE, "sql"):
        reader.sql(query)


@pytest.mark.stack
def test_the_data_directory_is_as_described(reader: Reader) -> None:
    """Everything that lies in the directory of a running stack is named on the page."""
    listed = {code.rstrip("/") for row in table(section(PAGE, "Data and backups")) for code in codes(row[0])}
    assert set(os.listdir(reader.settings.data_dir)) <= listed
