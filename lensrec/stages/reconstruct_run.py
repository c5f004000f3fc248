"""Reconstruct the skies of a run, or a map from outside, and leave the products in a run directory."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress, Workers, run_tasks
from lensrec.fit.amplitude import fit_amplitude
from lensrec.recipe import Recipe
from lensrec.rundir import (
    RunDir,
    create_run,
    read_table,
    record_backend,
    write_json,
    write_table,
    write_theory,
)
from lensrec.sky.io import SkyMap, read_alm, read_map, read_mask, write_alm, write_map
from lensrec.stages.gaussian import on_disk
from lensrec.stages.masking import mask_of
from lensrec.stages.memory_advice import require_memory
from lensrec.stages.phi_bandpowers import phi_bandpowers
from lensrec.stages.placing import Quadratic, estimation_backend, quadratic_on
from lensrec.stages.polarisation import doubtful_polarisation
from lensrec.stages.prepare import Preparation, gaussian_skies, with_gaussian
from lensrec.stages.prepare_run import prepare_run
from lensrec.stages.reconstruct import Reconstruction, reconstruct
from lensrec.stages.setting import optics_of, theory_of

log = logging.getLogger(__name__)


def reconstruct_run(
    run: RunDir, *, executor: Workers = None, progress: Progress | None = None, nthreads: int = 0
) -> None:
    """Reconstruct every simulated sky of a run that has not been; then average their band powers.

    `executor` says where, see `lensrec.engine`: of what all skies share, too, Gaussian skies and their pairs among it.

    Raises
    ------
    ValueError
        If a sky is missing.
    """
    recipe = run.recipe
    sims = range(recipe.sky.n_sims)
    absent = [sim for sim in sims if not run.has(run.sim(sim, "data.fits"))]
    if absent and (run.path / "recon" / "data").is_dir():
        raise ValueError(f"{run.path} is the run of a map from outside: give the command with --map again")
    if absent:
        file = run.sim(absent[0], "data.fits")
        raise ValueError(f"{file} is {'not whole' if file.exists() else 'not there'}; run lensrec simulate first")
    missing = [sim for sim in sims if not _reconstructed(run, sim)]
    if len(missing) < len(sims):
        log.info("%d of %d skies are reconstructed already", len(sims) - len(missing), len(sims))
    if missing:
        require_memory(recipe, "reconstruct", tasks=executor is None, nthreads=nthreads)
        quadratic = _placed(run, not recipe.sky.polarisation, nthreads)
        prepared = _prepare(run, quadratic, executor, progress, nthreads)
        if prepared.pairs is not None and executor is not None:
            if recipe.reconstruction.rdn0 == "simulations":
                prepared.pairs.mcn0()  # once for all skies, and not once in every worker
            prepared = replace(prepared, pairs=prepared.pairs.alone())
        shared = (run, prepared, quadratic, nthreads)
        run_tasks(
            reconstruct_into, missing, shared=shared, executor=executor, progress=progress, description="reconstruct"
        )
    _write_mean(run)


def reconstruct_into(shared: tuple[RunDir, Preparation, Quadratic, int], sim: int) -> None:
    """Reconstruct one sky of a run and leave the products there."""
    run, prepared, quadratic, nthreads = shared
    data = read_map(run.sim(sim, "data.fits")).maps
    rec = reconstruct(data, run.recipe, prepared=prepared, quadratic=quadratic, nthreads=nthreads)
    _write_products(run, sim, rec, read_alm(run.sim(sim, "phi_alm.fits"), lmax=run.recipe.sky.lmax))


def _placed(run: RunDir, temperature_only: bool, nthreads: int) -> Quadratic:
    """The estimators where the recipe says, and a record of where that is."""
    backend = estimation_backend(run.recipe, temperature_only=temperature_only, nthreads=nthreads)
    record_backend(run, "reconstruct", backend.about)
    if backend.on_device:
        log.info("estimating on %s", backend.about)
    return quadratic_on(backend, (run.recipe, temperature_only, nthreads))


def reconstruct_map(
    path: str | Path,
    settings: Mapping[str, Any],
    *,
    out: str | Path,
    unit: str | None = None,
    ordering: str | None = None,
    polconv: str | None = None,
    command: Sequence[str] = (),
    executor: Workers = None,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> RunDir:
    """Reconstruct a map from outside into OUT/recon/data.

    Parameters
    ----------
    path : str or Path
        I, or I, Q and U; HEALPix or CAR.
    settings : mapping
        A recipe's plain data, saying what the map is: instrument, mask, reconstruction. Its sky is taken from the map.
    out : str or Path
        Run directory.
    unit, ordering, polconv : str
        What the header leaves unsaid or says wrongly; see `lensrec.sky.io.read_map`.
    command : sequence of str
        For the provenance.
    executor : Engine or Executor, optional
        Where the Gaussian skies, their pairs and those of the response are made.

    Returns
    -------
    RunDir

    Raises
    ------
    ValueError
        If the map or the settings cannot be used.

    Notes
    -----
    Pixels that were not observed are masked with the mask, before it is apodised.
    """
    sky_map = read_map(path, unit=unit, ordering=ordering, polconv=polconv)
    recipe = Recipe.for_map(sky_map.nside, settings, polarised=sky_map.polarised)
    if recipe.sky.nside != sky_map.nside:
        raise ValueError(f"sky.nside: {recipe.sky.nside} is not that of the map, {sky_map.nside}; leave it out")
    if recipe.sky.polarisation and not sky_map.polarised:
        raise ValueError("sky.polarisation: true, but the map has temperature alone; leave it out")
    _check_sky(path, sky_map, recipe.reconstruction.estimators)
    mask = mask_of(recipe.mask, sky_map.nside, observed=sky_map.observed, coord=sky_map.description.get("coord"))
    inputs = {"map": str(Path(path).resolve()), "unit": unit, "ordering": ordering, "polconv": polconv}
    inputs["map_sha256"] = _fingerprint(path)
    inputs["mask_sha256"] = None if recipe.mask.file is None else _fingerprint(recipe.mask.file)
    run = create_run(out, recipe, command=command, inputs=inputs)
    if _reconstructed(run, "data"):
        log.info("%s is there already", run.recon("data", "bandpowers.ecsv"))
        return run
    require_memory(recipe, "reconstruct", tasks=executor is None, nthreads=nthreads)
    quadratic = _placed(run, not sky_map.polarised, nthreads)
    _say_what_was_assumed(sky_map)
    if not run.has(run.theory):
        write_theory(run, theory_of(recipe))
    if mask is not None:
        write_map(run.path / "mask.fits", mask, unit="", column_names=["MASK"])
        if not recipe.reconstruction.mean_field_sims:
            log.warning("the sky is cut and no mean field is taken off: give --mean-field-sims 40")
    elif max(recipe.reconstruction.lmax_t, recipe.reconstruction.lmax_p) > 2 * sky_map.nside:
        log.warning("above ℓ = 2 nside = %d pixels make a mean field at the lowest L", 2 * sky_map.nside)
    prepared = prepare_run(
        run,
        mask,
        temperature_only=not sky_map.polarised,
        quadratic=quadratic,
        executor=executor,
        progress=progress,
        nthreads=nthreads,
    )
    if sky_map.polarised:
        span = recipe.reconstruction.lmin_p, recipe.reconstruction.lmax_p
        optics = optics_of(recipe.instrument, sky_map.nside, span[1])
        totals = prepared.setting.totals
        if doubt := doubtful_polarisation(
            sky_map.maps, totals, optics, sky_map.nside, span, mask=mask, nthreads=nthreads
        ):
            log.warning("%s", doubt)
    rec = reconstruct(
        sky_map.maps,
        recipe,
        masked=False,
        prepared=prepared,
        gaussian=partial(on_disk, run, executor=executor, progress=progress),
        quadratic=quadratic,
        executor=executor,
        nthreads=nthreads,
    )
    _write_products(run, "data", rec, None)
    return run


def _check_sky(path: str | Path, sky_map: SkyMap, estimators: Sequence[str]) -> None:
    """See that what is to be estimated has a sky in it."""
    flat = [float(np.ptp(row[sky_map.observed])) == 0.0 for row in sky_map.maps]
    if all(flat):
        raise ValueError(f"{path}: the map is the same everywhere; give one with a sky in it")
    need = {key: {"MV": "TEB", "GMV": "TEB", "TTH": "T"}.get(key, key) for key in map(str, estimators)}
    for fields, name, empty in (("T", "I is", flat[0]), ("EB", "Q and U are", len(flat) == 3 and all(flat[1:]))):
        if asked := [key for key, letters in need.items() if empty and set(letters) & set(fields)]:
            raise ValueError(f"{path}: {name} the same everywhere; leave {', '.join(asked)} out of --estimators")


def _say_what_was_assumed(sky_map: SkyMap) -> None:
    if sky_map.polarised and not sky_map.description.get("polconv_stated", True):
        log.warning(
            "the map does not say its polarisation convention: %s is taken; if it is not, give --polconv",
            sky_map.description["polconv"],
        )
    lost = int(np.count_nonzero(~sky_map.observed))
    if lost:
        log.info("%d of %d pixels are not observed and are masked", lost, sky_map.observed.size)
    empty = np.count_nonzero((sky_map.maps[0] == 0) & sky_map.observed) / sky_map.observed.size
    if empty > 0.01:
        log.warning("%.0f %% of the pixels are exactly zero: if they were not observed, give a --mask", 100 * empty)


def _fingerprint(path: str | Path) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_products(run: RunDir, which: int | str, rec: Reconstruction, phi_in: NDArray | None) -> None:
    """The band powers come last: where they are, all is there."""
    folder = run.recon(which, "bandpowers.ecsv").parent
    folder.mkdir(parents=True, exist_ok=True)
    phi, curl = rec.phi, rec.curl
    for key in rec.keys:
        write_alm(folder / f"phi_{key}_alm.fits", np.stack([phi[key], curl[key]]), names=["PHI", "OMEGA"])
    write_map(folder / f"kappa_{rec.best}.fits", rec.kappa_map(), unit="", column_names=["KAPPA"])
    wiener = rec.kappa_map(wiener=True)
    write_map(folder / f"kappa_{rec.best}_wiener.fits", wiener, unit="", column_names=["KAPPA"])
    powers = phi_bandpowers(rec, phi_in)
    write_json(folder / "amplitude.json", amplitudes(rec, powers))
    write_table(folder / "bandpowers.ecsv", powers, {}, "band powers of [L(L+1)]^2/2pi C_L^phiphi, dimensionless")


def _reconstructed(run: RunDir, which: int | str) -> bool:
    """Whether all products of a sky are there and whole."""
    table = run.recon(which, "bandpowers.ecsv")
    if not run.has(table):
        return False
    keys = [name.removeprefix("auto_") for name in read_table(table) if name.startswith("auto_")]
    maps = list(table.parent.glob("kappa_*.fits"))
    estimates = [table.with_name(f"phi_{key}_alm.fits") for key in keys]
    return len(maps) >= 2 and run.has(table.with_name("amplitude.json"), *estimates, *maps)


# Bands in which N1 is small against the signal; the amplitude is fitted there, and where none is, in all.
AMPLITUDE_RANGE = (40, 400)


def amplitudes(rec: Reconstruction, powers: Mapping[str, NDArray]) -> dict[str, Any]:
    """A_L^φφ of every estimator against the fiducial spectrum, from bands of uncorrelated Gaussian errors."""
    used = (powers["L_low"] >= AMPLITUDE_RANGE[0]) & (powers["L_high"] <= AMPLITUDE_RANGE[1])
    if not used.any():
        used = np.ones(len(used), dtype=bool)
    fits = {
        key: fit_amplitude(
            powers[f"auto_{key}"][used], powers["fiducial"][used], powers[f"sigma_{key}"][used] ** 2
        )._asdict()
        for key in rec.keys
    }
    settings = rec.recipe.reconstruction
    corrections = {
        "mean field": bool(rec.mean_fields),
        f"N1 ({settings.n1})": rec.first_order is not None,
        "response by simulations": rec.simulated_response is not None and settings.mc_response == "apply",
    }
    about = {
        "L_low": int(powers["L_low"][used].min()),
        "L_high": int(powers["L_high"][used].max()),
        "taken_off": [rec.biases.n0_from, *(name for name, done in corrections.items() if done)],
        "not_taken_off": [name.partition(" (")[0] for name, done in corrections.items() if not done],
    }
    return {**fits, "about": about}


def _write_mean(run: RunDir) -> None:
    """RUN/recon/bandpowers.ecsv: the mean over skies; sigma is that of the mean."""
    tables = [read_table(run.recon(sim, "bandpowers.ecsv")) for sim in range(run.recipe.sky.n_sims)]
    mean = {name: np.mean([table[name] for table in tables], axis=0) for name in tables[0]}
    for name in mean:
        if "sigma_" in name and not name.startswith(("mc_response", "n0_sigma")):  # of which all skies have the same
            mean[name] /= np.sqrt(len(tables))
    for name in ("L_low", "L_high"):
        mean[name] = tables[0][name]
    note = f"means over {len(tables)} skies of the band powers of [L(L+1)]^2/2pi C_L^phiphi; sigma of the mean"
    write_table(run.path / "recon" / "bandpowers.ecsv", mean, {}, note)


def _prepare(
    run: RunDir, quadratic: Quadratic, executor: Workers, progress: Progress | None, nthreads: int
) -> Preparation:
    """What all skies of a run share: one normalisation, and Gaussian skies with the model of their power."""
    recipe, nside = run.recipe, run.recipe.sky.nside
    mask = None if recipe.mask.full_sky else read_mask(run.path / "mask.fits", nside=nside)
    prepared = prepare_run(
        run,
        mask,
        temperature_only=not recipe.sky.polarisation,
        quadratic=quadratic,
        executor=executor,
        progress=progress,
        nthreads=nthreads,
    )
    if not recipe.reconstruction.mean_field_sims:
        return prepared
    skies = gaussian_skies(recipe, prepared, nside, quadratic=quadratic, nthreads=nthreads)
    results = on_disk(run, skies, executor=executor, progress=progress)
    lmax_phi = recipe.reconstruction.L_max
    return with_gaussian(prepared, results, lmax_phi, executor=executor, progress=progress, nthreads=nthreads)
