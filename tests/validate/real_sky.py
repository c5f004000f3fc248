"""The real sky: Planck's SMICA temperature through `lensrec reconstruct`, from end to end, and WMAP's V and W read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from lensrec.rundir import open_run, read_table
from lensrec.sky.io import read_map, read_mask, replacing
from tests.validate.cube_faces import pixel_width, power_by_width
from tests.validate.real_sky_study import FACES, HIGH, LOW, Finding, of_table, variants, with_the_beam_of_faces

EDGES = [8, 40, 70, 100, 140, 180, 220, 260, 300, 400, 500, 600, 800]
OPTIONS = [
    *("--fwhm", "7.25arcmin", "--noise", "38", "--pixel-window", "none", "--estimators", "TT,TTH"),
    *("--lmin", "100", "--lmax", "1300", "--apodise", "1deg", "--mean-field-sims", "40"),
    *("--set", f"reconstruction.bin_edges={EDGES}", "--set", "reconstruction.L_min=8"),
    *("--set", "reconstruction.harden=[sources, mask]", "--set", "reconstruction.rdn0=simulations"),
    *("--set", "reconstruction.mc_response=report", "--set", "reconstruction.response_sims=6"),
]
TEXT = """# The real sky

This page is written by `make validate`, from Planck's SMICA map of the CMB temperature at nside 512 (an effective beam
of 7.25′, no pixel window, noise of about 38 µK·arcmin), under WMAP's temperature mask, apodised by 1°:

```
lensrec reconstruct --map {map} \\
    --mask {mask} \\
    {options}
```

TTH is TT hardened against point sources and the mask. Taken off: the mean field of two halves of 40 Gaussian skies
with the power and the mask of the map, RDN0 from pairs of the map with them, N1 of ΛCDM. What is left for
{low} ≤ L < {high}, in units of C_L^φφ of ΛCDM (A_L^φφ; the curl's PTE is of its bands in that range):

| way | A_L^φφ, TT | χ² / bands | A_L^φφ, TTH | χ² / bands | PTE of the curl |
|---|---|---|---|---|---|
{amplitudes}

![κ and φ of the Planck sky](pictures/real_sky_kappa.png)

![Band powers of the Planck sky](pictures/real_sky_phi.png)

## Where the excesses come from

The map was made from a published picture: six faces of a cube, 1024² pixels each, interpolated. A pixel of a face is
{narrow:.1f}′ wide at a corner of the face and {wide:.1f}′ at its middle, and it averages the sky. Skies that are even
under the mask lack that. So {faces} Gaussian skies of the map's power were put on such faces, averaged over their
pixels and interpolated like it (*faces* in the tables): their mean field has the uneven beam in it.

| L | TT, even | TT, faces | TTH, even | TTH, faces | curl, even | curl, faces | N0 | N1 | MF, even | MF, faces |
|---|---|---|---|---|---|---|---|---|---|---|
{rows}

All in units of the fiducial band power; MF is the power of the mean field; errors are Gaussian, of one sky.

- **Low L**: the lowest band holds {low_even:.1f} times the signal above even skies, and {low_faces:.1f} ±
  {low_error:.1f} with the mean field of the faces; its curl {curl_even:+.1f} and
  {curl_faces:+.1f} ± {curl_error:.1f}. {low_verdict}
- **High L**: N1 is {n1_high:.1f} of the signal for 400 ≤ L < 600 and is taken off. Hardening against sources and mask
  moves these bands by {sources:+.1f} ± {sources_error:.1f}. What is left above even skies is in the curl as in φ, so it
  is no lensing and no sources: {excess:.1f} % of N0 in φ and {excess_curl:.1f} % in the curl for 600 ≤ L < 800. N0 goes
  as the square of the local power, and RDN0 from even skies does not know that the map's power is uneven: its variance
  over the sky is {variance:.1f} % of its square for 800 ≤ ℓ < 1300 ({variance_faces:.1f} % on the faces, chance
  included), and by about as much is N0 too low. With the faces {left:.1f} % and {left_curl:.1f} % are left.
- **The power of the map by the width of the face's pixels**, narrow to wide, 800 ≤ ℓ < 1300, over its mean:
  {by_width}; of a sky on the faces: {by_width_faces}.
- **Response**: lensed skies behind this mask, without the faces, respond {response:.3f} ± {response_error:.3f} for
  {low} ≤ L < {high}; reported, not divided out.

This is a demonstration on a real sky, not a measurement of its lensing: the picture's colours have eight bits, its
lower latitudes were filled in, and what its beam does is known as well as the above shows.

## WMAP's V and W

The seven-year V and W maps at nside 32 state no unit; read as mK in their own ordering, they correlate with this map,
degraded to their pixels, outside the mask:

| map | ordering | rms I [µK] outside the mask | correlation with SMICA |
|---|---|---|---|
{wmap}
"""


def run(store: Path, docs: Path) -> None:
    """Reconstruct the real sky and write docs/real-sky.md; says why it does not where the data are not there."""
    data = Path(os.environ.get("LENSREC_DATA", docs.parent.parent / "shared" / "data"))
    sky = data / "planck_smica_t" / "planck_smica_t_nside512.fits.gz"
    wmap = data / "wmap7_nside32"
    mask = wmap / "wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits"
    if not sky.is_file():
        print(f"real sky skipped: {sky} is not there; set LENSREC_DATA to the folder that holds planck_smica_t")
        return
    out = store / "real_sky"
    command = [sys.executable, "-m", "lensrec.cli", "reconstruct", "--map", str(sky), "--mask", str(mask)]
    subprocess.run([*command, *OPTIONS, "--out", str(out)], check=True)
    (docs / "pictures").mkdir(parents=True, exist_ok=True)
    for ours, theirs in (("kappa", "kappa_sky"), ("phi", "phi_spectrum")):
        shutil.copyfile(out / "pictures" / f"{theirs}.png", docs / "pictures" / f"real_sky_{ours}.png")
    even = of_table("even skies, RDN0", read_table(out / "recon" / "data" / "bandpowers.ecsv"))
    recipe, maps = open_run(out).recipe, read_map(sky).maps
    weights = read_mask(out / "mask.fits", nside=512)
    faces = with_the_beam_of_faces(maps, recipe, weights, store / "faces")
    findings = [even, faces, *variants(maps, recipe, weights, store / "faces")]
    options = " ".join(json.dumps(o) if "[" in o else o for o in OPTIONS).replace(" --lmin", " \\\n    --lmin")
    width = pixel_width(512)
    text = TEXT.format(
        map=sky.name,
        mask=mask.name,
        options=options.replace(" --set", " \\\n    --set"),
        low=LOW,
        high=HIGH,
        amplitudes="\n".join(_amplitude_row(one) for one in findings),
        narrow=width.min(),
        wide=width.max(),
        faces=FACES,
        rows="\n".join(_rows(even.table, faces.table)),
        wmap="\n".join(_wmap_rows(wmap, sky, mask)),
        **_numbers(even.table, faces.table),
        **_unevenness(maps[0], weights, store / "faces"),
    )
    with replacing(docs / "real-sky.md") as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def _amplitude_row(one: Finding) -> str:
    fits = (one.amplitudes[key] for key in ("TT", "TTH"))
    cells = [f"{fit.mean:.2f} ± {fit.sigma:.2f} | {fit.chi2:.1f} / {fit.ndof + 1}" for fit in fits]
    return f"| {one.name} | {' | '.join(cells)} | {one.curl_pte:.2g} |"


def _rows(even: dict[str, np.ndarray], faces: dict[str, np.ndarray]) -> list[str]:
    rows = []
    for i, (low, high, unit) in enumerate(zip(even["L_low"], even["L_high"], even["fiducial"], strict=True)):
        cells = [f"{low:.0f}–{high:.0f}"]
        cells += [
            f"{table[f'auto_{key}'][i] / unit:.2f} ± {table[f'sigma_{key}'][i] / unit:.2f}"
            for key in ("TT", "TTH")
            for table in (even, faces)
        ]
        cells += [f"{table['curl_TT'][i] / unit:+.2f}" for table in (even, faces)]
        cells += [f"{even[name][i] / unit:.2f}" for name in ("n0_TT", "n1_TT")]
        cells += [f"{table['mf_TT'][i] / unit:.2f}" for table in (even, faces)]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _numbers(even: dict[str, np.ndarray], faces: dict[str, np.ndarray]) -> dict[str, object]:
    """What the text says of the first band and of the high ones."""
    unit = even["fiducial"]
    high = (even["L_low"] >= 400) & (even["L_high"] < 600)
    used = (even["L_low"] >= LOW) & (even["L_high"] < HIGH)

    def over(table: dict[str, np.ndarray], name: str) -> float:
        return float(np.sum(table[name][high]) / np.sum(unit[high]))

    def first(table: dict[str, np.ndarray], name: str) -> float:
        return float(table[name][0] / unit[0])

    def last(table: dict[str, np.ndarray], name: str, noise: str, expected: float) -> float:
        return float((table[name][-1] - expected * unit[-1]) / table[noise][-1])

    weight = 1.0 / even["mc_response_sigma_TT"][used] ** 2
    left = abs(first(faces, "auto_TT") - 1) < 3 * first(faces, "sigma_TT")
    curl = abs(first(faces, "curl_TT")) < 3 * first(faces, "curl_sigma_TT")
    verdict = (
        "The uneven beam accounts for both."
        if left and curl
        else "The uneven beam accounts for part of it; the rest is unexplained."
    )
    return {
        "low_even": first(even, "auto_TT"),
        "low_faces": first(faces, "auto_TT"),
        "low_error": first(faces, "sigma_TT"),
        "curl_even": first(even, "curl_TT"),
        "curl_faces": first(faces, "curl_TT"),
        "curl_error": first(faces, "curl_sigma_TT"),
        "low_verdict": verdict,
        "n1_high": over(even, "n1_TT"),
        "sources": over(even, "auto_TTH") - over(even, "auto_TT"),
        "sources_error": float(
            np.sqrt(np.sum(even["sigma_TTH"][high] ** 2 - even["sigma_TT"][high] ** 2)) / unit[high].sum()
        ),
        "excess": 100 * last(even, "auto_TT", "n0_TT", 1.0),
        "excess_curl": 100 * last(even, "curl_TT", "n0_TT", 0.0),
        "left": 100 * last(faces, "auto_TT", "n0_TT", 1.0),
        "left_curl": 100 * last(faces, "curl_TT", "n0_TT", 0.0),
        "response": float(np.average(even["mc_response_TT"][used], weights=weight)),
        "response_error": float(weight.sum() ** -0.5),
    }


def _unevenness(sky: np.ndarray, mask: np.ndarray, store: Path) -> dict[str, object]:
    """How the power of the map, and of a sky on the faces, goes over the sky."""
    with np.load(store / "face_sky_0000.npz") as kept_sky:
        drawn = kept_sky["map"].astype(np.float64)
    (by_width, variance), (by_width_faces, variance_faces) = (
        power_by_width(values, mask, 800, 1300) for values in (sky, drawn)
    )
    words = (", ".join(f"{value:.2f}" for value in values) for values in (by_width, by_width_faces))
    return {
        "variance": 100 * variance,
        "variance_faces": 100 * variance_faces,
        **dict(zip(("by_width", "by_width_faces"), words, strict=True)),
    }


def _wmap_rows(folder: Path, sky: Path, mask: Path) -> list[str]:
    import healpy

    from lensrec.sky.io import read_mask

    smica = healpy.ud_grade(read_map(sky).maps[0], 32)
    seen = read_mask(mask, nside=32) > 0.5
    rows = []
    for band in "VW":
        found = read_map(folder / f"wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits", unit="mK")
        values = found.maps[0][seen]
        correlation = np.corrcoef(values, smica[seen])[0, 1]
        rows.append(f"| {band} | {found.description['ordering']} | {values.std():.1f} | {correlation:.3f} |")
    return rows
