"""Convolutions that were cut by who reads their channels (ir/passes/route_channels.py), put together again as one call.

    before   a.part0 = conv2d(x); a.part1 = conv2d(x); ...     each a slice of another concat
    after    one kernel that computes every channel of `a` and writes each part to its place

A piece of one or two channels costs as much as one of four, and each reads the whole input.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from shufflec.ir.graph import Graph, Op

_SHARED = "pad_value"  # of the input's channels; the other constants are of the output's


@dataclass(frozen=True)
class JoinedPieces:
    """op: the convolution of all channels, the pieces' one after the other; its output is no tensor of the graph."""

    op: Op
    pieces: tuple[Op, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of each piece."""
        return tuple(len(piece.constants["weight"]) for piece in self.pieces)


def joined_pieces(graph: Graph, slices: Collection[str]) -> dict[str, JoinedPieces]:
    """Runs of dense 1x1 convolutions that differ in their output channels alone, by the name of the first.

    slices: the tensors that are written straight into a concat; only such are put together.
    """
    found = {}
    for alike, run in groupby(graph.ops, lambda op: _likeness(op) if op.output in slices else None):
        pieces = tuple(run)
        if alike is not None and len(pieces) > 1:
            found[pieces[0].name] = JoinedPieces(_joined(pieces), pieces)
    return found


def _likeness(op: Op) -> tuple | None:
    """What pieces of one convolution have in common; None for an operator that is no such piece."""
    if op.kind != "conv2d" or len(op.inputs) != 1 or op.constants["weight"].shape[1:3] != (1, 1):
        return None
    plain = {"groups": 1, "stride": (1, 1), "pad": (0, 0, 0, 0), "shuffle_rows": 1}
    if any(op.attrs.get(name, value) != value for name, value in plain.items()):
        return None
    return op.inputs, tuple(sorted(op.attrs.items())), tuple(sorted(op.constants))


def _joined(pieces: tuple[Op, ...]) -> Op:
    first = pieces[0]
    constants = {
        name: value if name == _SHARED else np.concatenate([piece.constants[name] for piece in pieces])
        for name, value in first.constants.items()
    }
    name = first.name.removesuffix(".part0")
    return replace(first, name=name, output=name, constants=constants)
