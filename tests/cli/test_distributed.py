"""Two processes on this computer train one network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchrun_trainings
from torchrun_trainings import OWN, SYNC, training

from shufflec.errors import InputFileError, OptionError
from shufflec.training.distributed import ALONE, PeerError, ProcessError, Processes, peers_needed, torchrun_ranks
from shufflec.training.sync_batch_norm import SyncBatchNorm2d

_SCRIPT = Path(torchrun_trainings.__file__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("torchrun")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # As torchrun starts them, which tests/cli does.
    processes = [
        subprocess.Popen(
            [sys.executable, str(_SCRIPT), str(folder)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    assert sorted(path.name for path in folder.glob("done.*")) == ["done.0", "done.1"]
    return folder


def _weights(folder: Path, name: str, rank: int) -> dict[str, np.ndarray]:
    with np.load(folder / f"{name}.{rank}.npz") as arrays:
        return dict(arrays)


def _assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.mark.parametrize("name", ["sync", "own", "resumed"])
def test_both_processes_end_with_the_same_weights_and_figures(folder, name):
    first = _weights(folder, name, 0)
    assert first["metric count"] == 7
    _assert_same(first, _weights(folder, name, 1))


def _farthest(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    """The largest difference of a weight of a convolution."""
    names = [name for name in second if name.endswith(("conv1.weight", "conv2.weight", "conv3.weight"))]
    return max(float(np.abs(first[name] - second[name]).max()) for name in names)


def test_two_processes_are_one_with_twice_the_batch(folder):
    """With batch norm over both, all that differs is the order of additions."""
    alone = {name: tensor.numpy() for name, tensor in training(SYNC).state.items()}
    still = {name: tensor.numpy() for name, tensor in training(replace(SYNC, lr=1e-8)).state.items()}
    assert _farthest(_weights(folder, "sync", 0), alone) < 0.03 * _farthest(still, alone)


def test_batch_norm_of_each_process_alone_is_another_training(folder):
    alone = {name: tensor.numpy() for name, tensor in training(OWN).state.items()}
    assert not np.allclose(_weights(folder, "own", 0)["stage2.0.conv1.weight"], alone["stage2.0.conv1.weight"])


def test_a_stopped_run_of_two_processes_goes_on_bit_for_bit(folder):
    _assert_same(_weights(folder, "own", 0), _weights(folder, "resumed", 0))


def test_batch_norm_over_one_process_is_torchs(monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    ours, torchs = SyncBatchNorm2d(3), torch.nn.BatchNorm2d(3)
    for momentum in (0.1, None):
        ours.momentum = torchs.momentum = momentum
        inputs = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 3 + 7
        results = []
        for norm in (ours, torchs):
            norm.zero_grad()
            leaf = inputs.clone().requires_grad_()
            output = norm(leaf)
            (output**3).sum().backward()
            results.append([output, leaf.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
        for value, expected in zip(*results, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)


def test_ranks_of_the_environment():
    assert torchrun_ranks({}) == (0, 0, 1)
    assert torchrun_ranks({"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}) == (5, 1, 8)
    for wrong in ({"RANK": "8"}, {"RANK": "-1"}, {"RANK": "x"}, {"LOCAL_RANK": ""}, {"WORLD_SIZE": "9999999"}):
        with pytest.raises(OptionError, match="expected what torchrun sets"):
            torchrun_ranks({"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", **wrong})


def test_whose_error_it_is():
    error = InputFileError("a.png", "is damaged")
    with pytest.raises(InputFileError), ALONE.own_errors():
        raise error
    with pytest.raises(ProcessError, match=r"process 3: a\.png: is damaged") as caught, Processes(3, 4).own_errors():
        raise error
    assert caught.value.exit_code == error.exit_code
    with pytest.raises(PeerError, match="its own message says why"), peers_needed():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:26311")
    with pytest.raises(RuntimeError, match="out of memory"), peers_needed():
        raise RuntimeError("CUDA out of memory")
