"""Which host plays which seed. One host plays all runs of a seed, so that hosts cannot differ between points."""

from collections import defaultdict
from collections.abc import Mapping


class Seeds:
    """Binds each seed to the first host that plays it, until that host fails."""

    def __init__(self, homes: Mapping[int, str]) -> None:
        """``homes`` are the names of the hosts that have played seeds in an earlier call, empty if none has."""
        self._homes = dict(homes)
        self._hosts: dict[int, str] = {}
        self._failed: defaultdict[int, set[str]] = defaultdict(set)

    def suits(self, seed: int, host: str, present: Mapping[str, str]) -> bool:
        """Whether ``host`` may play the seed now, where ``present`` are the names of the hosts that could."""
        if seed in self._hosts:
            return self._hosts[seed] == host
        if self._homes.get(seed) in present.values():
            return self._homes[seed] == present[host]
        return host not in self._failed[seed] or self._failed[seed] >= set(present)

    def bind(self, seed: int, host: str) -> None:
        """Let ``host`` play all further runs of the seed."""
        self._hosts[seed] = host

    def move(self, seed: int, host: str) -> None:
        """Let another host than ``host``, which has failed, play the seed from now on, if there is one."""
        if self._hosts.get(seed) == host:
            del self._hosts[seed]
        self._homes.pop(seed, None)
        self._failed[seed].add(host)

    def leave(self, host: str) -> None:
        """Let other hosts play the seeds of a host that is lost."""
        for seed in [seed for seed, bound in self._hosts.items() if bound == host]:
            self.move(seed, host)
