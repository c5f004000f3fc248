"""View: the pictures of a run, from what the other stages left in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensrec.products import read_amplitude
from lensrec.rundir import RunDir, read_response, read_table, read_theory
from lensrec.sky.io import read_alm, read_map, read_mask
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import analysis, synthesis
from lensrec.view.figure import save_figure
from lensrec.view.maps import gnomonic_figure, mollweide_figure
from lensrec.view.spectra import phi_spectrum_figure, transfer_figure
from lensrec.view.table import input_points, phi_points, transfer_points
from lensrec.view.wiener import deflection_map, kappa_map, wiener_filtered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATCH_DEG = 12.0
DEFLECTION = r"$\sqrt{L(L+1)}\,\phi$ [arcmin]"


def view_run(run: RunDir) -> list[Path]:
    """Draw the pictures of a run into RUN/pictures: of its first sky, of all band powers, of a map from outside.

    Returns
    -------
    list of Path
        What was drawn; nothing where a stage has not left anything to draw.
    """
    drawn: dict[str, Figure] = {}
    if run.has(run.sim(0, "data.fits")):
        drawn |= _sky_figures(run)
    if run.has(run.path / "recon" / "bandpowers.ecsv", run.recon(0, "bandpowers.ecsv"), run.sim(0, "phi_alm.fits")):
        drawn |= _phi_figures(run)
        drawn |= _spectrum_figures(run, read_table(run.path / "recon" / "bandpowers.ecsv"))
    if run.has(run.recon("data", "bandpowers.ecsv")):
        drawn |= _data_figures(run)
    return [save_figure(figure, run.path / "pictures" / f"{name}.png") for name, figure in drawn.items()]


def _sky_figures(run: RunDir) -> dict[str, "Figure"]:
    nside = run.recipe.sky.nside
    lensed, data = (read_map(run.sim(0, name)).maps[0] for name in ("lensed.fits", "data.fits"))
    primary = np.atleast_2d(read_alm(run.sim(0, "unlensed_alm.fits")))[0]
    difference = lensed - synthesis(primary, healpix_grid(nside))
    mask = _mask(run)
    unit = r"$T$ [$\mu$K]"
    near = _fine_nside(nside)
    return {
        "lensed_sky": mollweide_figure([lensed, difference], ["lensed", "lensed − unlensed"], unit=unit, mask=mask),
        "lensed_zoom": gnomonic_figure(
            [_resolved(sky, nside, near) for sky in (lensed, difference, data)],
            ["lensed", "lensed − unlensed", "with beam and noise"],
            unit=unit,
            size_deg=PATCH_DEG,
            centre=_patch_centre(mask),
            columns=3,
            mask=_refined(mask, near),
        ),
    }


def _phi_figures(run: RunDir) -> dict[str, "Figure"]:
    """φ_in beside φ̂; in the zoom, where the eye compares structures, the input goes through the same Wiener filter."""
    _, n0 = read_response(run)
    key = _best(n0)
    cl_phi = read_theory(run).potential["PP"][: len(n0[key])]
    phi_in = read_alm(run.sim(0, "phi_alm.fits"))
    estimate = wiener_filtered(_phi(run.recon(0, f"phi_{key}_alm.fits")), cl_phi, n0[key])
    alike = wiener_filtered(phi_in, cl_phi, n0[key])
    nside, near = run.recipe.sky.nside, _fine_nside(run.recipe.sky.nside)
    whole, found = (deflection_map(alm, nside) for alm in (phi_in, estimate))
    title = rf"reconstructed $\hat\phi$ ({key}, Wiener-filtered)"
    mask = _mask(run)
    return {
        "phi_sky": mollweide_figure(
            [whole, found], [r"input $\phi$, unfiltered", title], unit=DEFLECTION, limits="shared", mask=mask
        ),
        "phi_zoom": gnomonic_figure(
            [deflection_map(alm, near) for alm in (alike, estimate)],
            [r"input $\phi$, same filter", title],
            unit=DEFLECTION,
            limits="shared",
            size_deg=2 * PATCH_DEG,
            centre=_patch_centre(mask),
            mask=_refined(mask, near),
        ),
    }


def _spectrum_figures(run: RunDir, table: Mapping[str, NDArray]) -> dict[str, "Figure"]:
    """Auto-spectra have their biases taken off; the cross-spectrum with the input has none, and lies on its curve."""
    _, n0 = read_response(run)
    best = _best(n0)
    count = run.recipe.sky.n_sims
    skies = f"{run.recipe.name}: {count} sky" if count == 1 else f"{run.recipe.name}: mean of {count} skies"
    points = phi_points(table, [key for key in n0 if key in ("TT", "EB", best)])
    cross = {"power": table[f"cross_{best}"], "sigma": table[f"transfer_sigma_{best}"] * table["input"]}
    return {
        "phi_spectrum": phi_spectrum_figure(
            _curve(run, "theory"),
            {**points, f"{best} × input": points[best] | cross},
            {key: n0[key] for key in points},
            title=f"{skies} ({_taken_off(run, 0)})",
            realisation=input_points(table),
        ),
        "transfer": transfer_figure(transfer_points(table), title=skies),
    }


def _data_figures(run: RunDir) -> dict[str, "Figure"]:
    table = read_table(run.recon("data", "bandpowers.ecsv"))
    _, n0 = read_response(run)
    key, name, nside = _best(n0), run.recipe.name, run.recipe.sky.nside
    curve = _curve(run, "fiducial ΛCDM")
    seen = np.where(np.arange(len(n0[key])) >= run.recipe.reconstruction.L_min, n0[key], 0.0)
    phi = wiener_filtered(_phi(run.recon("data", f"phi_{key}_alm.fits")), curve["cl"], seen)
    return {
        "kappa_sky": mollweide_figure(
            [kappa_map(phi, nside), deflection_map(phi, nside)],
            [rf"$\hat\kappa$ ({key}, Wiener-filtered)", rf"$\hat\phi$ ({key}, Wiener-filtered)"],
            unit=[r"$\kappa$", DEFLECTION],
            mask=_mask(run),
            title=name,
        ),
        "phi_spectrum": phi_spectrum_figure(
            curve,
            phi_points(table),
            n0,
            title=f"{name} ({_taken_off(run, 'data')})",
            # A logarithm hides what noise has made negative.
            scale="log" if all((table[f"auto_{k}"] > 0).all() for k in n0) else "linear",
        ),
    }


def _taken_off(run: RunDir, which: int | str) -> str:
    """What was taken off the band powers, in a few words."""
    file = run.recon(which, "amplitude.json")
    if not run.has(file):
        return "N0 taken off"
    about = read_amplitude(file)["about"]
    named = {"RDN0": "RDN0", "N0": "N0", "mean field": "mean field", "N1": "N1", "response": "simulated response"}
    words = [next((name for start, name in named.items() if start in text), text) for text in about["taken_off"]]
    lacking = "" if any("N1" in text for text in about["taken_off"]) else ", N1 not"
    return f"{', '.join(words)} taken off{lacking}"


def _curve(run: RunDir, label: str) -> dict[str, Any]:
    cl_phi = read_theory(run).potential["PP"]
    return {"ell": np.arange(len(cl_phi)), "cl": cl_phi, "label": label}


def _fine_nside(nside: int) -> int:
    """Pixels half as wide for close-ups, where interpolation between the rings of coarse ones would show as streaks."""
    return max(nside, min(2 * nside, 2048))


def _resolved(sky: NDArray, nside: int, near: int) -> NDArray:
    """A map on finer pixels, through its harmonics up to 2 nside; what aliases above them is left out."""
    if near == nside:
        return sky
    return synthesis(analysis(np.ascontiguousarray(sky), healpix_grid(nside), 2 * nside), healpix_grid(near))


def _refined(mask: NDArray | None, nside: int) -> NDArray | None:
    import healpy

    return mask if mask is None or len(mask) == 12 * nside**2 else healpy.ud_grade(mask, nside)


def _patch_centre(mask: NDArray | None) -> tuple[float, float]:
    """Longitude and latitude, degrees, of a patch well inside the mask; the origin where nothing is masked."""
    import healpy

    if mask is None:
        return (0.0, 0.0)
    coarse = healpy.smoothing(healpy.ud_grade(mask, min(16, healpy.npix2nside(len(mask)))), fwhm=np.radians(PATCH_DEG))
    longitude, latitude = healpy.pix2ang(healpy.npix2nside(len(coarse)), int(np.argmax(coarse)), lonlat=True)
    return (float(np.round(longitude)), float(np.round(latitude)))


def _phi(file: Path) -> NDArray:
    return np.atleast_2d(read_alm(file))[0]


def _mask(run: RunDir) -> NDArray | None:
    file = run.path / "mask.fits"
    return read_mask(file, nside=run.recipe.sky.nside) if run.has(file) else None


def _best(n0: Mapping[str, NDArray]) -> str:
    """MV where it is there, else the first: what the maps of a run show."""
    keys: Sequence[str] = list(n0)
    return "MV" if "MV" in keys else keys[0]
