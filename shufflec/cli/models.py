"""`shufflec models`: what each network costs, beside what was published for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, stdout_console

if TYPE_CHECKING:
    from rich.table import Table

    from shufflec.models.complexity import Complexity
    from shufflec.models.families import AnyArchitecture

_NOTE = """\
conv MACs leave the classifier out, as the paper's table 1 does; MACs count it,
as ShuffleNet-Series does. params: weights, biases, scale and shift of the batch
norms. published: MACs / params, from that table and ShuffleNet-Series; of V2
conv MACs of its paper's table 8, params of torchvision."""


def models_command(
    family: Annotated[
        str | None, typer.Option(metavar="v1|v2", help="ShuffleNetV1 or V2. Default: v1, or both with --compare.")
    ] = None,
    groups: Annotated[int | None, typer.Option(help="V1: only this number of groups: 1, 2, 3, 4 or 8.")] = None,
    variant: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this one. V1: paper, megvii, mindcv; V2: torchvision, megvii."),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Of the channel counts. V1: 0.25 to 2, default 1; V2: 0.5, 1, 1.5 or 2, default all."),
    ] = None,
    input_size: Annotated[str, typer.Option(metavar="N|HxW", help="Input pixels, 32 up.")] = "224",
    classes: Annotated[int, typer.Option(help="Of the classifier.")] = 1000,
    layers: Annotated[bool, typer.Option("--layers", help="Every layer of one network.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Every published network with its accuracy, and what ours costs.")
    ] = False,
    targets: Annotated[
        str | None, typer.Option("--targets", metavar="NAMES", help="With --compare: boards. Default: rasp4,rasp5.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --compare: measure them on the virtual boards (minutes each).")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="With --measure: write models.json and models.md there."),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="With -o: keep what DIR/models.json has of other networks and boards.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List ShuffleNet's variants with their multiply-accumulates (MACs) and parameters.

    paper is the network of arXiv 1707.01083, megvii that of megvii-model/ShuffleNet-Series, mindcv that of
    mindspore-lab/mindcv: they differ in where and how channels are shuffled, in the padding of their pools, in the
    stem and in the classifier's bias, so a checkpoint is only right under its own. torchvision and megvii are the two
    forms of ShuffleNetV2 (arXiv 1807.11164).

    Examples:

        shufflec models

        shufflec models --family v2

        shufflec models --groups 3 --variant megvii --scale 0.5 --layers

        shufflec models --compare --scale 1
    """
    from shufflec.errors import OptionError
    from shufflec.models.complexity import complexity

    if compare:
        from shufflec.cli.models_compare import show_comparison
        from shufflec.models.architecture import parse_input_size
        from shufflec.reports.models_compare import published_networks

        if layers:
            raise OptionError("--layers", "", "shows one network, --compare all of them", "leave one of the two out")
        if (output or add) and not measure:
            raise OptionError("--output" if output else "--add", output or "", "needs --measure")
        published = published_networks(family, groups, variant, scale, parse_input_size(input_size))
        show_comparison(published, targets or "rasp4,rasp5", measure, output, add, json)
        return
    for name, value in (("--targets", targets), ("--measure", measure), ("--output", output), ("--add", add)):
        if value:
            raise OptionError(name, "" if value is True else value, "needs --compare")
    networks = _networks(family or "v1", groups, variant, scale, input_size, classes)
    if layers and len(networks) > 1:
        needed = "--groups and --variant" if family != "v2" else "--scale and --variant"
        raise OptionError("--layers", "", f"shows one network: give {needed} too")
    counted = [(arch, complexity(arch)) for arch in networks]
    if json:
        emit_json({"models": [_entry(arch, count, layers) for arch, count in counted]})
        return
    console = stdout_console()
    console.print(_table(counted))
    if layers:
        console.print(_layer_table(counted[0][1]))
    console.print(_NOTE)


def _networks(
    family: str, groups: int | None, variant: str | None, scale: float | None, input_size: str, classes: int
) -> list[AnyArchitecture]:
    from shufflec.errors import OptionError
    from shufflec.models.architecture import GROUPS, VARIANTS, Architecture, parse_input_size
    from shufflec.models.architecture_v2 import SCALES, VARIANTS_V2, ArchitectureV2

    size = parse_input_size(input_size)
    if family == "v2":
        if groups is not None:
            raise OptionError("--groups", groups, "ShuffleNetV2 has no groups", "leave the option out")
        variants, scales = ([variant] if variant else VARIANTS_V2), ([scale] if scale else SCALES)
        return [ArchitectureV2(width, name, classes, size) for name in variants for width in scales]
    if family != "v1":
        raise OptionError("--family", family, "expected v1 or v2")
    variants, counts = ([variant] if variant else VARIANTS), ([groups] if groups is not None else GROUPS)
    return [Architecture(g, scale or 1.0, name, classes, size) for name in variants for g in counts]


def _entry(arch: AnyArchitecture, count: Complexity, layers: bool) -> dict[str, object]:
    from shufflec.models.complexity import published_macs, published_params

    published = published_macs(arch)
    entry = {
        **arch.to_dict(),
        "stem": arch.stem,
        "stage_channels": list(arch.stage_channels),
        "shuffles": arch.shuffle_count,
        "macs": count.macs,
        "conv_macs": count.conv_macs,
        "params": count.params,
        "published_mmacs": published[0] if published else None,
        "published_mparams": published_params(arch),
        "published_by": published[1] if published else None,
    }
    return {**entry, "layers": count.to_dict()["layers"]} if layers else entry


def _table(counted: list[tuple[AnyArchitecture, Complexity]]) -> Table:
    from rich import box
    from rich.table import Table

    from shufflec.models.complexity import published_macs, published_params

    first = counted[0][0]
    height, width = first.input_size
    is_v1 = first.groups is not None
    network = f"ShuffleNetV1 {first.scale:g}x" if is_v1 else "ShuffleNetV2"
    title = f"{network}, {height}x{width}, {first.classes} classes; in millions"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name, justify in (
        ("variant", "left"),
        ("groups" if is_v1 else "width", "right"),
        ("channels", "left"),
        ("conv MACs", "right"),
        ("MACs", "right"),
        ("params", "right"),
        ("published", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)
    for arch, count in counted:
        published, params = published_macs(arch), published_params(arch)
        told = [str(published[0])] if published else []
        table.add_row(
            arch.variant,
            str(arch.groups) if is_v1 else f"{arch.scale:g}x",
            "/".join(map(str, (arch.stem, *arch.stage_channels))),
            f"{count.conv_macs / 1e6:.1f}",
            f"{count.macs / 1e6:.1f}",
            f"{count.params / 1e6:.3f}",
            " / ".join([*told, f"{params:.3g}"] if params else told),
            end_section=arch.groups == 8 or (not is_v1 and arch.scale == 2.0),
        )
    return table


def _layer_table(count: Complexity) -> Table:
    from rich.table import Table

    table = Table()
    for name, justify in (
        ("layer", "left"),
        ("kind", "left"),
        ("output", "left"),
        ("MACs", "right"),
        ("params", "right"),
    ):
        table.add_column(name, justify=justify)
    for layer in count.layers:
        shape = "x".join(map(str, layer.output_shape))
        table.add_row(layer.name, layer.kind, shape, f"{layer.macs:,}", f"{layer.params:,}")
    return table
