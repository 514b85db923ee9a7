"""Instructions and estimated time of whole networks, measured once and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shufflec.errors import InputFileError, OptionError
from shufflec.files import data_dir, read_limited
from shufflec.models.families import AnyArchitecture, architecture_from_dict

SCHEMA = 1
FILE_NAME = "models.json"
_MAX_BYTES = 4 << 20
_WHAT = "measured networks that `shufflec models --measure` wrote"

METHOD = (
    "shufflec's own int8 code, compiled as `shufflec compile` does, from random weights (the work does not depend on "
    "them); one inference, 1 thread, on the virtual board, equal to the integer reference bit for bit. Instructions "
    "are counted, milliseconds estimated."
)


@dataclass(frozen=True)
class NetworkCost:
    """One network on one board. instructions: of one inference, None when it did not run; then `reason` says why."""

    architecture: AnyArchitecture
    target: str
    core: str
    instructions: int | None = None
    milliseconds: float | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, object]:
        return {
            "architecture": self.architecture.to_dict(),
            "target": self.target,
            "core": self.core,
            "instructions": self.instructions,
            "milliseconds": self.milliseconds,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> NetworkCost:
        """What `to_dict` described. Raises OptionError, KeyError, TypeError or ValueError for something else."""
        count, time = data["instructions"], data["milliseconds"]
        return cls(
            architecture=architecture_from_dict(data["architecture"]),
            target=str(data["target"]),
            core=str(data["core"]),
            instructions=None if count is None else int(count),
            milliseconds=None if time is None else float(time),
            reason=str(data["reason"]),
        )


@dataclass(frozen=True)
class NetworkCosts:
    """Measured networks. environment: versions that they were measured with."""

    costs: tuple[NetworkCost, ...] = ()
    environment: Mapping[str, str] | None = None

    def find(self, arch: AnyArchitecture, target: str) -> NetworkCost | None:
        return next((cost for cost in self.costs if cost.target == target and cost.architecture == arch), None)

    @property
    def targets(self) -> list[str]:
        return list(dict.fromkeys(cost.target for cost in self.costs))

    def added_to(self, earlier: NetworkCosts) -> NetworkCosts:
        """These, behind those of `earlier` that were not measured again."""
        kept = [cost for cost in earlier.costs if self.find(cost.architecture, cost.target) is None]
        return NetworkCosts((*kept, *self.costs), self.environment)

    def to_json(self) -> str:
        value = {
            "schema": SCHEMA,
            "method": METHOD,
            "environment": dict(self.environment or {}),
            "costs": [cost.to_dict() for cost in self.costs],
        }
        return json.dumps(value, indent=1, allow_nan=False) + "\n"


def shipped_costs() -> NetworkCosts:
    """The published measurements, from a checkout's reports/ or from the installed package."""
    return read_costs(data_dir("reports") / FILE_NAME)


def read_costs(path: Path) -> NetworkCosts:
    """Reads such a file. Raises InputFileError when it is missing, damaged or of another schema."""
    text = read_limited(path, _MAX_BYTES, _WHAT)
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            raise InputFileError(path, f"has schema {data['schema']}, this shufflec reads {SCHEMA}", "measure it again")
        costs = tuple(NetworkCost.from_dict(item) for item in _listed(data["costs"]))
        environment = {str(name): str(value) for name, value in dict(data["environment"]).items()}
    except (ValueError, KeyError, TypeError, RecursionError, OptionError) as error:
        raise InputFileError(path, f"is damaged, expected {_WHAT}", "measure it again") from error
    return NetworkCosts(costs, environment)


def _listed(value: object) -> Sequence[Mapping[str, object]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("expected a list of objects")
    return value
