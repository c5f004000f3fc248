"""Split: A_L^TTTEEE and A_L^φφ from band powers of one sky, or from published ones."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress
from lensrec.fit.band_power_model import (
    CALIBRATION,
    EFFICIENCY,
    PARAMETERS,
    POTENTIAL,
    SMOOTHING,
    band_power_model,
)
from lensrec.fit.published import published
from lensrec.fit.response_surface import ResponseSurface
from lensrec.fit.split import PLANCK_PRIORS, TEMPLATE, Prior, Split, split
from lensrec.recipe import Recipe
from lensrec.rundir import RunError, record_split, write_json, write_table
from lensrec.spectra.linear_data import CMB_BLOCKS, LinearData, combined
from lensrec.stages.bandpowers import Bandpowers
from lensrec.stages.bandpowers_view import lensing_points
from lensrec.stages.setting import theory_of
from lensrec.stages.surface import surface_at, surface_of
from lensrec.theory.acoustic_scale import PARAMETERS as COSMOLOGY
from lensrec.theory.acoustic_scale import acoustic_parameters
from lensrec.theory.spectra import TheorySpectra
from lensrec.view.bandpowers import lensing_bandpowers_figure
from lensrec.view.figure import save_figure
from lensrec.view.split import amplitudes_figure, corner_figure, smoothing_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

SEED = 1180
"""Of the samples that are drawn from a posterior."""

MIDDLE = 1000
"""Multipole at which the CMB is cut in two."""

CORRELATED = {"planck_pr4_lensing", "act_dr6_lensing", "act_planck_spt_lensing"}


def split_published(
    names: Sequence[str],
    out: str | Path,
    *,
    priors: Mapping[str, Prior] = PLANCK_PRIORS,
    fixed: Mapping[str, float] | None = None,
    command: Sequence[str] = (),
    progress: Progress | None = None,
    nthreads: int = 0,
) -> Split:
    """Fit published band powers, and leave split.json, samples.ecsv and pictures in a folder.

    Parameters
    ----------
    names : sequence of str
        Of `lensrec.fit.published`, each alone or with a variant, "NAME:VARIANT"; taken for independent of each other.
    out : str or Path
    priors, fixed : mappings
        As `lensrec.fit.split.split` takes them.

    Raises
    ------
    ValueError
        For an unknown name.
    FileNotFoundError
        If the files of a data set are not on this machine.
    """
    plain = [name.partition(":")[0] for name in names]
    if not names or len(set(plain)) < len(plain):
        raise ValueError(f"--data names sets of published data, each once; got {', '.join(names) or 'none'}")
    if (Path(out) / "recipe.yaml").is_file():
        raise RunError(f"{out} is a run, which has a split of its own; give a new folder")
    sets = [published(name, variant=variant or None) for name, _, variant in (n.partition(":") for n in names)]
    if len(CORRELATED & set(plain)) > 1:
        log.warning(
            "Planck's and ACT's lensing band powers share lenses and are taken for independent here: "
            "act_planck_spt_lensing:act_planck has their covariance"
        )
    data = combined(*sets)
    surface = surface_of(_reach(data), progress=progress, nthreads=nthreads)
    found = fit_published(data, surface, priors=priors, fixed=fixed or {})
    held = held_amplitudes(sets, surface, priors)
    held["parts"] = separate_amplitudes(data, found, surface, priors, fixed or {})
    write_split(Path(out), data, found, surface, {one.name: one for one in sets}, title=", ".join(names), also=held)
    record_split(Path(out), command, {"data": list(names)})
    return found


def fit_published(
    data: LinearData,
    surface: ResponseSurface,
    *,
    priors: Mapping[str, Prior] = PLANCK_PRIORS,
    fixed: Mapping[str, float] = MappingProxyType({}),
) -> Split:
    """Fit band powers by a surface, with Planck's priors."""
    return _fitted(data, surface, priors, fixed)


def best_lcdm(
    cmb: LinearData, surface: ResponseSurface, *, priors: Mapping[str, Prior] = PLANCK_PRIORS
) -> dict[str, float]:
    """The six parameters of the best fit of ΛCDM, A_L^TTTEEE = 1, to band powers of the CMB."""
    found = fit_published(cmb, surface, priors=priors, fixed={SMOOTHING: 1.0})
    return dict(zip(COSMOLOGY, found.parameters[: len(COSMOLOGY)].tolist(), strict=True))


def held_amplitudes(
    sets: Sequence[LinearData], surface: ResponseSurface, priors: Mapping[str, Prior]
) -> dict[str, Any]:
    """A_L^φφ of each set of lensing band powers relative to the best ΛCDM of the CMB's, held: as it is published.

    With ΛCDM free A_L^φφ is relative to a C_L^φφ that moves with A_L^TTTEEE; published values are not.
    """
    cmb = [one for one in sets if (one.block != "PP").any()]
    lensing = [one for one in sets if (one.block == "PP").all()]
    if not cmb or not lensing:
        return {}
    lcdm = best_lcdm(combined(*cmb), surface, priors=priors)
    found = {one.name: fit_published(one, surface, priors=priors, fixed=lcdm).summary()[POTENTIAL] for one in lensing}
    return {"best_lcdm": lcdm, "A_L_phiphi_held": found}


def write_split(
    out: Path,
    data: LinearData,
    found: Split,
    surface: ResponseSurface,
    lensing: Mapping[str, LinearData],
    *,
    title: str = "",
    also: Mapping[str, Any] | None = None,
) -> None:
    """split.json, samples.ecsv and pictures/ of a split; split.json comes last.

    Parameters
    ----------
    lensing : mapping of name to LinearData
        Whose band powers of C_L^φφ are drawn.
    also : mapping, optional
        What else split.json is to say.
    """
    columns = {name: found.samples.points[:, k] for k, name in enumerate(found.names)}
    samples = {"weight": found.samples.weights, **columns, **found.derived}
    write_table(out / "samples.ecsv", samples, {}, "samples of the posterior with their weights, which add up to 1")
    for name, figure in split_figures(data, found, surface, lensing, title=title).items():
        save_figure(figure, out / "pictures" / f"{name}.png")
    write_json(out / "split.json", {**found.summary(), **(also or {})})


def split_figures(
    data: LinearData, found: Split, surface: ResponseSurface, lensing: Mapping[str, LinearData], *, title: str = ""
) -> dict[str, "Figure"]:
    """Pictures of a split, by name: amplitudes and corner where both are free, smoothing, lensing."""
    figures: dict[str, Figure] = {}
    samples = {name: found.samples.points[:, k] for k, name in enumerate(found.names)} | dict(found.derived)
    sets, weights = {title: samples}, {title: found.samples.weights}
    if {SMOOTHING, POTENTIAL} <= set(found.names):
        figures["amplitudes"] = amplitudes_figure(sets, weights=weights)
    shown = [name for name in (SMOOTHING, POTENTIAL, "H0", "omch2", "logA", "ns", "tau") if name in samples]
    if len(found.names) > 1:
        figures["corner"] = corner_figure(sets, parameters=shown, weights=weights)
    theta = found.parameters[:6]
    a_smooth, a_phi = (found.parameters[6], found.parameters[7])
    if points := _smoothing_points(data, found):
        best = surface.spectra(theta, a_smooth=1.0)
        more = surface.spectra(theta, a_smooth=1.0 + TEMPLATE)
        template = {key: more[key] - best[key] for key in points}
        figures["smoothing"] = smoothing_figure(points, {f"A_L = {1.0 + TEMPLATE:.2f}": template}, title=title)
    curve = surface.spectra(theta, a_smooth=a_smooth, a_phi=1.0)["PP"]
    drawn = {name: one for name, one in lensing.items() if (one.block == "PP").any()}
    if drawn:
        figures["lensing"] = lensing_bandpowers_figure(
            curve,
            {name: lensing_points(one, curve) for name, one in drawn.items()},
            label="best ΛCDM",
            title=f"{title}: A_L^φφ = {a_phi:.3f}" if POTENTIAL in found.names else title,
        )
    return figures


def _fitted(
    data: LinearData, surface: ResponseSurface, priors: Mapping[str, Prior], fixed: Mapping[str, float]
) -> Split:
    model = band_power_model(data, surface)
    return split(data, model, priors=priors, fixed=fixed, rng=np.random.default_rng(SEED))


def _reach(data: LinearData) -> int:
    """lmax of the surface: what windows on the CMB read, and so much that those on C_L^φφ have enough, too."""
    read = data.lmax
    return max([300, *(top for key, top in read.items() if key in CMB_BLOCKS), read.get("PP", 0) - 2500])


def _smoothing_points(data: LinearData, found: Split) -> dict[str, dict[str, NDArray]]:
    """Residuals about the best fit with the excess smoothing put back, D_ℓ in µK²: what A_L = 1.18 is drawn over."""
    points = {}
    excess = found.template / TEMPLATE * (found.parameters[6] - 1.0)
    for key in ("TT", "TE", "EE"):
        rows = (data.block == key) & (data.low >= 30)
        if not rows.any() or key not in data.windows:
            continue
        window = data.windows[key][rows]
        ell = np.arange(window.shape[1])
        scale = ell * (ell + 1) / (2 * np.pi)
        flat = window.sum(1)
        # What a band power counts in D_ℓ: exact for windows on D_ℓ, and the local ratio for those on C_ℓ.
        per = np.where(np.abs(window @ (1 / np.maximum(scale, 0.1)) - 1) < 0.1, 1.0, (window @ scale) / flat)
        points[key] = {
            "ell": data.centre[rows],
            "residual": per * (found.residual + excess)[rows],
            "covariance": data.covariance[np.ix_(rows, rows)] * np.outer(per, per),
        }
    return points


def split_sky(found: Bandpowers, *, progress: Progress | None = None, nthreads: int = 0) -> Split:
    """Fit A_L^TTTEEE and A_L^φφ to the band powers of a sky, as its recipe's `split` says.

    Returns
    -------
    Split
        See `lensrec.fit.split.Split`; `.summary()` is what split.json holds.
    """
    data, recipe = fitted_range(found.data, found.recipe), found.recipe
    data = with_beam(recipe, data, found.fiducial)
    surface = recipe_surface(recipe, data, theory_of(recipe), progress=progress, nthreads=nthreads)
    return fit_recipe(recipe, data, surface)


def fitted_range(data: LinearData, recipe: Recipe) -> LinearData:
    """All of the CMB, and of φφ the bands between split.L_min and split.L_max."""
    asked = recipe.split
    inside = (data.low >= asked.L_min) & (data.high <= asked.L_max)
    if not (inside & (data.block == "PP")).any():
        log.warning(
            "no band of φφ lies within split.L_min = %d and L_max = %d: A_L^φφ is not fitted", asked.L_min, asked.L_max
        )
    return data.selected(np.where(data.block == "PP", inside, True))


def recipe_surface(
    recipe: Recipe,
    data: LinearData,
    theory: TheorySpectra,
    *,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> ResponseSurface:
    """Spectra about a recipe's own cosmology; of that alone where ΛCDM is held.

    At the centre they are the fiducial ones, so that corrections vanish there exactly.
    """
    lmax = _reach(data)
    fiducial = {**theory.lensed, "PP": theory.potential["PP"]}
    cosmology = recipe.cosmology.parameters()
    if recipe.split.cosmology == "fixed":
        centre = None if cosmology["omk"] else acoustic_parameters(cosmology)
        return surface_at(theory, lmax, centre=centre, nthreads=nthreads).anchored(fiducial)
    if cosmology["omk"]:
        raise ValueError("split.cosmology: free is for flat ΛCDM, and cosmology.omk is not 0; set it to fixed")
    centre = acoustic_parameters(cosmology)
    made = surface_of(lmax, centre=centre, mnu=cosmology["mnu"], progress=progress, nthreads=nthreads)
    return made.anchored({key: cl[: made.lmax + 2501] for key, cl in fiducial.items()})


def with_beam(recipe: Recipe, data: LinearData, fiducial: Mapping[str, NDArray]) -> LinearData:
    """Band powers whose covariance has what a beam of uncertain width adds, σ² t tᵀ with t = ∂d/∂ln FWHM.

    A beam that is believed wider than it is by δ leaves C_ℓ [1 + 2 ℓ(ℓ+1) s² δ] in beam-deconvolved spectra, with
    b_ℓ = exp(−ℓ(ℓ+1)s²/2); φφ follows by what its normalisation takes from these.
    """
    sigma = recipe.split.beam
    if not sigma:
        return data
    s2 = recipe.instrument.fwhm_rad**2 / (8.0 * np.log(2.0))
    wider = dict(fiducial)
    for key in CMB_BLOCKS:
        ell = np.arange(len(fiducial[key]), dtype=np.float64)
        wider[key] = fiducial[key] * (1.0 + 2.0 * ell * (ell + 1.0) * s2)
    template = sigma * (data.expected(wider) - data.expected(fiducial))
    return replace(data, covariance=data.covariance + np.outer(template, template))


def separate_amplitudes(
    data: LinearData, found: Split, surface: ResponseSurface, priors: Mapping[str, Prior], fixed: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Each amplitude by single spectra, ranges of ℓ and of L.

    A_L^TTTEEE of TT, TE or EE alone, and of all below and above `MIDDLE`, with all else free that was; A_L^φφ below and
    above the middle of the bands, with ΛCDM and A_L^TTTEEE held at the best fit of all. What cannot be fitted alone is
    left out.
    """
    cmb = data.block != "PP"
    parts = {key: data.block == key for key in ("TT", "TE", "EE")}
    parts |= {f"ℓ < {MIDDLE}": cmb & (data.centre < MIDDLE), f"ℓ ≥ {MIDDLE}": cmb & (data.centre >= MIDDLE)}
    out = {}
    for name, rows in parts.items():
        if not rows.any() or not (cmb & ~rows).any():
            continue
        chosen = data.selected(rows)
        own = {key: prior for key, prior in priors.items() if key != EFFICIENCY or name != "TT"}
        try:
            out[name] = _fitted(chosen, surface, own, fixed).summary()[SMOOTHING]
        except ValueError:
            log.info("A_L^TTTEEE of %s alone cannot be told from other parameters", name)
    lensing = np.flatnonzero(~cmb)
    if len(lensing) >= 4:
        middle = int(data.low[lensing[len(lensing) // 2]])
        held = dict(zip(PARAMETERS, found.parameters.tolist(), strict=True))
        held.pop(POTENTIAL)
        for name, rows in (
            (f"L < {middle}", ~cmb & (data.low < middle)),
            (f"L ≥ {middle}", ~cmb & (data.low >= middle)),
        ):
            chosen = data.selected(rows)
            out[name] = _fitted(chosen, surface, {}, held).summary()[POTENTIAL]
    return out


def priors_of(recipe: Recipe, data: LinearData, surface: ResponseSurface) -> tuple[dict[str, Prior], dict[str, float]]:
    """Priors and what is held, as a recipe says."""
    asked = recipe.split
    priors: dict[str, Prior] = {"tau": (asked.tau, asked.tau_sigma)}
    for name, sigma in ((CALIBRATION, asked.calibration), (EFFICIENCY, asked.polarisation)):
        if sigma and (name == CALIBRATION or set(data.block.tolist()) & {"TE", "EE", "BB"}):
            priors[name] = (1.0, sigma)
    fixed = dict(zip(COSMOLOGY, surface.centre.tolist(), strict=True)) if asked.cosmology == "fixed" else {}
    return priors, fixed


def fit_recipe(recipe: Recipe, data: LinearData, surface: ResponseSurface) -> Split:
    """The fit that a recipe asks for."""
    return _fitted(data, surface, *priors_of(recipe, data, surface))
