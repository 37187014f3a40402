"""``manifest.json``: what a run was made of, so that another run can be compared with it or be made again."""

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from testbed.analysis.queues.figures import ExpectedLoad
from testbed.analysis.recorded import FORMAT
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.core.registry import UsedKind
from testbed.record.inputs import Input
from testbed.schema.metric import METRICS
from testbed.schema.scenario import Scenario
from testbed.world.network.links.backend import LINK_BACKENDS
from testbed.world.nodes.handle import ClockOffset
from testbed.world.plan import Plan

_PACKAGES: Final = (
    "testbed",
    "aiohttp",
    "docker",
    "llama-cpp-python",
    "mininet",
    "psutil",
    "pyarrow",
    "pydantic",
    "pyroute2",
)

_NOT_REPRODUCED: Final = (
    "how long anything takes, and so the order of jobs that come to a queue at nearly the same time",
    "a layer's responses, where a neighbour was late",
)


def manifest(
    plan: Plan,
    run: str,
    zero: float,
    fidelity: Fidelity,
    clocks: Mapping[str, ClockOffset],
    inputs: Sequence[Input] = (),
) -> dict[str, Any]:
    """The manifest of a run; ``zero`` is the beginning of play on the run's clock.

    ``clocks`` are those of the nodes that have their own.
    """
    began = plan.clock.real(zero)
    return {
        **_common(plan.scenario, run, fidelity, inputs),
        "not_reproduced_by_the_seed": list(_NOT_REPRODUCED),
        "play_began": datetime.fromtimestamp(time.time() - time.monotonic() + began, UTC).isoformat(),
        "clock": {"name": "CLOCK_MONOTONIC", "play_began": began},
        "node_clocks": {node: {"ahead": of.seconds, "largest_error": of.error} for node, of in clocks.items()},
        "dilation": plan.clock.dilation,
        "links": plan.links.name,
        "oversubscribed": plan.oversubscribed,
        "versions": {
            "python": platform.python_version(),
            "docker_engine": plan.engine.version,
            **{package: version(package) for package in _PACKAGES},
        },
        "kinds": [kind.as_dict() for kind in [*plan.scenario.kinds, LINK_BACKENDS.used(plan.links.name), *_metrics()]],
        "image": {"tag": plan.image, "id": plan.engine.image},
        "devices": {
            node: {"cpus": device.cpus, "memory": device.memory, **(device.speed.as_dict() if device.speed else {})}
            for node, device in plan.devices.items()
        },
        "models": {
            node: {
                "reference": model.reference,
                "sha256": model.sha256,
                "bytes": model.size,
                "synthetic": model.synthetic,
            }
            for node, model in plan.models.items()
        },
        "programs": plan.engine.programs,
        "given_models": {
            node: {
                str(inside): {"reference": model.reference, "sha256": model.sha256, "synthetic": model.synthetic}
                for inside, model in models.items()
            }
            for node, models in plan.given.items()
        },
        "stages": {node: holding.reason for node, holding in plan.holdings.items() if holding.reason},
    }


def simulated_manifest(
    scenario: Scenario, run: str, fidelity: Fidelity, inputs: Sequence[Input], simulation: dict[str, Any]
) -> dict[str, Any]:
    """The manifest of a simulated run; ``simulation`` says what it was calibrated by and how far it can be trusted.

    It has no image, and its models are names: no file of theirs was read.
    """
    return {
        **_common(scenario, run, fidelity, inputs),
        "simulation": simulation,
        "not_reproduced_by_the_seed": [],
        "play_began": datetime.now(UTC).isoformat(),
        "clock": {"name": "virtual", "play_began": 0.0},
        "dilation": 1.0,
        "links": "simulated",
        "oversubscribed": False,
        "versions": {"python": platform.python_version(), "testbed": version("testbed")},
        "kinds": [kind.as_dict() for kind in [*scenario.kinds, *_metrics()]],
        "image": {"tag": "none: simulated", "id": ""},
        "devices": {},
        "models": {
            name: {"reference": node.model, "sha256": "", "bytes": 0, "synthetic": False}
            for name, node in scenario.topology.agents.items()
        },
        "stages": {},
    }


def _common(scenario: Scenario, run: str, fidelity: Fidelity, inputs: Sequence[Input]) -> dict[str, Any]:
    """What the manifests of emulated and of simulated runs say alike."""
    load = ExpectedLoad.of(scenario)
    return {
        "format": FORMAT,
        "run": run,
        "scenario": scenario.name,
        "seed": scenario.seed,
        "host": {
            "name": platform.node(),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "memory": psutil.virtual_memory().total,
            "cgroups": 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        },
        "fidelity": {"verdict": fidelity.verdict, "reasons": fidelity.reasons, "mode": fidelity.mode},
        "baseline": scenario.baseline,
        "inputs": {one.copy: one.as_dict() for one in inputs},
        "calls": {owner: {"least": least, "most": most} for owner, (least, most) in scenario.calls.items()},
        "load": None if load is None else load.as_dict(),
    }


def _metrics() -> Iterator[UsedKind]:
    """Where each metric comes from."""
    return map(METRICS.used, METRICS.names())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
