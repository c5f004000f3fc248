"""The real sky: Planck's SMICA temperature through `lensrec reconstruct`, from end to end, and WMAP's V and W read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from lensrec.fit.amplitude import fit_amplitude
from lensrec.rundir import read_table
from lensrec.sky.io import read_map, replacing

EDGES = [8, 40, 85, 130, 175, 220, 265, 310, 355, 400, 500, 600, 800]
OPTIONS = [
    *("--fwhm", "7.25arcmin", "--noise", "38", "--pixel-window", "none", "--estimators", "TT"),
    *("--lmin", "100", "--lmax", "1300", "--apodise", "1deg", "--mean-field-sims", "40"),
    *("--set", f"reconstruction.bin_edges={EDGES}", "--set", "reconstruction.L_min=8"),
]
TEXT = """# The real sky

This page is written by `make validate`, from Planck's SMICA map of the CMB temperature at nside 512 (an effective beam
of 7.25′, no pixel window, noise of about 38 µK·arcmin), under WMAP's temperature mask, apodised by 1°:

```
lensrec reconstruct --map {map} \\
    --mask {mask} \\
    {options}
```

A mean field and N0 from 40 Gaussian skies, with the power and the mask of the map, are taken off. What is left for
40 ≤ L < 220 is {mean:.2f} ± {sigma:.2f} times C_L^φφ of ΛCDM: lensing at {detection:.0f} standard deviations, in a map
that was made from a published picture.

![κ and φ of the Planck sky](pictures/real_sky_kappa.png)

![Band powers of the Planck sky](pictures/real_sky_phi.png)

| L | Ĉ − N0, in units of ΛCDM | curl, likewise | N0, likewise |
|---|---|---|---|
{rows}

**What is not yet accounted for**, and why these points are no measurement of A_L^φφ:

- N1, which adds power at high L; it is not taken off.
- The beam and the noise of this map vary over the sky (it was put together from six faces, whose pixels differ). The
  Gaussian skies have one beam and one noise for all, so their mean field lacks that part. It fills the lowest band, and
  the curl, which lensing leaves empty, shows it in the first bands too.
- N0 comes from skies with the smoothed power of this map, not from this map's own fluctuations (RDN0): an error of one
  per cent in it is a point three times the signal off, and many of its errors, above L = 600.
- Point sources and other residual foregrounds, which add to high L.
- The response has not been corrected by Monte Carlo for the mask.

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
    table = read_table(out / "recon" / "data" / "bandpowers.ecsv")
    used = (table["L_low"] >= 40) & (table["L_high"] < 220)
    fit = fit_amplitude(table["auto_TT"][used], table["fiducial"][used], table["sigma_TT"][used] ** 2)
    unit = table["fiducial"]
    rows = [
        f"| {low:.0f}–{high:.0f} | {a:.2f} ± {s:.2f} | {c:+.2f} | {n:.1f} |"
        for low, high, a, s, c, n in zip(
            table["L_low"],
            table["L_high"],
            table["auto_TT"] / unit,
            table["sigma_TT"] / unit,
            table["curl_TT"] / unit,
            table["n0_TT"] / unit,
            strict=True,
        )
    ]
    options = " ".join(json.dumps(o) if "[" in o else o for o in OPTIONS).replace(" --lmin", " \\\n    --lmin")
    text = TEXT.format(
        map=sky.name,
        mask=mask.name,
        options=options.replace(" --set", " \\\n    --set"),
        mean=fit.mean,
        sigma=fit.sigma,
        detection=fit.mean / fit.sigma,
        rows="\n".join(rows),
        wmap="\n".join(_wmap_rows(wmap, sky, mask)),
    )
    with replacing(docs / "real-sky.md") as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


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
