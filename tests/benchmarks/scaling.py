"""Time and memory of stages by nside, and what a thousand skies take: python -m tests.benchmarks.scaling [NSIDE ...].

Lensing and estimates run in a process of their own for each nside, by one thread unless LENSREC_NUM_THREADS says
otherwise; what has been measured is kept in runs/bench/scaling and not measured again. Writes docs/scaling.md and its
picture.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lensrec.sky.map_write import replacing
from lensrec.sphere.device_sht import product_bytes
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.nufft_setting import plane_shape
from lensrec.stages.placing import leg_components
from lensrec.view.figure import drawing, new_figure, save_figure
from tests.benchmarks.inputs import FOLDER
from tests.benchmarks.report import machine
from tests.benchmarks.rounds import ROOT
from tests.benchmarks.scaling_cases import GROUPS, KEYS, recipe

NSIDES = (512, 1024, 2048)
LARGEST = 4096
SKIES = 1000
GAUSSIAN = 80
"""Gaussian skies of a run, for its mean field, N0 and RDN0."""

TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)

BANDWIDTH = {"H100 SXM": 3.35e12, "A100 80 GB": 2.04e12}
"""Bytes a second, by the makers' data sheets."""

ONCE = "once for all skies"
EACH = "for each sky"
NAMES = {
    "lensed_sky": "simulate: draw, lens, observe, write",
    "lenspyx_sky": "lenspyx: lens the same sky to HEALPix",
    "reconstruction": "reconstruct: five estimators and MV, RDN0, N1",
    "usual_estimates": "the same five on HEALPix, one after the other, no bias",
    "gaussian_sky": "a Gaussian sky of mean field and N0",
    "rdn0_simulation": "RDN0 by simulations, for each of them",
    "band_powers": "bandpowers: TT, TE, EE, φφ",
}


def main(arguments: list[str]) -> int:
    """Measure what is missing and write the page."""
    sides = tuple(int(word) for word in arguments) or NSIDES
    for nside in sides:
        for case, found in measured(nside).items():
            print(f"nside {nside:5} {case:16} {found['each']:8.1f} s, once {found['once']:8.1f} s", flush=True)
    if sides == NSIDES:
        found = [measured(nside) for nside in NSIDES]
        write_page({case: [one[case] for one in found] for case in NAMES})
    return 0


def measured(nside: int) -> dict[str, dict[str, float]]:
    """What each case took, from files if they are there."""
    found = {}
    for group in GROUPS:
        file = FOLDER / "scaling" / f"{nside}_{group}.json"
        if not file.is_file():
            command = [sys.executable, "-m", "tests.benchmarks.scaling_cases", str(nside), group]
            threads = os.environ.get("LENSREC_NUM_THREADS", "1")
            environment = {**os.environ, "LENSREC_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
            if done.returncode:
                raise RuntimeError(f"{group} at nside {nside}: {done.stderr.strip().splitlines()[-1]}")
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, done.stdout)
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
        found |= {line["case"]: line for line in lines}
    return found


def larger(values: list[float]) -> tuple[float, float]:
    """At LARGEST, by the power of nside that leads from the last but one to the last; and that power."""
    power = max(0.0, np.log2(values[-1] / values[-2])) if values[-2] > 0 else 0.0
    return values[-1] * (LARGEST / NSIDES[-1]) ** power, float(power)


def device_bytes(nside: int) -> dict[str, float]:
    """The least that a device must read and write for a sky: of the remap to HEALPix and to its data's grid, and of φ̂.

    A plane of modes is read; its grid, finer by 2 each way, is written, goes twice through an FFT and is read;
    Legendre sums and the doubling of the sphere pass over the plane four times. A point has two coordinates, an angle,
    and values before and after they are turned, each written and read: 150 bytes for T, Q and U. All that the
    estimators hold is written and read twice.
    """
    sky, rec = recipe(nside).sky, recipe(nside).reconstruction
    planes = 16.0 * (np.prod(plane_shape(sky.lmax, real=True)) + np.prod(plane_shape(sky.lmax)))
    grids = (healpix_grid(nside), gauss_legendre_grid(2 * sky.lmax + sky.lmax_data))
    remap = sum(29.0 * planes + 150.0 * grid.npix for grid in grids)
    held = product_bytes(rec.lmax_t, rec.L_max, leg_components(KEYS), len(KEYS))
    return {"lensed_sky": remap, "reconstruction": 4.0 * held}


def disk_bytes(nside: int) -> float:
    """What a simulated and reconstructed sky leaves: two maps of T, Q, U and two of κ; T, E, B, φ, and six φ̂ and Ω̂."""
    sky, rec = recipe(nside).sky, recipe(nside).reconstruction
    alm = [(lmax + 1) * (lmax + 2) / 2 * 20.0 for lmax in (sky.lmax, rec.L_max)]
    return 12.0 * nside**2 * (2 * 3 * 8 + 2 * 4) + 4 * alm[0] + 12 * alm[1]


def write_page(rows: dict[str, list[dict[str, float]]]) -> None:
    """docs/scaling.md."""
    where = machine()
    cores = rows["lensed_sky"][0]["threads"]
    lines = [
        "# Scaling",
        "",
        f"Written by `make scaling`, {where['date']}: {where['cpu']}. Full skies of T, Q and U, read to",
        f"ℓ = {', '.join(str(recipe(n).reconstruction.lmax_t) for n in NSIDES)} at nside "
        f"{', '.join(map(str, NSIDES))}, in double precision and at ε = {recipe(512).sky.epsilon:g}.",
        "Seconds are those of processors, by "
        f"{cores} thread{'s' * (cores > 1)}; memory is the most that the process held",
        f"meanwhile, with all that skies share. The column of nside {LARGEST} is not measured: it goes on by the power",
        f"of nside from {NSIDES[-2]} to {NSIDES[-1]}, which is too much where ℓ stays at 3000.",
        "",
        f"| stage | {' | '.join(f'nside {n}' for n in NSIDES)} | power | nside {LARGEST} |",
        "|---|" + "---:|" * (len(NSIDES) + 2),
    ]
    for key, name in NAMES.items():
        for kind, label in (("each", EACH), ("once", ONCE)):
            values = [row[kind] for row in rows[key]]
            if max(values) > 0:
                then, power = larger(values)
                cells = " | ".join(f"{value:.1f} s" for value in values)
                lines.append(f"| {name}, {label} | {cells} | {power:.1f} | {then:.0f} s |")
        peaks = [row["peak_mib"] * 2**20 / 1e9 for row in rows[key]]
        then, power = larger(peaks)
        lines.append(f"| memory | {' | '.join(f'{p:.1f} GB' for p in peaks)} | {power:.1f} | {then:.0f} GB |")
    lines += ["", "![Time and memory by nside](pictures/scaling.png)", "", *_thousand(rows), ""]
    save_figure(_figure(rows), ROOT / "docs" / "pictures" / "scaling.png")
    _write(ROOT / "docs" / "scaling.md", "\n".join(lines))


def _thousand(rows: dict[str, list[dict[str, float]]]) -> list[str]:
    """Core-hours, disk and a device's hours of a thousand skies."""
    sides = (*NSIDES, LARGEST)
    each = {key: [row["each"] for row in rows[key]] + [larger([r["each"] for r in rows[key]])[0]] for key in NAMES}
    once = {key: [row["once"] for row in rows[key]] + [larger([r["once"] for r in rows[key]])[0]] for key in NAMES}

    def hours(seconds: list[float], count: float) -> str:
        return " | ".join(_number(count * s / 3600) for s in seconds)

    ours = ("lensed_sky", "reconstruction", "band_powers")
    shared = [sum(once[key][i] for key in ours) + GAUSSIAN * each["gaussian_sky"][i] for i in range(len(sides))]
    total = [SKIES * sum(each[key][i] for key in ours) + shared[i] for i in range(len(sides))]
    with_pairs = [total[i] + SKIES * GAUSSIAN * each["rdn0_simulation"][i] for i in range(len(sides))]
    peers = [each["lenspyx_sky"][i] + each["usual_estimates"][i] for i in range(len(sides))]
    ours_alone = [each["lensed_sky"][i] + each["reconstruction"][i] for i in range(len(sides))]
    table = [
        f"## {SKIES} skies",
        "",
        f"Core-hours of this machine's cores, with {GAUSSIAN} Gaussian skies for mean field and N0:",
        "",
        f"| | {' | '.join(f'nside {n}' for n in sides)} |",
        "|---|" + "---:|" * len(sides),
        *(f"| {NAMES[key]} | {hours(each[key], SKIES)} |" for key in ours),
        f"| what all skies share | {hours(shared, 1)} |",
        f"| **all** | {hours(total, 1)} |",
        f"| all, with RDN0 of {GAUSSIAN} simulations for every sky | {hours(with_pairs, 1)} |",
        f"| lensing by lenspyx, and the five estimators the usual way | {hours(peers, SKIES)} |",
        f"| simulate and reconstruct, as above | {hours(ours_alone, SKIES)} |",
        f"| disk, GB | {' | '.join(_number(SKIES * disk_bytes(n) / 1e9) for n in sides)} |",
    ]
    for device, rate in BANDWIDTH.items():
        cells = " | ".join(_number(SKIES * sum(device_bytes(n).values()) / rate / 3600) for n in sides)
        table.append(f"| GPU-hours by bandwidth, {device} | {cells} |")
    return [
        *table,
        "",
        "lenspyx lenses to HEALPix only: no drawing, no beam, no noise, no second remap for the data's multipoles,",
        "no file. *The usual way* stands for plancklens, which no package index has: each estimator by itself, every",
        "leg a transform on the maps' own grid, by the same ducc0, without response, N1, RDN0 or band powers, which",
        "are in lensrec's line. A GPU's hours are the least that its memory allows, of remaps and estimators;",
        "no device has run them yet. Legendre sums, transfers and files come on top.",
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _figure(rows: dict[str, list[dict[str, float]]]) -> Figure:
    with drawing():
        figure = new_figure(4.0, 10.0)
        left, right = figure.subplots(1, 2)
        for key, name in NAMES.items():
            left.loglog(NSIDES, [row["each"] for row in rows[key]], "o-", label=name)
            right.loglog(NSIDES, [row["peak_mib"] * 2**20 / 1e9 for row in rows[key]], "o-")
        left.set_ylabel("seconds for each sky")
        right.set_ylabel("peak memory [GB]")
        for axes in (left, right):
            axes.set_xlabel("nside")
            axes.set_xticks(NSIDES, [str(n) for n in NSIDES])
            axes.set_yticks([y for y in TICKS if axes.get_ylim()[0] <= y <= axes.get_ylim()[1]])
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        left.legend(fontsize=7)
    return figure


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
