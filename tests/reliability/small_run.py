"""A run of a few seconds that leaves every kind of product, and the fingerprints by which two are compared."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lensrec.recipe import Recipe
from lensrec.rundir import create_run, write_theory
from lensrec.spectra.sacc_file import read_sacc
from lensrec.theory.spectra import TheorySpectra

RECIPE = """
name: small
cosmology: {lens_potential_accuracy: 1}
sky: {nside: 16, lmax: 48, lmax_data: 32, seed: 5, n_sims: 3, epsilon: 1e-4}
instrument: {fwhm: 60 arcmin, noise_t: 20, hits: ecliptic}
mask: {galactic_cut: 15, apodisation: 10}
reconstruction: {estimators: "TT,EE", lmin_t: 2, lmin_p: 2, L_max: 24, n_bins: 3, mean_field_sims: 4,
                 rdn0: simulations, response_sims: 2, mc_response: apply}
bandpowers: {lmin: 4, lmax: 32, width: 8}
"""

STAMPED = ("provenance.json", "bandpowers.sacc.fits")
"""Of the time, and of where SACC kept windows in memory."""


def commands(recipe: Path, run: Path) -> list[list[object]]:
    """The whole run, command by command."""
    return [["simulate", recipe, "--out", run], ["reconstruct", run], ["bandpowers", run]]


def begun(run: Path, recipe: Path) -> Path:
    """The folder of a run that has its theory already: CAMB would take more seconds than all the rest."""
    write_theory(create_run(run, Recipe.load(recipe)), theory())
    return run


def theory() -> TheorySpectra:
    """Spectra that are no cosmology's, and do for skies of any kind."""
    ell = np.arange(49.0)
    tt = np.divide(6000.0, ell * (ell + 1.0), out=np.zeros(49), where=ell > 1)
    cmb = {"TT": tt, "EE": 3e-5 * tt * ell, "BB": 1e-9 * tt, "TE": 1e-3 * tt * np.sin(ell)}
    phi = np.divide(1e-7, (ell * (ell + 1.0)) ** 2, out=np.zeros(49), where=ell > 1)
    return TheorySpectra(cmb | {"BB": 0 * tt}, cmb, cmb, {"PP": phi, "TP": 0 * phi, "EP": 0 * phi})


def fingerprints(run: Path) -> dict[str, str]:
    """Of every file in a run by its name, what is left behind included; of SACC, that of its numbers."""
    files = (p for p in sorted(run.rglob("*")) if p.is_file() and p.name != ".lock")
    found = {
        str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name not in STAMPED
    }
    sacc = run / "bandpowers.sacc.fits"
    if sacc.is_file():
        found[sacc.name] = hashlib.sha256(b"".join(_numbers(vars(read_sacc(sacc))))).hexdigest()
    return found


def _numbers(values: Mapping[str, object]) -> Iterator[bytes]:
    for name, value in sorted(values.items()):
        yield name.encode()
        if isinstance(value, Mapping):
            yield from _numbers(value)
        else:
            yield np.ascontiguousarray(value).tobytes()
