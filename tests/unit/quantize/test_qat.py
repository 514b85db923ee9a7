"""Training with quantizers in place: the torch network is the QDQ graph, what is trained goes back to it, and helps."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
import torch
from tiny_network import CLASSES, SIZE, tiny_network

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import OptionError, UnsupportedModelError
from shufflec.ir.compare import Comparison
from shufflec.ir.pipeline import lower
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.ptq import equalized_model, quantize_model
from shufflec.quantize.qat.network import OnnxNetwork, write_back
from shufflec.quantize.qat.quantizer import GridQuantizer
from shufflec.quantize.qat.training import QatRecipe, fine_tune
from shufflec.quantize.settings import PtqSettings

OUTLIER = 2048.0
PREPROCESSING = Preprocessing((SIZE, SIZE))


@cache
def pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (64, SIZE, SIZE, 3), dtype=np.uint8)


def dataset() -> Dataset:
    return Dataset("set", [str(index) for index in range(CLASSES)], np.arange(64) % CLASSES, lambda i: pixels()[i])


@cache
def inputs() -> np.ndarray:
    return np.concatenate([batch for batch, _ in dataset().batches(PREPROCESSING, 64)])


@cache
def models(outlier: float = OUTLIER, preset: str = "symmetric") -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """(quantized, float as it was rounded). Callers must not change them."""
    settings, model = PtqSettings(preset=preset), tiny_network(outlier=outlier)
    return quantize_model(model, [inputs()[:16]], None, settings), equalized_model(model, [inputs()[:16]], settings)


def tuned(epochs: int = 1, **options) -> onnx.ModelProto:
    quantized, source = models()
    recipe = QatRecipe(epochs=epochs, batch_size=8, lr=0.1, scale_lr=0.03)
    return fine_tune(quantized, source, dataset(), PREPROCESSING, recipe, **options)


def divergence(model: onnx.ModelProto) -> float:
    """Of the class probabilities from the float network's."""
    wanted = torch.log_softmax(torch.from_numpy(predictor(models()[1])(inputs())), 1)
    said = torch.log_softmax(torch.from_numpy(predictor(model)(inputs())), 1)
    return float(torch.nn.functional.kl_div(said, wanted, reduction="batchmean", log_target=True))


def test_the_torch_network_computes_what_the_graph_does():
    quantized, source = models(1.0)
    batch = torch.from_numpy(inputs()[:16])
    with torch.no_grad():
        student, teacher = OnnxNetwork(quantized, source)(batch).numpy(), OnnxNetwork(source)(batch).numpy()
    assert np.allclose(teacher, predictor(source)(inputs()[:16]), atol=1e-5)
    rounding = np.abs(predictor(quantized)(inputs()[:16]) - teacher).max()
    # Where a sum lies on the border of two codes, torch and ONNX Runtime may take one each.
    assert np.abs(student - predictor(quantized)(inputs()[:16])).max() < 0.3 * rounding
    assert np.abs(student - predictor(quantized)(inputs()[:16])).mean() < 0.02 * rounding


def test_untrained_network_goes_back_as_it_came():
    quantized, source = models()
    again = onnx.ModelProto()
    again.CopyFrom(quantized)
    write_back(again, OnnxNetwork(quantized, source))
    before, after = GraphEditor(quantized.graph), GraphEditor(again.graph)
    for name in before.initializers:
        old, new = before.constant(name), after.constant(name)
        assert old.dtype == new.dtype and old.shape == new.shape, name
        assert np.allclose(old, new, rtol=1e-5, atol=1.01 if old.dtype == np.int8 else 1e-7), name


def test_training_brings_back_what_rounding_lost_and_the_result_lowers_to_integers():
    quantized, _ = models()
    model = tuned(8)
    assert divergence(model) < 0.5 * divergence(quantized)
    lower(model)
    comparison = Comparison(model)
    differences = [item for image in inputs()[:2] for item in comparison.differences(image[None])]
    assert len(differences) == 2 * len(comparison.quantized) > 20
    assert max(item.largest for item in differences) == 1  # as for any model: some sums lie between two codes
    assert [node.op_type for node in model.graph.node] == [node.op_type for node in quantized.graph.node]


def test_grids_stay_of_the_form_that_integers_need():
    model = tuned()
    editor, before = GraphEditor(model.graph), GraphEditor(models()[0].graph)
    moved = 0
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = editor.constant(node.input[1])
            assert not editor.constant(node.input[2]).any()
            assert scale.shape == before.constant(node.input[1]).shape and (scale > 0).all()
            moved += int(not np.allclose(scale, before.constant(node.input[1]), rtol=1e-3))
        if node.op_type in ("Conv", "Gemm"):
            dequantize = editor.producers[node.input[1]]
            codes = editor.constant(dequantize.input[0])
            assert codes.dtype == np.int8 and codes.min() >= -127
            assert editor.constant(dequantize.input[1]).shape == (len(codes),)
    assert moved > 20
    # What is joined, moved past a unit and read again has one grid, as it had before.
    shared = [
        node.name
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[1].startswith("shared_scale")
    ]
    assert len(shared) == 2


def test_same_arguments_same_bytes_and_the_seed_decides():
    threads = torch.get_num_threads()
    first = tuned().SerializeToString(deterministic=True)
    assert tuned().SerializeToString(deterministic=True) == first
    assert tuned(seed=1).SerializeToString(deterministic=True) != first
    assert torch.get_num_threads() == threads


def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path):
    state = tmp_path / "model.onnx.training"

    class Stop(Exception):
        pass

    def stop_in_the_second_epoch(done, total, loss):
        if done == 12:
            raise Stop

    with pytest.raises(Stop):
        tuned(2, state_file=state, progress=stop_in_the_second_epoch)
    steps = []
    resumed = tuned(2, state_file=state, progress=lambda done, total, loss: steps.append((done, total)))
    assert steps[0] == (9, 16) and steps[-1] == (16, 16)
    assert resumed.SerializeToString() == tuned(2).SerializeToString()
    # A state of another run is no use, and does no harm.
    other = tuned(state_file=state)
    assert other.SerializeToString() == tuned().SerializeToString()


def test_augmentation_is_the_recipes_and_other_fields_are_ignored():
    plain = tuned().SerializeToString()
    assert tuned(augmentation={"lr": 7.0, "data": "x", "rotate": "much"}).SerializeToString() == plain
    assert tuned(augmentation={"flip": True}).SerializeToString() != plain


def test_gradients_of_a_grid():
    """Inside of the range the input's gradient passes, outside it is the step's (Esser et al. 2020, equation 3)."""
    grid = GridQuantizer(np.array(0.5, np.float32), signed=True, narrow=True, axis=0, ndim=1)
    x = torch.tensor([0.6, -0.3, 1000.0, -1000.0], requires_grad=True)
    y = grid(x)
    assert torch.allclose(y, torch.tensor([0.5, -0.5, 63.5, -63.5]))
    step = grid.step()
    (by_x,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert by_x.tolist() == [1.0, 1.0, 0.0, 0.0]
    parameter = next(item for item in grid.parameters() if item.requires_grad)
    weights = torch.tensor([1.0, 0.0, 10.0, 0.0])
    (by_log_step,) = torch.autograd.grad((grid(x) * weights).sum(), parameter)
    # d/ds of 0.6: round(1.2) - 1.2 = -0.2; of 1000: 127, ten times; times s for the logarithm.
    assert by_log_step.item() == pytest.approx((-0.2 + 1270.0) * step.item(), rel=1e-4)


@pytest.mark.parametrize(("dtype", "signed"), [(np.int8, True), (np.uint8, False)])
def test_codes_are_those_of_quantize_linear(dtype, signed):
    scale = np.float32(0.037)
    grid = GridQuantizer(np.array(scale), signed=signed, narrow=False, axis=0, ndim=1)
    x = np.linspace(-6, 11, 1001).astype(np.float32)
    info = np.iinfo(dtype)
    wanted = np.clip(np.rint(x / scale), info.min, info.max).astype(dtype)
    codes = grid.codes(torch.from_numpy(x))
    assert codes.dtype == dtype and (codes != wanted).mean() < 0.01


def test_what_cannot_be_trained_is_named():
    with pytest.raises(UnsupportedModelError, match="cannot be trained: its zero point is not 0"):
        OnnxNetwork(*models(1.0, "mixed"))
    model = tiny_network()
    next(node for node in model.graph.node if node.name == "b.relu2").op_type = "Sigmoid"
    with pytest.raises(UnsupportedModelError, match=r"Sigmoid node b\.relu2 cannot be trained"):
        OnnxNetwork(model)
    with pytest.raises(OptionError, match="epochs 0: expected 1 to 10000"):
        QatRecipe(epochs=0)
