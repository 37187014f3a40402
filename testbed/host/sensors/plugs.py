"""Smart plugs over HTTP, which measure whatever is plugged in.

Sources: Tasmota's documentation, "Commands" (Status 10); Shelly's API reference, Gen1 ``/meter`` and Gen2
``Switch.GetStatus``.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import requests
from pydantic import Field

from testbed.schema.network.sensor import Draw, PowerSensor, Read, SensorError

_PATIENCE = 2.0  # seconds that a plug has for an answer


class Plug(PowerSensor):
    """A plug at ``address``, which is asked once a second: it measures no faster."""

    every: ClassVar[float] = 1.0

    address: str = Field(pattern=r"^[A-Za-z0-9.:\[\]-]+$", description="its address or name, with a port if not 80")

    def open(self) -> Read:
        """Ask the plug once; raises SensorError."""
        session = requests.Session()
        session.trust_env = False  # no proxy, and no password of a .netrc

        def read() -> Draw:
            response = session.get(f"http://{self.address}{self._path}", timeout=_PATIENCE, allow_redirects=False)
            response.raise_for_status()
            try:
                return Draw(float(self._watts(response.json())))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"it tells no power: {response.text[:80]}") from error

        try:
            read()
        except (OSError, ValueError) as error:
            raise SensorError(f"{self.kind} at {self.address}: {error}") from error
        return read

    @property
    @abstractmethod
    def _path(self) -> str:
        """The path and query of the request for the power."""

    @abstractmethod
    def _watts(self, told: Mapping[str, Any]) -> Any:
        """The power in an answer."""


class Tasmota(Plug):
    """A smart plug with Tasmota."""

    @property
    def _path(self) -> str:
        return "/cm?cmnd=Status%2010"

    def _watts(self, told: Mapping[str, Any]) -> Any:
        return told["StatusSNS"]["ENERGY"]["Power"]


class Shelly(Plug):
    """A smart plug of Shelly's."""

    generation: Literal[1, 2] = Field(2, description="of its API; later ones speak that of 2")
    channel: int = Field(0, ge=0, description="number of the switch, from 0")

    @property
    def _path(self) -> str:
        return f"/meter/{self.channel}" if self.generation == 1 else f"/rpc/Switch.GetStatus?id={self.channel}"

    def _watts(self, told: Mapping[str, Any]) -> Any:
        return told["power" if self.generation == 1 else "apower"]
