"""NVML: NVIDIA's GPUs.

Source: NVIDIA's NVML API reference. ``nvmlDeviceGetTotalEnergyConsumption`` gives millijoules since the driver was
loaded, from Volta on; older GPUs have ``nvmlDeviceGetPowerUsage``, in milliwatts.
"""

import ctypes
from typing import Any, Final

from pydantic import Field

from testbed.schema.network.sensor import Draw, Energy, PowerSensor, Read, SensorError

_SUCCESS: Final = 0
_NOT_SUPPORTED: Final = 3


class Nvml(PowerSensor):
    """A GPU of this host: all that runs on it counts."""

    gpu: int = Field(0, ge=0, description="number of the GPU, as nvidia-smi counts")
    library: str = Field("libnvidia-ml.so.1", description="the driver's library")

    def open(self) -> Read:
        """Find the GPU; raises SensorError."""
        try:
            library = ctypes.CDLL(self.library)
        except OSError as error:
            raise SensorError(f"NVML: this host has no NVIDIA driver ({error})") from error
        device = ctypes.c_void_p()
        for name, *arguments in (("nvmlInit_v2",), ("nvmlDeviceGetHandleByIndex_v2", self.gpu, ctypes.byref(device))):
            if status := _call(library, name, *arguments):
                raise SensorError(f"NVML: GPU {self.gpu} does not answer ({name} gives {status})")
        count = ctypes.c_ulonglong()
        if _call(library, "nvmlDeviceGetTotalEnergyConsumption", device, ctypes.byref(count)) == _NOT_SUPPORTED:
            return lambda: Draw(_number(library, "nvmlDeviceGetPowerUsage", device, ctypes.c_uint()) / 1e3)
        return lambda: Energy(_number(library, "nvmlDeviceGetTotalEnergyConsumption", device, count) / 1e3)


def _call(library: ctypes.CDLL, name: str, *arguments: Any) -> int:
    return int(getattr(library, name)(*arguments))


def _number(library: ctypes.CDLL, name: str, device: ctypes.c_void_p, into: Any) -> int:
    """What a function of the library writes to ``into``; raises OSError."""
    if (status := _call(library, name, device, ctypes.byref(into))) != _SUCCESS:
        raise OSError(f"{name} gives {status}")
    return int(into.value)
