"""Pieces of LLVM code that loops which must stay in vector registers are put together from."""

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def multiply_add(builder: ir.IRBuilder, vector: ir.VectorType) -> Callable[[ir.Value, ir.Value, ir.Value], ir.Value]:
    """a b + c, in one instruction where the processor has it."""
    bits = 64 if isinstance(vector.element, ir.DoubleType) else 32
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{vector.count}f{bits}"
    )
    return lambda a, b, c: builder.call(function, [a, b, c])


def further(builder: ir.IRBuilder, where: ir.Value, count: ir.Value | int, step: ir.Value | int = 1) -> ir.Value:
    """The address `count` steps of so many bytes beyond another."""
    count = ir.Constant(_I64, count) if isinstance(count, int) else count
    step = ir.Constant(_I64, step) if isinstance(step, int) else step
    return builder.add(where, builder.mul(count, step))


def read(builder: ir.IRBuilder, where: ir.Value, kind: ir.Type, align: int = 8) -> ir.Value:
    """What lies at an address, which need be aligned no better than said."""
    return builder.load(builder.inttoptr(where, kind.as_pointer()), align=align)


def write(builder: ir.IRBuilder, value: ir.Value, where: ir.Value) -> None:
    """Leave a vector of doubles at an address."""
    builder.store(value, builder.inttoptr(where, value.type.as_pointer()), align=8)


def everywhere(builder: ir.IRBuilder, vector: ir.Value, lane: int) -> ir.Value:
    """A vector of one lane's value."""
    lanes = vector.type.count
    undefined = ir.Constant(vector.type, ir.Undefined)
    return builder.shuffle_vector(vector, undefined, ir.Constant(ir.VectorType(_I32, lanes), [lane] * lanes))


def spread(builder: ir.IRBuilder, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    """A vector of one value."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_I32, 0))
    return everywhere(builder, one, 0)
