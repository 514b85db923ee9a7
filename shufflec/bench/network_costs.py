"""Measures whole networks of any published form on virtual boards, for `shufflec models --measure`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from shufflec import __version__
from shufflec.bench.own_row import own_key, run_shufflec
from shufflec.bench.saved import Job, Progress, complete
from shufflec.bench.workload import Workload, workload_of
from shufflec.errors import ShufflecError
from shufflec.models.families import AnyArchitecture
from shufflec.reports.network_costs import NetworkCost, NetworkCosts
from shufflec.targets.target import Target


def measure_costs(
    networks: Sequence[AnyArchitecture], targets: Sequence[Target], progress: Progress, fresh: bool = False
) -> NetworkCosts:
    """Every network on every board, in that order; one that fails does not stop the others.

    progress(what, done, total): before every measurement. fresh: measures again what an earlier run has kept.
    """
    with tempfile.TemporaryDirectory(prefix="shufflec-bench-") as name:

        @cache
        def workload(arch: AnyArchitecture) -> Workload:
            return workload_of(arch, Path(name) / f"network-{networks.index(arch)}")

        def job(arch: AnyArchitecture, target: Target) -> Job:
            def run() -> dict:
                cost = NetworkCost(arch, target.name, target.core)
                try:
                    own = run_shufflec(workload(arch), target)
                except ShufflecError as error:
                    return replace(cost, reason=str(error)).to_dict()
                total = sum(own.instructions.values())
                return replace(cost, instructions=total, milliseconds=round(own.milliseconds, 3)).to_dict()

            key = own_key(target, arch.groups, arch.scale, arch.input_size)
            key |= {"table": "networks", "architecture": arch.to_dict()}
            return Job(f"{arch} on {target.name}", key, run, lambda found: not found["reason"])

        jobs = [job(arch, target) for arch in networks for target in targets]
        found = [NetworkCost.from_dict(result) for result in complete(jobs, progress, fresh)]
    return NetworkCosts(tuple(found), {"shufflec": __version__})
