"""Emits straight-line TIR with A64 vector intrinsics, statement by statement, in the order that is wanted.

Every value is bound to a variable where it is made, so the order of the calls is the order of the instructions
before LLVM's scheduler. Expressions are built directly (no TVMScript text): building a kernel of a thousand
statements takes milliseconds.

Value types are TVM's names: "int8x16" is one Q register, "int8x8" one D register.
Intrinsics: LLVM's names behind `llvm.aarch64.neon.`; semantics in the Arm ARM (DDI 0487), C7.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tvm
from tvm import tirx
from tvm.ir import PointerType, PrimType

from shufflec.kernels.kernel import PARAMETERS

Value = object  # a tirx expression or variable


def _index(offset: Value, dtype: str) -> Value:
    """Index of consecutive elements. (Buffer.vload would add a broadcast, which TVM lowers lane by lane.)"""
    lanes = int(dtype.rsplit("x", 1)[1]) if "x" in dtype else 1
    return tirx.Ramp(offset, 1, lanes) if lanes > 1 else offset


class Pointer:
    """An address with an element type; loads and stores take constant offsets in elements."""

    def __init__(self, buffer: tirx.Buffer, dtype: str):
        self.buffer = buffer
        self.dtype = dtype

    def resolve(self, e: Emitter, offset: Value) -> tuple[tirx.Buffer, Value]:
        """The buffer and index of an offset."""
        return self.buffer, offset


class FarPointer(Pointer):
    """A pointer to more bytes than LDP reaches (1008): each KiB gets an address register when it is first used.

    step: 1024, in a variable whose value LLVM must not know; it would fold the windows into one register again,
    whose far offsets LDR reaches but LDP does not.
    """

    SIZE = 1024

    def __init__(self, base: Pointer, step: Value):
        super().__init__(base.buffer, base.dtype)
        self.step = step
        self.windows = [base]

    def resolve(self, e: Emitter, offset: int) -> tuple[tirx.Buffer, int]:
        number, rest = divmod(offset, self.SIZE)
        while len(self.windows) <= number:
            self.windows.append(e.at(self.windows[-1], self.step))
        return self.windows[number].buffer, rest


class Emitter:
    """Builds one kernel function with the parameters of kernels/kernel.py."""

    def __init__(self):
        self._scopes: list[list[tirx.Stmt]] = [[]]
        self._names = 0
        self._params: list[tirx.Var] = []
        self._intrinsics: dict[str, int] = {}
        for name, dtype in PARAMETERS:
            if dtype is None:
                variable = tirx.Var(name, "int32")
                setattr(self, name, variable)
            else:
                variable = tirx.Var(name, PointerType(PrimType(dtype)))
                setattr(self, name, self._parameter(variable, dtype))
            self._params.append(variable)

    def _parameter(self, variable: tirx.Var, dtype: str) -> Pointer:
        # Through a reinterpret, TVM counts the pointer among those that may alias anything. Without that, LLVM
        # hoists whole weight sets out of the loops and then spills them.
        alias = tirx.Var(f"{variable.name}_pointer", variable.ty)
        self._emit(tirx.Bind(alias, tirx.reinterpret(variable.ty, variable)))
        return self._declare(alias.name, alias, dtype)

    # -- statements

    def _emit(self, stmt: tirx.Stmt) -> None:
        self._scopes[-1].append(stmt)

    def _close(self) -> tirx.Stmt:
        """Ends the innermost scope; a sequence of one statement is not allowed in TIR."""
        statements = self._scopes.pop() or [tirx.Evaluate(tirx.const(0, "int32"))]
        return tirx.SeqStmt(statements) if len(statements) > 1 else statements[0]

    def _declare(self, name: str, variable: tirx.Var, dtype: str) -> Pointer:
        buffer = tirx.decl_buffer((1 << 30,), dtype, name=f"{name}_", data_alignment=1)
        self._emit(tirx.DeclBuffer(buffer, data=variable))
        return Pointer(buffer, dtype)

    def _name(self, prefix: str = "v") -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    def bind(self, value: Value, dtype: str = "int32") -> tirx.Var:
        """Binds an expression to a new variable and returns it."""
        variable = tirx.Var(self._name(), dtype)
        self._emit(tirx.Bind(variable, value))
        return variable

    @contextmanager
    def loop(self, extent: int | Value, begin: Value = 0) -> Iterator[tirx.Var]:
        """A serial loop over begin..begin+extent-1. A loop of one round is only a scope."""
        if isinstance(extent, int) and extent == 1 and isinstance(begin, int):
            yield tirx.const(begin, "int32")
            return
        variable = tirx.Var(self._name("i"), "int32")
        self._scopes.append([])
        yield variable
        self._emit(tirx.For(variable, begin, extent, tirx.ForKind.SERIAL, self._close()))

    def local(self, count: int, dtype: str) -> tirx.Buffer:
        """An array that LLVM promotes to registers: for values assigned inside a loop. See registers.py."""
        buffer = tirx.decl_buffer((count,), dtype, name=self._name("r"), scope="local")
        self._emit(tirx.AllocBuffer(buffer))
        return buffer

    def get(self, registers: tirx.Buffer, index: int, dtype: str) -> tirx.Var:
        """The present value of an element of `local`."""
        return self.bind(tirx.BufferLoad(registers, [index]), dtype)

    def put(self, registers: tirx.Buffer, index: int, value: Value) -> None:
        """Assigns an element of `local`."""
        self._emit(tirx.BufferStore(registers, value, [index]))

    @contextmanager
    def tiles(self) -> Iterator[tirx.Var]:
        """The loop over the tiles begin..end-1 that every kernel starts with."""
        with self.loop(self.end - self.begin, self.begin) as tile:
            yield tile

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Statements that run only if the condition holds."""
        self._scopes.append([])
        yield
        self._emit(tirx.IfThenElse(condition, self._close(), None))

    # -- memory

    def at(self, pointer: Pointer, offset: Value) -> Pointer:
        """A pointer `offset` elements further on: one address register, to which constant offsets fold."""
        if isinstance(offset, int) and offset == 0:
            return pointer
        variable = tirx.Var(self._name("p"), PointerType(PrimType(pointer.dtype)))
        self._emit(tirx.Bind(variable, tirx.address_of(tirx.BufferLoad(pointer.buffer, [offset]))))
        return self._declare(variable.name, variable, pointer.dtype)

    def cast(self, pointer: Pointer, dtype: str) -> Pointer:
        """The same address seen as another element type."""
        variable = tirx.Var(self._name("p"), PointerType(PrimType(dtype)))
        address = tirx.address_of(tirx.BufferLoad(pointer.buffer, [0]))
        self._emit(tirx.Bind(variable, tirx.reinterpret(PointerType(PrimType(dtype)), address)))
        return self._declare(variable.name, variable, dtype)

    def load(self, pointer: Pointer, offset: Value, dtype: str) -> tirx.Var:
        """Loads a vector or scalar whose elements have the pointer's type."""
        buffer, index = pointer.resolve(self, offset)
        return self.bind(tirx.BufferLoad(buffer, [_index(index, dtype)]), dtype)

    def load_pairs(self, pointer: Pointer, offset: int, step: int, count: int, dtype: str) -> Iterator[tirx.Var]:
        """Loads `count` vectors `step` elements apart, one after the other but each two together (LDP)."""
        for first in range(0, count, 2):
            numbers = range(first, min(first + 2, count))
            yield from [self.load(pointer, offset + number * step, dtype) for number in numbers]

    def store(self, pointer: Pointer, offset: Value, value: Value, dtype: str) -> None:
        """Stores a vector or scalar whose elements have the pointer's type."""
        buffer, index = pointer.resolve(self, offset)
        self._emit(tirx.BufferStore(buffer, value, [_index(index, dtype)]))

    def store_interleaved(self, registers: Sequence[Value], pointer: Pointer, offset: int) -> None:
        """ST2, ST3 or ST4: element i of register j goes to offset + i * len(registers) + j elements."""
        address = tirx.address_of(tirx.BufferLoad(pointer.buffer, [offset]))
        name = f"llvm.aarch64.neon.st{len(registers)}"
        self._emit(tirx.Evaluate(tirx.call_llvm_intrin("void", self._intrinsic(name), *registers, address)))

    def settle(self, values: Sequence[Value]) -> None:
        """Makes LLVM finish these values before anything that comes later is loaded or stored.

        llvm.fake.use generates no code, but neither the instruction selector nor the schedulers move memory
        accesses over it, so a long straight-line body keeps the register pressure of one step.
        """
        identifier = self._intrinsic("llvm.fake.use")
        for value in values:
            self._emit(tirx.Evaluate(tirx.call_llvm_intrin("void", identifier, value)))

    # -- values

    def _intrinsic(self, name: str) -> int:
        if name not in self._intrinsics:
            self._intrinsics[name] = tvm.target.codegen.llvm_lookup_intrinsic_id(name)
        return self._intrinsics[name]

    def op(self, name: str, dtype: str, *args: Value) -> tirx.Var:
        """A vector intrinsic `llvm.aarch64.neon.<name>`."""
        identifier = self._intrinsic(f"llvm.aarch64.neon.{name}")
        return self.bind(tirx.call_llvm_pure_intrin(dtype, identifier, *args), dtype)

    def low(self, value: Value, dtype: str) -> tirx.Var:
        """The lower half of a Q register."""
        return self.bind(tirx.vectorlow(dtype, value), dtype)

    def high(self, value: Value, dtype: str) -> tirx.Var:
        """The upper half of a Q register; free where the instruction has a form `2`."""
        return self.bind(tirx.vectorhigh(dtype, value), dtype)

    def widen(self, value: Value, dtype: str) -> tirx.Var:
        """Sign extension; folds into SADDL, SADDL2, SADDW or SADDW2 where the result is added."""
        return self.bind(tirx.Cast(dtype, value), dtype)

    def combine(self, low: Value, high: Value, dtype: str) -> tirx.Var:
        """Two D registers as one Q register."""
        return self.bind(tirx.vectorcombine(dtype, low, high), dtype)

    def reinterpret(self, value: Value, dtype: str) -> tirx.Var:
        """The same bits as another type."""
        return self.bind(tirx.reinterpret(dtype, value), dtype)

    def shuffle(self, values: Sequence[Value], lanes: Sequence[int], dtype: str) -> tirx.Var:
        """LLVM's shufflevector: picks lanes of the values laid end to end."""
        return self.bind(tirx.Shuffle(list(values), [tirx.const(i, "int32") for i in lanes]), dtype)

    def lane(self, value: Value, index: int, dtype: str) -> tirx.Var:
        """One 32-bit lane as four bytes (dtype int8x4)."""
        return self.bind(tirx.reinterpret(dtype, tirx.Shuffle([value], [tirx.const(index, "int32")])), dtype)

    def widen_high(self, value: Value) -> tirx.Var:
        """int8x8 << 8 as int16x8: SHLL."""
        wide = tirx.Cast("int16x8", value)
        return self.bind(tirx.shift_left(wide, tirx.Broadcast(tirx.const(8, "int16"), 8)), "int16x8")

    def add(self, a: Value, b: Value, dtype: str) -> tirx.Var:
        """Lane-wise wrapping addition."""
        return self.bind(tirx.Add(a, b), dtype)

    def splat(self, value: int | Value, dtype: str) -> tirx.Var:
        """A constant or scalar in every lane."""
        element, lanes = dtype.rsplit("x", 1)
        scalar = tirx.const(value, element) if isinstance(value, int) else value
        return self.bind(tirx.Broadcast(scalar, int(lanes)), dtype)

    def constant(self, value: int, dtype: str) -> Value:
        """A scalar constant."""
        return tirx.const(value, dtype)

    # -- the function

    def function(self) -> tirx.PrimFunc:
        """The finished function; the emitter must not be used any more."""
        body = tirx.SeqStmt([*self._scopes[0], tirx.Evaluate(tirx.const(0, "int32"))])
        return tirx.PrimFunc(self._params, body, ret_type=tvm.ir.TupleType([])).with_attr("shufflec.lowering", "shaped")
