"""What runs at the same time, and how many units to ask for. Pure: no clock, no files, no network."""

from __future__ import annotations

from dataclasses import dataclass, field

from gridfare.agent.model import DeviceNeed, Need

MAX_HELD = 2_000
"""Most units that one agent holds at a time, running and queued."""


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator of this machine; ``index`` is how its driver numbers it."""

    index: int
    model: str
    memory_mib: int


@dataclass(slots=True)
class Capacity:
    """The free part of what the machine declared."""

    cores: int
    memory_mib: int
    disk_mib: int
    devices: list[Device] = field(default_factory=list)

    def copy(self) -> Capacity:
        """The same amount, counted apart."""
        return Capacity(self.cores, self.memory_mib, self.disk_mib, list(self.devices))

    def fits(self, need: Need) -> bool:
        """Whether a unit with this need can run now."""
        enough = need.cores <= self.cores and need.memory_mib <= self.memory_mib and need.disk_mib <= self.disk_mib
        return enough and self._pick(need) is not None

    def take(self, need: Need) -> list[Device]:
        """Occupy; returns the accelerators that the unit gets. Only when `fits`."""
        devices = self._pick(need) or []
        self.cores -= need.cores
        self.memory_mib -= need.memory_mib
        self.disk_mib -= need.disk_mib
        for device in devices:
            self.devices.remove(device)
        return devices

    def give_back(self, need: Need, devices: list[Device]) -> None:
        """Undo `take`."""
        self.cores += need.cores
        self.memory_mib += need.memory_mib
        self.disk_mib += need.disk_mib
        self.devices.extend(devices)

    def _pick(self, need: Need) -> list[Device] | None:
        """Devices that satisfy every accelerator need, or None."""
        if not need.accelerators:
            return []
        free = sorted(self.devices, key=lambda device: (device.memory_mib, device.index))
        picked: list[Device] = []
        for wanted in need.accelerators:
            suited = [device for device in free if suits(device, wanted)][: wanted.count]
            if len(suited) < wanted.count:
                return None
            picked.extend(suited)
            free = [device for device in free if device not in suited]
        return picked


def suits(device: Device, wanted: DeviceNeed) -> bool:
    """Whether a device is of the wanted model and size."""
    return wanted.model in ("", device.model) and device.memory_mib >= wanted.memory_mib


@dataclass(slots=True)
class Appetite:
    """How many units to hold: enough that short units never leave a slot empty between two calls.

    ``seconds`` is how long a unit has occupied a slot lately. Queued units cover about ``ahead_s`` of work, and
    none are queued when a unit takes longer than that: another machine may have a free slot for it.
    """

    slots: int
    ahead_s: float = 1.0
    seconds: float | None = None

    def learn(self, seconds: float) -> None:
        """A unit has left its slot."""
        known = self.seconds
        self.seconds = seconds if known is None else known + 0.1 * (seconds - known)

    def goal(self, at_least_s: float = 0.0) -> int:
        """Units to hold altogether, when they take ``at_least_s`` or what was learned, whichever is longer."""
        if self.seconds is None:
            return self.slots
        queued = int(self.slots * self.ahead_s / max(self.seconds, at_least_s, 0.0005))
        return min(self.slots + queued, MAX_HELD)

    def want(self, held: int) -> int:
        """Units to ask for now."""
        return max(0, self.goal() - held)
