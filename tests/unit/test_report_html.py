from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report_example import example_report, simulated_report

from shufflec.reports import html
from shufflec.reports.schema import Accuracy, Layer, Shuffle, ShuffleSite
from shufflec.reports.shuffle_diagram import shuffle_diagram

VOID = {"meta"}


class Outline(HTMLParser):
    """Checks that elements nest; keeps the names of elements, their attributes and all text."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(1 for name, _ in self.elements if name == tag)


def test_the_page_needs_nothing_from_outside():
    page = html.render(example_report())
    assert not re.search(r"https?://|//[a-z]|url\(|@import", page)
    outline = Outline(page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {name for name, _ in outline.elements}
    attributes = {key for _, attrs in outline.elements for key in attrs}
    assert not {"src", "href", "srcset", "action", "data", "xlink:href"} & attributes


def test_the_page_shows_every_layer_tensor_and_figure():
    report = example_report()
    page = html.render(report)
    text = "\n".join(Outline(page).texts)
    for layer in report.layers:
        assert text.count(layer.name) >= 3  # the bar, its tooltip, the table
    for words in ("ShuffleNetV1 0.25x g=8 (paper), 8x8, 10 classes", "98.33 %", "float 98.61 %", "18,432", "1,010",
                  "3.00 KiB", "0 copies", "1 found, 1 folded away", "a millisecond a thousand", "0.27.0.post1",
                  "8 rows of 3", "widening multiply", "shuffle: copies 1.50 KiB"):  # fmt: skip
        assert words in text, words


def test_cost_figures_are_labelled_wherever_they_stand():
    estimated = html.render(example_report())
    assert estimated.count(">estimated</span>") == 3  # the heading, layers, method
    assert estimated.count(">counted in an emulator</span>") == 1  # classes: exact, not estimated
    assert "estimated, +-10 %" in estimated and "Raspberry Pi 4 @ 1.8 GHz, 1 thread" in estimated
    assert "counted in an emulator, one inference" in estimated
    assert "estimated: a millisecond a thousand instructions" in estimated
    assert "time, estimated" in estimated
    assert "store misses 152" in estimated
    assert "measured" not in estimated and "simulated" not in estimated
    simulated = html.render(simulated_report())
    assert simulated.count(">simulated</span>") == 3
    assert simulated.count("simulated, one inference") == 2  # time and instructions
    assert "measured" not in simulated and "estimated" not in simulated
    report = simulated_report()
    measured = html.render(replace(report, cost=replace(report.cost, kind="measured")))
    assert measured.count(">measured</span>") == 3
    assert "simulated" not in measured and "estimated" not in measured


def test_untrusted_text_is_escaped():
    evil = "<script>alert(1)</script>\"'&"
    report = example_report()
    layers = (replace(report.layers[0], name=evil, kind=evil), *report.layers[1:])
    report = replace(
        report,
        model=evil,
        variant=evil,
        layers=layers,
        target=replace(report.target, title=evil),
        cost=replace(report.cost, device=evil, method=evil, instructions_by_class={evil: 1}),
        accuracy=replace(report.accuracy, dataset=evil),
        shuffle=Shuffle(1, 1, 0, (ShuffleSite(evil, 8, (8, 8, 24)),)),
        memory=(replace(report.memory[0], name=evil),),
        verification=replace(report.verification, source=evil),
        environment={evil: evil},
    )
    outline = Outline(html.render(report))
    assert outline.count("script") == 0
    assert evil in "".join(outline.texts)
    assert all(not key.startswith("on") for _, attrs in outline.elements for key in attrs)


def test_a_report_before_profiling_shows_macs_and_says_so():
    report = example_report()
    layers = tuple(Layer(x.name, x.kind, x.shape, x.macs, None, None, None, None, None) for x in report.layers)
    page = html.render(replace(report, cost=None, verification=None, layers=layers))
    Outline(page)
    assert "not profiled yet" in page
    assert "MACs per layer" in page
    assert all(word not in page for word in ("simulated", "estimated", "measured"))


def test_random_weights_and_wrong_outputs_stand_out():
    report = example_report()
    page = html.render(replace(report, random_weights=True, accuracy=Accuracy(None, None, None, None, None)))
    assert page.count("random weights") >= 2
    assert "Top-1" not in page
    page = html.render(replace(report, verification=replace(report.verification, equal=False)))
    assert "NOT equal" in page
    assert '<span class="badge bad">not equal</span>' in page


def test_a_network_without_shuffle_has_no_diagram():
    page = html.render(replace(example_report(), shuffle=Shuffle(0, 0, 0, ())))
    assert "the network has no channel shuffle" in page
    assert "as it was compiled" not in page


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 48])
@pytest.mark.parametrize("variant", ["paper", "megvii", None])
def test_the_diagram_takes_any_shuffle(rows, variant):
    drawing = shuffle_diagram(ShuffleSite("conv", rows, (4, 4, 96)), variant)
    assert Outline(drawing).count("path") > 0


def test_the_diagram_puts_the_copy_where_the_variant_has_it():
    def order(variant):
        drawing = Outline(shuffle_diagram(ShuffleSite("conv", 8, (4, 4, 96)), variant)).elements
        boxes = [attrs for name, attrs in drawing if name == "rect" and attrs["class"] in ("frame", "copy")]
        return [attrs["class"] for attrs in sorted(boxes[:4], key=lambda attrs: float(attrs["x"]))]

    assert order("paper") == ["frame", "copy", "frame", "frame"]
    assert order("megvii") == ["frame", "frame", "copy", "frame"]


def test_equal_reports_give_equal_pages():
    assert html.render(example_report()) == html.render(example_report())
