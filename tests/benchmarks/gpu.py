"""Timings of the remap on a CUDA device, for `make bench-gpu`: python -m tests.benchmarks.gpu [--nside N] ...

Each stage is timed with the device waited for, so that stages add up to more than the whole, where host and device
work at the same time. Cold is the first call, stage by stage, in which kernels are compiled and plans made; warm the
median of the others. The share of the roof is the least memory traffic a stage could do with, over its time, in units
of the device's own rate of copying. Prints "no CUDA device" and exits with 1 where there is none.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from lensrec.arrays import Backend, backend, thread_count
from lensrec.devices import NoDevice
from lensrec.sphere import nufft_remap, remap
from lensrec.sphere.alm import alm_size, scale_alm
from lensrec.sphere.grids import Grid, healpix_grid
from tests.benchmarks.inputs import FOLDER

SEED = 2027


def main(arguments: list[str]) -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu")
    parser.add_argument("--nside", type=int, default=2048)
    parser.add_argument("--lmax", type=int, default=4024)
    parser.add_argument("--epsilon", type=float, default=1e-7)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--legendre", choices=["auto", "host", "device"], default="auto", help="where sums are made")
    options = parser.parse_args(arguments)
    try:
        b = backend("cupy", legendre=options.legendre)
    except NoDevice as err:
        print(f"no CUDA device: {err}", file=sys.stderr)
        return 1
    record = measure(b, options.nside, options.lmax, options.epsilon, options.repeats)
    print("\n".join(table(record)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"gpu_{options.nside}_{options.lmax}_{b.legendre}.json").write_text(json.dumps(record, indent=1) + "\n")
    return 0


def measure(b: Backend, nside: int, lmax: int, epsilon: float, repeats: int) -> dict[str, Any]:
    """Seconds of each stage and of the whole, cold and warm, and of the interpolating remap on the host's cores."""
    grid, (teb, phi) = healpix_grid(nside), sky(lmax)
    times: list[dict[str, float]] = []
    traffic: dict[str, float] = {}
    lensed: Any = None
    for _ in range(repeats + 1):
        with stages(b, grid) as (seconds, nbytes):
            start = time.perf_counter()
            lensed = nufft_remap.remap_tp(teb, phi, grid, epsilon=epsilon, backend=b)
            seconds["all, stage by stage"] = time.perf_counter() - start
        traffic = dict(nbytes)
        start = time.perf_counter()
        lensed = nufft_remap.remap_tp(teb, phi, grid, epsilon=epsilon, backend=b)
        seconds["all"] = time.perf_counter() - start
        start = time.perf_counter()
        on_host = b.to_host(lensed)
        seconds["map to the host"] = time.perf_counter() - start
        times.append(dict(seconds))
    expected = remap.remap_tp(teb, phi, grid, epsilon=epsilon)
    host = []
    for _ in range(max(1, repeats // 2)):
        start = time.perf_counter()
        remap.remap_tp(teb, phi, grid, epsilon=epsilon)
        host.append(time.perf_counter() - start)
    return {
        "device": b.about,
        "legendre": b.legendre,
        "nside": nside,
        "lmax": lmax,
        "epsilon": epsilon,
        "difference": float(np.sqrt(np.mean((on_host - expected) ** 2) / np.mean(expected**2))),
        "cold": times[0],
        "warm": {key: median(t[key] for t in times[1:]) for key in times[0]},
        "bytes": traffic,
        "copy_bytes_per_second": copying_rate(b),
        "host_seconds": median(host),
        "host_threads": thread_count(),
        "npix": grid.npix,
    }


@contextmanager
def stages(b: Backend, grid: Grid) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """Time each stage of what runs within, and count the bytes that it must read and write."""
    seconds: dict[str, float] = defaultdict(float)
    nbytes: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable, traffic: Callable[..., float]) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            b.wait()
            start = time.perf_counter()
            result = function(*args, **kwargs)
            b.wait()
            seconds[name] += time.perf_counter() - start
            nbytes[name] += traffic(result, *args)
            return result

        return call

    class Plan:
        def __init__(self, plan: Any, upsampling: float) -> None:
            # modes, the fine grid written, twice through an FFT, and read; a point's values and its two coordinates
            fine = upsampling**2
            self.setpts = timed("NUFFT: sorting", plan.setpts, lambda _, x, y: 2.0 * x.nbytes)
            self.execute = timed(
                "NUFFT", plan.execute, lambda out, modes, *_: modes.nbytes * (1 + 6 * fine) + 2.0 * out.nbytes
            )

    made = b.plan
    b.plan = lambda *args, **options: Plan(made(*args, **options), options["upsampling"])  # type: ignore[method-assign]
    kept = {name: getattr(nufft_remap, name) for name in ("fourier_plane", "pixel_centres", "follow", "unpack")}
    counts: dict[str, tuple[str, Callable[..., float]]] = {
        # rows read and written by the doubling and the FFT
        "fourier_plane": ("Legendre sums, modes", lambda plane, *_: 4.0 * plane.nbytes),
        "pixel_centres": ("pixel centres", lambda out, *_: 2.0 * out[0].nbytes),
        "follow": ("positions", lambda out, b, tile, alpha: alpha.nbytes + sum(x.nbytes for x in out if x is not None)),
        "unpack": ("turning, unpacking", lambda _, b, v, rows: v.nbytes + 8.0 * v.size + sum(r.nbytes for r in rows)),
    }
    try:
        for name, (words, traffic) in counts.items():
            setattr(nufft_remap, name, timed(words, kept[name], traffic))
        yield seconds, nbytes
    finally:
        del b.plan
        for name, function in kept.items():
            setattr(nufft_remap, name, function)


def copying_rate(b: Backend, nbytes: int = 1 << 30) -> float:
    """Bytes read and written a second by the best of a few copies on the device."""
    best = float("inf")
    with b.active():
        source = b.to_device(np.zeros(min(nbytes, (b.free_bytes() or nbytes) // 4) // 8))
        target = b.xp.empty(source.size, np.float64)
        for _ in range(5):
            b.wait()
            start = time.perf_counter()
            target[:] = source
            b.wait()
            best = min(best, time.perf_counter() - start)
    return 2.0 * source.nbytes / best


def sky(lmax: int) -> tuple[np.ndarray, np.ndarray]:
    """A sky and a φ with spectra of about the CMB's slopes, and a deflection of 2.5′."""
    rng = np.random.default_rng(SEED)
    ell = np.arange(lmax + 1.0)
    alm = rng.standard_normal((4, alm_size(lmax))) + 1j * rng.standard_normal((4, alm_size(lmax)))
    alm[:, : lmax + 1] = np.sqrt(2) * alm[:, : lmax + 1].real
    damped = np.exp(-((ell / 1500.0) ** 2) / 2) / np.maximum(ell, 1)
    steep = np.where(ell > 0, 1.0, 0.0) / np.maximum(ell, 1) ** 3 / (1 + ell / 60) ** 0.5
    rms = np.sqrt(np.sum((2 * ell + 1) / (4 * np.pi) * ell * (ell + 1) * 2 * steep**2))
    return scale_alm(alm[:3], np.where(ell > 1, damped, 0.0)), scale_alm(alm[3], steep * 7.3e-4 / rms)


def table(record: dict[str, Any]) -> list[str]:
    """What was measured, as Markdown."""
    roof, warm = record["copy_bytes_per_second"], record["warm"]
    lines = [
        f"{record['device']}: T, Q, U at nside {record['nside']}, lmax {record['lmax']}, "
        f"epsilon {record['epsilon']:g}, Legendre sums on the {record['legendre']}",
        "",
        "| stage | cold, s | warm, s | Mpix/s | share of the bandwidth roof |",
        "|---|---|---|---|---|",
    ]
    for name, seconds in warm.items():
        share = f"{record['bytes'][name] / seconds / roof:.0%}" if name in record["bytes"] else ""
        rate = record["npix"] / seconds / 1e6
        cold = "" if name == "all" else f"{record['cold'][name]:.3g}"
        lines.append(f"| {name} | {cold} | {seconds:.3g} | {rate:.3g} | {share} |")
    return [
        *lines,
        "",
        f"Roof: {roof / 1e9:.0f} GB/s read and written by a copy. lensrec on the host with {record['host_threads']} "
        f"threads: {record['host_seconds']:.3g} s, {record['host_seconds'] / warm['all']:.2f} times as long. "
        f"Difference of the maps: {record['difference']:.1e} of their rms.",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
