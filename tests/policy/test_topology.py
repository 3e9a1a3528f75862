"""Which services depend on which."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import Service
from streams.policy.topology import Topology, cycle


def services(edges: dict[str, str], **domains: str) -> list[Service]:
    """Services by their letters; `edges` names for each the letters that it depends on."""
    names = sorted({*edges, *"".join(edges.values())})
    return [Service(id=name, depends_on=tuple(edges.get(name, "")), domain=domains.get(name)) for name in names]


def test_upstream_is_the_closure() -> None:
    """Direct and indirect, the nearest first."""
    topology = Topology(services({"w": "ab", "a": "d", "b": "a", "x": "w"}))
    assert list(topology.upstream("default", "w")) == ["a", "b", "d"]
    assert list(topology.upstream("default", "d")) == []
    assert list(topology.upstream("default", "other")) == []
    assert list(topology.upstream("acme", "w")) == [], "tenants are apart"


def test_peers_are_what_the_topology_does_not_know() -> None:
    """A named domain makes peers of services without a known dependency."""
    topology = Topology([*services({"x": "y"}, x="shop", y="shop"), Service(id="z", domain="shop"), Service(id="a")])
    assert {name: topology.peers_of("default", name) for name in "axyz"} == {"a": "", "x": "", "y": "", "z": "shop"}


def test_connected_services_are_one_domain() -> None:
    """Named, else after the smallest service; what is connected to nothing has the common one."""
    topology = Topology([*services({"b": "c", "x": "y"}, x="shop", y="shop"), Service(id="z")])
    domains = {name: topology.domain("default", name) for name in "bcxyz"}
    assert domains == {"b": "b", "c": "b", "x": "shop", "y": "shop", "z": ""}


@pytest.mark.parametrize(("edges", "way"), [({"a": "b", "b": "c", "c": "a"}, 4), ({"a": "a"}, 2), ({"a": "b"}, 0)])
def test_a_cycle_is_found_with_its_way(edges: dict[str, str], way: int) -> None:
    """The names lead from a service back to it, along dependencies."""
    found = cycle(services(edges))
    if not way:
        assert found is None
        return
    assert found is not None
    _, names = found
    assert len(names) == way
    assert names[0] == names[-1]
    assert all(other in edges[one] for one, other in pairwise(names))


@given(st.integers(0, 10_000))
def test_a_graph_without_cycles_has_none(seed: int) -> None:
    """Edges only to smaller numbers: no cycle is reported, and what is upstream is so over every edge."""
    chance = random.Random(seed)
    edges = {str(n): tuple(str(m) for m in range(n) if chance.random() < 0.4) for n in range(8)}
    listed = [Service(id=name, depends_on=above) for name, above in edges.items()]
    assert cycle(listed) is None
    topology = Topology(listed)
    for name in edges:
        upstream = topology.upstream("default", name)
        assert set(upstream) == {*edges[name], *(above for one in upstream for above in edges[one])}


def test_each_service_is_walked_once() -> None:
    """There are 2**60 ways up a ladder of sixty pairs; a file with one is checked at once."""
    ladder = [Service(id=f"{side}{n}", depends_on=(f"a{n + 1}", f"b{n + 1}")) for n in range(60) for side in "ab"]
    assert cycle([*ladder, Service(id="a60"), Service(id="b60")]) is None
    found = cycle([*ladder, Service(id="a60"), Service(id="b60", depends_on=("a0",))])
    assert found is not None
    assert (found[1][0], found[1][-1]) == (found[0].id, found[0].id)
    assert {*found[1]} >= {"b60", "a0"}


def test_a_long_chain_is_walked() -> None:
    """Thousands of services in a row need no recursion, and the closure is bounded."""
    chain = [Service(id=f"s{n}", depends_on=(f"s{n + 1}",)) for n in range(5_000)]
    assert cycle([*chain, Service(id="s5000")]) is None
    assert len(Topology(chain).upstream("default", "s0")) == 200
