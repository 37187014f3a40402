"""A host that plays no run: each ends at once, as a test wants it to."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testbed.record.directory import RunDirectory
from testbed.run import runner
from testbed.schema.scenario import Scenario


@dataclass
class FakeHost:
    """Its ``run`` stands for :func:`testbed.run.runner.run`. ``played`` are the scenarios that it was given."""

    cannot: Callable[[Scenario], None] = lambda _: None
    """Raises what a host raises that cannot play a scenario."""
    played: list[Scenario] = field(default_factory=list)

    def run(self, scenario: Scenario, options: runner.Options, _: object) -> Any:
        self.played.append(scenario)
        self.cannot(scenario)
        return self.end(scenario, RunDirectory.create(scenario, options.out))

    @abstractmethod
    def end(self, scenario: Scenario, directory: RunDirectory) -> Any:
        """Write what the run leaves in its directory, and return its summary."""
