"""A whole run in some seconds: a sky of nside 32, its φ̂, band powers, and amplitudes that were never fitted."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lensrec.recipe import Recipe
from lensrec.rundir import RunDir, create_run, write_json, write_table
from lensrec.stages.bandpowers_run import bandpowers_run
from lensrec.stages.reconstruct_run import reconstruct_run
from lensrec.stages.simulate import simulate_run

NASTY = '</script><script>document.title="broken"</script><img src=x onerror=alert(1)> & "quoted"'
"""A description that must be shown as it is, and do nothing."""

MEANS = {"A_L_TTTEEE": (1.173, 0.066), "A_L_phiphi": (0.981, 0.034)}
RHO = 0.25


def tiny_recipe(**changes: object) -> Recipe:
    """Of a full sky; other sections as told."""
    base = {
        "name": "tiny <b>run</b>",
        "description": NASTY,
        "cosmology": {"lens_potential_accuracy": 1},
        "sky": {"nside": 32, "lmax": 200, "lmax_data": 64, "seed": 4, "epsilon": 1e-5},
        "instrument": {"fwhm": 30, "noise_t": 20},
        "reconstruction": {
            "lmin_t": 4,
            "lmin_p": 4,
            "lmax_t": 60,
            "lmax_p": 60,
            "L_max": 50,
            "n_bins": 4,
            "n1": "none",
            "estimators": ["TT", "EE", "MV"],
        },
        "bandpowers": {"lmin": 4, "lmax": 58, "width": 8},
    }
    return Recipe.model_validate({**base, **changes})


def tiny_run(folder: Path, recipe: Recipe | None = None) -> RunDir:
    """Simulated and reconstructed."""
    run = create_run(folder, recipe or tiny_recipe(), command=["lensrec", "run", "tiny"])
    simulate_run(run)
    reconstruct_run(run)
    return run


def whole_tiny_run(folder: Path) -> RunDir:
    """With band powers, and a split of Gaussian samples with known means, errors and correlation."""
    run = tiny_run(folder)
    bandpowers_run(run)
    leave_split(folder)
    return run


def leave_split(folder: Path) -> None:
    """split.json and samples.ecsv as a split leaves them."""
    names = list(MEANS)
    sigma = np.array([MEANS[name][1] for name in names])
    covariance = np.outer(sigma, sigma) * np.array([[1, RHO], [RHO, 1]])
    mean = [MEANS[name][0] for name in names]
    points = np.random.default_rng(1).multivariate_normal(mean, covariance, 4000)
    columns = {name: points[:, k] for k, name in enumerate(names)}
    write_table(folder / "samples.ecsv", {"weight": np.full(len(points), 1 / len(points)), **columns}, {})
    spread = float(np.sqrt(sigma @ sigma - 2 * covariance[0, 1]))
    amplitudes = {name: {"mean": m, "sigma": s} for name, (m, s) in MEANS.items()}
    summary = {
        **amplitudes,
        "correlation": RHO,
        "delta": {"mean": mean[0] - mean[1], "sigma": spread},
        "delta_n_sigma": (mean[0] - mean[1]) / spread,
        "delta_pte": 0.0045,
        "chi2": 30.0,
        "ndof": 28,
        "chi2_blocks": {"TT": {"chi2": 10.0, "n": 10}, "PP": {"chi2": 20.0, "n": 20}},
        "parameters": {name: {**value, "best_fit": value["mean"]} for name, value in amplitudes.items()},
        "derived": {},
        "fixed": {"tau": 0.0544},
        "priors": {},
        "effective_samples": 4000.0,
        "warnings": [],
        "parts": {"TT": {"mean": 1.2, "sigma": 0.1}, "L < 20": {"mean": 0.9, "sigma": 0.1, "warnings": ["<i>far</i>"]}},
    }
    write_json(folder / "split.json", summary)


@cache
def _kept() -> "tuple[TemporaryDirectory[str], Path]":
    folder = TemporaryDirectory(prefix="lensrec-tiny-")
    whole_tiny_run(Path(folder.name) / "run")
    return folder, Path(folder.name) / "run"


def shared_tiny_run() -> Path:
    """One whole run for all tests of a process, which look at it and change nothing."""
    return _kept()[1]
