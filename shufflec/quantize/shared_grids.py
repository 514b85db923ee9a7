"""The grids of quantizers: read, joined, and shared where ShuffleNetV2 carries channels past its units."""

from __future__ import annotations

import numpy as np
import onnx

from shufflec.quantize.onnx_graph import MOVES, GraphEditor


def share_grids(editor: GraphEditor) -> int:
    """Gives the quantizers of all tensors whose channels meet in Concats one grid, the widest, where slices follow.

    ShuffleNetV2 carries half of the channels past each unit: with one grid they are never rounded again, nor copied.
    Returns the number of groups of quantizers that share one.
    """
    joined: dict[str, set[str]] = {}
    for concat in [node for node in editor.graph.node if node.op_type == "Concat"]:
        sources = set().union(*(quantizers_of(editor, name) for name in concat.input))
        for group in {id(joined[name]): joined[name] for name in sources if name in joined}.values():
            sources |= group
        joined.update(dict.fromkeys(sources, sources))
    slices = [node for node in editor.graph.node if node.op_type in ("Slice", "Split")]
    sliced = set().union(*(quantizers_of(editor, node.input[0]) for node in slices))
    shared = 0
    quantizers = {node.name: node for node in editor.graph.node if node.op_type == "QuantizeLinear"}
    for group in {id(names): names for names in joined.values()}.values():
        members = [quantizers[name] for name in sorted(group)]
        grids = [grid_of(editor, node) for node in members]
        if not group & sliced or any(scale.ndim != 0 or zero.any() for scale, zero in grids):
            continue
        scale, zero = joint_grid(grids)
        scale_name = editor.add_initializer(f"shared_scale_{shared}", scale)
        zero_name = editor.add_initializer(f"shared_zero_point_{shared}", zero)
        for node in members:
            for reader in (node, *editor.consumers[node.output[0]]):
                reader.input[1], reader.input[2] = scale_name, zero_name
        editor.reindex()
        shared += 1
    return shared


def quantizers_of(editor: GraphEditor, tensor: str) -> set[str]:
    """Names of the Q nodes whose values `tensor` holds, moved and joined but not computed with."""
    node = editor.producer(tensor)
    if node is None:
        return set()
    if node.op_type == "DequantizeLinear":
        quantize = editor.producer(node.input[0], "QuantizeLinear")
        return {quantize.name} if quantize is not None else set()
    if node.op_type in MOVES:
        return quantizers_of(editor, node.input[0])
    if node.op_type == "Concat":
        return set().union(*(quantizers_of(editor, name) for name in node.input))
    return set()


def grid_of(editor: GraphEditor, quantize: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
    """Scale (float32) and zero point (int8 or uint8) of a Q that NNCF wrote, so that both are constants."""
    return editor.constant(quantize.input[1]), editor.constant(quantize.input[2])


def joint_grid(grids: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """One symmetric grid that covers all: int8 when any is int8, else uint8."""
    signed = any(zero.dtype == np.int8 for _, zero in grids)
    reach = max(float(scale) * (127 if zero.dtype == np.int8 else 255) for scale, zero in grids)
    same = {float(scale) for scale, _ in grids if float(scale) * 255 == reach}
    scale = reach / 127 if signed else (same.pop() if same else reach / 255)
    return np.array(scale, np.float32), np.array(0, np.int8 if signed else np.uint8)
