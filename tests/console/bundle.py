"""The built console, as `make console` leaves it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "streams/console/src"
BUILT = ROOT / "streams/api/static"


def built() -> Path:
    """The folder of the built console. A test is skipped where it is not built: there is no Node."""
    if not (BUILT / "index.html").is_file():
        pytest.skip("the console is not built: make console")
    return BUILT
