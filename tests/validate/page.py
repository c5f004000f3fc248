"""The page that the validation writes: verdicts, numbers and figures, none of them typed."""

import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from lensrec.sky.map_write import replacing
from lensrec.view.figure import drawing, estimator_style, new_figure, save_figure, tick_marks
from tests.validate.checks import Check
from tests.validate.skies import COUNT, LMAX, LMAX_SKY, PHI_RECIPE

INTRODUCTION = """# Validation

This page is written by `make validate`; no number on it was typed.

Two sets of {count} full skies: for the lensed spectra, unlensed skies band-limited at ℓ = {lmax_sky}, lensed, read
up to ℓ = {lmax}; for the reconstruction, skies band-limited at {phi_sky}, read up to {phi_data}, with white noise of
{noise:g} µK·arcmin in T, √2 times that in Q and U, and a {fwhm:g}′ beam. Seeds are fixed. Each check is allowed one
false alarm in 1000 runs with other seeds, unless it says otherwise.

| check | claim | verdict |
|---|---|---|
"""


BIASES = """# Masks, noise and biases

This page is written by `make validate`; no number on it was typed. It shows what `lensrec reconstruct` takes off a
spectrum of φ̂ (mean field, N0, N1), what it divides by (the response), and what is left, on skies with a Galactic cut,
uneven noise and a C_L^φφ that is not the fiducial one. Seeds are fixed.

| check | claim | verdict |
|---|---|---|
"""


SPLIT = """# Both lensing amplitudes

This page is written by `make validate`; no number on it was typed. It shows that A_L^TTTEEE and A_L^φφ come out of maps
as they were put in, how they are correlated, and what published data say. Seeds are fixed.

| check | claim | verdict |
|---|---|---|
"""


FIT = """# Fits of cosmology

This page is written by `make validate`; no number on it was typed. It shows that `lensrec fit` gives known answers,
that its trained surface stands for CAMB, what smoothing that is not lensing does to the neutrino masses, and that
forecasts are those of others. Seeds are fixed.

| check | claim | verdict |
|---|---|---|
"""


def full_sky_introduction() -> str:
    """What the page of the full skies begins with."""
    recipe = PHI_RECIPE
    return INTRODUCTION.format(
        count=COUNT,
        lmax_sky=LMAX_SKY,
        lmax=LMAX,
        phi_sky=recipe.sky.lmax,
        phi_data=recipe.sky.lmax_data,
        noise=recipe.instrument.noise_t,
        fwhm=recipe.instrument.fwhm,
    )


def write(path: Path, results: list[Check], introduction: str) -> None:
    """Write a page and its figures."""
    text = introduction
    text += "".join(f"| {c.name} | {c.claim} | {'passed' if c.passed else '**failed**'} |\n" for c in results)
    for check in results:
        picture = check.name.lower().replace(" ", "_").replace(",", "") + ".png"
        _figure(check, path.parent / "pictures" / picture)
        text += f"\n## {check.name}\n\n{check.text}\n\n![{check.name}](pictures/{picture})\n\n{_table(check.table)}"
    packages = ", ".join(f"{name} {version(name)}" for name in ("lensrec", "ducc0", "numpy", "camb"))
    text += f"\nMade with {packages}, Python {platform.python_version()}.\n"
    with replacing(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def _table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def _figure(check: Check, path: Path) -> None:
    """A panel for each curve; one that is called fiducial_KEY is drawn into the others of that key."""
    curves = {name: curve for name, curve in check.curves.items() if not name.startswith("fiducial_")}
    with drawing():
        figure = new_figure(3.2 * -(-len(curves) // 3))
        panels = np.atleast_1d(figure.subplots(-(-len(curves) // 3), 3, sharex=True)).ravel()
        for panel in panels[len(curves) :]:
            panel.set_axis_off()
        for panel, (name, curve) in zip(panels, curves.items(), strict=False):
            key = name.rpartition("_")[2]
            if (fiducial := check.curves.get(f"fiducial_{key}")) is not None:
                panel.plot(fiducial[0], fiducial[1], "--", color="0.5", linewidth=1)
            colour, marker = estimator_style(key)
            panel.axhline(check.expected, color="0.3", linewidth=1)
            panel.errorbar(curve[0], curve[1], curve[2], color=colour, marker=marker, markersize=3, linestyle="none")
            panel.set_title(name.replace("auto_", "φ, ").replace("curl_", "Ω, "), fontsize=10)
            panel.set_xlabel(check.axis)
            tick_marks(panel)
        for panel in panels[::3]:
            panel.set_ylabel(check.quantity)
    save_figure(figure, path, dpi=110)
