"""What a run leaves: one folder with its recipe, its provenance, and products that are whole or not there.

    RUN/recipe.yaml  provenance.json  theory.ecsv
    RUN/sims/0000/   phi_alm.fits  unlensed_alm.fits  lensed.fits  data.fits
    RUN/recon/0000/  phi_TT_alm.fits ...                 RUN/recon/data/ for a map brought from outside
    RUN/recon/response.ecsv

Files are written under a temporary name and renamed when complete, so a product that is there can be trusted, and a
run that was killed goes on from the products it has.
"""

import json
import logging
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensrec.products import RunError, check_columns, read_json, read_table
from lensrec.products import read_matrices as read_matrices
from lensrec.recipe import Recipe
from lensrec.run_files import is_whole, sealed
from lensrec.sky.io import read_mask
from lensrec.sky.map_write import replacing, write_error

if TYPE_CHECKING:
    from lensrec.theory.spectra import TheorySpectra

PACKAGES = ("lensrec", "numpy", "scipy", "ducc0", "healpy", "pixell", "astropy", "camb", "pydantic")
FREE = ("split.", "bandpowers.covariance:")
"""Keys that may change at any time, since what they rule is made anew each time."""

SPLIT_PRODUCTS = (
    "split.json",
    "samples.ecsv",
    "pictures",
    "fit",
    "forecast.json",
    "forecast.ecsv",
    "forecast.yaml",
    "report.html",
)
"""What the split of published data, fits and forecasts leave, in a folder that has no recipe of a sky."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunDir:
    """A run directory and the recipe that rules it; `create_run` and `open_run` make one.

    Attributes
    ----------
    path : Path
    recipe : Recipe
    """

    path: Path
    recipe: Recipe

    @property
    def theory(self) -> Path:
        """The table of theory spectra."""
        return self.path / "theory.ecsv"

    @property
    def response(self) -> Path:
        """The table of responses R and noise N0 of each estimator."""
        return self.path / "recon" / "response.ecsv"

    def sim(self, number: int, name: str) -> Path:
        """A file of one simulation, e.g. sim(0, "data.fits")."""
        return self.path / "sims" / f"{number:04d}" / name

    def recon(self, which: int | str, name: str) -> Path:
        """A file of one reconstruction: of a simulation by its number, or of a map from outside, "data"."""
        return self.path / "recon" / (which if isinstance(which, str) else f"{which:04d}") / name

    def __reduce__(self) -> "tuple[type[RunDir], tuple[Path, Recipe]]":
        # in another process the current folder may be another
        return RunDir, (self.path.absolute(), self.recipe)

    def has(self, *products: Path) -> bool:
        """Whether all these files are there and whole; one that is not is made anew, as if it were not there."""
        return all(is_whole(product) for product in products)


def create_run(
    path: str | Path, recipe: Recipe, *, command: Sequence[str] = (), inputs: Mapping[str, Any] | None = None
) -> RunDir:
    """Begin a run, or go on with the one that is there when its recipe is the same, but for more skies.

    A run that has left nothing yet, since its recipe asked for what cannot be had, goes on with another recipe.

    Parameters
    ----------
    path : str or Path
        Made if need be.
    recipe : Recipe
    command : sequence of str
        The command line, for the provenance.
    inputs : mapping
        What else decides the results, such as the name of a map from outside; plain data.

    Raises
    ------
    RunError
        If the folder holds a run of another recipe or other inputs (the line names the keys that differ), or
        something that is no run; or if the recipe's mask or hits are not there.
    MapError
        If these cannot be used.
    """
    folder = Path(path)
    given = json.loads(json.dumps(dict(inputs or {}), default=str))
    make_folder(folder)
    if (folder / "recipe.yaml").is_file():
        run = open_run(folder)
        before = _provenance(folder)
        changed = run.recipe.differences(recipe) + _changed_inputs(before.get("inputs", {}), given)
        free = (*FREE, "sky.n_sims:") if recipe.sky.n_sims > run.recipe.sky.n_sims else FREE
        changed = [line for line in changed if not line.startswith(free)]
        if changed and not (before and _is_bare(folder)):
            raise RunError(f"{folder} was begun with another recipe ({'; '.join(changed)}); give another --out")
        if changed:
            _check_files(recipe)
        _warn_of_versions(before)
        resumed = [*before.get("resumed", []), {"time": now(), "command": list(command)}]
        record = {**before, "inputs": given, "resumed": resumed, "recipe_sha256": recipe.sha256()}
        write_json(folder / "provenance.json", record)
        if run.recipe != recipe:
            _write_recipe(folder, recipe)
        return RunDir(folder, recipe)
    _check_files(recipe)
    record = provenance(recipe, command)
    write_json(folder / "provenance.json", {**record, "inputs": given, "resumed": []})
    _write_recipe(folder, recipe)
    return RunDir(folder, recipe)


def _check_files(recipe: Recipe) -> None:
    for key, file in (("mask.file", recipe.mask.file), ("instrument.hits", recipe.instrument.hits_file)):
        if file is not None and not file.is_file():
            raise RunError(f"{key}: {file}: there is no such file; give its path from the recipe's folder")
        if file is not None:
            read_mask(file, nside=recipe.sky.nside, hits=key == "instrument.hits")


def _is_bare(folder: Path) -> bool:
    """Whether nothing has come of a run yet; its recipe may then be mended where it is."""
    own = ("recipe.yaml", "provenance.json")
    return all(p.name in own or p.name.startswith(".") for p in folder.rglob("*") if p.is_file())


def _write_recipe(folder: Path, recipe: Recipe) -> None:
    write_text(folder / "recipe.yaml", sealed(recipe.dump()))


def open_run(path: str | Path) -> RunDir:
    """The run in a folder.

    Raises
    ------
    RunError
        If the folder has no recipe.yaml, or not the one that lensrec wrote there.
    RecipeError
        If its recipe is not valid.
    """
    folder = Path(path)
    file = folder / "recipe.yaml"
    if not file.is_file():
        raise RunError(
            f"{folder} is no run: it has no recipe.yaml; make one with lensrec simulate RECIPE --out {folder}"
        )
    if not is_whole(file):
        raise RunError(
            f"{file} was cut short, or changed by hand, after lensrec wrote it; put it back as it was, and change keys "
            "by --set, which looks at what has come of the old ones"
        )
    return RunDir(folder, Recipe.load(file))


def amend_run(run: RunDir, recipe: Recipe) -> RunDir:
    """The same run with other keys of stages that have not left anything yet.

    Those of reconstruction may change until something has been reconstructed, those of bandpowers until RUN/spectra is
    there, bandpowers.covariance and the split at any time, and so may where it is computed.

    Raises
    ------
    RunError
        If other keys differ, or products came from the old ones.
    """
    if run.recipe == recipe:
        return run
    changed = run.recipe.differences(recipe)
    stages = {"reconstruction.": run.path / "recon", "bandpowers.": run.path / "spectra"}
    skies = [line for line in changed if not line.startswith((*stages, "split."))]
    if skies:
        raise RunError(f"{run.path}: its skies were made with other values ({'; '.join(skies)}); give another run")
    for section, folder in stages.items():
        lines = [line for line in changed if line.startswith(section) and not line.startswith(FREE)]
        if lines and folder.is_dir() and any(p.is_file() and not p.name.startswith(".") for p in folder.rglob("*")):
            raise RunError(
                f"{run.path}: {folder} was made with other values ({'; '.join(lines)}); give another run, or remove "
                f"{folder.name}/ to make it anew"
            )
    write_json(run.path / "provenance.json", {**_provenance(run.path), "recipe_sha256": recipe.sha256()})
    _write_recipe(run.path, recipe)
    return RunDir(run.path, recipe)


def provenance(recipe: Recipe, command: Sequence[str] = ()) -> dict[str, Any]:
    """Where results come from: versions, platform, time (UTC), command line and fingerprint of the recipe."""
    return {**_origin(command), "recipe_sha256": recipe.sha256()}


def _origin(command: Sequence[str]) -> dict[str, Any]:
    return {
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "time": now(),
        "command": list(command) or list(sys.argv),
    }


def record_backend(run: RunDir, stage: str, about: str) -> None:
    """Leave in the provenance where a stage was computed."""
    before = _provenance(run.path)
    backends = {**before.get("backends", {}), stage: about}
    if backends != before.get("backends"):
        write_json(run.path / "provenance.json", {**before, "backends": backends})


def record_command(run: RunDir, command: Sequence[str]) -> None:
    """Leave in the provenance, where there is one, that a command went on with the run."""
    before = _provenance(run.path)
    if not before:
        return
    resumed = [*before.get("resumed", []), {"time": now(), "command": list(command)}]
    record = {**before, "resumed": resumed, "recipe_sha256": run.recipe.sha256()}
    write_json(run.path / "provenance.json", record)


def record_bandpowers(run: RunDir, facts: Mapping[str, Any]) -> None:
    """Leave in the provenance from what band powers were measured; plain data."""
    before = _provenance(run.path)
    if facts != before.get("bandpowers"):
        write_json(run.path / "provenance.json", {**before, "bandpowers": dict(facts)})


def recorded(run: RunDir) -> dict[str, Any]:
    """The provenance of a run; empty where there is none.

    Raises
    ------
    RunError
        If its file is damaged, or does not say of which map from outside the run is, if it is of one.
    """
    found = _provenance(run.path)
    said = {*found.get("inputs", ())}
    if (run.path / "recon" / "data").is_dir() and not {"map", "unit", "ordering", "polconv"} <= said:
        raise RunError(f"{run.path / 'provenance.json'} does not say of which map the run is; put it back as it was")
    return found


def record_split(folder: Path, command: Sequence[str], inputs: Mapping[str, Any]) -> None:
    """Leave in a folder that is no run where its split comes from."""
    write_json(folder / "provenance.json", {**_origin(command), "inputs": dict(inputs)})


def package_versions() -> dict[str, str]:
    """Versions of lensrec and of the packages its results depend on."""
    return {name: _version(name) for name in PACKAGES}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, columns: Mapping[str, NDArray], units: Mapping[str, str], note: str = "") -> None:
    """Write an ECSV table, whole or not at all; float64 columns come back bit for bit.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    columns : mapping of arrays (n,)
    units : mapping
        Astropy's unit names for those columns that have one.
    note : str
        What the table holds, for its header.
    """
    from astropy.table import Column, Table

    table = Table([Column(values, name, unit=units.get(name)) for name, values in columns.items()])
    if note:
        table.meta["comments"] = [note]
    table.meta["rows"] = len(table)  # by which a table that was cut short is known
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def write_theory(run: RunDir, theory: "TheorySpectra") -> None:
    """Write theory.ecsv: ell, then {TT,EE,BB,TE}_{unlensed,lensed,gradient}, PP, TP and EP; raw C_ℓ from ℓ = 0."""
    columns: dict[str, NDArray] = {"ell": np.arange(theory.lmax + 1)}
    for kind in ("unlensed", "lensed", "gradient"):
        columns |= {f"{key}_{kind}": cl for key, cl in getattr(theory, kind).items()}
    columns |= dict(theory.potential)
    units = {name: "uK2" for name in columns if "_" in name} | {"TP": "uK", "EP": "uK"}
    write_table(run.theory, columns, units, "raw C_ell from ell = 0; phi is dimensionless")


def read_theory(run: RunDir) -> "TheorySpectra":
    """The spectra in theory.ecsv.

    Raises
    ------
    RunError
        If the table is damaged, or ends before the highest multipole of the recipe.
    """
    from lensrec.theory.spectra import TheorySpectra

    sky, rec = run.recipe.sky, run.recipe.reconstruction
    table = read_table(run.theory)
    check_columns(run.theory, table, "ell", 1 + max(sky.lmax, rec.lmax_t, rec.lmax_p, rec.L_max))
    kinds = {
        kind: {key: table[f"{key}_{kind}"] for key in ("TT", "EE", "BB", "TE")}
        for kind in ("unlensed", "lensed", "gradient")
    }
    return TheorySpectra(**kinds, potential={key: table[key] for key in ("PP", "TP", "EP")})


def write_response(run: RunDir, response: Mapping[str, NDArray], n0: Mapping[str, NDArray]) -> None:
    """Write recon/response.ecsv: L from 0, then R_K and N0_K for each estimator K; dimensionless, those of φ."""
    length = len(next(iter(response.values())))
    columns: dict[str, NDArray] = {"L": np.arange(length)}
    for key, values in response.items():
        columns |= {f"R_{key}": values, f"N0_{key}": n0[key]}
    write_table(
        run.response, columns, {}, "response R and noise N0 of the lensing potential, dimensionless, from L = 0"
    )


def read_response(run: RunDir) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Responses and noise by estimator, each from L = 0; raises RunError if the table is damaged."""
    table = read_table(run.response)
    check_columns(run.response, table, "L")
    keys = [name[2:] for name in table if name.startswith("R_")]
    return {key: table[f"R_{key}"] for key in keys}, {key: table[f"N0_{key}"] for key in keys}


def write_matrices(path: Path, matrices: Mapping[str, NDArray]) -> None:
    """Write arrays as named images of one FITS file, whole or not at all."""
    from astropy.io import fits

    images = [fits.ImageHDU(np.asarray(values), name=name) for name, values in matrices.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    primary = fits.PrimaryHDU()
    primary.header["NEXTEND"] = (len(images), "images that follow")  # by which a file that was cut short is known
    with replacing(path) as temporary:
        fits.HDUList([primary, *images]).writeto(temporary, overwrite=True)


def make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; a run wants a folder of its own")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    names = {p.name for p in folder.iterdir() if not p.name.startswith(".")}
    if foreign := sorted(names - {"provenance.json", *SPLIT_PRODUCTS} if "recipe.yaml" not in names else ()):
        raise RunError(f"{folder} holds {foreign[0]} but no recipe.yaml, so it is no run; give a new folder")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def _provenance(folder: Path) -> dict[str, Any]:
    file = folder / "provenance.json"
    try:
        found = read_json(file)
    except FileNotFoundError:
        return {}
    if wrong := [key for key, kind in _RECORDED.items() if not isinstance(found.get(key, kind()), kind)]:
        raise RunError(f"{file} is damaged ({wrong[0]} is none); put it back, or remove it and what it has recorded")
    return found


_RECORDED = {"inputs": dict, "packages": dict, "resumed": list, "backends": dict, "bandpowers": dict}


def _changed_inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    keys = sorted({*old, *new})
    return [f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in keys if old.get(key) != new.get(key)]


def _warn_of_versions(before: Mapping[str, Any]) -> None:
    for name, was in before.get("packages", {}).items():
        if (now := _version(name)) != was:
            log.warning("this run was begun with %s %s and goes on with %s", name, was, now)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
