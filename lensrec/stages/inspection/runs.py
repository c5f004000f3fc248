"""A run directory in short: which stages are done, for how many skies of how many, and the answer, if there is one."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lensrec.rundir import SPLIT_PRODUCTS, RunDir, open_run

_NUMBERED = re.compile(r"(?<=/)\d{4}(?=[/.])")
_SKY = ("phi_alm.fits", "unlensed_alm.fits", "lensed.fits", "data.fits")


def inspect_folder(path: str | Path) -> dict[str, Any]:
    """What a run directory amounts to.

    Parameters
    ----------
    path : str or Path
        A run, or a folder that a fit, a forecast or a split of published data has left.

    Returns
    -------
    dict
        run, name, stages: {stage: "3 of 4 skies" or "done" or "not yet"}, answers: lines, recipe: its YAML, and
        files: names below the folder; those of numbered skies are named once, with how many there are.

    Raises
    ------
    RunError
        If the folder holds nothing that lensrec left.
    RecipeError
        If its recipe is not valid.
    """
    folder = Path(path)
    names = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    facts: dict[str, Any] = {"run": str(folder)}
    if "recipe.yaml" in names or not names & {*SPLIT_PRODUCTS, "fits", "anomaly.md"}:
        run = open_run(folder)
        facts |= {"name": run.recipe.name, "stages": _stages(run), "answers": _answers(folder)}
        facts["recipe"] = run.recipe.dump()
    else:
        fits = sorted(p.parent.parent.name for p in folder.glob("fits/*/fit/summary.json"))
        facts |= {"stages": {"fits": ", ".join(fits)} if fits else {}, "answers": _answers(folder)}
    products = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    facts["files"] = _folded(str(p.relative_to(folder)) for p in products)
    return facts


def _stages(run: RunDir) -> dict[str, str]:
    total = run.recipe.sky.n_sims
    outside = (run.path / "recon" / "data").is_dir()
    simulated = sum(run.has(*(run.sim(sim, name) for name in _SKY)) for sim in range(total))
    reconstructed = sum(run.has(run.recon(sim, "bandpowers.ecsv")) for sim in range(total))
    measured = sum(run.has(run.path / "spectra" / f"{sim:04d}.ecsv") for sim in range(total))
    stages = {
        "simulate": _of(simulated, total),
        "reconstruct": _of(reconstructed, total),
        "bandpowers": _of(measured, total),
    }
    if outside:
        stages = {"map from outside": "there"}
        stages["reconstruct"] = _done(run, run.recon("data", "bandpowers.ecsv"))
        stages["bandpowers"] = _done(run, run.path / "spectra" / "data.ecsv")
    if run.recipe.reconstruction.mean_field_sims and (run.path / "recon").is_dir():
        wanted = run.recipe.reconstruction.mean_field_sims
        gaussian = sum(any(p.glob("phi_*_alm.fits")) for p in (run.path / "recon" / "gaussian").glob("[0-9]*"))
        stages["Gaussian skies"] = _of(gaussian, wanted)
    stages["joint band powers"] = _done(run, run.path / "bandpowers.sacc.fits")
    stages["split"] = _done(run, run.path / "split.json")
    stages["report"] = _done(run, run.path / "report.html")
    return stages


def _of(done: int, total: int) -> str:
    return f"{done} of {total}" if done else "not yet"


def _done(run: RunDir, product: Path) -> str:
    return "done" if run.has(product) else "not yet"


def _answers(folder: Path) -> list[str]:
    lines = []
    if split := _read(folder / "split.json"):
        for key, name in (("A_L_TTTEEE", "A_L^TTTEEE"), ("A_L_phiphi", "A_L^φφ")):
            if value := split.get(key):
                lines.append(f"{name} = {value['mean']:.3f} ± {value['sigma']:.3f}")
        if split.get("delta") and split.get("delta_n_sigma") is not None:
            lines.append(
                f"A_L^TTTEEE − A_L^φφ: {split['delta_n_sigma']:+.2f} σ, correlation {split['correlation']:+.2f}"
            )
    where = folder / "recon"
    for file in (where / "data" / "amplitude.json", where / "0000" / "amplitude.json"):
        if fits := _read(file):
            about = fits.pop("about", {})
            key = "MV" if "MV" in fits else next(iter(fits))
            of = "" if file.parent.name == "data" else " of sky 0000"
            lines.append(
                f"{key}{of}: A_L^φφ = {fits[key]['mean']:.3f} ± {fits[key]['sigma']:.3f} for "
                f"{about.get('L_low')} ≤ L ≤ {about.get('L_high')}"
            )
            break
    if summary := _read(folder / "fit" / "summary.json"):
        for name in ("mnu", "A_L_TTTEEE", "A_L_phiphi", "w", "wa"):
            if value := summary.get(name):
                lines.append(f"{name} = {value['mean']:.4g} ± {value['sigma']:.2g}")
    return lines


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _folded(files: Iterable[str]) -> list[str]:
    """Names with those that differ in the number of a sky alone counted."""
    groups: dict[str, list[str]] = {}
    for name in sorted(files):
        groups.setdefault(_NUMBERED.sub("0000", name), []).append(name)
    return [found[0] + (f"  (and {len(found) - 1} more)" if len(found) > 1 else "") for found in groups.values()]
