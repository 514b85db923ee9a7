"""Properties of the arena plan."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from integer_graphs import tiny_shufflenet

from shufflec.backends.layout import lay_out
from shufflec.backends.planner import plan
from shufflec.backends.program import Buffer
from shufflec.kernels.kernel import ALIGNMENT, Kernel, Packed, Workload


def no_code(workload: Workload) -> Kernel:
    """A kernel that only takes its place in a layout."""
    return Kernel(workload, (), "none", None, 1, 100, lambda constants: Packed())


@st.composite
def buffer_lists(draw) -> list[Buffer]:
    count = draw(st.integers(0, 25))
    found = []
    for index in range(count):
        first = draw(st.integers(0, 12))
        found.append(Buffer(f"b{index}", draw(st.integers(1, 5000)), first, draw(st.integers(first, 14))))
    return found


@given(buffer_lists())
def test_live_buffers_never_share_a_byte(buffers):
    found = plan(buffers)
    places = list(found.placements.values())
    assert len(places) == len(buffers)
    for i, a in enumerate(places):
        assert a.offset % ALIGNMENT == 0
        assert a.end <= found.peak_bytes
        for b in places[:i]:
            together = a.buffer.first <= b.buffer.last and b.buffer.first <= a.buffer.last
            assert not together or a.end <= b.offset or b.end <= a.offset


@given(buffer_lists())
def test_peak_is_bounded(buffers):
    found = plan(buffers)
    assert found.lower_bound_bytes <= found.peak_bytes <= sum(b.nbytes + ALIGNMENT for b in buffers)


@given(buffer_lists(), st.randoms())
def test_order_of_buffers_does_not_matter(buffers, random):
    shuffled = list(buffers)
    random.shuffle(shuffled)
    assert plan(shuffled).placements == plan(buffers).placements


def test_layout_inputs_and_outputs_of_a_step_never_overlap():
    program = lay_out(tiny_shufflenet(seed=0), "portable", no_code)
    found = plan(program.buffers.values())
    for index, layer in enumerate(program.layers):
        live = {p.buffer.name for p in found.live(index)}
        for step in layer.steps:
            assert {view.buffer for view in step.inputs} <= live
            if step.output is not None:
                assert step.output.buffer not in {view.buffer for view in step.inputs}


def test_plan_of_a_network_is_close_to_the_lower_bound():
    program = lay_out(tiny_shufflenet(seed=0, height=64, width=64), "portable", no_code)
    found = plan(program.buffers.values())
    assert found.peak_bytes <= 1.05 * found.lower_bound_bytes
