"""How a board's time follows from its core's cycles and its caches' misses, and how far to trust it.

The ranges are taken from the published timings that the boards of targets/*.toml were fitted to (ncnn's
benchmark/README.md, one thread, each family of networks predicted by a fit that never saw it), as what 90 % of the
cases do not exceed:

    the ratio of two networks on one board, the time of one of them: targets/*.toml, pair_percent, uncertainty_percent
    the figures of one board on another with the same core (Pi 3B+ and Zero 2 W): 25 and 38 %, of both together 34 %,
    nearly all of it common to all networks: the ratio of two of them errs by 12 and 13 %
    one network on two boards: errors of Pi 5, Zero 2 W and the others correlate by -0.01 to 0.24, so they count as
    independent; the Pi 3B+'s and the Pi 4's correlate by 0.67, so that their ratio is better than it is said to be

A single layer is a few loops and has less to average out. A network's error (3.4 to 4.9 %, root mean square) over the
square root of its loops' time shares squared and summed (0.17 to 0.24) is that of one loop: 7 to 10 %; two different
loops differ by the square root of two of it, and 90 % do not exceed 1.645 times that: layer_pair_percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

# Four published threads: 90th percentile 8 to 15 %, worst 18 %, by a rule that was chosen watching them.
THREADS_PERCENT = 25.0
# A board that was not calibrated: see above.
_OTHER_BOARD_PERCENT, _OTHER_BOARD_PAIR_PERCENT, _OTHER_BOARD_LAYER_PERCENT = 35.0, 13.0, 25.0
# The fits saw networks with up to 54 % of their time in memory. Loops that only stream (a transformer's weights on the
# Pi 5) were estimated 77 % too long: prefetchers do better there than the fitted nanoseconds a line.
_MOST_MEMORY, _STREAMING_PERCENT = 0.55, 80.0


@dataclass(frozen=True)
class TimeModel:
    """The figures of targets/*.toml, [time] (timing/board_time.py has the formula).

    scale: of the core model's cycles. store_miss_ns: nanoseconds per store that misses L1D. dram_line_ns: nanoseconds
    per line that is filled from DRAM or written to it. uncertainty_percent: of one thread's time. pair_percent: of the
    ratio of two networks on this board, None where unknown. layer_pair_percent: the same of two layers with different
    code. fitted_clock_hz: the clock that the figures were fitted at, 0 where unknown. shared_line_ns: nanoseconds that
    the memory takes for a DRAM line while all cores ask for lines (64 bytes over its bandwidth), 0 where unknown.
    """

    scale: float
    store_miss_ns: float
    dram_line_ns: float
    uncertainty_percent: float
    pair_percent: float | None = None
    layer_pair_percent: float | None = None
    fitted_clock_hz: int = 0
    shared_line_ns: float = 0.0

    def of_another_board(self, clock_hz: int) -> TimeModel:
        """The same figures, taken for a board that they were not fitted to: wider ranges."""
        return replace(
            self,
            uncertainty_percent=max(self.uncertainty_percent, _OTHER_BOARD_PERCENT),
            pair_percent=max(self.pair_percent or 0.0, _OTHER_BOARD_PAIR_PERCENT),
            layer_pair_percent=max(self.layer_pair_percent or 0.0, _OTHER_BOARD_LAYER_PERCENT),
            fitted_clock_hz=clock_hz,
        )

    def time_percent(self, clock_hz: int, threads: int, memory_share: float) -> float:
        """Plus or minus of an estimated time, in whole per cent.

        clock_hz: of the core. memory_share: of the time that is store misses and DRAM, 0 to 1. At another clock than
        the fitted one it is not known whether memory keeps its nanoseconds (as estimated) or its cycles.
        """
        percent = math.hypot(self.uncertainty_percent, 100 * memory_share * self._clock_change(clock_hz))
        if threads > 1:
            percent = max(percent, THREADS_PERCENT)
        if _streams(threads, memory_share):
            percent = max(percent, _STREAMING_PERCENT)
        return float(math.ceil(round(percent, 6)))

    def wider_because(self, clock_hz: int, threads: int, memory_share: float) -> tuple[str, ...]:
        """Why `time_percent` is more than the board's own range, in words; empty where it is not."""
        reasons = []
        if self._clock_change(clock_hz):
            fitted = f"{self.fitted_clock_hz / 1e9:g} GHz"
            reasons.append(f"fitted at {fitted}: memory may keep its nanoseconds, as estimated, or its cycles")
        if threads > 1 and self.uncertainty_percent < THREADS_PERCENT:
            reasons.append("several threads are known from few published times")
        if _streams(threads, memory_share):
            share = f"{100 * memory_share:.0f} % of the time is memory"
            reasons.append(f"{share}, more than of any network that was fitted; streaming loops may be much faster")
        return tuple(reasons)

    def ratio_percents(self, clock_hz: int, threads: int, memory_share: float) -> tuple[float, float]:
        """Plus or minus of the ratio of two networks' times, and of two layers' with different code, in per cent.

        memory_share: the larger of the two networks'. Without figures of their own, errors count as independent.
        """
        alone = self.time_percent(clock_hz, threads, memory_share)
        independent = math.sqrt(2) * alone
        pair = self.pair_percent
        if pair is None or threads > 1 or _streams(threads, memory_share):
            pair = max(pair or 0.0, independent)
        pair = math.hypot(pair, 100 * memory_share * self._clock_change(clock_hz))
        return pair, max(self.layer_pair_percent or 0.0, pair)

    def _clock_change(self, clock_hz: int) -> float:
        return abs(self.fitted_clock_hz / clock_hz - 1) if self.fitted_clock_hz else 0.0


def _streams(threads: int, memory_share: float) -> bool:
    """Whether one thread's time is mostly memory. Several threads share the memory's bandwidth, which is known."""
    return threads == 1 and memory_share > _MOST_MEMORY
