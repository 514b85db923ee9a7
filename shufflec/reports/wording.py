"""Words and numbers that the terminal table and the HTML report share."""

from __future__ import annotations

from shufflec.reports.schema import Cost, Estimate, Report, TargetInfo

#: Categories of operator kinds, in the order of the legend: name and the kinds in it.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "convolution": ("conv2d",),
    "depthwise": ("depthwise_conv2d",),
    "pooling": ("max_pool2d", "avg_pool2d", "global_avg_pool"),
    "classifier": ("dense",),
    "element-wise": ("add", "requantize", "concat", "pad", "copy"),
    "shuffle copy": ("channel_shuffle",),
    "input, output": ("quantize", "dequantize"),
}
OTHER = "other"

_CATEGORY_OF = {kind: name for name, kinds in CATEGORIES.items() for kind in kinds}


def category(kind: str) -> str:
    """The category of an operator kind; OTHER for one that this version does not know."""
    return _CATEGORY_OF.get(kind, OTHER)


def categories_of(report: Report) -> list[str]:
    """The categories that occur in a report, in the legend's order."""
    present = {category(layer.kind) for layer in report.layers}
    return [name for name in (*CATEGORIES, OTHER) if name in present]


def count(value: int | None) -> str:
    """A whole number with thousands separated by commas; "-" when unknown."""
    return "-" if value is None else f"{value:,}"


def short_count(value: float | None) -> str:
    """A number to three digits with k, M or G; "-" when unknown."""
    if value is None:
        return "-"
    for limit, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{_three_digits(value / limit)}{suffix}"
    return f"{value:g}"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def milliseconds(value: float | None) -> str:
    """Milliseconds to three digits, with the unit; below one as microseconds; "-" when unknown."""
    if value is None:
        return "-"
    if value == 0:
        return "0 µs"
    return f"{_three_digits(value)} ms" if value >= 1 else f"{_three_digits(1e3 * value)} µs"


def kibibytes(value: int) -> str:
    """Bytes as B, KiB or MiB."""
    if value < 1024:
        return f"{value} B"
    if value < 1024**2:
        return f"{_three_digits(value / 1024)} KiB"
    return f"{_three_digits(value / 1024**2)} MiB"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as per cent; "-" when unknown."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def shape(value: tuple[int, ...]) -> str:
    """A shape as 28x28x96."""
    return "x".join(map(str, value))


def fitted(name: str, characters: int) -> str:
    """A name cut to a number of characters, with an ellipsis."""
    return name if len(name) <= characters else name[: characters - 1] + "…"


def title(report: Report) -> str:
    """The model in one line, as in ShuffleNetV1 0.25x g=8 (paper), 64x64, 10 classes."""
    known = [
        f"{report.scale:g}x" if report.scale is not None else "",
        f"g={report.groups}" if report.groups is not None else "",
        f"({report.variant})" if report.variant is not None else "",
    ]
    words = " ".join([report.model, *(word for word in known if word)])
    height, width = report.input
    return f"{words}, {height}x{width}, {report.classes} classes"


def instruction_classes(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Classes in words with their counts, the largest first."""
    return sorted(((name.replace("_", " "), n) for name, n in counts.items()), key=lambda item: (-item[1], item[0]))


def threads(number: int) -> str:
    """1 thread, 4 threads."""
    return "1 thread" if number == 1 else f"{number} threads"


def place(board: TargetInfo) -> str:
    """A board and its clock, as in Raspberry Pi 4 Model B @ 1.8 GHz."""
    return f"{board.title} @ {board.clock_hz / 1e9:g} GHz"


def other_board_line(report: Report, cost: Cost) -> str:
    """Says that another board ran the code than it was compiled for; "" when it was that board."""
    board, target = cost.board, report.target
    if (board.name, board.core, board.clock_hz) == (target.name, target.core, target.clock_hz):
        return ""
    return f"the code is for {place(target)} ({target.name}), the server is {place(board)} ({board.name}): its figures"


def time_line(report: Report, cost: Cost) -> str:
    """The time with all that belongs to it, as in estimated 12.3 ms (+-10 %, Raspberry Pi 4 @ 1.8 GHz, 1 thread)."""
    if cost.milliseconds is None:
        return f"no time: {cost.board.name} has no time model"
    if cost.kind != "estimated":
        return f"{milliseconds(cost.milliseconds)} {cost.kind}, {threads(cost.threads)}, on {cost.device}"
    range_ = f"+-{cost.uncertainty_percent:g} %" if cost.uncertainty_percent is not None else "uncertainty unknown"
    return f"estimated {milliseconds(cost.milliseconds)} ({range_}, {place(cost.board)}, {threads(cost.threads)})"


def cost_line(report: Report, cost: Cost) -> str:
    """The whole network's cost in one line: instructions, and the time labelled measured or estimated."""
    words = time_line(report, cost)
    if cost.instructions is None:
        return words
    counted = f" ({threads(cost.threads)})" if cost.milliseconds is None else ""
    return f"{short_count(cost.instructions)} instructions{counted}, {words}"


def parts_line(parts: Estimate) -> str:
    """What an estimated time adds up from, in one line."""
    return (
        f"compute {milliseconds(parts.compute_ms)}, load misses {milliseconds(parts.load_miss_ms)} "
        f"({short_count(parts.l1_load_misses)}), store misses {milliseconds(parts.store_miss_ms)} "
        f"({short_count(parts.l1_store_misses)}), DRAM {milliseconds(parts.dram_ms)} "
        f"({short_count(parts.dram_lines)} lines)"
    )


def shuffle_line(report: Report) -> str:
    """What became of the channel shuffles, in one line."""
    shuffle = report.shuffle
    if shuffle.found == 0:
        return "the network has no channel shuffle"
    left = {0: "no copy left", 1: "1 copy left"}.get(shuffle.copies_left, f"{shuffle.copies_left} copies left")
    shuffles = "channel shuffle" if shuffle.found == 1 else "channel shuffles"
    return f"{shuffle.found} {shuffles} found, {shuffle.folded} folded into convolutions, {left}"


def verification_line(report: Report) -> str:
    """Whether the device's outputs were right, in one line."""
    check = report.verification
    if check is None:
        return "outputs not checked on a device yet"
    inputs = "1 input" if check.inputs == 1 else f"{check.inputs} inputs"
    verdict = "equal" if check.equal else "NOT equal"
    return f"{check.compared} {verdict} to the {check.against} for {inputs} ({check.source})"


def accuracy_line(report: Report) -> str:
    """Accuracy before and after quantization, in one line."""
    accuracy = report.accuracy
    if report.random_weights:
        return "random weights: for latency only, the outputs mean nothing"
    if accuracy.float_top1 is None and accuracy.int8_top1 is None:
        return "accuracy unknown"
    where = f" on {accuracy.dataset}" if accuracy.dataset else ""
    return f"top-1 {percent(accuracy.float_top1, 2)} float, {percent(accuracy.int8_top1, 2)} int8{where}"


def memory_line(report: Report) -> str:
    """Bytes of code, constants and activations, in one line."""
    line = (
        f"code {kibibytes(report.code_bytes)}, weights {kibibytes(report.weight_bytes)}, activations "
        f"{kibibytes(report.peak_activation_bytes)} (lower bound {kibibytes(report.lower_bound_bytes)})"
    )
    return line if report.stack_bytes is None else f"{line}, stack {stack(report)}"


def stack(report: Report) -> str:
    """The stack's worst case beside the deepest one seen."""
    seen = f", {count(report.deepest_stack_bytes)} seen with the test program's" if report.deepest_stack_bytes else ""
    return f"{count(report.stack_bytes)} bytes at worst by the code{seen}"


def sum_line(cost: Cost) -> str:
    """How the layers add up, in one line."""
    unit = "instructions" if cost.kind == "counted" else "milliseconds"
    difference = cost.layer_sum_difference
    side = "above" if difference > 0 else "below"
    return f"the layers' {unit} add up to {percent(abs(difference), 2)} {side} the whole network's"


def weight_unit(report: Report) -> str:
    """What bars are drawn from: "instructions" where only they are known, else "ms", else "MACs"."""
    if report.layers and all(layer.instructions is not None and layer.estimate is None for layer in report.layers):
        return "instructions"
    if report.layers and all(layer.milliseconds is not None for layer in report.layers):
        return "ms"
    return "MACs"
