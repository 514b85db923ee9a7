"""Predicts how a tiling compares with a workload's default one, from what was measured so far.

A cost model for MetaSchedule's search. MetaSchedule's own (XGBModel) is not used: its features are read off loop nests,
and our kernels are straight-line code, the same loop nest for every tiling; and its predictions are random until it has
seen enough. Here the features are the tiling and the workload's sizes, so what is learned on one workload serves the
next, and until a family was measured the order of its own tilings decides (families list the cheapest first, by an
instruction count).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

from shufflec.kernels.kernel import Workload
from shufflec.kernels.records import Tiling
from shufflec.tuning.tasks import Task

_AXES = 4
_ENOUGH = 12  # samples of a family before the trees are asked
_TREES = 60
#: A candidate that gave a wrong result or failed counts as this much slower than the default.
FAILED_RATIO = 4.0


class CostModel:
    """One for all tasks of a run. Deterministic: the same samples in the same order give the same predictions."""

    def __init__(self) -> None:
        self._samples: dict[str, tuple[list[list[float]], list[float]]] = {}
        self._trees: dict[str, ExtraTreesRegressor] = {}

    def add(self, task: Task, tiling: Tiling, ratio: float) -> None:
        """One measurement. ratio: its time over that of the default tiling."""
        rows, values = self._samples.setdefault(task.family.NAME, ([], []))
        rows.append(features(task, tiling))
        values.append(math.log(ratio))

    def fit(self) -> None:
        """Learns what was added; call it once for many of them."""
        for family, (rows, values) in self._samples.items():
            if len(rows) >= _ENOUGH:
                trees = ExtraTreesRegressor(_TREES, min_samples_leaf=1, random_state=0, n_jobs=1)
                self._trees[family] = trees.fit(np.array(rows), np.array(values))

    def predict(self, task: Task, tilings: list[Tiling]) -> np.ndarray:
        """float64 (len(tilings),): the logarithm of each one's time over the default's, or a stand-in for it."""
        rows = np.array([features(task, tiling) for tiling in tilings])
        trees = self._trees.get(task.family.NAME)
        return rows[:, 0] * 1e-2 if trees is None else trees.predict(rows)


def features(task: Task, tiling: Tiling) -> list[float]:
    """The rank among the family's tilings without their scheduling model, the tiling, and the workload's sizes."""
    rank = _ranks(task)[tiling]
    axes = [float(value) for _, value in tiling][:_AXES]
    return [rank, *axes, *([-1.0] * (_AXES - len(axes))), *_sizes(task.workload)]


@lru_cache(maxsize=512)
def _ranks(task: Task) -> dict[Tiling, float]:
    """Place of each tiling in the family's order; with another scheduling model it is half a place behind."""
    ranks: dict[Tiling, float] = {}
    first: dict[Tiling, int] = {}
    for tiling in task.tilings:
        shape = tiling[:-1]
        models = sum(known[:-1] == shape for known in ranks) if shape in first else 0
        ranks[tiling] = first.setdefault(shape, len(first)) + 0.5 * models
    return ranks


def _sizes(workload: Workload) -> list[float]:
    params = dict(workload.params)
    groups = int(params.get("groups", 1))
    pixels = int(params.get("height", 1)) * int(params.get("width", 1))
    depth = int(params.get("in_channels", params.get("channels", 1))) // groups
    outputs = int(params.get("out_channels", params.get("channels", 1))) // groups
    stride = params.get("stride", (1, 1))
    flags = [bool(params.get("residual_multiplier")), int(params.get("shuffle_rows", 1)) > 1]
    sizes = [math.log2(max(size, 1)) for size in (pixels, depth, outputs)]
    return [*sizes, float(groups), float(stride[0]), float(depth % 16), float(outputs % 16), *map(float, flags)]


@derived_object
class SearchCostModel(ms.cost_model.PyCostModel):
    """What MetaSchedule asks during the search of one task. index_of: the place of a candidate in task.tilings."""

    def __init__(self, model: CostModel, task: Task, index_of):
        super().__init__()
        self._model, self._task, self._index_of = model, task, index_of

    def load(self, path: str) -> None:
        """Nothing is kept in files: the journal is what a run resumes from."""

    def save(self, path: str) -> None:
        """See load."""

    def update(self, context, candidates, results) -> None:
        """The samples come from `Search.tell`, which knows why a candidate failed."""

    def predict(self, context, candidates) -> np.ndarray:
        """Scores, the higher the better."""
        tilings = self._task.tilings
        return -self._model.predict(self._task, [tilings[self._index_of(one.sch)] for one in candidates])
