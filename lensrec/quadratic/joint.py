"""Response and Gaussian noise of GMV, the estimator of jointly filtered temperature and polarisation.

With X̄ = Σ_X′ F^{XX′} X′ and F = C_tot⁻¹, the 2×2 inverse of T and E and the inverse of B,

    q^GMV_LM = ½ Σ_XY (−1)^M Σ 3j(ℓ₁ ℓ₂ L; m₁ m₂ −M) f^{XY*}_{ℓ₁Lℓ₂} X̄_ℓ₁m₁ Ȳ_ℓ₂m₂          over all ordered pairs XY,
    R_L = ½/(2L+1) Σ_{XY,X′Y′} Σ_ℓ₁ℓ₂ f^{XY*} f^{X′Y′} F^{XX′}_ℓ₁ F^{YY′}_ℓ₂,

(Maniyar et al. 2021, arXiv:2101.12193, section III; Hirata & Seljak 2003, astro-ph/0306354). This is the gradient of
the Gaussian likelihood with respect to φ: at optimal weights no quadratic estimator has less noise than its 1/R.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.grams import full_terms, half_terms, padded, sigma, wigner_grams
from lensrec.quadratic.products import GMV, PRODUCTS
from lensrec.quadratic.response import Normalisation
from lensrec.sphere.alm import lmax_of, resize_alm, scale_alm


def joint_filters(totals: Mapping[str, NDArray], ranges: Mapping[str, tuple[int, int]]) -> dict[str, NDArray]:
    """The matrix F_ℓ = C_tot⁻¹ of jointly filtered T, E and B.

    Parameters
    ----------
    totals : mapping of "TT", "EE", "BB", "TE" to array, µK², from ℓ = 0
        Spectra of the beam-deconvolved data.
    ranges : mapping of "T", "E", "B" to (lmin, lmax)
        Where each field is read; where one of T and E is not, the other is filtered by itself.

    Returns
    -------
    dict of "TT", "TE", "EE", "BB" to array (lmax+1,)

    Raises
    ------
    ValueError
        Where a spectrum is too short, or T and E are no covariance.
    """
    lmax = max(high for _, high in ranges.values())
    if short := [key for key, cl in totals.items() if len(cl) <= lmax]:
        raise ValueError(f"the total spectrum {short[0]} ends at ℓ = {len(totals[short[0]]) - 1}, not {lmax}")
    ell = np.arange(lmax + 1)
    read = {field: (ell >= low) & (ell <= high) for field, (low, high) in ranges.items()}
    tt, ee, bb = (np.where(read[f], totals[f + f][: lmax + 1], 1.0) for f in "TEB")
    te = np.where(read["T"] & read["E"], totals["TE"][: lmax + 1], 0.0)
    determinant = tt * ee - te**2
    bad = ~((tt > 0) & (bb > 0) & (determinant > 0))
    if bad.any():
        raise ValueError(f"the total spectra are no covariance of T, E and B at ℓ = {bad.argmax()}")
    return {
        "TT": np.where(read["T"], ee / determinant, 0.0),
        "TE": -te / determinant,
        "EE": np.where(read["E"], tt / determinant, 0.0),
        "BB": np.where(read["B"], 1.0 / bb, 0.0),
    }


def filter_jointly(alm: Mapping[str, NDArray], filters: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """T̄ = F^TT T + F^TE E, Ē = F^TE T + F^EE E and B̄ = F^BB B, of beam-deconvolved alm, to the filters' lmax."""
    lmax = len(filters["TT"]) - 1
    cut = {}
    for field in "TEB":
        if lmax_of(alm[field].shape[-1]) < lmax:
            raise ValueError(f"{field} ends at ℓ = {lmax_of(alm[field].shape[-1])}, the joint filter needs ℓ = {lmax}")
        cut[field] = resize_alm(alm[field], lmax)
    return {
        "T": scale_alm(cut["T"], filters["TT"]) + scale_alm(cut["E"], filters["TE"]),
        "E": scale_alm(cut["T"], filters["TE"]) + scale_alm(cut["E"], filters["EE"]),
        "B": scale_alm(cut["B"], filters["BB"]),
    }


def joint_normalisation(
    weights: Mapping[str, NDArray],
    signal: Mapping[str, NDArray],
    filters: Mapping[str, NDArray],
    totals: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    nthreads: int = 0,
) -> Normalisation:
    """Response of GMV to lensing and its Gaussian noise, both for φ and Ω, under the key "GMV".

    Parameters
    ----------
    weights, signal, totals : as for `lensrec.quadratic.response.normalisation`
    filters : mapping of "TT", "TE", "EE", "BB" to array (lmax+1,)
        As `joint_filters` gives them, or any others.
    """
    lmax = len(filters["TT"]) - 1
    keys = [*PRODUCTS, "BB"] if np.any(weights["BB"]) else list(PRODUCTS)
    halves = {key: half_terms(key, weights, lmax) for key in keys}
    truths = {key: full_terms(key, signal, lmax) for key in (*PRODUCTS, "BB")}
    truths |= {key[::-1]: [term.transposed() for term in truths[key]] for key in ("TE", "TB", "EB")}
    f = _matrix({key: padded(filters[key], lmax) for key in filters})
    c = _matrix({key: padded(totals[key], lmax) for key in ("TT", "TE", "EE", "BB")})
    d = np.einsum("xyl,yzl,wzl->xwl", f, c, f)
    gram = wigner_grams(lmax, lmax_phi, nthreads=nthreads)
    place = "TEB".index
    response, noise = np.zeros((2, lmax_phi + 1)), np.zeros((2, lmax_phi + 1))
    for one in keys:
        x, y = map(place, one)
        for two, terms in truths.items():
            u, v = map(place, two)
            if sigma(one) == sigma(two) and f[x, u].any() and f[y, v].any():
                response += gram(halves[one], terms, f[x, u], f[y, v], sigma(one))
        for two in keys:
            u, v = map(place, two)
            if sigma(one) == sigma(two):
                transposed = [term.transposed() for term in halves[two]]
                noise += gram(halves[one], halves[two], d[x, u], d[y, v], sigma(one))
                noise += gram(halves[one], transposed, d[x, v], d[y, u], sigma(one))
    return Normalisation({GMV: response}, {(GMV, GMV): noise})


def _matrix(spectra: Mapping[str, NDArray]) -> NDArray[np.float64]:
    """3×3 matrices over T, E, B, (3, 3, lmax+1); parity leaves no TB or EB."""
    out = np.zeros((3, 3, len(spectra["TT"])))
    out[0, 0], out[1, 1], out[2, 2] = spectra["TT"], spectra["EE"], spectra["BB"]
    out[0, 1] = out[1, 0] = spectra["TE"]
    return out
