"""From a map to φ̂: transform, deconvolve, filter, multiply, normalise."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import complex_dtype, real_dtype
from lensrec.quadratic.combination import minimum_variance, normalised
from lensrec.quadratic.contaminants import field_estimates, paired_field_estimates
from lensrec.quadratic.estimators import paired_estimates, quadratic_estimates
from lensrec.quadratic.hardening import Hardening, hardened
from lensrec.quadratic.products import GMV
from lensrec.sky.instrument import SMALLEST_TRANSFER
from lensrec.sphere.alm import alm_to_cl, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import analysis_tp
from lensrec.stages.legs import Legs
from lensrec.stages.placing import Quadratic
from lensrec.stages.setting import MV, TTH, Optics, Setting


def map_to_alm(
    maps: NDArray, nside: int, lmax: int, *, precision: str = "double", iterations: int = 3, nthreads: int = 0
) -> dict[str, NDArray]:
    """T, and E and B where there are Q and U, of a HEALPix map (ncomp, npix), already masked."""
    maps = np.ascontiguousarray(maps, dtype=real_dtype(complex_dtype(precision)))
    alm = analysis_tp(maps, healpix_grid(nside), lmax, iterations=iterations, nthreads=nthreads)
    return dict(zip("TEB", alm, strict=False))


def deconvolved(alm: Mapping[str, NDArray], optics: Optics) -> dict[str, NDArray]:
    """The sky's alm, with beam and pixel window divided out; zero where nothing of it is left."""
    inverse = {}
    for field in alm:
        transfer = optics.of(field)
        inverse[field] = np.divide(1.0, transfer, out=np.zeros_like(transfer), where=transfer > SMALLEST_TRANSFER)
    return {field: scale_alm(values, inverse[field]) for field, values in alm.items()}


def estimate_phi(
    legs: Legs,
    setting: Setting,
    lmax_phi: int,
    *,
    quadratic: Quadratic = quadratic_estimates,
    nthreads: int = 0,
) -> dict[str, NDArray]:
    """Normalised φ̂ and Ω̂ of every estimator asked for, (2, nalm) each.

    Parameters
    ----------
    legs : Legs
        Where the sky is masked the estimates are those of w²-weighted φ.
    quadratic : function like `quadratic_estimates`
        Where it runs; see `lensrec.stages.placing.quadratic_on`.
    """
    q = quadratic(setting.parts, legs.separate, setting.weights, lmax_phi, nthreads=nthreads) if setting.parts else {}
    if setting.joint:
        q |= quadratic([GMV], legs.joint, setting.weights, lmax_phi, nthreads=nthreads)
    if setting.hardened is not None:
        found = field_estimates(["TT"], setting.fields, legs.separate, lmax_phi, nthreads=nthreads)
        q |= _hardened(q, found, setting.hardened)
    return _normalised(q, setting)


def estimate_pairs(
    legs: Sequence[Legs],
    pairs: Sequence[tuple[int, int]],
    setting: Setting,
    lmax_phi: int,
    *,
    nthreads: int = 0,
) -> list[dict[str, NDArray]]:
    """Normalised, symmetrised ½ [q(i, j) + q(j, i)] of every estimator, for pairs of maps; legs are made once."""
    q: list[dict[str, NDArray]] = [{} for _ in pairs]
    if setting.parts:
        q = paired_estimates(
            setting.parts, [one.separate for one in legs], pairs, setting.weights, lmax_phi, nthreads=nthreads
        )
    if setting.joint:
        joint = paired_estimates(
            [GMV], [one.joint for one in legs], pairs, setting.weights, lmax_phi, nthreads=nthreads
        )
        q = [a | b for a, b in zip(q, joint, strict=True)]
    hard: list[dict[str, NDArray]] = [{} for _ in pairs]
    if setting.hardened is not None:
        separate = [one.separate for one in legs]
        found = paired_field_estimates(["TT"], setting.fields, separate, pairs, lmax_phi, nthreads=nthreads)
        hard = [_hardened(a, b, setting.hardened) for a, b in zip(q, found, strict=True)]
    return [_normalised(a | b, setting) for a, b in zip(q, hard, strict=True)]


def _hardened(
    q: Mapping[str, NDArray], of_fields: Mapping[tuple[str, str], NDArray], hardening: Hardening
) -> dict[str, NDArray]:
    return {TTH: hardened({"TT": q["TT"]}, of_fields, hardening.coefficients)["TT"]}


def _normalised(q: Mapping[str, NDArray], setting: Setting) -> dict[str, NDArray]:
    estimates = {key: normalised(values, setting.response[key]) for key, values in q.items() if key in setting.keys}
    if MV in setting.keys:
        parts = {key: q[key] for key in setting.parts}
        estimates[MV] = minimum_variance(parts, setting.norm, setting.mv_weights)
    return {key: estimates[key] for key in setting.keys}


def measured_totals(
    alm: Mapping[str, NDArray], model: Mapping[str, NDArray], w2: float, *, width: float = 30.0
) -> dict[str, NDArray[np.float64]]:
    """Total spectra that follow the data's own power: the model times a smoothed ratio of data to model.

    Parameters
    ----------
    alm : mapping of "T", "E", "B" to array
        Beam-deconvolved alm of the masked map.
    model : mapping of "TT", "EE", "BB", "TE" to array (lmax+1,)
    w2 : float
        Mean square of the mask, by which the masked power is low.
    width : float
        Standard deviation in ℓ of the Gaussian that smooths the ratio, with weights 2ℓ+1: wide against the
        coupling of the mask, narrow against any error of a noise or beam model.

    Returns
    -------
    dict like `model`; TE is scaled with √(ratio_TT ratio_EE), so that no correlation exceeds one.
    """
    ell = np.arange(len(model["TT"]))
    modes = 2.0 * ell + 1.0
    kernel = np.exp(-0.5 * (np.arange(-4 * width, 4 * width + 1) / width) ** 2)
    ratios = {}
    for field in alm:
        key = field + field
        usable = model[key] > 0
        ratio = np.divide(alm_to_cl(alm[field])[: len(ell)] / w2, model[key], out=np.ones(len(ell)), where=usable)
        weight = np.where(usable & (ell >= 2), modes, 0.0)
        middle = slice(len(kernel) // 2, len(kernel) // 2 + len(ell))
        sums = np.convolve(ratio * weight, kernel)[middle], np.convolve(weight, kernel)[middle]
        ratios[key] = np.divide(*sums, out=np.ones(len(ell)), where=sums[1] > 0)
    totals = {key: model[key] * ratios.get(key, 1.0) for key in ("TT", "EE", "BB")}
    totals["TE"] = model["TE"] * np.sqrt(ratios.get("TT", 1.0) * ratios.get("EE", 1.0))
    return totals
