"""Band powers of a run's skies, or of its map from outside, and RUN/bandpowers.sacc.fits."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress, run_tasks
from lensrec.recipe import Recipe
from lensrec.rundir import RunDir, RunError, read_table, write_table
from lensrec.sky.io import read_map, read_mask
from lensrec.spectra.linear_data import LinearData
from lensrec.spectra.sacc_file import read_sacc, write_sacc
from lensrec.spectra.sample_covariance import hartlap_factor, shrunk_covariance
from lensrec.stages.bandpowers import SharedBands, shared_bands
from lensrec.stages.bandpowers_view import bandpower_figures
from lensrec.stages.debias import Biases
from lensrec.stages.prepare_run import prepare_run
from lensrec.stages.reconstruct import Reconstruction
from lensrec.view.figure import save_figure

log = logging.getLogger(__name__)

FEWEST = 8
"""Skies from which a run's own scatter is drawn beside the analytic covariance."""


def bandpowers_run(run: RunDir, *, progress: Progress | None = None, nthreads: int = 0) -> LinearData:
    """Band powers of every sky of a run, their mean with its covariance as SACC, and pictures.

    Leaves RUN/spectra/0000.ecsv for every sky and RUN/bandpowers.sacc.fits.

    Raises
    ------
    ValueError
        If the skies have not been reconstructed.
    """
    which: list[int | str] = list(range(run.recipe.sky.n_sims))
    if (run.path / "recon" / "data").is_dir():
        which = ["data"]
    for one in which:
        if not run.has(run.recon(one, "bandpowers.ecsv")):
            raise RunError(f"{run.recon(one, 'bandpowers.ecsv')} is not there; run lensrec reconstruct first")
    shared = _shared(run, which[0], progress, nthreads)

    def file(one: int | str) -> Path:
        return run.path / "spectra" / (f"{one}.ecsv" if isinstance(one, str) else f"{one:04d}.ecsv")

    def source(one: int | str) -> str:
        """Of what a sky's band powers are made: its table of φ̂, and how bands are cut."""
        bands = json.dumps(run.recipe.bandpowers.model_dump(mode="json", exclude={"covariance"}), sort_keys=True)
        return hashlib.sha256(run.recon(one, "bandpowers.ecsv").read_bytes() + bands.encode()).hexdigest()[:16]

    def made(one: int | str) -> bool:
        return run.has(file(one)) and read_table(file(one))["source"][0] == source(one)

    def make(one: int | str) -> None:
        table = read_table(run.recon(one, "bandpowers.ecsv"))
        power = np.concatenate([shared.cmb(_maps(run, one), nthreads=nthreads), shared.lensing(table)])
        template = shared.template
        columns = {"block": template.block, "low": template.low, "high": template.high, "power": power}
        columns["source"] = np.repeat(source(one), len(power))
        write_table(file(one), columns, {}, "band powers: D_l in uK2, and [L(L+1)]^2/2pi C_L^phiphi")

    missing = [one for one in which if not made(one)]
    if len(missing) < len(which):
        log.info("band powers of %d of %d skies are there already", len(which) - len(missing), len(which))
    run_tasks(make, missing, progress=progress, description="band powers")
    skies = np.stack([read_table(file(one))["power"] for one in which])
    data = shared.data(run.recipe.name, skies.mean(0), skies=len(skies))
    covariances = {"analytic": shared.template.covariance}
    if len(skies) >= FEWEST:
        found = shrunk_covariance(skies, shared.template.covariance)
        covariances["simulations"] = found.sample
        if run.recipe.bandpowers.covariance == "simulations":
            # Hartlap's factor is for the inverse of a sample's own; a shrunk one has no such closed form
            factor = 1.0 if found.shrinkage > 0 else hartlap_factor(len(skies), len(data))
            single = found.covariance / factor
            data = shared.data(run.recipe.name, skies.mean(0), skies=len(skies), covariance=single)
            covariances["shrunk"] = found.covariance
    elif run.recipe.bandpowers.covariance == "simulations":
        raise RunError(
            f"bandpowers.covariance: simulations, but the run has {len(skies)} skies; at least {FEWEST}, or analytic"
        )
    for name, figure in bandpower_figures(data, shared.fiducial, covariances, title=run.recipe.name).items():
        save_figure(figure, run.path / "pictures" / f"{name}.png")
    write_sacc(run.path / "bandpowers.sacc.fits", data)
    return data


def read_bandpowers(run: RunDir) -> LinearData:
    """RUN/bandpowers.sacc.fits.

    Raises
    ------
    ValueError
        If it is not there, or cannot be used.
    """
    path = run.path / "bandpowers.sacc.fits"
    if not run.has(path):
        raise RunError(f"{path} is not there; run lensrec bandpowers first")
    return read_sacc(path)


def _shared(run: RunDir, first: int | str, progress: Progress | None, nthreads: int) -> SharedBands:
    recipe = run.recipe
    mask = read_mask(run.path / "mask.fits", nside=recipe.sky.nside) if run.has(run.path / "mask.fits") else None
    if mask is None and not recipe.mask.full_sky:
        raise RunError(f"{run.path / 'mask.fits'} is not there, but the recipe has a mask; run lensrec simulate")
    prepared = prepare_run(
        run, mask, temperature_only=not recipe.sky.polarisation, progress=progress, nthreads=nthreads
    )
    # The estimators that there are, of which the best one rules the bands; their alm are not read.
    estimates = {key: np.zeros((2, 0)) for key in prepared.setting.keys}
    rec = Reconstruction(
        recipe,
        prepared.setting,
        estimates,
        {},
        mask,
        Biases({}, {}, ""),
        prepared.first_order,
        prepared.simulated_response,
    )
    table = read_table(run.recon(first, "bandpowers.ecsv"))
    return shared_bands(rec, table, prepared.theory, recipe.sky.nside, prepared.pattern, nthreads=nthreads)


def _maps(run: RunDir, one: int | str) -> NDArray:
    """Masked maps of one sky, T alone where the recipe has no polarisation."""
    if isinstance(one, int):
        return _rows(run.recipe, read_map(run.sim(one, "data.fits")).maps)
    given = json.loads((run.path / "provenance.json").read_text(encoding="utf-8"))["inputs"]
    sky_map = read_map(given["map"], unit=given["unit"], ordering=given["ordering"], polconv=given["polconv"])
    mask = run.path / "mask.fits"
    weights = read_mask(mask, nside=sky_map.nside) if run.has(mask) else 1.0
    return _rows(run.recipe, sky_map.maps * weights)


def _rows(recipe: Recipe, maps: NDArray) -> NDArray:
    return maps if recipe.sky.polarisation else maps[:1]
