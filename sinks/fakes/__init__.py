"""Stand-ins for vendors, for tests and dry runs: each refuses what its vendor refuses, by the vendor's own rules.

A module has `application()`, an aiohttp application; `GET /_seen` returns what it knows as JSON. The modules import
nothing else of Stormweir, so that they cannot share its mistakes.
"""
