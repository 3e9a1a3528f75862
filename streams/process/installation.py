"""The version of Stormweir, and whether its packages are its own. Imports nothing that could be overwritten."""

from importlib.metadata import PackageNotFoundError, packages_distributions, version

DISTRIBUTION = "stormweir"
PACKAGES = ("streams", "schemas", "sinks")


def stormweir_version() -> str:
    """The installed version, `0+checkout` if the package is not installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+checkout"


def name_clash() -> str | None:
    """Which other distributions have installed packages of the same names as ours, or None.

    Our top-level names are general: another distribution with, say, a package `schemas` overwrites our files.
    """
    owners = packages_distributions()
    clashes = {
        f"{name} is also installed by {owner}"
        for name in PACKAGES
        for owner in owners.get(name, ())
        if owner != DISTRIBUTION
    }
    if not clashes:
        return None
    return f"{'; '.join(sorted(clashes))}: install Stormweir into an environment of its own"
