"""Runs one engine on one model inside the emulated arm64 Python and counts instructions per inference.

Usage: python3 run_engine.py JOB.json

The job names the engine, its model files, the input (.npy), where to write the output (.npy), the engine's options,
how to ask the TCG plugin for a count (devices/native/common/counters.h), and where to write the result as JSON:
{"empty": [...], "runs": [[...], ...], "version": "..."}, where each list is the plugin's counters after one region;
"empty" is a region with nothing in it, that is what the marking itself costs.

Needs nothing but this file, numpy and the engine's wheel.
"""

import array
import ctypes
import json
import os
import shutil
import sys

import numpy as np


class Counter:
    """Marks regions by the system call that the plugin listens to, and reads what it wrote for the last one."""

    def __init__(self, job):
        self.call = ctypes.CDLL(None).syscall
        self.start_arguments = ctypes.c_long(job["system_call"]), ctypes.c_long(job["region_start"])
        self.stop_arguments = ctypes.c_long(job["system_call"]), ctypes.c_long(job["region_stop"])
        self.path = job["counters"]
        # The board's caches are followed from here on, empty at first; the warm runs fill them.
        self.call(ctypes.c_long(job["system_call"]), ctypes.c_long(job["session_start"]))

    def start(self):
        self.call(*self.start_arguments)

    def stop(self):
        self.call(*self.stop_arguments)
        with open(self.path, "rb") as file:
            return array.array("Q", file.read()).tolist()


def onnxruntime_engine(job):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(job["files"][0], options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.load(job["input"])}
    return lambda: session.run(None, feed)[0], onnxruntime.__version__


def ncnn_engine(job):
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    for name, value in job["options"].items():
        setattr(net.opt, name, value)
    if net.load_param(job["files"][0]) or net.load_model(job["files"][1]):
        raise SystemExit("ncnn cannot load the model")
    image = np.load(job["input"])[0]
    mat = ncnn.Mat(image).clone()  # a Mat made from an array does not keep the array alive

    def run():
        extractor = net.create_extractor()
        extractor.input(job["input_name"], mat)
        code, output = extractor.extract(job["output_name"])
        if code:
            raise SystemExit(f"ncnn extract fails with code {code}")
        return output

    return run, ncnn.__version__


def mnn_engine(job):
    import _tools  # MNN's converter, without its console command, which installs other packages by itself
    import MNN

    converted = job["folder"] + "/model.mnn"
    source, *quantization = job["files"]
    if not quantization or not os.path.exists(quantization[1]):
        _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", converted])
    if quantization:
        settings, kept = quantization
        if not os.path.exists(kept):  # minutes of work, and the same for every core
            # A list, as a C program's arguments: MNN's own console command passes three strings and aborts.
            made = job["folder"] + "/quantized.mnn"
            _tools.mnnquant(["mnnquant", converted, made, settings])
            shutil.copyfile(made, kept + ".partial")
            os.replace(kept + ".partial", kept)
        converted = kept
    interpreter = MNN.Interpreter(converted)
    session = interpreter.createSession({"numThread": 1, "backend": "CPU"})
    entry = interpreter.getSessionInput(session)
    image = np.load(job["input"])
    tensor = MNN.Tensor(image.shape, MNN.Halide_Type_Float, image, MNN.Tensor_DimensionType_Caffe)
    output = interpreter.getSessionOutput(session)

    def run(kept_alive=image):  # a Tensor made from an array does not keep the array alive
        entry.copyFrom(tensor)
        interpreter.runSession(session)
        shape = output.getShape()
        room = np.zeros(shape, np.float32)
        host = MNN.Tensor(shape, MNN.Halide_Type_Float, room, MNN.Tensor_DimensionType_Caffe)
        output.copyToHostTensor(host)
        return np.array(host.getNumpyData())  # a view of memory that ends with `host`

    return run, MNN.version()


def litert_engine(job):
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=job["files"][0], num_threads=1)  # XNNPACK takes what it can by default
    interpreter.allocate_tensors()
    entry, exit_ = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    image = np.ascontiguousarray(np.load(job["input"]).transpose(0, 2, 3, 1))

    def run():
        interpreter.set_tensor(entry, image)
        interpreter.invoke()
        return interpreter.get_tensor(exit_)

    return run, version("ai-edge-litert")


def executorch_engine(job):
    from importlib.metadata import version

    library = ctypes.CDLL(job["files"][1])
    library.engine_open.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.engine_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    model = np.fromfile(job["files"][0], np.uint8)
    if code := library.engine_open(model.ctypes.data, model.size):
        raise SystemExit(f"ExecuTorch cannot load the model: step {code // 100}, error {code % 100}")
    image = np.load(job["input"])
    shape, output = (ctypes.c_int32 * 4)(*image.shape), np.zeros(job["outputs"], np.float32)

    def run(kept_alive=model):
        if code := library.engine_run(image.ctypes.data, shape, output.ctypes.data, output.size):
            raise SystemExit(f"ExecuTorch cannot run the model: step {code // 100}, error {code % 100}")
        return output

    return run, version("executorch")


ENGINES = {
    "onnxruntime": onnxruntime_engine,
    "ncnn": ncnn_engine,
    "mnn": mnn_engine,
    "litert": litert_engine,
    "executorch": executorch_engine,
}


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    run, version = ENGINES[job["engine"]](job)
    counter = Counter(job)
    output = None
    for _ in range(job["warm_runs"]):
        output = run()
    counter.start()
    empty = counter.stop()
    runs = []
    for _ in range(job["counted_runs"]):
        counter.start()
        output = run()
        runs.append(counter.stop())
    np.save(job["output"], np.array(output, dtype=np.float32).ravel())
    with open(job["result"], "w") as file:
        json.dump({"empty": empty, "runs": runs, "version": version}, file)


if __name__ == "__main__":
    main()
