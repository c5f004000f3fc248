"""What of a sky, a reconstruction or a run directory there is to look at: its maps as the layers of a viewer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.recipe import Recipe
from lensrec.rundir import RunDir, open_run, read_response, read_theory, recorded
from lensrec.sky.healpix_io import nside_of
from lensrec.sky.io import read_alm, read_map, read_mask
from lensrec.stages.reconstruct import Reconstruction
from lensrec.stages.setting import noise_of, optics_of, theory_of
from lensrec.stages.simulate import Sky
from lensrec.theory.spectra import TheorySpectra
from lensrec.view.wiener import ARCMIN, deflection_map, kappa_map, scalar_map, wiener_factor, wiener_filtered

UNIT = "µK"
DEFLECTION = "arcmin"

PRIMARY_UP_TO = 1024
"""nside up to which the unlensed T is made for a viewer: at 2048 that takes half a minute."""


@dataclass
class Shown:
    """Maps by name, with their units, the C_ℓ that they should have, and the mask that hides them.

    "φ" is the potential as deflection √(L(L+1)) φ in arcmin: φ itself is all large scales. "φ̂" and "κ̂" are
    Wiener-filtered.
    """

    maps: dict[str, NDArray] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    theory: dict[str, NDArray] = field(default_factory=dict)
    mask: NDArray | None = None

    def add(self, name: str, sky: NDArray, unit: str = "", theory: NDArray | None = None) -> None:
        """One more layer."""
        self.maps[name] = sky
        if unit:
            self.units[name] = unit
        if theory is not None:
            self.theory[name] = theory

    def merge(self, other: "Shown") -> None:
        """Add what another has; of layers of one name, the other's."""
        self.maps |= other.maps
        self.units |= other.units
        self.theory |= other.theory
        if other.mask is not None:
            self.mask = other.mask


def layers_of(source: Any) -> Shown:
    """The layers of a Sky, a Reconstruction, a run directory (Sky 0), or a mapping of name to map.

    Raises
    ------
    TypeError
        For anything else.
    RunError
        If a folder is no run.
    """
    if isinstance(source, Sky):
        return _sky(source)
    if isinstance(source, Reconstruction):
        return _reconstruction(source)
    if isinstance(source, str | Path):
        return _run(open_run(source))
    if isinstance(source, Mapping):
        return Shown(maps={str(name): np.asarray(sky) for name, sky in source.items()})
    raise TypeError(
        f"layers are those of a sky, a reconstruction, a run's folder, or a dictionary of maps, not of {type(source)}"
    )


def _sky(sky: Sky) -> Shown:
    theory = theory_of(sky.recipe)
    out = _simulated(sky.recipe, theory, sky.lensed, sky.data, sky.phi_alm, np.atleast_2d(sky.unlensed_alm)[0])
    out.mask = sky.mask
    if sky.mask is not None:
        out.add("mask", sky.mask)
    return out


def _reconstruction(rec: Reconstruction) -> Shown:
    out = Shown(mask=rec.mask)
    nside = rec.recipe.sky.nside if rec.mask is None else nside_of(rec.mask.size)
    filtered = wiener_filtered(rec.phi[rec.best], rec.setting.cl_phi, rec.n0[rec.best])
    _estimate(out, filtered, rec.setting.cl_phi, rec.n0[rec.best], nside)
    if rec.mask is not None:
        out.add("mask", rec.mask)
    return out


def _run(run: RunDir, sim: int = 0) -> Shown:
    out = Shown()
    nside = run.recipe.sky.nside
    if not run.has(run.theory):
        raise FileNotFoundError(f"{run.path}: the run has no maps yet; lensrec simulate and reconstruct make them")
    theory = read_theory(run)
    files = [run.sim(sim, name) for name in ("lensed.fits", "data.fits", "phi_alm.fits", "unlensed_alm.fits")]
    if run.has(*files):
        phi, unlensed = (np.atleast_2d(read_alm(file))[0] for file in files[2:])
        out = _simulated(run.recipe, theory, read_map(files[0]).maps, read_map(files[1]).maps, phi, unlensed)
    if run.has(run.path / "mask.fits"):
        out.mask = read_mask(run.path / "mask.fits", nside=nside)
        out.add("mask", out.mask)
    if run.has(run.response):
        _, n0 = read_response(run)
        best = "MV" if "MV" in n0 else next(iter(n0))
        cl_phi = theory.potential["PP"][: len(n0[best])]
        for which in (sim, "data"):
            file = run.recon(which, f"phi_{best}_alm.fits")
            if run.has(file):
                phi = wiener_filtered(np.atleast_2d(read_alm(file))[0], cl_phi, n0[best])
                _estimate(out, phi, cl_phi, n0[best], nside)
    given = recorded(run).get("inputs", {})
    if given.get("map") and Path(given["map"]).is_file():
        seen = read_map(given["map"], **{key: given.get(key) for key in ("unit", "ordering", "polconv")})
        for name, row in zip("TQU", seen.maps, strict=False):
            out.add(name, np.where(seen.observed, row, np.nan), UNIT)
    if not out.maps:
        raise FileNotFoundError(f"{run.path}: the run has no maps yet; lensrec simulate and reconstruct make them")
    return out


def _simulated(
    recipe: Recipe, theory: TheorySpectra, lensed: NDArray, data: NDArray, phi: NDArray, unlensed: NDArray
) -> Shown:
    out = Shown()
    nside = recipe.sky.nside
    lmax = recipe.sky.lmax_data
    optics, noise = optics_of(recipe.instrument, nside, lmax), noise_of(recipe.instrument, lmax)
    cl = theory.lensed
    # of Q and U on a patch, whose axes have no direction in common with E and B
    half = {"T": cl["TT"], "Q": 0.5 * (cl["EE"] + cl["BB"]), "U": 0.5 * (cl["EE"] + cl["BB"])}
    usual = recipe.sky.a_phi == recipe.sky.a_smooth == 1.0
    for name, row in zip("TQU", lensed, strict=False):
        out.add(name, row, UNIT, half[name] if usual else None)
    for name, row in zip("TQU", data, strict=False):
        transfer = optics.of("T" if name == "T" else "E")
        expected = half[name][: lmax + 1] * transfer**2 + noise["TT" if name == "T" else "EE"]
        out.add(f"{name} data", row, UNIT, expected if usual else None)
    if nside <= PRIMARY_UP_TO:
        out.add("T unlensed", scalar_map(unlensed, nside), UNIT, theory.unlensed["TT"])
    pp = recipe.sky.a_phi * theory.potential["PP"]
    ell = np.arange(len(pp), dtype=np.float64)
    square = ell * (ell + 1.0)
    out.add("φ", deflection_map(phi, nside), DEFLECTION, square * pp / ARCMIN**2)
    out.add("κ", kappa_map(phi, nside), "", 0.25 * square**2 * pp)
    return out


def _estimate(out: Shown, filtered: NDArray, cl_phi: NDArray, n0: NDArray, nside: int) -> None:
    factor = wiener_factor(cl_phi, n0)
    expected = factor * cl_phi[: len(factor)]
    ell = np.arange(len(expected), dtype=np.float64)
    square = ell * (ell + 1.0)
    out.add("φ̂", deflection_map(filtered, nside), DEFLECTION, square * expected / ARCMIN**2)
    out.add("κ̂", kappa_map(filtered, nside), "", 0.25 * square**2 * expected)
