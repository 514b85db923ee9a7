"""`shufflec models`: what each network costs, beside what was published for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, stdout_console

if TYPE_CHECKING:
    from rich.table import Table

    from shufflec.models.architecture import Architecture
    from shufflec.models.complexity import Complexity

_NOTE = """\
conv MACs leave the classifier out, as the paper's table 1 does; MACs count it,
as ShuffleNet-Series does. params: weights, biases, scale and shift of the batch
norms. published: MACs / params, from that table and ShuffleNet-Series."""


def models_command(
    groups: Annotated[int | None, typer.Option(help="Only this number of groups: 1, 2, 3, 4 or 8.")] = None,
    variant: Annotated[str | None, typer.Option(metavar="paper|megvii|mindcv", help="Only this variant.")] = None,
    scale: Annotated[float, typer.Option(help="Of the channel counts, 0.25 to 2.")] = 1.0,
    input_size: Annotated[str, typer.Option(metavar="N|HxW", help="Input pixels, 32 up.")] = "224",
    classes: Annotated[int, typer.Option(help="Of the classifier.")] = 1000,
    layers: Annotated[bool, typer.Option("--layers", help="Every layer (with --groups and --variant).")] = False,
    json: JsonOption = False,
) -> None:
    """List ShuffleNetV1's variants with their multiply-accumulates (MACs) and parameters.

    paper is the network of arXiv 1707.01083, megvii that of megvii-model/ShuffleNet-Series, mindcv that of
    mindspore-lab/mindcv: they differ in where and how channels are shuffled, in the padding of their pools, in the
    stem and in the classifier's bias, so a checkpoint is only right under its own.

    Examples:

        shufflec models

        shufflec models --groups 3 --variant megvii --scale 0.5 --layers
    """
    from shufflec.errors import OptionError
    from shufflec.models.architecture import GROUPS, VARIANTS, Architecture, parse_input_size
    from shufflec.models.complexity import complexity

    if layers and (groups is None or variant is None):
        raise OptionError("--layers", "", "shows one network: give --groups and --variant too")
    size = parse_input_size(input_size)
    variants = VARIANTS if variant is None else (variant,)
    all_groups = GROUPS if groups is None else (groups,)
    networks = [Architecture(g, scale, name, classes, size) for name in variants for g in all_groups]
    counted = [(arch, complexity(arch)) for arch in networks]
    if json:
        emit_json({"models": [_entry(arch, count, layers) for arch, count in counted]})
        return
    console = stdout_console()
    console.print(_table(counted, scale, size, classes))
    if layers:
        console.print(_layer_table(counted[0][1]))
    console.print(_NOTE)


def _entry(arch: Architecture, count: Complexity, layers: bool) -> dict[str, object]:
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


def _table(counted: list[tuple[Architecture, Complexity]], scale: float, size: tuple[int, int], classes: int) -> Table:
    from rich import box
    from rich.table import Table

    from shufflec.models.complexity import published_macs, published_params

    title = f"ShuffleNetV1 {scale:g}x, {size[0]}x{size[1]}, {classes} classes; in millions"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name, justify in (
        ("variant", "left"),
        ("groups", "right"),
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
            str(arch.groups),
            "/".join(map(str, (arch.stem, *arch.stage_channels))),
            f"{count.conv_macs / 1e6:.1f}",
            f"{count.macs / 1e6:.1f}",
            f"{count.params / 1e6:.3f}",
            " / ".join([*told, str(params)] if params else told),
            end_section=arch.groups == 8,
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
