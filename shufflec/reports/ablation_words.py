"""An ablation's tables and sentences, shared by terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from shufflec.reports.ablation import AblationReport, Arm, Comparison, paper_error

TITLE = "Groups and channel shuffle, trained and compared"
GROUPS_TITLE = "Numbers of groups at equal complexity (the paper's table 2)"
SHUFFLE_TITLE = "With and without channel shuffle (the paper's table 3)"

Line = list[str]


def facts(report: AblationReport) -> str:
    """What was trained, in one sentence."""
    height, width = report.input_size
    count = len(report.arms) * len(report.seeds)
    seeds = f"seeds {report.seeds[0]} to {report.seeds[-1]}" if len(report.seeds) > 1 else f"seed {report.seeds[0]}"
    return (
        f"{count} trainings of ShuffleNetV1 {report.scale:g}x ({report.variant}), {height}x{width}, on {report.data}: "
        f"{report.classes} classes, {report.train_images} training images, {report.recipe['epochs']} epochs, {seeds}; "
        f"top-1 error on {report.test_images} held-out images, of the last epoch's weights."
    )


def groups_table(report: AblationReport) -> list[Line]:
    """Header and a line for each number of groups."""
    first = report.group_counts[0]
    lines = [
        [
            "groups",
            "MACs",
            "params",
            "top-1 error",
            f"less than g={first}",
            "95 % interval",
            "p",
            "significant",
            "paper, ImageNet",
        ]
    ]
    found = {comparison.arm.groups: comparison for comparison in report.group_comparisons()}
    shuffle = any(arm.shuffle and arm.groups > 1 for arm in report.arms)
    for groups in report.group_counts:
        arm = report.find(groups, shuffle)
        compared = _compared(found[groups]) if groups in found else ["", "", "", ""]
        cost = [f"{arm.macs / 1e6:.3f} M" if arm.macs < 1e7 else f"{arm.macs / 1e6:.1f} M", f"{arm.params / 1e3:.1f} k"]
        lines.append([str(groups), *cost, _error(report, arm), *compared, _percent(paper_error(report.scale, arm))])
    return lines


def shuffle_table(report: AblationReport) -> list[Line]:
    """Header and a line for each number of groups that was trained both ways; empty when none was."""
    comparisons = report.shuffle_comparisons()
    if not comparisons:
        return []
    lines = [
        [
            "groups",
            "with shuffle",
            "without",
            "less with shuffle",
            "95 % interval",
            "p",
            "significant",
            "paper, ImageNet",
        ]
    ]
    for found in comparisons:
        on, off = found.arm, found.against
        papers = paper_error(report.scale, on), paper_error(report.scale, off)
        paper = f"{papers[1] - papers[0]:.1f} ({papers[1]:.1f} -> {papers[0]:.1f} %)" if None not in papers else ""
        lines.append([str(on.groups), _error(report, on), _error(report, off), *_compared(found), paper])
    return lines


def sentences(report: AblationReport) -> list[str]:
    """What the tables say, one sentence a comparison, with a summary of the shuffle's before its own."""
    found = []
    shuffles = report.shuffle_comparisons()
    if shuffles and len(report.seeds) > 1:
        found.append(_summary(shuffles))
    found += [f"g={item.arm.groups}: {_verdict(item, 'with shuffle', 'the shuffle')}" for item in shuffles]
    for item in report.group_comparisons():
        other = f"g={item.against.groups}"
        found.append(f"g={item.arm.groups} against {other}: {_verdict(item, f'than {other}', f'g={item.arm.groups}')}")
    return found


def _summary(comparisons: Sequence[Comparison]) -> str:
    helped = [item for item in comparisons if item.test.significant and item.test.mean.value > 0]
    harmed = [item for item in comparisons if item.test.significant and item.test.mean.value < 0]
    neither = [item for item in comparisons if not item.test.significant]
    parts = []
    for words, items in (("lowers", helped), ("raises", harmed)):
        if items:
            parts.append(f"{words} the error significantly for {_groups(items)}")
    if neither:
        parts.append(f"makes no significant difference for {_groups(neither)}")
    return f"Channel shuffle {'; it '.join(parts)}."


def _groups(items: Sequence[Comparison]) -> str:
    return "g=" + ", ".join(str(item.arm.groups) for item in items)


def _verdict(item: Comparison, where: str, subject: str) -> str:
    """One comparison in words; `where` completes "0.3 points lower", `subject` is what lowers or raises."""
    test = item.test
    size = f"{abs(test.mean.value):.2f} points"
    way = "lower" if round(test.mean.value, 2) >= 0 else "higher"
    if test.mean.interval is None:
        return f"{size} {way} {where} with one seed, which cannot tell a difference from chance."
    interval = f"95 % interval {_interval(item)}"
    if test.p is None:
        return f"{size} {way} {where} for every seed alike: too few seeds or images to tell it from chance."
    if test.significant:
        verb = "lowers" if test.mean.value >= 0 else "raises"
        return f"{subject} {verb} the top-1 error by {size} ({interval}, p {_p(test.adjusted)} corrected)."
    return f"no significant difference: {size} {way} {where} ({interval}, p {_p(test.adjusted)} corrected)."


def notes(report: AblationReport) -> list[str]:
    """How the figures came about and what they do not say."""
    lines = [
        "Behind +- and in intervals: 95 %, Student's t over the seeds. A seed sets the first weights, the order of the "
        "images and their augmentation; the split into training and test images is the same for all seeds, so that "
        "intervals do not tell how another choice of test images would come out.",
        f"Differences are in points of top-1 error (per cent of the test images; one image is {report.one_image:.2f}), "
        "taken between trainings with equal seeds: with and without shuffle these begin with equal weights. p is of "
        "the paired t test, two-sided, corrected by Holm's method for all lines of its table; below 0.05 counts as "
        "significant. The intervals are not corrected.",
        f"No significant difference does not mean that there is none: {_seeds(report)} cannot show one that is smaller "
        "than half the width of its interval; more seeds show more.",
        "One group has no shuffle to leave out.",
        "The paper's figures are of ImageNet at 224x224; only their direction can be compared with another data set's.",
    ]
    recipe = {key: value for key, value in report.recipe.items() if key != "epochs"}
    lines.append("Recipe: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in recipe.items()) + ".")
    versions = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    lines.append(f"Environment: {versions}. The same versions on the same kind of processor give the same figures.")
    return lines


def _seeds(report: AblationReport) -> str:
    count = len(report.seeds)
    return "1 seed" if count == 1 else f"{count} seeds"


def markdown(report: AblationReport) -> str:
    """The report as GitHub Markdown."""
    parts = [f"# {TITLE}", facts(report)]
    for title, lines in ((SHUFFLE_TITLE, shuffle_table(report)), (GROUPS_TITLE, groups_table(report))):
        if lines:
            parts += [f"## {title}", _markdown_table(lines)]
    parts.append("## What they say\n\n" + "\n".join(f"- {sentence}" for sentence in sentences(report)))
    parts.append("## How it was measured\n\n" + "\n".join(f"- {note}" for note in notes(report)))
    return "\n\n".join(parts) + "\n"


def _markdown_table(lines: list[Line]) -> str:
    header, *rest = lines
    rows = [header, ["---:"] * len(header), *rest]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _compared(found: Comparison) -> Line:
    """Difference, interval, p and verdict."""
    test = found.test
    verdict = "yes" if test.significant else "no" if test.p is not None else "unknown"
    return [_signed(test.mean.value), _interval(found), _p(test.adjusted), verdict]


def _interval(found: Comparison) -> str:
    bounds = found.test.mean.interval
    return "" if bounds is None else f"{_signed(bounds[0])} to {_signed(bounds[1])}"


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # + 0.0 makes of -0.0 a 0.0


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _error(report: AblationReport, arm: Arm) -> str:
    mean = report.mean(arm)
    spread = "" if mean.half_width is None else f" +- {mean.half_width:.2f}"
    return f"{mean.value:.2f}{spread} %"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"
