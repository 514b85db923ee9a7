"""ONNX files that other tools wrote: told apart, brought to our form, integers within a step of ONNX Runtime."""

from __future__ import annotations

import lzma
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from shufflec.ir.compare import Comparison, OnnxRuntimeModel
from shufflec.ir.pipeline import lower
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.identify import SURE, TOLD, UNKNOWN, identify
from shufflec.quantize.inspect import load_onnx
from shufflec.quantize.islands import merge_moves
from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.prepare import load_float, prepare_model

HERE = Path(__file__).parent
SIZE = 32


def _images(count, seed=0):
    return [np.random.default_rng(seed + i).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32) for i in range(count)]


class _Reader(CalibrationDataReader):
    def __init__(self):
        self.items = iter({"input": image} for image in _images(4))

    def get_next(self):
        return next(self.items, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    for name in ("paper_g3_dynamo.onnx", "paper_g3_pt2e.onnx"):
        (folder / name).write_bytes(lzma.decompress((HERE / f"{name}.xz").read_bytes()))
    return folder


def _scripted(folder, variant, groups):
    """The network as torch's TorchScript exporter writes it, and the network. groups None: ShuffleNetV2."""
    path = folder / f"{variant}_g{groups}.onnx"
    v1 = groups is not None
    arch = Architecture(groups, 0.25, variant, 10, SIZE) if v1 else ArchitectureV2(0.5, variant, 10, SIZE)
    model = random_checkpoint(arch).build()
    if not path.is_file():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                (torch.zeros(1, 3, SIZE, SIZE),),
                path,
                dynamo=False,
                opset_version=17,
                input_names=["input"],
                output_names=["logits"],
            )
    return path, model


def _logits(model, x):
    return next(iter(OnnxRuntimeModel(model).run(x).values()))


@pytest.mark.parametrize(
    ("variant", "groups"), [("paper", 1), ("paper", 3), ("megvii", 8), ("mindcv", 1), ("mindcv", 3), ("mindcv", 4)]
)
def test_a_torchscript_export_is_recognized_and_keeps_its_logits(folder, variant, groups):
    path, model = _scripted(folder, variant, groups)
    identity = identify(path)
    assert (identity.architecture.variant, identity.architecture.groups) == (variant, groups)
    assert (identity.architecture.scale, identity.certainty, identity.kind) == (0.25, TOLD, "float")
    assert identity.preprocessing.channel_order == ("BGR" if variant == "megvii" else "RGB")
    assert not identity.preprocessing_known
    x = _images(1, 9)[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(_logits(load_float(path).model, x), expected, atol=1e-4)


@pytest.mark.parametrize("variant", ["torchvision", "megvii"])
def test_a_shufflenet_v2_is_recognized_and_nothing_is_moved(folder, variant):
    path, model = _scripted(folder, variant, None)
    assert identify(path).architecture == ArchitectureV2(0.5, variant, 10, SIZE)
    x = _images(1, 9)[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    prepared = prepare_model(path, data="digits", samples=4, use_cache=False)
    np.testing.assert_allclose(_logits(prepared.float_model, x), expected, atol=1e-4 * np.abs(expected).max())
    lowered = lower(prepared.model)
    assert lowered.shuffle["copies_left"] == 0
    assert not {"channel_slice", "channel_shuffle"} & {op.kind for op in lowered.graph.ops}
    _differs_by_a_step_at_most(prepared)


def test_a_dynamo_export_is_recognized_and_folds_every_shuffle(folder):
    path = folder / "paper_g3_dynamo.onnx"
    arch = identify(path).architecture
    assert (arch.variant, arch.groups, arch.scale, arch.classes) == ("paper", 3, 0.25, 10)
    x = _images(1, 9)[0]
    assert any(node.op_type == "ReduceMean" for node in load_onnx(path).graph.node)
    np.testing.assert_allclose(_logits(load_float(path).model, x), _logits(load_onnx(path), x), atol=1e-4)
    shuffle = lower(prepare_model(path, data="digits", samples=4, use_cache=False).model).shuffle
    assert shuffle == {"found": 15, "folded": 15, "copies_left": 0}


def _differs_by_a_step_at_most(prepared):
    comparison = Comparison(prepared.model)
    found = [item for x in _images(2, 5) for item in comparison.differences(x)]
    assert len(found) > 100
    assert max(item.largest for item in found) <= 1


@pytest.mark.parametrize(("variant", "groups", "activations"), [("paper", 3, "QUInt8"), ("megvii", 8, "QInt8")])
def test_onnx_runtimes_quantizer_is_taken_as_it_is(folder, variant, groups, activations):
    path, _ = _scripted(folder, variant, groups)
    output = folder / f"{variant}_{activations}.onnx"
    quantize_static(
        path,
        output,
        _Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=getattr(QuantType, activations),
    )
    assert identify(output).architecture.variant == variant
    prepared = prepare_model(output)
    x = _images(1, 7)[0]
    assert np.array_equal(_logits(prepared.model, x), _logits(load_onnx(output), x))
    assert lower(prepared.model).shuffle["copies_left"] == 0
    _differs_by_a_step_at_most(prepared)


def test_torchs_pt2e_quantizer_is_taken_as_it_is(folder):
    path = folder / "paper_g3_pt2e.onnx"
    identity = identify(path)
    assert (identity.kind, identity.architecture.variant, identity.architecture.groups) == ("qdq", "paper", 3)
    prepared = prepare_model(path)
    x = _images(1, 7)[0]
    assert np.array_equal(_logits(prepared.model, x), _logits(load_onnx(path), x))
    assert lower(prepared.model).shuffle == {"found": 15, "folded": 15, "copies_left": 0}
    _differs_by_a_step_at_most(prepared)


def test_a_quantizer_of_another_grid_behind_a_move_stays(folder):
    model = load_onnx(folder / "paper_g3_pt2e.onnx")
    editor = GraphEditor(model.graph)
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    quantize = editor.only_consumer(reshape.output[0])
    other = editor.add_initializer("another_scale", editor.constant(quantize.input[1]) * np.float32(2))
    quantize.input[1] = editor.only_consumer(quantize.output[0]).input[1] = other
    merge_moves(editor)
    assert any(node.op_type == "QuantizeLinear" and node.input[1] == other for node in model.graph.node)


def test_what_is_no_shufflenet_is_unknown_and_says_so(tmp_path):
    weight = helper.make_tensor("w", onnx.TensorProto.FLOAT, [4, 3, 1, 1], [0.5] * 12)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["y"]),
            helper.make_node("GlobalAveragePool", ["y"], ["p"]),
            helper.make_node("Flatten", ["p"], ["z"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 40, 48])],
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 4])],
        [weight],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    identity = identify(path)
    assert (identity.architecture, identity.certainty, identity.classes) == (None, UNKNOWN, 4)
    assert identity.preprocessing.input_size == (40, 48)


def test_a_file_of_our_own_is_sure(tmp_path):
    prepared = prepare_model(random_checkpoint(Architecture(3, 0.25, "paper", 4, SIZE)), use_cache=False)
    path = tmp_path / "own.onnx"
    onnx.save(prepared.model, path)
    identity = identify(path)
    assert (identity.certainty, identity.kind, identity.preprocessing_known) == (SURE, "qdq", True)
    assert identity.to_dict()["architecture"]["groups"] == 3
