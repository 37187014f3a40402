"""Plays runs on the hosts of a cluster: who plays what, what is retried, and what is taken home."""

import secrets
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from testbed.analysis.summary import Summary, load_summary
from testbed.core.errors import HostError, TestbedError
from testbed.record.directory import RunDirectory, default_path
from testbed.run import runner
from testbed.run.cluster import remote
from testbed.run.cluster.archive import pack, unpack_whole
from testbed.run.cluster.hosts import Hosts
from testbed.run.cluster.seeds import Seeds
from testbed.run.orders import Ended, Order
from testbed.schema.scenario import Scenario
from testbed.show.cluster import ClusterView
from testbed.show.view import Pace

ATTEMPTS: Final = 3
"""Attempts to play a run whose host fails."""

_ANSWERS: Final = (0, 1, 4)
"""Exit statuses of a run that has been played."""

_FAILURES: Final = (3, 255)
"""Exit statuses that another attempt may not have: the host cannot play now, or the connection to it broke."""

_LOOK: Final = 0.5
"""Seconds between two looks at which hosts there are."""

ABSENT: Final = 60.0
"""Seconds after which an absent host counts as lost. Dask restarts a dead worker within a few."""

_ENDING: Final = 60.0
"""Seconds that interrupted runs have to clean up."""


class RemoteError(TestbedError):
    """A run could not be played on a host of the cluster."""

    def __init__(self, sentence: str, exit_code: int = HostError.exit_code) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


@dataclass
class _Attempt:
    """An attempt to play a run on a host, and the failures of earlier attempts."""

    order: Order
    host: str = ""
    failures: list[str] = field(default_factory=list)

    @property
    def seed(self) -> int:
        return self.order.scenario.seed


@dataclass
class Cluster:
    """Plays runs on hosts. ``options.out`` is replaced by each order's directory."""

    hosts: Hosts
    options: runner.Options
    view: ClusterView
    command: Sequence[str] = remote.RUNNER

    def play(self, orders: Sequence[Order], pace: Pace | None = None) -> Iterator[Ended]:
        """Yield each run whose directory has arrived, or that could not be played.

        Raises HostError if no host is left, and KeyboardInterrupt. Whatever ends the iteration stops all hosts.
        """
        pace = pace or Pace(len(orders), 0, sum(order.seconds for order in orders))
        pace.hosts = max(1, len(self.hosts.present()))
        campaign = _Campaign(self, orders)
        with self.view.watching(pace):
            try:
                for ended in campaign.play():
                    pace.move_on(ended.order.seconds)
                    self.view.ended(ended.order.name, _verdict(ended.result))
                    yield ended
            finally:
                campaign.stop()


class _Campaign:
    """A campaign that is being played: attempts that wait, and those that run, one a host at most."""

    def __init__(self, cluster: Cluster, orders: Sequence[Order]) -> None:
        self._hosts = cluster.hosts
        self._view = cluster.view
        self._command = cluster.command
        self._options = _arguments(cluster.options)
        self._name = secrets.token_hex(8)
        self._seeds = Seeds({order.scenario.seed: order.home for order in orders})
        self._waiting = [_Attempt(order) for order in orders]
        self._running: dict[Future[remote.Played], _Attempt] = {}
        self._names: dict[str, str] = {}
        self._seen: dict[str, float] = {}

    def play(self) -> Iterator[Ended]:
        """Yield each run that has ended."""
        while self._waiting or self._running:
            self._begin(self._look())
            done, _ = wait(self._running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            for future in done:
                attempt = self._running.pop(future)
                self._view.free(self._names[attempt.host])
                result = self._result(attempt, future)
                if result is None:
                    self._waiting.insert(0, attempt)
                else:
                    yield Ended(attempt.order, result)

    def stop(self) -> None:
        """Interrupt all hosts, and keep the runs that end meanwhile. What has not begun is cancelled."""
        if not self._running:
            return
        self._view.tell("stopping all hosts")
        busy = self._hosts.stop(self._name)
        for future, attempt in self._running.items():
            if attempt.host not in busy:
                future.cancel()
        done, _ = wait(self._running, timeout=_ENDING)
        for future in done:
            if not future.cancelled():
                self._result(self._running[future], future)

    def _look(self) -> Mapping[str, str]:
        """The hosts that can play now. Runs and seeds of a lost host are taken from it."""
        present, now = self._hosts.present(), time.monotonic()
        self._names |= present
        for host in self._names:
            if host in present:
                self._seen[host] = now
        lost = [host for host, seen in self._seen.items() if now - seen > ABSENT]
        if lost and len(lost) == len(self._seen):
            raise HostError("no host of the cluster is left; start its workers and repeat the command")
        for host in lost:
            self._seeds.leave(host)
            for future, attempt in self._running.items():
                if attempt.host == host:
                    future.cancel()
        return present

    def _begin(self, present: Mapping[str, str]) -> None:
        """Give every idle host the first run that it may play."""
        busy = {attempt.host for attempt in self._running.values()}
        for host in present.keys() - busy:
            suiting = (one for one in self._waiting if self._seeds.suits(one.seed, host, present))
            if (attempt := next(suiting, None)) is not None:
                self._waiting.remove(attempt)
                self._submit(attempt, host)

    def _submit(self, attempt: _Attempt, host: str) -> None:
        attempt.host = host
        self._seeds.bind(attempt.seed, host)
        scenario = _pack_scenario(attempt.order.scenario)
        future = self._hosts.executor(host).submit(remote.play, self._name, scenario, self._options, self._command)
        self._running[future] = attempt
        self._view.playing(self._names[host], attempt.order.name)

    def _result(self, attempt: _Attempt, future: Future[remote.Played]) -> Summary | TestbedError | None:
        """The summary of a run that was played, or why it cannot be; None if another attempt is due."""
        host = self._names[attempt.host]
        try:
            played = future.result()
        except CancelledError:
            return self._failed(attempt, f"{host} was lost", HostError.exit_code)
        except Exception as error:  # whatever a worker, or its end, raises
            return self._failed(attempt, f"{host}: {error}", HostError.exit_code)
        if played.status in _ANSWERS and played.directory is not None:
            return _take_home(attempt.order, played.directory)
        if played.status in _FAILURES or played.status < 0:
            return self._failed(attempt, f"{host}: {_last_words(played)}", played.status)
        return RemoteError(f"{host}: {_last_words(played)}", played.status)

    def _failed(self, attempt: _Attempt, failure: str, status: int) -> TestbedError | None:
        """None if another attempt is due; where this host cannot play, another one makes it."""
        attempt.failures.append(failure)
        self._view.tell(f"{attempt.order.name}: {failure}")
        if status == HostError.exit_code:
            self._seeds.move(attempt.seed, attempt.host)
        if len(attempt.failures) < ATTEMPTS:
            return None
        return RemoteError("; ".join(dict.fromkeys(attempt.failures)))


def _take_home(order: Order, directory: bytes) -> Summary | TestbedError:
    path = order.directory or default_path(order.scenario)
    try:
        unpack_whole(directory, path)
        return load_summary(order.scenario.drawn(), path)
    except TestbedError as error:
        return error


def _pack_scenario(scenario: Scenario) -> bytes:
    """An archive of ``scenario.yaml`` and the files that the scenario names, by paths relative to it."""
    with TemporaryDirectory(prefix="testbed-") as folder:
        RunDirectory.create(scenario, Path(folder))
        return pack(Path(folder))


def _arguments(options: runner.Options) -> list[str]:
    """The options of ``testbed run`` on a host."""
    links = [] if options.links is None else ["--links", options.links]
    return ["--exclusive", "--wait", "--fidelity", options.fidelity, *links]


def _last_words(played: remote.Played) -> str:
    if played.status < 0:
        return f"the runner was killed by {signal.Signals(-played.status).name}"
    return played.said or f"the runner ended with exit status {played.status}"


def _verdict(result: Summary | TestbedError) -> str:
    return str(result) if isinstance(result, TestbedError) else result.outcome
