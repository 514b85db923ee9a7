"""What an ablation report compares and says, as JSON, Markdown and page."""

from __future__ import annotations

import json
import re

import pytest
from ablation_example import example

from shufflec.reports import ablation_words as words
from shufflec.reports.ablation_chart import error_chart
from shufflec.reports.ablation_html import html


def test_errors_are_percent_of_the_test_images():
    report = example()
    assert report.errors(report.find(8, True)) == pytest.approx([6.0, 4.5, 5.5, 6.0])
    assert report.one_image == 0.5


def test_shuffle_is_compared_seed_by_seed_where_there_are_both():
    comparisons = example().shuffle_comparisons()
    assert [(found.arm.groups, found.against.shuffle) for found in comparisons] == [(3, False), (8, False)]
    assert comparisons[1].differences == pytest.approx((3.5, 5.0, 4.5, 3.0))
    assert [found.test.significant for found in comparisons] == [False, True]
    assert example(shuffles=(True,)).shuffle_comparisons() == []


def test_groups_are_compared_with_the_first_of_them():
    comparisons = example().group_comparisons()
    assert [(found.arm.groups, found.against.groups, found.arm.shuffle) for found in comparisons] == [
        (3, 1, True),
        (8, 1, True),
    ]
    assert comparisons[1].test.mean.value == pytest.approx(4.0)
    unshuffled = example(shuffles=(False,)).group_comparisons()
    assert [(found.arm.groups, found.arm.shuffle) for found in unshuffled] == [(3, False), (8, False)]


def test_json_has_every_figure_and_the_papers_beside_it():
    report = json.loads(example().to_json())
    arms = {(arm["groups"], arm["shuffle"]): arm for arm in report["arms"]}
    assert list(arms) == [(1, None), (3, True), (3, False), (8, True), (8, False)]
    assert arms[8, True]["right"] == [188, 191, 189, 188]
    assert arms[8, True]["top1_error_percent"]["mean"] == 5.5
    assert arms[8, True]["paper_imagenet_error_percent"] == 52.7
    assert arms[8, False]["paper_imagenet_error_percent"] == 56.5
    (three, eight) = report["shuffle_on_against_off"]
    assert not three["significant"] and eight["significant"]
    assert eight["interval"][0] > 0 and eight["p_holm"] >= eight["p"]


def test_what_is_not_significant_is_called_so():
    sentences = words.sentences(example())
    assert sentences[0] == (
        "Channel shuffle lowers the error significantly for g=8; it makes no significant difference for g=3."
    )
    assert sentences[1].startswith("g=3: no significant difference: 0.00 points lower with shuffle (95 % interval -")
    assert sentences[2].startswith("g=8: the shuffle lowers the top-1 error by 4.00 points (95 % interval +2.")
    assert sentences[4].startswith("g=8 against g=1: g=8 lowers the top-1 error by 4.00 points")


def test_harm_is_called_harm():
    report = example()
    flipped = [
        type(arm)(arm.groups, not arm.shuffle if arm.groups > 1 else True, arm.macs, arm.params, arm.right)
        for arm in report.arms
    ]
    sentences = words.sentences(example(arms=tuple(flipped)))
    assert sentences[0].startswith("Channel shuffle raises the error significantly for g=8;")
    assert "g=8: the shuffle raises the top-1 error by 4.00 points" in "\n".join(sentences)


def test_one_seed_proves_nothing_and_says_so():
    report = example(seeds=1)
    assert words.sentences(report)[1] == (
        "g=8: 3.50 points lower with shuffle with one seed, which cannot tell a difference from chance."
    )
    assert "seed 0;" in words.facts(report)
    assert words.shuffle_table(report)[2] == [
        "8",
        "6.00 %",
        "9.50 %",
        "+3.50",
        "",
        "",
        "unknown",
        "3.8 (56.5 -> 52.7 %)",
    ]
    assert json.loads(report.to_json())["shuffle_on_against_off"][0]["interval"] is None


def test_seeds_that_agree_to_the_last_image_prove_nothing():
    report = example(seeds=2)
    same = [type(arm)(arm.groups, arm.shuffle, arm.macs, arm.params, (arm.right[0],) * 2) for arm in report.arms]
    assert "for every seed alike" in words.sentences(example(seeds=2, arms=tuple(same)))[1]


def test_tables():
    report = example()
    groups = words.groups_table(report)
    assert groups[1] == ["1", "1.000 M", "60.0 k", "9.50 +- 0.65 %", "", "", "", "", "57.1 %"]
    assert groups[3][3:5] == ["5.50 +- 1.13 %", "+4.00"]
    assert words.shuffle_table(report)[0][3] == "less with shuffle"
    assert words.shuffle_table(example(shuffles=(True,))) == []


def test_markdown_has_both_tables_and_every_sentence():
    text = words.markdown(example())
    assert text.count("\n| ---: |") == 2
    assert all(f"- {sentence}" in text for sentence in words.sentences(example()))
    assert "does not mean that there is none: 4 seeds cannot show" in text
    assert words.SHUFFLE_TITLE not in words.markdown(example(shuffles=(True,)))


def test_page_shows_a_dot_a_training_and_escapes_names():
    page = html(example(data="<b>&"))
    assert "on &lt;b&gt;&amp;:" in page and "<b>&" not in page
    seeds = len(re.findall(r'class="seed ', page))
    assert seeds == 5 * 4 + 2 * 4  # five networks, two differences
    assert page.count('class="zero"') == 1
    assert page == html(example(data="<b>&"))
    assert 'class="zero"' not in html(example(shuffles=(True,)))


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize("groups", [(1,), (8,), (1, 3, 8)])
def test_the_page_of_few_networks(groups, seeds):
    page = html(example(seeds, groups))
    numbers = [float(value) for value in re.findall(r' c?[xy][12]?="([^"]+)"', page)]
    assert numbers and all(0 <= value <= 1000 for value in numbers)


def test_a_perfect_network_has_an_axis_too():
    report = example(seeds=2, groups=(3,))
    perfect = [type(arm)(arm.groups, arm.shuffle, arm.macs, arm.params, (200, 200)) for arm in report.arms]
    page = html(example(seeds=2, arms=tuple(perfect)))
    assert "nan" not in page and ">0.00 %<" in page


def test_no_difference_is_no_negative_zero():
    """The example's g=3 differs by nothing but rounding errors of one sign."""
    assert ">0.00<" in html(example()) and "-0.00" not in html(example())


def test_marks_stand_at_their_values():
    """Against the labels of the axis: seeds, means and both ends of the intervals."""
    report = example()
    chart = error_chart(report)
    labels = {
        float(value): float(y) - 4 for y, value in re.findall(r'y="([\d.]+)" class="end soft">([\d.]+) %<', chart)
    }
    (first, y0), (last, y1) = min(labels.items()), max(labels.items())

    def y(error: float) -> float:
        return y0 + (error - first) / (last - first) * (y1 - y0)

    arm = report.find(8, True)
    group = chart[chart.index("g=8, with shuffle") :].split("</g>")[0]
    seeds = [float(value) for value in re.findall(r'cy="([\d.]+)" r="3.4"', group)]
    assert seeds == pytest.approx([y(error) for error in report.errors(arm)], abs=0.02)
    (mean,) = re.findall(r'cy="([\d.]+)" r="5.5"', group)
    assert float(mean) == pytest.approx(y(5.5), abs=0.02)
    low, high = re.search(r'y1="([\d.]+)" x2="[\d.]+" y2="([\d.]+)" class="whisker', group).groups()
    assert (float(low), float(high)) == pytest.approx(tuple(map(y, report.mean(arm).interval)), abs=0.02)
