from __future__ import annotations

import numpy as np
import pytest
from fake_device import FakeBundle, FakeSession

from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import DeviceError, InputFileError, OptionError, WrongResultError
from shufflec.ir import reference
from shufflec.profiling.inputs import seeded_inputs
from shufflec.profiling.predict import open_predictor, top_classes
from shufflec.profiling.profile import Figure, profile_bundle
from shufflec.timing.estimate import Estimate

PARTS = Estimate(1.0, 0.0, 0.0, 0.0, 0, 0, 0)
INPUTS = seeded_inputs(Preprocessing((4, 4)), 3)


def test_a_simulated_profile_runs_once_and_adds_up():
    session = FakeSession()
    profile = profile_bundle(FakeBundle(), session, INPUTS, repeats=9)
    assert (profile.kind, profile.threads, profile.repeats, profile.inputs) == ("simulated", 2, 1, 3)
    assert profile.whole.milliseconds == 10
    assert profile.whole.instructions == {"load": 6000, "scalar": 4000}
    assert [layer.total for layer in profile.layers] == [1000, 5000, 3000, 1000]
    assert profile.layer_sum_difference == 0
    assert profile.shares == (0.1, 0.5, 0.3, 0.1)


def test_layers_are_called_in_order_after_the_input():
    session = FakeSession()
    profile_bundle(FakeBundle(), session, INPUTS)
    assert session.calls == [
        "upload net.so", "run", "run", "run", "layer_count", "run",
        "set_input", "layer_count", "layer 0", "layer 1", "layer 2", "layer 3",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["simulated", "measured"])
def test_the_cost_of_the_calls_is_taken_off(kind):
    profile = profile_bundle(FakeBundle(), FakeSession(kind, overhead=2.0), INPUTS, repeats=1)
    assert profile.whole.milliseconds == pytest.approx(10)
    assert [layer.milliseconds for layer in profile.layers] == pytest.approx([1, 5, 3, 1])
    assert profile.layer_sum_difference == pytest.approx(0)


def test_an_estimate_comes_with_its_parts_less_those_of_the_call():
    session = FakeSession(overhead=2.0, estimates=True)
    profile = profile_bundle(FakeBundle(), session, INPUTS)
    whole = profile.whole.estimate
    assert whole.compute_ns == pytest.approx(0.7 * 10e6)
    assert (whole.l1_load_misses, whole.l1_store_misses, whole.dram_lines) == (10**6, 500_000, 250_000)
    assert [layer.estimate.dram_ns for layer in profile.layers] == pytest.approx([1e5, 5e5, 3e5, 1e5])
    assert profile.shares == pytest.approx((0.1, 0.5, 0.3, 0.1))


def test_shares_of_an_estimate_are_of_time_not_of_instructions():
    layer = Figure(3.0, {"load": 10}, PARTS)
    assert layer.weight == 3.0
    assert Figure(3.0, {"load": 10}).weight == 10


def test_measured_time_is_the_median_of_interleaved_rounds():
    times = (10, 1, 5, 3, 1, 30, 1, 5, 9, 1, 12, 2, 5, 3, 1)
    session = FakeSession("measured", milliseconds=times)
    profile = profile_bundle(FakeBundle(), session, INPUTS, repeats=3)
    assert profile.whole.milliseconds == 12
    assert profile.whole.instructions is None
    assert [layer.milliseconds for layer in profile.layers] == [1, 5, 3, 1]
    assert profile.repeats == 3
    assert profile.layer_sum_difference == pytest.approx(10 / 12 - 1)
    assert sum(profile.shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (("q", "logits"), "layer quantize"),
        (("mean", "sums", "logits"), "layer pool"),
        (("logits",), "layer dequantize"),
    ],
)
def test_wrong_outputs_name_the_first_wrong_layer(wrong, name):
    with pytest.raises(WrongResultError) as caught:
        profile_bundle(FakeBundle(), FakeSession(wrong=wrong), INPUTS)
    assert f"input 0: {name} (" in caught.value.message
    assert "values, the first at (" in caught.value.message


def test_a_wrong_network_of_right_layers_is_said_to_be_so():
    with pytest.raises(WrongResultError, match="every layer alone equals the integer reference"):
        profile_bundle(FakeBundle(), FakeSession(wrong_whole=True), INPUTS)


@pytest.mark.parametrize("calls", range(1, 11))
def test_a_lost_connection_is_one_device_error_wherever_it_happens(calls):
    with pytest.raises(DeviceError, match="lost the connection"):
        profile_bundle(FakeBundle(), FakeSession(drop_after=calls), INPUTS)


def test_progress_reaches_its_totals():
    seen = []
    profile_bundle(FakeBundle(), FakeSession("measured"), INPUTS, 2, lambda *state: seen.append(state))
    assert ("checking outputs", 3, 3) in seen
    assert seen[-1] == ("measuring", 10, 10)
    assert [state for state in seen if state[0] == "measuring"] == [("measuring", i, 10) for i in range(1, 11)]


def test_a_manifest_that_does_not_fit_its_model_is_refused_before_anything_is_sent():
    bundle, session = FakeBundle(), FakeSession()
    bundle.layers[1].output_shape = (10**6, 10**6, 10**6)
    with pytest.raises(InputFileError, match=r"manifest\.json: layer pool does not fit"):
        profile_bundle(bundle, session, INPUTS)
    assert session.calls == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("input_shape", (1, 3, 10**6, 10**6), "the input shape"),
        ("output_shape", (1, 10**12), "the output shape"),
        ("class_names", ("a", "b"), "the number of class names, 2,"),
        ("preprocessing", Preprocessing((5, 4)), "the preprocessing's input size"),
    ],
)
def test_every_shape_of_the_manifest_is_checked(name, value, words):
    bundle = FakeBundle()
    setattr(bundle, name, value)
    with pytest.raises(InputFileError, match=words), open_predictor(bundle, None, "", 1.0):
        pass


def test_without_a_device_the_reference_predicts():
    batch = np.concatenate(INPUTS)
    with open_predictor(FakeBundle(), None, "", 1.0) as (predict, engine):
        logits = predict(batch)
    assert engine == "integer reference"
    assert logits.shape == (3, 4)
    assert np.array_equal(logits[1:2], reference.predict(FakeBundle().graph(), INPUTS[1]))


def test_top_classes_are_ordered_and_ties_go_to_the_first():
    best = top_classes(np.array([[1.0, 3.0, 3.0, 0.0]], np.float32), 3)
    assert [index for index, _ in best] == [1, 2, 0]
    assert sum(score for _, score in top_classes(np.array([[900.0, 3.0]]), 2)) == pytest.approx(1)


def test_nothing_to_run_is_an_option_error():
    with pytest.raises(OptionError, match="--inputs"):
        profile_bundle(FakeBundle(), FakeSession(), [])
    with pytest.raises(OptionError, match="--repeats"):
        profile_bundle(FakeBundle(), FakeSession(), INPUTS, repeats=0)


def test_seeded_inputs_repeat_differ_and_span_the_range():
    preprocessing = Preprocessing((9, 33), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    first, again = (seeded_inputs(preprocessing, 7) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({x.tobytes() for x in first}) == 7
    assert {x.shape for x in first} == {(1, 3, 9, 33)}
    assert min(x.min() for x in first) == -1 and max(x.max() for x in first) == 1
    assert not np.array_equal(first[0], seeded_inputs(preprocessing, 1, seed=1)[0])
