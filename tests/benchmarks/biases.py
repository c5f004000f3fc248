"""What biases and the optimal filter cost, for `make bench`: python -m tests.benchmarks.biases [--nside 1024].

Writes docs/benchmarks-biases.md: rows like those of the other page, and the way of conjugate gradients to convergence.
What has been measured is kept in runs/bench, as long as lensrec does not change.
"""

import argparse
import json
import sys
import time

import numpy as np

from lensrec.filtering.templates import monopole_dipole
from lensrec.filtering.wiener import wiener_filter
from lensrec.sky.hits import relative_noise, scan_hits
from lensrec.sky.instrument import gaussian_beam, observed_alm
from lensrec.sky.masks import galactic_cut, pixel_vectors
from lensrec.sky.primary import draw_primary
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis_tp
from tests.benchmarks import inputs
from tests.benchmarks.__main__ import load, source_hash, write
from tests.benchmarks.cases import cases
from tests.benchmarks.inputs import FOLDER, SIZES, theory
from tests.benchmarks.report import machine, table_lines
from tests.benchmarks.rounds import ROOT, measure

ROWS = {"rdn0": "small", "n1": "full"}
"""Rows, and at which size: RDN0's ratio hardly moves with it, and takes half an hour at full size."""

NOISE = {"T": 30.0, "P": 6.0}  # µK·arcmin
TOLERANCE = 1e-4


def main(arguments: list[str]) -> int:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.biases")
    parser.add_argument("--nside", type=int, default=1024, help="of the maps that are filtered")
    options = parser.parse_args(arguments)
    kept = FOLDER / "biases.json"
    state = load(kept, source_hash(), machine())
    for name, extent in ROWS.items():
        if name not in state["rows"]:
            size = SIZES[extent]
            theory(size)
            state["rows"][name] = measure(size, name, cases(size)[name])
            write(kept, json.dumps(state, indent=1))
    filters = state.setdefault("filters", {})
    for fields in ("T", "P"):
        name = f"{fields}-{options.nside}"
        if name not in filters:
            filters[name] = filtered(fields, options.nside, 2 * options.nside)
            write(kept, json.dumps(state, indent=1))
        write(ROOT / "docs" / "benchmarks-biases.md", page(state))
    return 0


def filtered(fields: str, nside: int, lmax: int) -> dict[str, object]:
    """The optimal filter of one map of T, or of Q and U, at f_sky 0.65 with uneven noise and a hundred holes."""
    grid, rng = healpix_grid(nside), np.random.default_rng(1)
    seen = galactic_cut(nside, np.arcsin(0.33)) > 0
    vectors = pixel_vectors(nside)
    for hole in rng.normal(size=(100, 3)):
        seen &= vectors @ (hole / np.linalg.norm(hole)) < np.cos(np.radians(10.0 / 60.0))
    rms = relative_noise(scan_hits(nside, "ecliptic"), seen.astype(float)) * NOISE[fields] * np.pi / 10800.0
    pixel = 4.0 * np.pi / grid.npix
    spectra = inputs.theory(SIZES["full"]).lensed
    none = {key: np.zeros(lmax + 1) for key in ("PP", "TP", "EP")}
    sky = draw_primary({key: cl[: lmax + 1] for key, cl in spectra.items()}, none, lmax, seed=3, sim=0)[0]
    beam = gaussian_beam(np.radians(5.0 / 60.0), lmax)
    maps = synthesis_tp(observed_alm(sky, beam, beam), grid)
    maps = (maps[:1] if fields == "T" else maps[1:]) + rng.normal(size=(len(fields), grid.npix)) * rms / pixel**0.5
    start = time.perf_counter()
    made = wiener_filter(
        grid,
        np.where(seen, pixel / rms**2, 0.0),
        spectra,
        beam,
        lmax,
        fields=fields,
        templates=monopole_dipole(grid) if fields == "T" else None,
        precision="single",
    )
    ready = time.perf_counter()
    solution = made.apply(maps, tolerance=TOLERANCE, progress=lambda n, error: print(n, f"{error:.1e}", flush=True))
    counts = sorted(solution.transforms.items(), reverse=True)
    return {
        "title": f"{fields}, nside {nside}, ℓ ≤ {lmax}, f_sky {seen.mean():.2f}, {NOISE[fields]:g} µK′",
        "iterations": solution.iterations,
        "error": float(solution.error),
        "setup": ready - start,
        "seconds": time.perf_counter() - ready,
        "transforms": {f"ℓ ≤ {top}, spin {spin}": int(n) for (top, spin), n in counts},
    }


def page(state: dict) -> str:
    """Markdown."""
    where = state["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in where["versions"].items())
    lines = [
        "# Benchmarks of biases and filters",
        "",
        f"Written by `make bench`, {where['date']}: {where['cpu']}, {where['cores']} cores, Python {where['python']}; "
        f"{versions}. Load before the run: {where['load_before']:g}. Columns: see [the other page](benchmarks.md).",
        "",
        "RDN0 needs the pairs (data, sim) and (sim, sim′) of every simulation. Its ratio is what one of them costs in",
        "bare estimates: each leg is synthesised once for both.",
        "",
        "| what | side | median, s | ratio | memory, MiB | transforms | error |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(line for name in ROWS for line in table_lines(state["rows"][name])),
        "",
        f"Conjugate gradients of the optimal filter, single precision, to {TOLERANCE:g} of the posterior's σ",
        "per mode, a sharp mask with 100 holes of 10′, hits about the ecliptic poles:",
        "",
        "| map | iterations | estimated error | set-up, s | solution, s | transforms |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in state["filters"].values():
        transforms = "; ".join(f"{n} of {name}" for name, n in row["transforms"].items())
        lines.append(
            f"| {row['title']} | {row['iterations']} | {row['error']:.1e} | {row['setup']:.0f} | "
            f"{row['seconds']:.0f} | {transforms} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
