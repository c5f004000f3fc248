"""Split published band powers: A_L^TTTEEE and A_L^φφ of Planck, ACT and the like, beside what these have published."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lensrec.engine import Progress, Workers
from lensrec.fit.band_power_model import POTENTIAL, SMOOTHING
from lensrec.fit.published import published
from lensrec.fit.response_surface import ResponseSurface
from lensrec.fit.split import PLANCK_PRIORS, Prior, Split
from lensrec.rundir import RunError, record_split
from lensrec.spectra.linear_data import LinearData, combined
from lensrec.stages.split import fit_surface, separate_amplitudes, surface_for
from lensrec.stages.split_products import write_split
from lensrec.theory.acoustic_scale import PARAMETERS as COSMOLOGY

log = logging.getLogger(__name__)

CORRELATED = {"planck_pr4_lensing", "act_dr6_lensing", "act_planck_spt_lensing"}


def split_published(
    names: Sequence[str],
    out: str | Path,
    *,
    priors: Mapping[str, Prior] = PLANCK_PRIORS,
    fixed: Mapping[str, float] | None = None,
    command: Sequence[str] = (),
    executor: Workers = None,
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
    surface = surface_for(data, executor=executor, progress=progress, nthreads=nthreads)
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
    return fit_surface(data, surface, priors, fixed)


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
