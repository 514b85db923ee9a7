from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report_example import counted_report, example_report, measured_report

from shufflec.reports import html
from shufflec.reports.charts import waits_chart
from shufflec.reports.page_style import wait_colour
from shufflec.reports.roofline_chart import roofline_chart
from shufflec.reports.schema import Accuracy, Shuffle, ShuffleSite
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
    assert estimated.count(">estimated</span>") == 5  # the heading, layers, roofline, waits, method
    assert estimated.count(">counted in an emulator</span>") == 1  # classes: exact, not estimated
    assert "estimated, +-10 %" in estimated and "Raspberry Pi 4 @ 1.8 GHz, 1 thread" in estimated
    assert "counted in an emulator, one inference" in estimated
    assert "estimated: a millisecond a thousand instructions" in estimated
    assert "time, estimated" in estimated
    assert "store misses 152" in estimated
    assert "measured" not in estimated and "simulated" not in estimated
    measured = html.render(measured_report())
    assert measured.count(">measured</span>") == 5
    assert "estimated" not in measured and "+-" not in measured


def test_a_board_without_a_time_model_has_instructions_only():
    page = html.render(counted_report())
    Outline(page)
    assert page.count(">counted</span>") == 3  # the heading, layers, method
    assert "Instructions per layer" in page and "1.01 k" in page
    assert "No time: rasp4 has no time model" in page
    for word in ("measured", "estimated", "simulated", " ms", "µs", "Roofline", "floor", "waited for"):
        assert word not in page, word


def test_the_roofline_has_its_ceilings_a_dot_a_layer_and_its_costliest_named():
    report = example_report()
    drawing = roofline_chart(report)
    outline = Outline(drawing)
    dots = [attrs for name, attrs in outline.elements if name == "circle"]
    assert len(dots) == sum(1 for layer in report.layers if layer.macs)
    assert "compute 108 MMAC/s" in outline.texts
    assert [text for text in outline.texts if text in {layer.name for layer in report.layers}] == [
        "stage2.1.conv2", "stage2.1.conv1",
    ]  # from top to bottom; quantize does no multiplies  # fmt: skip
    page = html.render(report)
    assert drawing in page
    for words in (
        "3.37x",
        "the floor of 300 µs",
        "a few MACs a cycle",
        "64-byte lines at 12800 ns",
        "55.9 cycles per MAC",
    ):
        assert words in page, words


def test_dots_stand_where_their_figures_say():
    report = example_report()
    circles = [a for n, a in Outline(roofline_chart(report)).elements if n == "circle"]
    by_share = sorted((one for one in report.layers if one.macs), key=lambda one: -one.share)
    for (ax, ay), (bx, by), one, other in zip(
        *[[(float(c["cx"]), float(c["cy"])) for c in part] for part in (circles, circles[1:])],
        *(part for part in (by_share, by_share[1:])),
        strict=False,
    ):
        assert (ax < bx) == (one.roofline.l2_intensity < other.roofline.l2_intensity)
        assert (ay > by) == (one.macs_per_second < other.macs_per_second)  # SVG's y grows downwards
    assert float(circles[0]["r"]) > float(circles[-1]["r"])


def test_a_layer_that_moved_dram_lines_has_a_ring_too():
    report = example_report()
    layer = report.layers[1]
    roof = replace(layer.roofline, dram_intensity=4.0)
    report = replace(report, layers=(report.layers[0], replace(layer, roofline=roof), *report.layers[2:]))
    circles = [a["class"].split()[0] for n, a in Outline(roofline_chart(report)).elements if n == "circle"]
    assert sorted(circles) == ["dot", "dot", "dot", "ring"]


def test_a_real_board_has_a_floor_but_no_chart():
    report = measured_report()
    assert roofline_chart(report) is None
    page = html.render(report)
    assert "the floor of 300 µs" in page
    assert "The costliest layers" in page and "What the core waited for" not in page
    assert "A real board does not say what its core waited for" in page
    assert "what bounds its layers is not known" in page


@pytest.mark.parametrize("change", [{"l2": None}, {"dram": None}, {"l2": None, "dram": None}])
def test_the_roofline_takes_boards_without_a_ceiling(change):
    report = example_report()
    page = html.render(replace(report, roofline=replace(report.roofline, **change)))
    Outline(page)
    assert page.count("no limit in the time model") == len(change)


def test_every_layers_waits_fill_its_bar():
    report = example_report()
    elements = Outline(waits_chart(report)).elements
    rows = [[]]
    for name, attrs in elements:
        if name == "rect" and attrs["class"] == "hit":
            rows.append([])
        elif name == "rect":
            rows[-1].append(attrs)
    widths = [sum(float(attrs["width"]) for attrs in row) for row in rows[1:]]
    assert len(widths) == len(report.layers)
    assert widths == pytest.approx([600] * len(widths), abs=1)
    waits = ("dispatch", "latency", "load_misses", "store_misses", "dram")
    assert [attrs["class"] for attrs in rows[1]] == [wait_colour(name) for name in waits]


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
        roofline=replace(report.roofline, compute=replace(report.roofline.compute, source=evil)),
        verification=replace(report.verification, source=evil),
        environment={evil: evil},
    )
    outline = Outline(html.render(report))
    assert outline.count("script") == 0
    assert evil in "".join(outline.texts)
    assert all(not key.startswith("on") for _, attrs in outline.elements for key in attrs)


def test_a_report_before_profiling_shows_macs_and_says_so():
    report = example_report()
    unknown = ("milliseconds", "estimate", "instructions", "instructions_by_class", "share", "cycles_per_mac",
               "macs_per_second", "roofline")  # fmt: skip
    layers = tuple(replace(layer, **dict.fromkeys(unknown)) for layer in report.layers)
    page = html.render(replace(report, cost=None, verification=None, roofline=None, layers=layers))
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
