"""A comparison in words, as JSON, in the terminal and as a page."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from compare_example import LAYERS, changed, estimated_side, measured_side
from rich.console import Console

from shufflec.profiling.compare import compare
from shufflec.profiling.compare_pair import Change
from shufflec.reports.compare_html import render
from shufflec.reports.compare_terminal import print_comparison
from shufflec.reports.compare_words import change_words, sentence, to_json
from shufflec.targets.target import load_target

EXTRA = (*changed(dw=100)[:2], ("shuffle", "channel_shuffle", "", 50), *changed(dw=100)[2:])


def printed(comparison) -> str:
    stream = io.StringIO()
    print_comparison(Console(file=stream, width=80), comparison)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(0.88, 0.84, 0.92, 0.9, "faster"), "B is 12 % faster than A (8.0 to 16 %); 10 % fewer instructions"),
        (Change(1.15, 1.05, 1.25, 1.2, "slower"), "B is 15 % slower than A (5.0 to 25 %); 20 % more instructions"),
        (Change(3.0, 2.5, 3.6, None, "slower"), "B takes 3 times as long as A (2.5 to 3.6 times)"),
        (Change(0.4, 0.3125, 0.5, 1.0, "faster"), "B is 2.5 times as fast as A (2 to 3.2 times); as many instructions"),
        (
            Change(0.98, 0.88, 1.09, None, "unsure"),
            "B and A: no difference within the uncertainty (B takes 12 % less to 9.0 % more time)",
        ),
        (Change(None, None, None, 5.2, "no time"), "B and A: no times to compare; 5.2 times as many instructions"),
        (Change(None, None, None, 0.5, "no time"), "B and A: no times to compare; 50 % fewer instructions"),
        (Change(1.0, 1.0, 1.0, 1.0, "same code"), "B is the same code as A: the same time; as many instructions"),
    ],
)
def test_a_difference_in_one_sentence(change, words):
    comparison = compare([estimated_side("A"), estimated_side("B")])
    assert sentence(replace(comparison, changes=(change,)), 0) == words


def test_a_layers_difference():
    assert change_words(Change(0.88, 0.7, 1.11, 0.9, "unsure")) == "-12 % (-30 to +11)"
    assert change_words(Change(None, None, None, 0.9, "no time")) == "-10 % instructions"
    assert change_words(Change(None, None, None, None, "no time")) == change_words(None) == "-"


def test_the_terminal_has_every_layer_and_what_follows():
    text = printed(compare([estimated_side("A"), estimated_side("B", EXTRA)]))
    lines = text.splitlines()
    assert lines[0].startswith("A  net A (32x32): estimated 1.00 ms (+-10 %), 1.00 M instructions, Raspberry Pi 4")
    shuffle = next(line for line in lines if line.startswith("shuffle"))
    assert shuffle.split() == ["shuffle", "channel_shuffle", "-", "-", "50,000", "50.0", "µs", "-", "only", "in", "B"]
    assert next(line for line in lines if line.startswith("dw")).split()[-1] == "faster"
    assert "B is 5.0 % faster than A (0.3 to 9.5 %); 5.0 % fewer instructions" in text
    assert "the same board by the same model" in text


def test_without_times_none_are_printed():
    aarch64 = load_target("aarch64")
    text = printed(compare([estimated_side("A", target=aarch64), estimated_side("B", target=aarch64)]))
    assert "µs" not in text and " ms" not in text
    assert "no time model" in text


def test_names_are_not_markup():
    odd = (("[red]<b>&", "conv2d", "", 200), *LAYERS[1:])
    comparison = compare([estimated_side("A", odd), estimated_side("B", odd)])
    assert "[red]<b>&" in printed(comparison)
    page = render(comparison)
    assert "<b>&" not in page and "[red]&lt;b&gt;&amp;" in page


def test_the_page_says_what_the_terminal_says():
    comparison = compare([estimated_side("A"), estimated_side("B", EXTRA), measured_side("C", (1.0, 1.0))])
    page = render(comparison)
    assert page == render(comparison)
    for i in range(2):
        assert sentence(comparison, i) in page
        assert comparison.basis[i] in page
    assert page.count("<rect") == 3 * len(comparison.rows)
    assert "only in B" in page
    assert "<script" not in page and "http" not in page


def test_json_has_every_figure():
    comparison = compare([estimated_side("A"), estimated_side("B", EXTRA)])
    value = json.loads(json.dumps(to_json(comparison), allow_nan=False))
    assert [side["milliseconds"] for side in value["sides"]] == pytest.approx([1.0, 0.95])
    assert [side["uncertainty_percent"] for side in value["sides"]] == [10, 10]
    (change,) = value["changes"]
    assert change["side"] == "B" and change["low"] < change["time_ratio"] < change["high"]
    layers = {layer["name"]: layer for layer in value["layers"]}
    assert layers["shuffle"]["figures"][0] is None and layers["shuffle"]["verdicts"] == ["only in B"]
    assert layers["dw"]["figures"][1] == {"instructions": 100_000, "milliseconds": 0.1}
