"""QDQ models as other quantizers write them."""

from __future__ import annotations

import pytest
from qdq_models import Style, images, shufflenet

from shufflec.ir.compare import Comparison
from shufflec.ir.pipeline import lower

STYLES = {
    "int8 activations": Style("int8"),
    "asymmetric uint8": Style("asymmetric"),
    "per tensor only": Style(per_channel=False),
    "residual branch quantized": Style(own_residual=True),
    "parts of concat quantized": Style(own_concat=True),
}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
def test_foreign_style_is_integer_and_within_one_step(style):
    model = shufflenet(3, "megvii", style=style)
    lowered = lower(model)
    kinds = [op.kind for op in lowered.graph.ops]
    assert lowered.shuffle["copies_left"] == 0
    # 13 units add: fused into conv2's epilogue unless the branch has a quantizer of its own.
    assert kinds.count("add") == (13 if style.own_residual else 0)
    assert sum(len(op.inputs) == 2 for op in lowered.graph.ops if op.kind == "conv2d") == (
        0 if style.own_residual else 13
    )
    assert (kinds.count("requantize") >= 3) == style.own_concat
    comparison = Comparison(model)
    assert max(item.largest for image in images(2) for item in comparison.differences(image)) <= 1


def test_relu_at_zero_point_minus_128_costs_nothing():
    for op in lower(shufflenet(3, "paper")).graph.ops:
        if op.kind in ("conv2d", "depthwise_conv2d", "avg_pool2d"):
            assert (op.attrs["clamp_min"], op.attrs["clamp_max"]) == (-128, 127)
