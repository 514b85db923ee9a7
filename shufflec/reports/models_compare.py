"""Every published ShuffleNet: what it costs by count and as measured, beside what was published for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shufflec.errors import OptionError
from shufflec.models.architecture import GROUPS, Architecture
from shufflec.models.architecture_v2 import SCALES, VARIANTS_V2, ArchitectureV2
from shufflec.models.complexity import MEGVII_PUBLISHED, Complexity, complexity, published_macs, published_params
from shufflec.models.families import AnyArchitecture
from shufflec.models.published_accuracy import PublishedAccuracy, published_accuracy
from shufflec.models.published_times import PHONE, published_phone_ms
from shufflec.reports.network_costs import METHOD, NetworkCost, NetworkCosts

TITLE = "ShuffleNets, counted and measured beside what was published"
PAPER_SCALES = (0.25, 0.5, 1.0, 1.5, 2.0)
_MINDCV_SCALES = (0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class ComparedNetwork:
    """One line. macs_published, accuracy, phone_ms: None where nothing was published. costs: of the boards asked for,
    in that order, None where it was not measured.
    """

    architecture: AnyArchitecture
    count: Complexity
    macs_published: tuple[int, str] | None
    params_published: float | None
    accuracy: PublishedAccuracy | None
    phone_ms: float | None
    costs: tuple[NetworkCost | None, ...]

    def to_dict(self, targets: Sequence[str]) -> dict[str, object]:
        """Plain JSON types; `targets` names the boards of `costs`."""
        accuracy = self.accuracy
        return {
            **self.architecture.to_dict(),
            "macs": self.count.macs,
            "conv_macs": self.count.conv_macs,
            "params": self.count.params,
            "published": {
                "mmacs": self.macs_published[0] if self.macs_published else None,
                "mmacs_by": self.macs_published[1] if self.macs_published else None,
                "mparams": self.params_published,
                "top1": accuracy.top1 if accuracy else None,
                "top5": accuracy.top5 if accuracy else None,
                "accuracy_by": accuracy.source if accuracy else None,
                "phone_ms": self.phone_ms,
            },
            "measured": {
                target: None
                if cost is None
                else {"instructions": cost.instructions, "estimated_ms": cost.milliseconds, "reason": cost.reason}
                for target, cost in zip(targets, self.costs, strict=True)
            },
        }


def published_networks(
    family: str | None = None,
    groups: int | None = None,
    variant: str | None = None,
    scale: float | None = None,
    input_size: tuple[int, int] = (224, 224),
) -> list[AnyArchitecture]:
    """The networks that were published and pass the filters, in the table's order; None filters nothing.

    The paper's at its groups and widths, those of ShuffleNet-Series and mindcv that have a checkpoint, and ShuffleNetV2
    in both forms; 1000 classes. Raises OptionError for a family that there is not, and where none is left.
    """
    if family not in (None, "v1", "v2"):
        raise OptionError("--family", family, "expected v1 or v2")
    found: list[AnyArchitecture] = []
    if family != "v2":
        found += [Architecture(g, width, "paper", 1000, input_size) for width in PAPER_SCALES for g in GROUPS]
        found += [Architecture(g, width, "megvii", 1000, input_size) for g, width in MEGVII_PUBLISHED]
        found += [Architecture(3, width, "mindcv", 1000, input_size) for width in _MINDCV_SCALES]
    if family != "v1":
        found += [ArchitectureV2(width, name, 1000, input_size) for name in VARIANTS_V2 for width in SCALES]
    left = [
        arch
        for arch in found
        if groups in (None, arch.groups) and variant in (None, arch.variant) and scale in (None, arch.scale)
    ]
    if not left:
        wishes = {"family": family, "groups": groups, "variant": variant, "scale": scale}
        said = ", ".join(f"{name} {value}" for name, value in wishes.items() if value is not None)
        raise OptionError("--compare", said, "no such network was published", "leave one of these options out")
    return left


def compare(networks: Sequence[AnyArchitecture], costs: NetworkCosts, targets: Sequence[str]) -> list[ComparedNetwork]:
    """A line for each network."""
    return [
        ComparedNetwork(
            arch,
            complexity(arch),
            published_macs(arch),
            published_params(arch),
            published_accuracy(arch),
            published_phone_ms(arch),
            tuple(costs.find(arch, target) for target in targets),
        )
        for arch in networks
    ]


def heads(targets: Sequence[str]) -> list[str]:
    """Titles of the columns, of two lines."""
    names = ["\nvariant", "\nwidth", "\ng", "conv\nMACs", "\npubl.", "\nparams", "\npubl.", "top-1\npubl."]
    for target in targets:
        names += [f"{target}\ninstr.", "est.\nms"]
    return [*names, "phone\nms"]


def cells(line: ComparedNetwork) -> list[str]:
    """A line as text; MACs, parameters and instructions in millions. What is not known is empty."""
    arch, count = line.architecture, line.count
    variant = arch.variant if arch.groups is not None else f"V2 {arch.variant}"
    found = [variant, f"{arch.scale:g}x", "" if arch.groups is None else str(arch.groups)]
    # ShuffleNet-Series counts the classifier, the papers do not.
    with_classifier = line.macs_published is not None and line.macs_published[1] == "ShuffleNet-Series"
    found.append(f"{count.conv_macs / 1e6:.1f}")
    found.append("" if line.macs_published is None else f"{line.macs_published[0]}{'*' if with_classifier else ''}")
    found += [f"{count.params / 1e6:.2f}", "" if line.params_published is None else f"{line.params_published:.3g}"]
    found.append("" if line.accuracy is None else f"{100 * line.accuracy.top1:.1f}")
    for cost in line.costs:
        if cost is None:
            found += ["", ""]
        elif cost.instructions is None:
            found += ["fails", ""]
        else:
            found += [f"{cost.instructions / 1e6:.1f}", f"{cost.milliseconds:.1f}"]
    return [*found, "" if line.phone_ms is None else f"{line.phone_ms:.1f}"]


def notes(lines: Sequence[ComparedNetwork], targets: Sequence[str]) -> list[str]:
    """What the columns are, and why a network did not run."""
    said = [
        "In millions: multiply-accumulates (MACs) of the convolutions, with * of the classifier too; parameters; "
        "instructions."
    ]
    known = [cost for line in lines for cost in line.costs if cost is not None]
    cores = {cost.target: cost.core for cost in known}
    if known:
        boards = ", ".join(f"{name} ({cores[name]})" for name in targets if name in cores)
        said.append(f"{boards}: {METHOD} An empty cell was not measured.")
    else:
        said.append(f"{', '.join(targets)}: not measured; --measure does it.")
    said.append(
        "top-1 in per cent on ImageNet, float, as published: the paper's tables 2 and 5, ShuffleNet-Series, mindcv, "
        "torchvision."
    )
    said.append(f"phone: {PHONE}, measured by its authors.")
    said += [
        f"{cost.architecture} on {cost.target} does not run: {cost.reason}"
        for cost in known
        if cost.instructions is None
    ]
    return said


def markdown(lines: Sequence[ComparedNetwork], targets: Sequence[str]) -> str:
    """The table as GitHub Markdown."""
    names = [name.replace("\n", " ").strip() for name in heads(targets)]
    rows = [names, ["---", *["---:"] * (len(names) - 1)], *map(cells, lines)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"# {TITLE}\n\n{table}\n\n" + "\n".join(f"- {note}" for note in notes(lines, targets)) + "\n"
