"""What `shufflec eval` prints: the line of the published tables, the confusion matrix, the stages side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from shufflec.models.families import AnyArchitecture
    from shufflec.models.published_accuracy import PublishedAccuracy
    from shufflec.profiling.stages import StageComparison
    from shufflec.training.evaluate import Metrics


def published(
    architecture: AnyArchitecture | None, class_names: Sequence[str], int8: bool
) -> tuple[PublishedAccuracy | None, str]:
    """The published accuracy to stand beside a measured one, or None and why there is none, one sentence."""
    from shufflec.models.published_accuracy import is_imagenet, published_accuracy

    if not is_imagenet(class_names):
        return None, "Accuracies are published for ImageNet's 1000 classes only, so none stands beside this one."
    if architecture is None:
        return None, "The network is none that shufflec knows, so no published accuracy stands beside this one."
    found = published_accuracy(architecture, int8)
    return found, "" if found else f"Nobody published an accuracy of this network, {architecture}."


def published_entry(found: PublishedAccuracy | None, reason: str) -> dict[str, object]:
    """For --json."""
    if found is None:
        return {"published": None, "published_missing": reason}
    top5 = None if found.top5 is None else {"top5": found.top5, "top5_error": 1 - found.top5}
    value = {"top1": found.top1, "top1_error": 1 - found.top1, **(top5 or {}), "source": found.source}
    return {"published": value | {"int8": found.int8}}


def network_entry(architecture: AnyArchitecture | None) -> dict[str, object]:
    """Groups, scale and parameters for --json; None for a network that shufflec did not build."""
    from shufflec.models.complexity import complexity

    if architecture is None:
        return {"groups": None, "scale": None, "variant": None, "params": None}
    params = complexity(architecture).params
    return {
        "groups": architecture.groups,
        "scale": architecture.scale,
        "variant": architecture.variant,
        "params": params,
    }


def accuracy_table(
    title: str,
    architecture: AnyArchitecture | None,
    rows: Sequence[tuple[str, int | None, float, float | None]],
) -> Table:
    """As mindcv's and ShuffleNet-Series' tables have it. rows: (what, images, top-1, top-5), fractions."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    entry = network_entry(architecture)
    known = ["groups", "width", "M params"] if architecture is not None else []
    names = ["model", *known, "top-1", "top-5", "top-1 err", "top-5 err", "images"]
    for name in names:
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=name == "model")
    for what, images, top1, top5 in rows:
        network = []
        if architecture is not None:
            groups = "-" if entry["groups"] is None else str(entry["groups"])
            network = [groups, f"{entry['scale']:g}x", f"{entry['params'] / 1e6:.2f}"]
        rates = [top1, top5, 1 - top1, None if top5 is None else 1 - top5]
        cells = ["-" if rate is None else f"{100 * rate:.2f}" for rate in rates]
        table.add_row(Text(what), *network, *cells, "-" if images is None else f"{images:,}")
    return table


def confusion_table(class_names: Sequence[str], metrics: Metrics) -> Table:
    """Counts, the true class down and the predicted one across."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Confusion: true class down, predicted class across", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in class_names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for true, (name, row) in enumerate(zip(class_names, metrics.confusion, strict=True)):
        cells = [Text(str(count), _style(true == predicted, count)) for predicted, count in enumerate(row)]
        table.add_row(Text(name), *cells)
    return table


def stages_table(title: str, found: StageComparison) -> Table:
    """A column a stage."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for stage in found.stages:
        table.add_column(Text(f"{stage.name}\n{stage.engine}"), justify="right")
    most = max(stage.images for stage in found.stages)

    def row(name: str, cell) -> None:
        table.add_row(name, *("-" if stage.missing else cell(stage) for stage in found.stages))

    row("images", lambda stage: f"{stage.images:,}" + (f" of {most:,}" if stage.images < most else ""))
    row("top-1", lambda stage: f"{stage.top1:.2%}")
    row("top-5", lambda stage: f"{stage.top5:.2%}")
    if any(0 < stage.images < most for stage in found.stages):
        row(f"top-1, same {found.common:,} images", lambda stage: f"{stage.common_top1:.2%}")
    row("top-1 as on the left", lambda stage: "" if stage.agreement is None else f"{stage.agreement:.2%}")
    bits = f"{found.equal:,} of {found.compared:,}" if found.compared else "-"
    cells = [bits if index == len(found.stages) - 1 else "" for index in range(len(found.stages))]
    table.add_row("logits equal in bits", *cells)
    return table


def stages_notes(found: StageComparison) -> list[str]:
    """What the table leaves out, one sentence each."""
    notes = [f"No {stage.name}: {stage.missing}." for stage in found.stages if stage.missing]
    most = max(stage.images for stage in found.stages)
    fewer = [stage for stage in found.stages if 0 < stage.images < most]
    if fewer:
        names = " and ".join(stage.name for stage in fewer)
        count = f"{fewer[0].images:,} of {most:,} images, at equal distances"
        notes.append(f"{names[0].upper()}{names[1:]}: {count}; --images takes more or fewer.")
    return notes


def _style(on_diagonal: bool, count: int) -> str:
    if count == 0:
        return "dim"
    return "green" if on_diagonal else "bold red"
