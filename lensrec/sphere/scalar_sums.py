"""Σ_ℓ v_ℓm λ_ℓm(θ) with recursion and sums in vector registers: the innermost loops of `legendre_sums`, spelled out.

LLVM does not vectorise over rings around a loop over ℓ; left to itself it reads and writes the sums once for every
few ℓ, at half the speed.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled
from lensrec.sphere.vector_code import further, multiply_add, read, spread, write

_LANES = 8
_STEPS = 8
STRIP = 32  # pairs of rings whose recursions are started together
_PART = 16  # of them, pairs whose sums fit into registers together, for three fields


def _recursion_and_sums(context, builder, signature, args):  # type: ignore[no-untyped-def]
    y, last, this, alpha, beta, chunks, values, chunk_bytes, parity_bytes, sums, row_bytes = args[:11]
    vectors, columns = signature.args[11].count, signature.args[12].count - 1
    double = ir.DoubleType()
    vector = ir.VectorType(double, _LANES)
    fused = multiply_add(builder, vector)

    def spread_from(where):  # type: ignore[no-untyped-def]
        return spread(builder, read(builder, where, double), vector)

    def kept(value):  # type: ignore[no-untyped-def]
        place = cgutils.alloca_once(builder, vector)
        builder.store(value, place)
        return place

    width = 8 * _LANES
    ys = [read(builder, further(builder, y, i, width), vector) for i in range(vectors)]
    lasts = [kept(read(builder, further(builder, last, i, width), vector)) for i in range(vectors)]
    these = [kept(read(builder, further(builder, this, i, width), vector)) for i in range(vectors)]
    zero = ir.Constant(vector, [0.0] * _LANES)
    totals = [[[kept(zero) for _ in range(vectors)] for _ in range(columns)] for _ in range(2)]
    with cgutils.for_range(builder, chunks) as loop:
        constants = [further(builder, table, loop.index, 8 * _STEPS) for table in (alpha, beta)]
        even = further(builder, values, loop.index, chunk_bytes)
        parities = (even, builder.add(even, parity_bytes))
        for step in range(_STEPS):
            now = [builder.load(place) for place in these]
            if not columns:
                for i in range(vectors):
                    write(builder, now[i], further(builder, further(builder, sums, step, row_bytes), i, width))
            for parity, start in enumerate(parities):
                for c in range(columns):
                    factor = spread_from(further(builder, start, 8 * (_STEPS * c + step)))
                    for i, place in enumerate(totals[parity][c]):
                        builder.store(fused(factor, now[i], builder.load(place)), place)
            a, b = (spread_from(further(builder, table, 8 * step)) for table in constants)
            for i in range(vectors):
                slope = fused(a, ys[i], b)
                behind = builder.fneg(builder.load(lasts[i]))
                builder.store(now[i], lasts[i])
                builder.store(fused(slope, now[i], behind), these[i])
    for i in range(vectors):
        if columns:
            for parity in range(2):
                for c in range(columns):
                    row = 4 * (c // 2) + 2 * parity + c % 2
                    where = further(builder, further(builder, sums, row, row_bytes), i, width)
                    write(builder, builder.load(totals[parity][c][i]), where)
        else:
            write(builder, builder.load(lasts[i]), further(builder, last, i, width))
            write(builder, builder.load(these[i]), further(builder, this, i, width))
    return context.get_dummy_value()


@intrinsic
def _run(  # type: ignore[no-untyped-def]
    typingctx,
    y,
    last,
    this,
    alpha,
    beta,
    chunks,
    values,
    chunk_bytes,
    parity_bytes,
    sums,
    row_bytes,
    vectors,
    columns,
):
    """Run the recursion on as many vectors of rings as `vectors` has entries, from addresses y, last, this.

    Adds up one column fewer than `columns` has entries and writes the sums. With none, what it writes are the functions
    of the last chunk, to the rows at `sums`, and how the recursion stands after it.
    """
    return types.void(*([types.int64] * 11), vectors, columns), _recursion_and_sums


def _sums_over_rings(context, builder, signature, args):  # type: ignore[no-untyped-def]
    functions, function_bytes, re, im, vectors, values = args
    i32 = ir.IntType(32)
    vector = ir.VectorType(ir.DoubleType(), _LANES)
    fused = multiply_add(builder, vector)
    zero = ir.Constant(vector, [0.0] * _LANES)
    totals = [[cgutils.alloca_once(builder, vector) for _ in range(_STEPS)] for _ in range(2)]
    for place in totals[0] + totals[1]:
        builder.store(zero, place)

    with cgutils.for_range(builder, vectors) as loop:
        parts = [read(builder, further(builder, where, loop.index, 8 * _LANES), vector) for where in (re, im)]
        where = further(builder, functions, loop.index, 8 * _LANES)
        for step in range(_STEPS):
            function = read(builder, where, vector)
            where = builder.add(where, function_bytes)
            for part, places in zip(parts, totals, strict=True):
                builder.store(fused(function, part, builder.load(places[step])), places[step])

    def folded(one, two, width):  # type: ignore[no-untyped-def]
        # groups of `width` lanes, added in pairs: those of `one`, then those of `two`, in turn
        groups = [list(range(i, i + width)) for i in range(0, 2 * _LANES, width)]
        half = len(groups) // 2
        pairs = [(groups[i], groups[i + 1], groups[half + i], groups[half + i + 1]) for i in range(0, half, 2)]
        low = [lane for first, _, other, _ in pairs for lane in first + other]
        high = [lane for _, second, _, other in pairs for lane in second + other]
        kind = ir.VectorType(i32, _LANES)
        return builder.fadd(
            builder.shuffle_vector(one, two, ir.Constant(kind, low)),
            builder.shuffle_vector(one, two, ir.Constant(kind, high)),
        )

    for part, places in enumerate(totals):
        columns, width = [builder.load(place) for place in places], 1
        while len(columns) > 1:
            columns = [folded(columns[i], columns[i + 1], width) for i in range(0, len(columns), 2)]
            width *= 2
        where = further(builder, values, part * 8 * _STEPS)
        write(builder, builder.fadd(read(builder, where, vector), columns[0]), where)
    return context.get_dummy_value()


@intrinsic
def _project(typingctx, functions, function_bytes, re, im, vectors, values):  # type: ignore[no-untyped-def]
    """Add the sums over rings of eight functions, times rows `re` and `im`, to the 8 + 8 numbers at `values`."""
    return types.void(*([types.int64] * 6)), _sums_over_rings


@compiled(error_model="numpy")
def project(rows: NDArray, first: int, step: int, parity: int, sums: NDArray, values: NDArray, ring: int) -> None:
    """values[f, j] += Σ_r rows[first + j step] sums[f, parity], re and im, from `ring` on.

    `ring` and the length of the rows are multiples of eight; it is fast where they start at cache lines.
    """
    row_bytes = 8 * rows.shape[1]
    vectors, at = (rows.shape[1] - ring) // _LANES, 8 * ring
    functions = rows.ctypes.data + first * row_bytes + at
    for f in range(len(sums)):
        re = sums.ctypes.data + (4 * f + 2 * parity) * row_bytes + at
        _project(functions, step * row_bytes, re, re + row_bytes, vectors, values.ctypes.data + 2 * 8 * _STEPS * f)


@compiled(error_model="numpy")
def _forward(
    y: NDArray, last: NDArray, this: NDArray, alpha: NDArray, beta: NDArray, chunk: int, rows: NDArray, start: int
) -> None:
    """Take a strip of rings through a chunk, and write its functions into `rows`."""
    a, b = alpha.ctypes.data, beta.ctypes.data
    skip, at = 8 * _STEPS * chunk, 8 * start
    _run(
        y.ctypes.data + at, last.ctypes.data + at, this.ctypes.data + at, a + skip, b + skip, 1, 0, 0, 0,
        rows.ctypes.data + at, 8 * rows.shape[1], (0, 0, 0, 0), (0,),
    )  # fmt: skip


@compiled(error_model="numpy")
def climb(
    y: NDArray,
    last: NDArray,
    this: NDArray,
    scale: NDArray,
    step: float,
    alpha: NDArray,
    beta: NDArray,
    chunks: int,
    rows: NDArray,
    first: NDArray,
) -> None:
    """Run every strip of 32 rings to the chunk before which one of its rings is at its true scale.

    Parameters
    ----------
    y : array (nrings,)
        cos² θ; nrings a multiple of 32.
    last, this, scale : array (nrings,)
        0 and the first function, over 2^(step · scale). Overwritten by the functions before and at the chunk, at their
        true scale. A ring that lags by 2^−400 behind its strip is zero from there on: so near the pole that it lags,
        the order that is summed never matters.
    alpha, beta : array (≥ 8 chunks,)
        Of the recursion, next = (α y + β) this − last.
    rows : array (8, nrings)
        Scratch.
    first : array (nrings/32,), int
        Written: the chunk, or `chunks` if none of the strip's rings got there.
    """
    big, down = 2.0 ** (0.5 * step), 2.0**-step
    for strip in range(len(first)):
        start, stop = strip * STRIP, (strip + 1) * STRIP
        first[strip] = chunks
        for chunk in range(chunks):
            reached = 0
            for r in range(start, stop):
                reached += scale[r] == 0.0
            if reached:
                for r in range(start, stop):
                    factor = 1.0 if scale[r] == 0.0 else (down if scale[r] == -1.0 else 0.0)
                    last[r], this[r] = last[r] * factor, this[r] * factor
                first[strip] = chunk
                break
            _forward(y, last, this, alpha, beta, chunk, rows, start)
            for r in range(start, stop):
                grown = max(abs(last[r]), abs(this[r])) > big
                factor = down if grown else 1.0
                scale[r] += 1.0 if grown else 0.0
                last[r], this[r] = last[r] * factor, this[r] * factor


@compiled(error_model="numpy")
def add_up(
    mine: NDArray,
    y: NDArray,
    last: NDArray,
    this: NDArray,
    alpha: NDArray,
    beta: NDArray,
    first: NDArray,
    sums: NDArray,
) -> None:
    """All sums of one order after `climb`.

    Parameters
    ----------
    mine : array (chunks, 2, 2 fields, 8)
        Coefficients, see `legendre_sums.sums_over_l`.
    y, last, this, alpha, beta, first : see `climb`
    sums : array (fields, 4, nrings)
        Written.
    """
    chunks, columns = len(mine), mine.shape[2]
    parity_bytes, row_bytes = columns * _STEPS * 8, 8 * len(y)
    chunk_bytes = 2 * parity_bytes
    a, b = alpha.ctypes.data, beta.ctypes.data
    for strip in range(len(first)):
        start, todo = strip * STRIP, chunks - first[strip]
        if todo == 0:
            sums[:, :, start : start + STRIP] = 0.0
            continue
        skip, values = first[strip] * _STEPS * 8, mine.ctypes.data + first[strip] * chunk_bytes
        for part in range(start, start + STRIP, _PART):
            at = 8 * part
            where = (y.ctypes.data + at, last.ctypes.data + at, this.ctypes.data + at)
            column = 0
            while column < columns:
                v = values + column * _STEPS * 8
                s = sums.ctypes.data + 2 * column * row_bytes + at
                if columns - column >= 6:
                    _run(
                        where[0], where[1], where[2], a + skip, b + skip, todo, v, chunk_bytes, parity_bytes,
                        s, row_bytes, (0, 0), (0, 0, 0, 0, 0, 0, 0),
                    )  # fmt: skip
                    column += 6
                elif columns - column == 4:
                    _run(
                        where[0], where[1], where[2], a + skip, b + skip, todo, v, chunk_bytes, parity_bytes,
                        s, row_bytes, (0, 0), (0, 0, 0, 0, 0),
                    )  # fmt: skip
                    column += 4
                else:
                    _run(
                        where[0], where[1], where[2], a + skip, b + skip, todo, v, chunk_bytes, parity_bytes,
                        s, row_bytes, (0, 0), (0, 0, 0),
                    )  # fmt: skip
                    column += 2


@compiled(error_model="numpy")
def functions(
    y: NDArray, last: NDArray, this: NDArray, alpha: NDArray, beta: NDArray, first: NDArray, chunk: int, rows: NDArray
) -> int:
    """The functions of a chunk, on the rings that have come to it, and the first such ring; others are zero."""
    lowest = len(y)
    for strip in range(len(first)):
        start = strip * STRIP
        if first[strip] <= chunk:
            _forward(y, last, this, alpha, beta, chunk, rows, start)
            lowest = min(lowest, start)
        elif lowest < start:
            rows[:_STEPS, start : start + STRIP] = 0.0
    return lowest
