"""A whole network with certain records on a board: checked bit for bit, then timed."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import tvm

from shufflec.backends.compile import build_library
from shufflec.devices.session import SIMULATED, Session
from shufflec.errors import WrongResultError
from shufflec.ir import reference
from shufflec.ir.graph import Graph
from shufflec.kernels.records import Records
from shufflec.targets.target import Target

_SEED = 1
_REPEATS = 9


def network_ms(graph: Graph, target: Target, session: Session, records: Records) -> float:
    """Milliseconds of one inference with the tilings of `records`; estimated on a virtual board.

    Raises WrongResultError when its output differs from the integer reference's.
    """
    shape = graph.tensors[graph.input].shape
    x = np.random.default_rng(_SEED).uniform(-2, 2, shape).astype(np.float32)
    expected = reference.predict(graph, x)
    code = build_library(graph, target, records=records)
    with tempfile.TemporaryDirectory(prefix="shufflec-tune-") as folder:
        # A name of its own: a library that is loaded must not be overwritten by the next one.
        path = Path(folder) / f"network-{hashlib.sha256(code.library).hexdigest()[:16]}.so"
        path.write_bytes(code.library)
        module = session.upload_module(path)
    with session.guard("run the network"):
        given = tvm.runtime.tensor(x, session.cpu)
        output = tvm.runtime.empty(expected.shape, "float32", session.cpu)
        module["run"](given, output)
        found = output.numpy()
    if found.tobytes() != expected.tobytes():
        raise WrongResultError("the network with tuned kernels differs from the integer reference", "report it")
    repeats = 1 if session.kind == SIMULATED else _REPEATS
    return 1e3 * float(np.median(session.time(module, "run", given, output, repeat=repeats)))
