"""What a run leaves behind, however it ends: played out, interrupted, failed, or with its disk full."""

import errno
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from testbed.analysis.measurements import Measurements
from testbed.analysis.nodes import DeviceSpeed
from testbed.analysis.summary import StageTime, Summary
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.core.errors import HostError
from testbed.record.directory import RunDirectory
from testbed.record.fidelity.inspection import Inspection
from testbed.record.manifest import manifest
from testbed.record.recording import Recording
from testbed.show.report import write_report
from testbed.world.nodes.handle import NodeHandle
from testbed.world.plan import Plan

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

Written = TypeVar("Written")


class Results:
    """The results of one run. They move to the directory of temporary files if the disk of their own is full."""

    def __init__(self, plan: Plan, directory: RunDirectory, stages: Mapping[str, StageTime]) -> None:
        self.directory = directory
        self.cut_off = ""
        """Why the run did not play to its end; empty if it did."""
        self._plan = plan
        self._stages = stages
        self._collected: tuple[str, Measurements, Fidelity] | None = None

    def collect(self, run: str, recording: Recording, inspection: Inspection) -> None:
        """Write what was recorded in the run of this id, and the manifest."""
        measurements = self._with_room(recording.write)
        fidelity = inspection.judge(recording)
        self._with_room(
            lambda directory: directory.write_json(
                "manifest.json",
                manifest(self._plan, run, recording.zero, fidelity, recording.node_clocks, directory.inputs),
            )
        )
        self._collected = (run, measurements, fidelity)

    def keep_outputs(self, nodes: Mapping[str, NodeHandle]) -> None:
        """Write what every node printed, and the files that it leaves."""
        self._with_room(lambda directory: directory.keep_outputs(nodes))

    def conclude(self) -> Summary | None:
        """Write the summary and the report; None if the run failed before anything was recorded."""
        if self._collected is None:
            return None
        summary = self._with_room(self._summarise)
        self._with_room(lambda directory: write_report(directory.path))
        return summary

    def _summarise(self, directory: RunDirectory) -> Summary:
        assert self._collected is not None  # conclude() looks
        run, measurements, fidelity = self._collected
        speeds = {
            name: DeviceSpeed(speed.device, speed.asked, speed.host, speed.cpus)
            for name, device in self._plan.devices.items()
            if (speed := device.speed)
        }
        summary = Summary(
            self._plan.scenario,
            run,
            directory.path,
            measurements,
            fidelity,
            dict(self._stages),
            self.cut_off,
            speeds=speeds,
            synthetic=self._plan.synthetic,
        )
        directory.write_summary(summary)
        return summary

    def _with_room(self, write: Callable[[RunDirectory], Written]) -> Written:
        """Call ``write`` with the directory, again with another one if the disk is full; raises HostError."""
        try:
            return write(self.directory)
        except OSError as error:
            if error.errno not in _FULL:
                raise
        try:
            self.directory = self.directory.moved()
            return write(self.directory)
        except OSError as error:
            reason = f"{error.strerror}; make room there, or set TMPDIR to a place that has some"
            raise HostError(f"neither {self.directory.path} nor a temporary directory has room: {reason}") from error
