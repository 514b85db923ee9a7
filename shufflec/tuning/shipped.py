"""Makes the records that are shipped in schedules/: `make tune-shipped`, or

    python -m shufflec.tuning.shipped --targets rasp4,rasp5 --groups 3,8 --scales 1 --trials-a-workload 6
    python -m shufflec.tuning.shipped --family v2 --targets rasp4,rasp5

Networks are tuned one after the other on virtual boards, for each target; a workload that an earlier one had is not
tuned again, and what was learned is carried over. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from shufflec.errors import ShufflecError
from shufflec.files import data_dir
from shufflec.ir.graph import Graph
from shufflec.ir.pipeline import lower
from shufflec.kernels.records import SUFFIX, Records, best_of, read_records, write_records
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.prepare import prepare_model
from shufflec.targets.target import Target, load_target
from shufflec.tuning.boards import started_boards
from shufflec.tuning.cost_model import CostModel
from shufflec.tuning.fleet import Fleet
from shufflec.tuning.journal import Journal
from shufflec.tuning.run import Limits, Run, journal_path
from shufflec.tuning.state import RunState
from shufflec.tuning.tasks import extract_tasks
from shufflec.tuning.tune import sweep_bytes, unknown_tasks

TARGETS, GROUPS, SCALES = "rasp4,rasp5,rasp3,zero2w", "3,8,1,2,4", "1,0.5"
INPUT, CLASSES = (224, 224), 1000
#: The file of a family's records.
FILES = {"v1": "shufflenet_v1.jsonl", "v2": "shufflenet_v2.jsonl"}
#: Kinds of which a network has little time to gain are not worth the time of a shipped run.
KINDS = ("stem_pool", "conv2d", "depthwise_conv2d", "dense", "max_pool2d", "avg_pool2d")


def network(groups: int | None, scale: float) -> Graph:
    """The integer graph of ShuffleNetV1 in the paper's form, or of ShuffleNetV2 in torchvision's for groups None.

    Its weights do not change what is fastest.
    """
    if groups is None:
        architecture = ArchitectureV2(scale, "torchvision", CLASSES, INPUT)
    else:
        architecture = Architecture(groups, scale, input_size=INPUT, classes=CLASSES)
    return lower(prepare_model(random_checkpoint(architecture)).model).graph


def tune_network(
    graph: Graph, target: Target, fleet_size: int, trials: int, path: Path, model: CostModel, label: str
) -> None:
    """Adds the records of a network's new workloads to a file. trials: for each of them.

    New is what neither this file has nor one beside it that comes before it by name.
    """
    records = Records()
    for file in sorted(path.parent.glob(f"*{SUFFIX}")):
        if file.name <= path.name:
            records.add(read_records(file)[0], file.name, target.name)
    tasks = [task for task in extract_tasks(graph, target.isa) if task.workload.kind in KINDS]
    tasks = unknown_tasks(tasks, records)
    if not tasks:
        print(f"{label}: nothing new", flush=True)
        return
    sweep = sweep_bytes(graph, target)
    started = time.monotonic()
    journal_file = journal_path(target, tasks, "shipped", sweep)
    with started_boards(target, fleet_size) as boards, Journal(journal_file, [task.key for task in tasks]) as journal:

        def observe(state: RunState) -> None:
            if state.trials != observe.trials:
                observe.trials = state.trials
                seconds = time.monotonic() - started
                print(f"{label}: {len(tasks)} workloads, {state.trials} trials, {seconds:.0f} s", flush=True)

        observe.trials = 0
        with Fleet(boards, sweep, print) as fleet:
            run = Run(tasks, target, fleet, journal, Limits(trials * len(tasks)), observe, model)
            run.run()
    state = run.state
    saved = 1 - state.best / state.default if state.default else 0.0
    print(f"{label}: {state.default / 1e6:.3f} -> {state.best / 1e6:.3f} ms of new workloads, {saved:.1%}", flush=True)
    for problem in state.problems:
        print(f"{label}: {problem}", flush=True)
    known = read_records(path)[0] if path.is_file() else []
    write_records(path, best_of([*known, *run.records()]))


def main() -> int:
    """Returns the exit code of the first target that failed, or 0."""
    parser = argparse.ArgumentParser(prog="shufflec.tuning.shipped", description="Makes the shipped tuning records.")
    parser.add_argument("--targets", default=TARGETS)
    parser.add_argument("--family", choices=sorted(FILES), default="v1")
    parser.add_argument("--groups", default=GROUPS, help="of ShuffleNetV1")
    parser.add_argument("--scales", default=SCALES)
    parser.add_argument("--boards", type=int, default=1, help="virtual boards at once")
    parser.add_argument("--trials-a-workload", type=int, default=8)
    parser.add_argument("-o", "--output", type=Path, default=data_dir("schedules"))
    parser.add_argument("--anew", action="store_true", help="forget the records that are there")
    options = parser.parse_args()
    groups: list[int | None] = [None] if options.family == "v2" else [int(word) for word in options.groups.split(",")]
    pairs = [(float(scale), count) for scale in options.scales.split(",") for count in groups]
    graphs: dict[tuple[float, int | None], Graph] = {}
    for name in options.targets.split(","):
        target, model = load_target(name), CostModel()
        path = options.output / name / FILES[options.family]
        if options.anew:
            path.unlink(missing_ok=True)
        for scale, count in pairs:
            if (scale, count) not in graphs:
                graphs[scale, count] = network(count, scale)
            label = f"{name} {scale:g}x " + ("V2" if count is None else f"g={count}")
            try:
                graph = graphs[scale, count]
                tune_network(graph, target, options.boards, options.trials_a_workload, path, model, label)
            except ShufflecError as error:
                print(f"{label}: {error}", file=sys.stderr)
                return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
