"""Exports the bench's network with ExecuTorch's XNNPACK backend, in a process of its own.

    python -m shufflec.bench.executorch_export JOB

JOB is JSON: architecture [groups or null for ShuffleNetV2, scale, [height, width]], calibration (.npy), quantized,
output. Needs executorch and torchao on PYTHONPATH, which no other part of shufflec does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from shufflec.bench.workload import bench_architecture
from shufflec.models.networks import build
from shufflec.models.random_weights import random_checkpoint


def main() -> None:
    """Writes the .pte file that the job names."""
    job = json.loads(sys.argv[1])
    groups, scale, size = job["architecture"]
    checkpoint = random_checkpoint(bench_architecture(groups, scale, tuple(size)))
    model = build(checkpoint.architecture)
    model.load_state_dict(checkpoint.state)
    model.eval()
    images = torch.from_numpy(np.load(job["calibration"], allow_pickle=False)).split(1)
    if job["quantized"]:
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        prepared = prepare_pt2e(torch.export.export(model, images[:1]).module(), quantizer)
        for image in images:
            prepared(image)
        model = convert_pt2e(prepared)
    exported = torch.export.export(model, images[:1])
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    Path(job["output"]).write_bytes(program.buffer)


if __name__ == "__main__":
    main()
