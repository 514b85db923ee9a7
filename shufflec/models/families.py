"""The architectures of both families, for code that takes either."""

from __future__ import annotations

from collections.abc import Mapping

from shufflec.errors import OptionError
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2

AnyArchitecture = Architecture | ArchitectureV2


def architecture_from_dict(data: Mapping[str, object]) -> AnyArchitecture:
    """The architecture of either family that `to_dict` described. Raises OptionError for another shape or value."""
    family = data.get("family") if isinstance(data, Mapping) else None
    for kind in (Architecture, ArchitectureV2):
        if family == kind.family:
            return kind.from_dict(data)
    raise OptionError("architecture", family, f"expected family {Architecture.family} or {ArchitectureV2.family}")
