"""Smart plugs over HTTP, which measure whatever is plugged in, and take its power away.

Sources: Tasmota's documentation, "Commands" (Status 10, Power); Shelly's API reference, Gen1 ``/meter`` and ``/relay``,
Gen2 ``Switch.GetStatus`` and ``Switch.Set``.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import requests
from pydantic import Field

from testbed.schema.network.sensor import Draw, PowerSwitch, Read, SensorError

_PATIENCE = 2.0  # seconds that a plug has for an answer


class Plug(PowerSwitch):
    """A plug at ``address``, which is asked once a second: it measures no faster."""

    every: ClassVar[float] = 1.0

    address: str = Field(pattern=r"^[A-Za-z0-9.:\[\]-]+$", description="its address or name, with a port if not 80")

    def open(self) -> Read:
        """Ask the plug once; raises SensorError."""
        session = _session()

        def read() -> Draw:
            response = self._ask(session, self._path)
            try:
                return Draw(float(self._watts(response.json())))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"it tells no power: {response.text[:80]}") from error

        try:
            read()
        except (OSError, ValueError) as error:
            raise SensorError(f"{self.kind} at {self.address}: {error}") from error
        return read

    def switch(self, on: bool) -> None:
        """Switch what is plugged in; raises OSError."""
        with _session() as session:
            response = self._ask(session, self._switching(on))
        told = response.json()
        if not isinstance(told, dict) or not self._obeyed(told, on):
            state = "on" if on else "off"
            raise OSError(f"{self.kind} at {self.address} does not switch {state}: {response.text[:80]}")

    def _ask(self, session: requests.Session, path: str) -> requests.Response:
        """The plug's answer; raises OSError."""
        response = session.get(f"http://{self.address}{path}", timeout=_PATIENCE, allow_redirects=False)
        response.raise_for_status()
        return response

    @property
    @abstractmethod
    def _path(self) -> str:
        """The path and query of the request for the power."""

    @abstractmethod
    def _switching(self, on: bool) -> str:
        """The path and query of the request that switches."""

    @abstractmethod
    def _obeyed(self, told: Mapping[str, Any], on: bool) -> bool:
        """Whether an answer says that the plug has switched."""

    @abstractmethod
    def _watts(self, told: Mapping[str, Any]) -> Any:
        """The power in an answer."""


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy, and no password of a .netrc
    return session


class Tasmota(Plug):
    """A smart plug with Tasmota."""

    @property
    def _path(self) -> str:
        return "/cm?cmnd=Status%2010"

    def _watts(self, told: Mapping[str, Any]) -> Any:
        return told["StatusSNS"]["ENERGY"]["Power"]

    def _switching(self, on: bool) -> str:
        return f"/cm?cmnd=Power%20{'On' if on else 'Off'}"

    def _obeyed(self, told: Mapping[str, Any], on: bool) -> bool:
        return ("ON" if on else "OFF") in (told.get("POWER"), told.get("POWER1"))


class Shelly(Plug):
    """A smart plug of Shelly's."""

    generation: Literal[1, 2] = Field(2, description="of its API; later ones speak that of 2")
    channel: int = Field(0, ge=0, description="number of the switch, from 0")

    @property
    def _path(self) -> str:
        return f"/meter/{self.channel}" if self.generation == 1 else f"/rpc/Switch.GetStatus?id={self.channel}"

    def _watts(self, told: Mapping[str, Any]) -> Any:
        return told["power" if self.generation == 1 else "apower"]

    def _switching(self, on: bool) -> str:
        if self.generation == 1:
            return f"/relay/{self.channel}?turn={'on' if on else 'off'}"
        return f"/rpc/Switch.Set?id={self.channel}&on={'true' if on else 'false'}"

    def _obeyed(self, told: Mapping[str, Any], on: bool) -> bool:
        return told.get("ison") is on if self.generation == 1 else "was_on" in told
