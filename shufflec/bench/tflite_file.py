"""Writes a TensorFlow Lite flatbuffer: one subgraph of tensors and operators.

Field numbers and codes are those of TensorFlow's schema.fbs, version 3, which keeps them for good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import flatbuffers
import numpy as np

_VERSION = 3
_IDENTIFIER = b"TFL3"
_BUFFER_ALIGNMENT = 16


class Code(IntEnum):
    """BuiltinOperator."""

    ADD = 0
    AVERAGE_POOL_2D = 1
    CONCATENATION = 2
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEQUANTIZE = 6
    FULLY_CONNECTED = 9
    MAX_POOL_2D = 17
    RESHAPE = 22
    PAD = 34
    TRANSPOSE = 39
    MEAN = 40
    SPLIT = 49
    QUANTIZE = 114


VALID_PADDING = 1
RELU = 1
_TYPES = {"float32": 0, "int32": 2, "int8": 9}

#: BuiltinOptions: code -> (its number in the union, fields as name -> (number, "Int32" or "Int8", default)).
_OPTIONS: dict[Code, tuple[int, dict[str, tuple[int, str, int]]]] = {
    Code.CONV_2D: (
        1,
        {"padding": (0, "Int8", 0), "stride_w": (1, "Int32", 0), "stride_h": (2, "Int32", 0), "relu": (3, "Int8", 0)},
    ),
    Code.DEPTHWISE_CONV_2D: (
        2,
        {
            "padding": (0, "Int8", 0),
            "stride_w": (1, "Int32", 0),
            "stride_h": (2, "Int32", 0),
            "multiplier": (3, "Int32", 0),
            "relu": (4, "Int8", 0),
        },
    ),
    Code.MAX_POOL_2D: (5, {}),
    Code.FULLY_CONNECTED: (8, {"relu": (0, "Int8", 0)}),
    Code.CONCATENATION: (10, {"axis": (0, "Int32", 0)}),
    Code.ADD: (11, {"relu": (0, "Int8", 0)}),
    Code.MEAN: (27, {"keep_dims": (0, "Int8", 0)}),
    Code.SPLIT: (35, {"parts": (0, "Int32", 0)}),
}
_POOL = {
    "padding": (0, "Int8", 0),
    "stride_w": (1, "Int32", 0),
    "stride_h": (2, "Int32", 0),
    "filter_w": (3, "Int32", 0),
    "filter_h": (4, "Int32", 0),
}
_OPTIONS[Code.MAX_POOL_2D] = _OPTIONS[Code.AVERAGE_POOL_2D] = (5, _POOL)


@dataclass
class Tensor:
    """scale, zero_point: of quantized types, one or one an index of `axis`. data: of constants, else None."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: np.ndarray | None = None
    zero_point: np.ndarray | None = None
    axis: int = 0
    data: np.ndarray | None = None


@dataclass
class Operator:
    """inputs, outputs: numbers of tensors. options: by name, see _OPTIONS."""

    code: Code
    inputs: list[int]
    outputs: list[int]
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Model:
    """One subgraph; inputs and outputs are numbers of tensors."""

    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """The file; the same bytes for the same model."""
        return _Writer().model(self)


class _Writer:
    """Children before parents, as flatbuffers are built."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 20)

    def model(self, model: Model) -> bytes:
        b = self.builder
        constants = [tensor for tensor in model.tensors if tensor.data is not None]
        numbers = {id(tensor): number for number, tensor in enumerate(constants, 1)}  # buffer 0 is the empty one
        buffers = [self._table(1, {}), *(self._buffer(tensor.data) for tensor in constants)]
        tensors = [self._tensor(tensor, numbers.get(id(tensor), 0)) for tensor in model.tensors]
        codes = sorted({operator.code for operator in model.operators})
        operators = [self._operator(operator, codes.index(operator.code)) for operator in model.operators]
        parts = [self._offsets(tensors), self._ints(model.inputs), self._ints(model.outputs), self._offsets(operators)]
        subgraph = self._table(5, {number: self._offset(number, part) for number, part in enumerate(parts)})
        code_tables = [self._code(code) for code in codes]
        fields = {1: self._offsets(code_tables), 2: self._offsets([subgraph]), 4: self._offsets(buffers)}
        slots = {number: self._offset(number, part) for number, part in fields.items()}
        root = self._table(5, {0: lambda: b.PrependUint32Slot(0, _VERSION, 0), **slots})
        b.Finish(root, file_identifier=_IDENTIFIER)
        return bytes(b.Output())

    def _table(self, fields: int, slots: Mapping[int, Callable[[], None]]) -> int:
        self.builder.StartObject(fields)
        for write in slots.values():
            write()
        return self.builder.EndObject()

    def _offset(self, number: int, part: int) -> Callable[[], None]:
        return lambda: self.builder.PrependUOffsetTRelativeSlot(number, part, 0)

    def _offsets(self, parts: Sequence[int]) -> int:
        self.builder.StartVector(4, len(parts), 4)
        for part in reversed(parts):
            self.builder.PrependUOffsetTRelative(part)
        return self.builder.EndVector()

    def _ints(self, values: Sequence[int]) -> int:
        return self.builder.CreateNumpyVector(np.asarray(values, "<i4"))

    def _buffer(self, data: np.ndarray) -> int:
        raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        b = self.builder
        b.StartVector(1, raw.size, _BUFFER_ALIGNMENT)
        b.head = b.Head() - raw.size
        b.Bytes[b.Head() : b.Head() + raw.size] = raw.tobytes()
        vector = b.EndVector()
        return self._table(1, {0: self._offset(0, vector)})

    def _tensor(self, tensor: Tensor, buffer: int) -> int:
        b = self.builder
        shape, name, quantization = self._ints(tensor.shape), b.CreateString(tensor.name), None
        if tensor.scale is not None:
            scale = b.CreateNumpyVector(np.atleast_1d(tensor.scale).astype("<f4"))
            zero = b.CreateNumpyVector(np.atleast_1d(tensor.zero_point).astype("<i8"))
            slots = {2: self._offset(2, scale), 3: self._offset(3, zero)}
            quantization = self._table(7, {**slots, 6: lambda: b.PrependInt32Slot(6, tensor.axis, 0)})
        slots = {
            0: self._offset(0, shape),
            1: lambda: b.PrependInt8Slot(1, _TYPES[tensor.dtype], 0),
            2: lambda: b.PrependUint32Slot(2, buffer, 0),
            3: self._offset(3, name),
        }
        if quantization is not None:
            slots[4] = self._offset(4, quantization)
        return self._table(8, slots)

    def _operator(self, operator: Operator, index: int) -> int:
        b = self.builder
        inputs, outputs = self._ints(operator.inputs), self._ints(operator.outputs)
        slots = {0: lambda: b.PrependUint32Slot(0, index, 0), 1: self._offset(1, inputs), 2: self._offset(2, outputs)}
        if operator.code in _OPTIONS:
            union, fields = _OPTIONS[operator.code]
            options = self._options(fields, operator.options)
            slots[3] = lambda: b.PrependUint8Slot(3, union, 0)
            slots[4] = self._offset(4, options)
        return self._table(9, slots)

    def _options(self, fields: Mapping[str, tuple[int, str, int]], values: Mapping[str, int]) -> int:
        b = self.builder
        b.StartObject(6)
        for name, value in values.items():
            number, dtype, default = fields[name]
            getattr(b, f"Prepend{dtype}Slot")(number, value, default)
        return b.EndObject()

    def _code(self, code: Code) -> int:
        b = self.builder
        slots = {
            0: lambda: b.PrependInt8Slot(0, min(code, 127), 0),
            2: lambda: b.PrependInt32Slot(2, 1 if code == Code.RESHAPE else 2, 1),  # of the operator: it allows int8
            3: lambda: b.PrependInt32Slot(3, code, 0),
        }
        return self._table(4, slots)
