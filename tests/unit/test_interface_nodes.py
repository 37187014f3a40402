"""What a topology file may say of a device behind an interface."""

from typing import Any

import pytest

from testbed.core.errors import SpecError
from testbed.host.interfaces import Address, Interface
from testbed.host.lending import Loan
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import MistakesError
from testbed.schema.scenario import Scenario
from testbed.world.hardware import kinds


def _topology(device: Any, *links: tuple[str, str]) -> Topology:
    nodes = {"a": {"model": "zoo/alpha", "cpus": 0.3, "memory": "160MiB"}, "pi": device}
    written = {
        "name": "t",
        "nodes": nodes,
        "switches": ["s1", "s2"],
        "links": [{"endpoints": list(ends)} for ends in (("a", "s1"), ("s1", "s2"), *links)],
    }
    return Topology.model_validate(written)


def test_the_key_names_the_kind() -> None:
    node = _topology({"interface": "enx0"}, ("pi", "s1")).nodes["pi"]
    assert isinstance(node, kinds.Interface)
    assert node.interface == "enx0"


def test_it_has_one_link() -> None:
    with pytest.raises((MistakesError, SpecError, ValueError), match="has 2 links; a node of kind 'interface' has one"):
        _topology({"interface": "enx0"}, ("pi", "s1"), ("pi", "s2"))


@pytest.mark.parametrize("name", ["", "an interface", "a/b", "a" * 16])
def test_a_name_that_no_interface_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="like enx00e04c680001"):
        _topology({"interface": name}, ("pi", "s1"))


def test_a_loan_is_written_and_read() -> None:
    route = {"dst": "198.51.100.0/24", "gateway": "169.254.7.2", "table": 254, "family": 2, "scope": 0, "proto": 3}
    addresses = (Address("169.254.7.1", 16), Address("fe80::1", 64))
    interface = Interface("enx0", "02:00:00:00:00:01", 1400, True, "cable", addresses, (route,))
    loan = Loan("tb-123456-pi", interface)
    assert Loan.load(loan.dump()) == loan
    assert [address.link_local for address in interface.addresses] == [True, True]
    assert not Address("192.0.2.1", 24).link_local
    assert not interface.carries_default_route


BOARD = {"board": "pi@169.254.7.2", "nic": "enx0", "model": "zoo/beta"}


def test_a_board_is_an_agent_with_a_model() -> None:
    topology = _topology(BOARD, ("pi", "s1"))
    assert isinstance(topology.nodes["pi"], kinds.Board)
    assert "pi" in topology.agents and "pi" in topology.model_nodes and "pi" not in topology.emulated


@pytest.mark.parametrize("address", ["pi", "pi@", "pi@board.local", "-oProxyCommand=x@169.254.7.2", "pi@169.254.7.2 x"])
def test_a_control_address_is_a_user_and_an_ip_address(address: str) -> None:
    with pytest.raises(ValueError, match=r"like pi@169\.254\.7\.2"):
        _topology({**BOARD, "board": address}, ("pi", "s1"))


def test_a_board_goes_to_a_switch() -> None:
    with pytest.raises(ValueError, match="links 'pi' to a node; a 'board' goes to a switch"):
        _topology(BOARD, ("pi", "a"))


def test_real_time_runs_no_slower() -> None:
    written = {"name": "t", "topology": _topology(BOARD, ("pi", "s1")), "dilation": 2.0}
    written |= {"pattern": {"kind": "alone"}}
    written |= {"workload": {"prompts": "worldfacts", "arrivals": {"process": "at-once"}, "count": 1}}
    with pytest.raises(ValueError, match="node 'pi' of the kind 'board' runs in real time; leave `dilation` out"):
        Scenario.model_validate(written)
