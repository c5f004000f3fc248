"""Pictures of the page of claims: each is drawn from what has been run, and left out where that is not there."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.neutrino_bounds import BOUNDS
from lensrec.stages.anomaly_evidence import WEIGHT, Evidence, NotRunError
from lensrec.stages.claims_dark_energy import best_potential, switch_ratios
from lensrec.theory.neutrinos import f_nu, k_fs, k_nr
from lensrec.view.figure import save_figure
from lensrec.view.fit import (
    coloured_figure,
    degeneracy_figure,
    ellipses_figure,
    mass_figure,
    ratio_figure,
    suppression_figure,
)
from lensrec.view.split import amplitudes_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lensrec.engine import Progress

log = logging.getLogger(__name__)

FLOORS = [(bound.value, bound.label.removeprefix("oscillations, ")) for bound in BOUNDS]

NAMES = {
    "lcdm": "ΛCDM",
    "lcdm_act": "ΛCDM, with ACT lensing",
    "lensing_only": r"sign in $C_L^{\phi\phi}$ alone",
    "no_bao": "without BAO",
    "no_lensing": "without lensing band powers",
    "geometry": "distances alone, closed form",
    "geometry_mirrored": "distances alone",
    "free_smoothing": r"$A_L^{TTTEEE}$ free",
    "free_phiphi": r"$A_L^{\phi\phi}$ free",
    "free_both": r"both $A_L$ free",
    "fixed_mass": r"$\Sigma m_\nu=0.06$ eV",
    "w0wa": r"$w_0w_a$",
    "w0wa_geometry": r"$w_0w_a$, distances alone",
    "w0wa_free_both": r"$w_0w_a$, both $A_L$ free",
    "lscdm": r"$\Lambda_s$CDM",
    "lscdm_free_smoothing": r"$\Lambda_s$CDM, $A_L^{TTTEEE}$ free",
    "tau_sroll2": r"$\tau=0.0566\pm0.006$",
    "tau_lowe": r"$\tau=0.0506\pm0.0086$",
    "tau_free": r"$\tau$ free",
    "tau_high": r"$\tau=0.090\pm0.012$",
}
"""Of fits, in pictures."""


def make_pictures(evidence: Evidence, folder: Path, progress: "Progress | None" = None) -> dict[str, str]:
    """Draw all that can be drawn.

    Returns
    -------
    dict
        File name in the folder, to its caption.
    """
    out: dict[str, str] = {}
    for k, (name, (draw, caption)) in enumerate(PICTURES.items()):
        try:
            save_figure(draw(evidence), folder / name)
            out[name] = caption
        except NotRunError as missing:
            log.info("no %s: %s", name, missing)
        if progress is not None:
            progress("pictures", k + 1, len(PICTURES))
    return out


def _posteriors(*names: str) -> Callable[[Evidence], "Figure"]:
    def draw(evidence: Evidence) -> "Figure":
        there = _there(evidence, names, "mnu")
        sets = {NAMES[name]: (_samples(evidence, name)["mnu"], _samples(evidence, name)[WEIGHT]) for name in there}
        return mass_figure(sets, floors=FLOORS)

    return draw


def _degeneracy(evidence: Evidence) -> "Figure":
    names = _there(evidence, ("lcdm", "tau_free", "free_smoothing"), "mnu")
    sets = {NAMES[name]: _samples(evidence, name) for name in names}
    weights = {NAMES[name]: _samples(evidence, name)[WEIGHT] for name in names}
    against = [name for name in ("tau", "A_L_TTTEEE", "omega_m") if any(name in one for one in sets.values())]
    return degeneracy_figure(sets, weights, against=against)


def _amplitudes(evidence: Evidence) -> "Figure":
    names = _there(evidence, ("fixed_mass", "free_both", "w0wa_free_both"), "A_L_TTTEEE")
    sets = {NAMES[name]: _samples(evidence, name) for name in names}
    return amplitudes_figure(sets, weights={NAMES[name]: _samples(evidence, name)[WEIGHT] for name in names})


def _dark_energy(evidence: Evidence) -> "Figure":
    name = _there(evidence, ("w0wa", "w0wa_geometry"), "w")[0]
    return coloured_figure(_samples(evidence, name), _samples(evidence, name)[WEIGHT], title=NAMES[name])


def _ratios(evidence: Evidence) -> "Figure":
    plain = evidence.chain("lcdm")
    reference = best_potential(plain, mnu=0.06)
    curves: dict[str, NDArray] = {}
    if evidence.has("w0wa"):
        curves["best $w_0w_a$"] = _over(best_potential(evidence.chain("w0wa")), reference)
    curves |= {rf"$\Lambda_s$CDM, $z_\dagger={z:g}$": switch_ratios(z) for z in (1.7, 2.0, 2.5)}
    for mnu in (-0.1, 0.1):
        label = rf"$\Sigma m_\nu={mnu:+g}$ eV".replace("-", r"-")
        curves[label] = _over(best_potential(plain, mnu=mnu), reference)
    return ratio_figure(curves, errors=_band_powers(evidence, "lcdm"))


def _band_powers(evidence: Evidence, name: str) -> tuple[NDArray, NDArray, NDArray] | None:
    """L, band power over that of the best fit, and relative error, of a fit's lensing data."""
    from lensrec.stages.fit import band_powers, fit_setting

    recipe = evidence.recipes.get(name)
    try:
        data = None if recipe is None else band_powers(recipe)
    except FileNotFoundError:
        # a run may be looked at where the data are not
        return None
    if recipe is None or data is None or "PP" not in data.windows:
        return None
    setting = fit_setting(recipe)
    assert setting.spectra is not None
    chain = evidence.chain(name)
    best = {key: one["best_fit"] for key, one in chain.summary.items() if key != "about"}
    expected = setting.spectra.band_powers({**chain.about["held"], **best, "mnu": 0.06})
    at = data.block == "PP"
    matrix = data.windows["PP"][at]
    weight = matrix * best_potential(chain)[: matrix.shape[1]]
    ell = (weight @ np.arange(matrix.shape[1])) / weight.sum(axis=1)
    sigma = np.sqrt(np.diag(data.covariance))
    return ell, data.mean[at] / expected[at], sigma[at] / expected[at]


def _suppression(_evidence: Evidence) -> "Figure":
    from lensrec.stages.claims_suppression import MASSES, K, suppression

    found = suppression()
    curves = {
        rf"$\Sigma m_\nu={mnu:g}$ eV": (row, f_nu(mnu, found.omega_m_h2))
        for mnu, row in zip(MASSES, found.linear, strict=True)
    }
    each = MASSES[0] / 3
    scales = [
        (k_nr(each, omega_m=found.omega_m), r"$k_{\rm nr}$"),
        (float(k_fs(0.0, each, omega_m=found.omega_m)), r"$k_{\rm fs}$ today"),
    ]
    beyond = {rf"$\Sigma m_\nu={MASSES[0]:g}$ eV, non-linear": found.nonlinear / f_nu(MASSES[0], found.omega_m_h2)}
    return suppression_figure(K, curves, scales=scales, dashed=beyond)


def _ellipses(evidence: Evidence) -> "Figure":
    labels = {
        ("so_baseline", "planck_2018"): r"SO baseline, $\sigma_\tau=0.0073$",
        ("so_goal", "planck_2018"): r"SO goal, $\sigma_\tau=0.0073$",
        ("so_baseline", "cosmic_variance"): r"SO baseline, $\sigma_\tau=0.002$",
        ("so_goal", "cosmic_variance"): r"SO goal, $\sigma_\tau=0.002$",
    }
    sets: dict[str, tuple[Sequence[str], NDArray]] = {}
    for (experiment, prior), label in labels.items():
        case = evidence.forecast_case(experiment, "mnu_A_L", prior)
        sets[label] = (case["parameters"], np.array(case["covariance"]))
    centre = dict(evidence.forecast_about.get("fiducial", {}))
    pairs = [("tau", "mnu"), ("A_L_TTTEEE", "mnu"), ("A_L_TTTEEE", "A_L_phiphi")]
    return ellipses_figure(sets, centre, pairs)


def _there(evidence: Evidence, names: Sequence[str], parameter: str) -> list[str]:
    there = [name for name in names if evidence.has(name) and parameter in evidence.chains[name].samples]
    if not there:
        raise NotRunError(f"none of {', '.join(names)} has been run")
    return there


def _samples(evidence: Evidence, name: str) -> Mapping[str, NDArray]:
    return evidence.chain(name).samples


def _over(one: NDArray, other: NDArray, lmax: int = 2000) -> NDArray[np.float64]:
    out = np.ones(lmax + 1)
    out[2:] = one[2 : lmax + 1] / other[2 : lmax + 1]
    return out


PICTURES: dict[str, tuple[Callable[[Evidence], "Figure"], str]] = {
    "masses.png": (
        _posteriors("lcdm", "lcdm_act", "lensing_only", "w0wa", "lscdm", "geometry_mirrored"),
        "Posteriors of Σmν with its sign left free, and the least that oscillations allow; KATRIN's 1.35 eV lies "
        "far to the right. The bounds are no priors.",
    ),
    "masses_amplitudes.png": (
        _posteriors("lcdm", "free_smoothing", "free_phiphi", "free_both", "no_lensing", "geometry_mirrored"),
        "What becomes of Σmν when lensing amplitudes are freed, or lensing is left out.",
    ),
    "tau.png": (
        _posteriors("lcdm", "tau_sroll2", "tau_lowe", "tau_free", "tau_high"),
        "What becomes of Σmν with other knowledge of the optical depth.",
    ),
    "degeneracy.png": (_degeneracy, "Σmν against τ, A_L^TTTEEE and Ω_m, 68 and 95 %."),
    "amplitudes.png": (_amplitudes, "A_L of the smoothing and of the reconstruction, 68 and 95 %."),
    "w0wa.png": (_dark_energy, "Dark energy, each point in the colour of its Σmν."),
    "ratios.png": (
        _ratios,
        "C_L^φφ of models over that of the best ΛCDM with Σmν = 0.06 eV; points: the fit's lensing band powers over "
        "the same.",
    ),
    "suppression.png": (_suppression, "ΔP/P of matter over f_ν at fixed ω_m, from CAMB at z = 0."),
    "ellipses.png": (
        _ellipses,
        "What the Simons Observatory will see, with Planck and DESI, both A_L free; 68 and 95 %.",
    ),
}
"""Of each file, who draws it, and its caption."""
