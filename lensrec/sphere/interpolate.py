"""The inner loop of the remap, compiled: what is at the place that each pixel sees, and how it is turned on the way."""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled
from lensrec.sphere.vector_code import everywhere, further, multiply_add, read, spread
from lensrec.sphere.walk import walk_ring


def _weighted_sums(context, builder, signature, args):  # type: ignore[no-untyped-def]
    """Σ_ij ψ(u−i) ψ(v−j) f_ij of several fields, in one vector register a row.

    Spelled out for LLVM since its own vectoriser unrolls loops this short before it looks at them: 3.5 times slower.
    """
    address, row_bytes, field_bytes, coefficients, t_row, t_column, lanes, fields = args
    lanes, fields = signature.args[6].count, signature.args[7].count
    scalar = context.get_value_type(signature.return_type.dtype)
    size = signature.return_type.dtype.bitwidth // 8
    vector, i32 = ir.VectorType(scalar, lanes), ir.IntType(32)
    fused = multiply_add(builder, vector)
    degree, bytes_of_a_power = lanes + 3, lanes * size

    t_row, t_column = spread(builder, t_row, vector), spread(builder, t_column, vector)
    row_weights = column_weights = read(builder, further(builder, coefficients, degree, bytes_of_a_power), vector, size)
    for power in range(degree - 1, -1, -1):
        coefficient = read(builder, further(builder, coefficients, power, bytes_of_a_power), vector, size)
        row_weights = fused(row_weights, t_row, coefficient)
        column_weights = fused(column_weights, t_column, coefficient)
    each_row = [everywhere(builder, row_weights, i) for i in range(lanes)]
    rows = [further(builder, address, i, row_bytes) for i in range(lanes)]
    sums = []
    for field in range(fields):
        samples = [read(builder, further(builder, row, field, field_bytes), vector, size) for row in rows]
        # two chains, since one would wait for itself
        halves = [builder.fmul(samples[i], each_row[i]) for i in (0, 1)]
        for i in range(2, lanes):
            halves[i % 2] = fused(samples[i], each_row[i], halves[i % 2])
        total = builder.fmul(builder.fadd(*halves), column_weights)
        width = lanes
        while width > 1:
            whole = ir.Constant(ir.VectorType(scalar, width), ir.Undefined)
            half = ir.VectorType(i32, width // 2)
            low = builder.shuffle_vector(total, whole, ir.Constant(half, list(range(width // 2))))
            high = builder.shuffle_vector(total, whole, ir.Constant(half, list(range(width // 2, width))))
            total, width = builder.fadd(low, high), width // 2
        sums.append(builder.extract_element(total, ir.Constant(i32, 0)))
    return context.make_tuple(builder, signature.return_type, sums)


@intrinsic
def _read_off(typingctx, address, row_bytes, field_bytes, coefficients, t_row, t_column, lanes, fields):  # type: ignore[no-untyped-def]
    """As many fields as `fields` has entries, by a kernel as wide as `lanes` has entries."""
    signature = types.UniTuple(t_row, fields.count)(
        types.int64, types.int64, types.int64, types.int64, t_row, t_row, lanes, fields
    )
    return signature, _weighted_sums


@compiled(fastmath={"contract", "nsz"}, error_model="numpy")
def remap_rings(
    rings: NDArray,
    theta: NDArray,
    count: NDArray,
    phi0: NDArray,
    start: NDArray,
    longest: NDArray,
    field: NDArray,
    samples: NDArray,
    first: int,
    intervals: int,
    columns: int,
    coefficients: NDArray,
    lanes: tuple,
    fields: tuple,
    spin: int,
    out: NDArray,
) -> None:
    """Lens some rings of pixels.

    Parameters
    ----------
    rings : array of int
        Which rings of the grid.
    theta, count, phi0, start, longest : array (nrings,)
        Colatitude, number of pixels, first longitude and first pixel of every ring, and the largest |α| on it.
    field : array (2, npix), float64
        Deflection. May share memory with `out`: a ring's deflections are read before the ring is written.
    samples : array (fields, rows, columns + 2 W), real
        Corrected samples from row `first` on, each row continued by W samples at either end.
    first, intervals, columns : int
        Row of samples[:, 0]; intervals of θ from pole to pole; samples in a full turn.
    coefficients : array (W + 4, W), in the precision of `samples`
        The kernel, see `lensrec.sphere.gridding.Gridding`.
    lanes, fields : tuples
        Of W entries, and of as many as there are fields: their lengths are known when this is compiled.
    spin : int
        The last two fields are the parts of one of this spin, and are turned by γ; 0: none are.
    out : array (fields, npix)
        Written.
    """
    width = len(lanes)
    most = 0
    for ring in rings:
        most = max(most, count[ring])
    row = np.empty(most)
    column = np.empty(most)
    cosine = np.empty(most)
    sine = np.empty(most)
    real = samples.dtype.type
    row_bytes = samples.shape[2] * samples.itemsize
    field_bytes = samples.shape[1] * row_bytes
    # sample (row, column) of the first field, where a kernel that is to the right of it begins
    corner = samples.ctypes.data - (first + width // 2 - 1) * row_bytes + (width // 2 + 1) * samples.itemsize
    kernel = coefficients.ctypes.data
    for ring in rings:
        pixels, begin = count[ring], start[ring]
        walk_ring(
            theta[ring], phi0[ring], longest[ring], field[0, begin : begin + pixels], field[1, begin : begin + pixels],
            row, column, cosine, sine,
        )  # fmt: skip
        per_row, per_column = intervals / math.pi, columns / (2.0 * math.pi)
        for k in range(pixels):
            u, v = row[k] * per_row, column[k] * per_column
            below, left = math.floor(u), math.floor(v)
            t_row, t_column = real(u - below), real(v - left)
            left = left % columns
            where = corner + int(below) * row_bytes + int(left) * samples.itemsize
            values = _read_off(where, row_bytes, field_bytes, kernel, t_row, t_column, lanes, fields)
            if spin:
                # exp(isγ)
                c, s = cosine[k], sine[k]
                turn_c, turn_s = c, s
                for _ in range(spin - 1):
                    turn_c, turn_s = turn_c * c - turn_s * s, turn_c * s + turn_s * c
                last = len(fields) - 1
                out[last - 1, begin + k] = real(turn_c) * values[last - 1] - real(turn_s) * values[last]
                out[last, begin + k] = real(turn_c) * values[last] + real(turn_s) * values[last - 1]
                if last == 2:
                    out[0, begin + k] = values[0]
            else:
                for f in range(len(fields)):
                    out[f, begin + k] = values[f]
