"""One side of a comparison, in a process of its own: python -m tests.benchmarks.worker SIZE CASE SIDE SAMPLE.

Sets up, runs once unmeasured, and reports; then runs once for every line on stdin and answers with the seconds; at
the end of stdin leaves the sample and reports its peak memory. Each answer is one line of JSON.
"""

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import ducc0
import numpy as np

from lensrec.quadratic import estimators
from tests.benchmarks.cases import cases
from tests.benchmarks.inputs import SIZES


def counted(run: Callable[[], object]) -> tuple[object, dict[str, int]]:
    """What a call returns, and how many transforms between alm and rings it made."""
    counts: Counter[str] = Counter()
    originals = {name: getattr(ducc0.sht, name) for name in ("synthesis", "adjoint_synthesis")}

    def counting(name: str) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            counts[name] += 1
            return originals[name](*args, **kwargs)

        return call

    products = estimators.vector_products

    def counting_products(
        fields: Sequence, multiply: Callable, outputs: int, *args: object, **kwargs: object
    ) -> object:
        counts["synthesis"] += len(fields)
        counts["adjoint_synthesis"] += outputs
        return products(fields, multiply, outputs, *args, **kwargs)

    try:
        for name in originals:
            setattr(ducc0.sht, name, counting(name))
        estimators.vector_products = counting_products
        return run(), dict(counts)
    finally:
        estimators.vector_products = products
        for name, original in originals.items():
            setattr(ducc0.sht, name, original)


def peak_mib() -> float:
    """The most memory this process has held; getrusage would start from what its parent held."""
    try:
        with open("/proc/self/status") as file:
            return next(float(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        # kilobytes on Linux, bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main(size: str, name: str, side: str, sample_path: str) -> None:
    # Answers go out by the stdout this process was given; what libraries print goes nowhere.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def answer(**what: object) -> None:
        print(json.dumps(what), file=answers, flush=True)

    case = cases(SIZES[size])[name]
    run = (case.truth if side == "truth" else case.sides[side])()
    result, counts = counted(run)
    answer(counts=counts)
    for _ in sys.stdin:
        del result
        start = time.perf_counter()
        result = run()
        answer(seconds=time.perf_counter() - start)
    peak = None if case.children else peak_mib()
    if case.sample is not None and side not in case.unlike:
        np.save(sample_path, case.sample(result))
    answer(peak_mib=peak)


if __name__ == "__main__":
    main(*sys.argv[1:])
