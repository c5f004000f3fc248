"""Band powers of a run's skies, or of its map from outside, and RUN/bandpowers.sacc.fits."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress, Workers, run_tasks
from lensrec.recipe import Recipe
from lensrec.recipe_split import FEWEST, too_few
from lensrec.rundir import RunDir, RunError, amend_run, read_table, record_bandpowers, recorded, write_table
from lensrec.sky.io import SkyMap, read_map, read_mask
from lensrec.spectra.linear_data import LinearData
from lensrec.spectra.sacc_file import read_sacc, write_sacc
from lensrec.spectra.sample_covariance import hartlap_factor, shrunk_covariance
from lensrec.stages.bandpowers import SharedBands, shared_bands
from lensrec.stages.bandpowers_view import bandpower_figures
from lensrec.stages.debias import Biases
from lensrec.stages.memory_advice import require_memory
from lensrec.stages.prepare_run import prepare_run
from lensrec.stages.reconstruct import Reconstruction
from lensrec.stages.splits import check_splits, noise_removal, split_maps
from lensrec.view.figure import save_figure

log = logging.getLogger(__name__)


def bandpowers_run(
    run: RunDir,
    *,
    splits: Sequence[str | Path] | None = None,
    executor: Workers = None,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> LinearData:
    """Band powers of every sky of a run, their mean with its covariance as SACC, and pictures.

    Leaves RUN/spectra/0000.ecsv for every sky and RUN/bandpowers.sacc.fits.

    Parameters
    ----------
    run : RunDir
    splits : sequence of str or Path, optional
        For the run of a map from outside: at least two FITS maps of its splits, in the units and conventions of that
        map. They are remembered, and bandpowers.splits follows them. Those of simulated skies are drawn here.
    executor : Engine or Executor, optional
        Where the skies are measured; in this process by default.

    Raises
    ------
    ValueError
        If the skies have not been reconstructed, are too few for a covariance of their own, or splits cannot be used.
    """
    which: list[int | str] = list(range(run.recipe.sky.n_sims))
    if (run.path / "recon" / "data").is_dir():
        which = ["data"]
    for one in which:
        if not run.has(run.recon(one, "bandpowers.ecsv")):
            raise RunError(f"{run.recon(one, 'bandpowers.ecsv')} is not there; run lensrec reconstruct first")
    if run.recipe.bandpowers.covariance == "simulations" and len(which) < FEWEST:
        raise RunError(too_few(len(which)))
    if which == ["data"]:
        run, files = _with_files(run, splits)
    elif splits is not None:
        raise RunError(
            f"{run.path} has simulated skies, whose splits are drawn: leave out --splits, and give --set "
            f"bandpowers.splits={max(2, len(splits))}"
        )
    else:
        files = {}
    require_memory(run.recipe, "bandpowers", tasks=executor is None, nthreads=nthreads)
    facts = {"splits": run.recipe.bandpowers.splits, "noise": noise_removal(run.recipe.bandpowers.splits)}
    record_bandpowers(run, {**facts, "files": files})
    shared = _shared(run, which[0], executor, progress, nthreads)
    measuring = Measuring(run, shared, files, nthreads)

    missing = [one for one in which if not measuring.made(one)]
    if len(missing) < len(which):
        log.info("band powers of %d of %d skies are there already", len(which) - len(missing), len(which))
    run_tasks(measure_into, missing, shared=measuring, executor=executor, progress=progress, description="band powers")
    skies = np.stack([read_table(measuring.file(one))["power"] for one in which])
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
    for name, figure in bandpower_figures(data, shared.fiducial, covariances, title=run.recipe.name).items():
        save_figure(figure, run.path / "pictures" / f"{name}.png")
    write_sacc(run.path / "bandpowers.sacc.fits", data)
    return data


@dataclass(frozen=True, eq=False)
class Measuring:
    """What the measurements of a run's skies have in common.

    Attributes
    ----------
    run : RunDir
    bands : SharedBands
    files : dict of path to fingerprint
        The maps of splits from outside; empty where there are none.
    nthreads : int
    """

    run: RunDir
    bands: SharedBands
    files: dict[str, str]
    nthreads: int

    def file(self, one: int | str) -> Path:
        """The table of a sky's band powers."""
        return self.run.path / "spectra" / (f"{one}.ecsv" if isinstance(one, str) else f"{one:04d}.ecsv")

    def source(self, one: int | str) -> str:
        """Of what a sky's band powers are made: its table of φ̂, its splits, and how bands are cut."""
        bands = json.dumps(self.run.recipe.bandpowers.model_dump(mode="json", exclude={"covariance"}), sort_keys=True)
        made_of = self.run.recon(one, "bandpowers.ecsv").read_bytes() + (bands + "".join(self.files.values())).encode()
        return hashlib.sha256(made_of).hexdigest()[:16]

    def made(self, one: int | str) -> bool:
        """Whether the table is there, and of these."""
        return self.run.has(self.file(one)) and read_table(self.file(one))["source"][0] == self.source(one)

    def cmb(self, one: int | str) -> NDArray[np.float64]:
        """Band powers of T, E and B of a sky."""
        if self.bands.recipe.bandpowers.splits == 1:
            return self.bands.cmb(_maps(self.run, one), nthreads=self.nthreads)
        maps = _split_maps(self.run, one, self.bands, list(self.files), self.nthreads)
        return self.bands.cmb_of_splits(maps, nthreads=self.nthreads)


def measure_into(measuring: Measuring, one: int | str) -> None:
    """Measure one sky and leave its table in the run."""
    bands = measuring.bands
    table = read_table(measuring.run.recon(one, "bandpowers.ecsv"))
    power = np.concatenate([measuring.cmb(one), bands.lensing(table)])
    template = bands.template
    columns = {"block": template.block, "low": template.low, "high": template.high, "power": power}
    columns["source"] = np.repeat(measuring.source(one), len(power))
    write_table(measuring.file(one), columns, {}, "band powers: D_l in uK2, and [L(L+1)]^2/2pi C_L^phiphi")


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


def _shared(run: RunDir, first: int | str, executor: Workers, progress: Progress | None, nthreads: int) -> SharedBands:
    recipe = run.recipe
    mask = read_mask(run.path / "mask.fits", nside=recipe.sky.nside) if (run.path / "mask.fits").exists() else None
    if mask is None and not recipe.mask.full_sky:
        raise RunError(f"{run.path / 'mask.fits'} is not there, but the recipe has a mask; run lensrec simulate")
    prepared = prepare_run(
        run,
        mask,
        temperature_only=not recipe.sky.polarisation,
        executor=executor,
        progress=progress,
        nthreads=nthreads,
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
    given = recorded(run)["inputs"]
    sky_map = _read_as(given, given["map"])
    return _rows(run.recipe, _masked(run, sky_map.maps))


def _split_maps(
    run: RunDir, one: int | str, shared: SharedBands, files: Sequence[str], nthreads: int
) -> Iterator[NDArray]:
    """Masked maps of the splits of one sky, one after the other."""
    if isinstance(one, int):
        data = _maps(run, one)
        return split_maps(run.recipe, data, one, mask=shared.mask, pattern=shared.pattern, nthreads=nthreads)
    given = recorded(run)["inputs"]
    return (_rows(run.recipe, _masked(run, _read_as(given, file).maps)) for file in files)


def _with_files(run: RunDir, splits: Sequence[str | Path] | None) -> tuple[RunDir, dict[str, str]]:
    """The run of a map from outside with as many splits as there are files, and the fingerprint of each of these."""
    asked = run.recipe.bandpowers
    before = recorded(run).get("bandpowers", {}).get("files", {})
    made = run.has(run.path / "spectra" / "data.ecsv")
    if splits is None:
        if asked.splits == 1:
            return run, {}
        splits = list(before)
        if len(splits) != asked.splits:
            raise RunError(
                f"bandpowers.splits: {asked.splits}, but {run.path} is the run of a map from outside: give the maps of "
                "its splits with --splits A.fits,B.fits, or --set bandpowers.splits=1"
            )
    paths = [Path(one).resolve() for one in splits]
    if len(paths) < 2:
        raise RunError(f"--splits: {len(paths)} map, but cross-spectra take at least two; give --splits A.fits,B.fits")
    if len(set(paths)) < len(paths):
        raise RunError("--splits names a file twice; splits must have noise of their own")
    files = {}
    for path in paths:
        # one that has been measured may be gone
        if not path.is_file() and not (made and str(path) in before):
            raise FileNotFoundError(f"{path}: there is no such file; give the maps of the splits with --splits")
        files[str(path)] = _fingerprint(path) if path.is_file() else before[str(path)]
    if asked.splits != len(paths) or files != before or not made:
        given = recorded(run)["inputs"]
        sky_map = _read_as(given, given["map"])
        maps = (_checked(run, given, sky_map, path) for path in paths)
        names = [path.name for path in paths]
        check_splits(maps, _rows(run.recipe, _masked(run, sky_map.maps)), names)
    update = {"bandpowers": asked.model_copy(update={"splits": len(paths)})}
    return amend_run(run, run.recipe.model_copy(update=update)), files


def _checked(run: RunDir, given: Mapping[str, Any], sky_map: SkyMap, path: Path) -> NDArray:
    """The masked map of a split, if it is one of that map."""
    one = _read_as(given, path, nside=run.recipe.sky.nside)
    if run.recipe.sky.polarisation and not one.polarised:
        raise RunError(f"{path} has temperature alone, but the run's map has polarisation; give I, Q and U")
    mine, theirs = (each.description.get("coord") for each in (sky_map, one))
    if mine and theirs and mine != theirs:
        raise RunError(f"{path} is in coordinates {theirs}, the run's map in {mine}; rotate it")
    weight = _masked(run, np.ones(12 * run.recipe.sky.nside**2))
    if lost := int(np.count_nonzero((weight > 0) & ~one.observed)):
        raise RunError(
            f"{path} has not observed {lost} pixels that the run's mask keeps; reconstruct the map with a mask that "
            "leaves them out"
        )
    return _rows(run.recipe, _masked(run, one.maps))


def _read_as(given: Mapping[str, Any], path: str | Path, *, nside: int | None = None) -> SkyMap:
    """A map in the unit, order and convention that were given with the run's map."""
    return read_map(path, unit=given["unit"], ordering=given["ordering"], polconv=given["polconv"], nside=nside)


def _masked(run: RunDir, maps: NDArray) -> NDArray:
    mask = run.path / "mask.fits"
    return maps * read_mask(mask, nside=run.recipe.sky.nside) if mask.exists() else maps


def _fingerprint(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _rows(recipe: Recipe, maps: NDArray) -> NDArray:
    return maps if recipe.sky.polarisation else maps[:1]
