"""Band powers of C_L^φφ from a reconstruction, with each correction beside them."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.mean_field import subtracted_spectrum
from lensrec.spectra.bandpowers import Bands, bin_spectrum, gaussian_sigma, make_bands
from lensrec.sphere.alm import alm_to_cl, resize_alm
from lensrec.stages.first_order import fitted_potential

if TYPE_CHECKING:
    from lensrec.stages.reconstruct import Reconstruction


def phi_bandpowers(rec: "Reconstruction", phi_in: NDArray | None = None) -> dict[str, NDArray]:
    """Band powers [L(L+1)]²/2π C_L^φφ of every estimator K, with its biases taken off.

    Parameters
    ----------
    rec : Reconstruction
    phi_in : array (nalm,), optional
        The φ that lensed the sky, where it is known.

    Returns
    -------
    dict of column to array (nbins,)
        L_low, L_high (the last L of the band), L (mean), fiducial; for each K: auto_K, sigma_K (Gaussian), what was
        taken off, n0_K with its Monte-Carlo error n0_sigma_K, and n1_K (zero where N1 was left in), the power mf_K of
        the mean field, response_K, the Monte-Carlo response by whose square the rest is divided (1 where it was not),
        curl_K (that of Ω̂) and curl_sigma_K; where it was simulated, mc_response_K and its error mc_response_sigma_K,
        divided out or not; with `phi_in` also input, cross_K (φ̂ × φ_in), transfer_K = φ̂×φ_in / φ_in×φ_in and its
        standard deviation transfer_sigma_K. auto_K = (Ĉ_K − n0_K)/response_K² − n1_K.

    Notes
    -----
    The mask enters through its moments: ⟨w⁴⟩ in the auto-spectrum of φ̂, which carries w², ⟨w²⟩ in the cross-spectrum
    with an unmasked φ_in. The Gaussian sigma is that of independent L with N0 as it is expected; where N0 is not that
    of the data themselves (rdn0: none), bands are correlated and scatter by some 30 % more.
    """
    recipe, cl_phi = rec.recipe.reconstruction, rec.setting.cl_phi
    w2, w4, w8 = (rec.moment(n) for n in (2, 4, 8))
    bands = bands_of(rec)
    columns: dict[str, NDArray] = {
        "L_low": bands.edges[:-1],
        "L_high": bands.edges[1:] - 1,
        "L": bands.centres,
        "fiducial": bin_spectrum(cl_phi, bands),
    }
    if phi_in is not None:
        phi_in = resize_alm(phi_in, recipe.L_max)
        cl_in = alm_to_cl(phi_in)
        columns["input"] = bin_spectrum(cl_in, bands)
    n1 = _n1(rec, bands)
    for key, estimate in rec.estimates.items():
        auto, field = _powers(rec, key, w4)
        noise, n0 = rec.setting.n0[key], rec.biases.n0[key]
        response = columns[f"response_{key}"] = rec.divided_response(key, bands)
        columns |= {
            f"auto_{key}": bin_spectrum(auto[0] - n0[0], bands) / response**2 - bin_spectrum(n1[key][0], bands),
            f"sigma_{key}": gaussian_sigma(cl_phi + noise[0], bands, w4**2 / w8) / response**2,
            f"n0_{key}": bin_spectrum(n0[0], bands),
            f"n0_sigma_{key}": bin_spectrum(rec.biases.n0_sigma[key][0], bands)
            if key in rec.biases.n0_sigma
            else np.zeros(len(bands.centres)),
            f"n1_{key}": bin_spectrum(n1[key][0], bands),
            f"mf_{key}": bin_spectrum(field[0], bands),
            f"curl_{key}": bin_spectrum(auto[1] - n0[1], bands) / response**2 - bin_spectrum(n1[key][1], bands),
            f"curl_sigma_{key}": gaussian_sigma(noise[1], bands, w4**2 / w8) / response**2,
        }
        if rec.simulated_response is not None:
            columns[f"mc_response_{key}"] = rec.simulated_response.in_bands(key, bands)
            columns[f"mc_response_sigma_{key}"] = rec.simulated_response.sigma(key, bands)
        if phi_in is not None:
            # Its scatter at fixed φ_in is that of φ̂'s noise against φ_in: variance C_in (C + N0)/(2L+1) at most.
            # No N0 here, and no mean field either: neither correlates with the input.
            cross = bin_spectrum(alm_to_cl(estimate[0], phi_in) / w2, bands) / response
            spread = gaussian_sigma(np.sqrt(0.5 * cl_in * (cl_phi + noise[0])), bands, w2**2 / w4)
            columns |= {
                f"cross_{key}": cross,
                f"transfer_{key}": cross / columns["input"],
                f"transfer_sigma_{key}": spread / np.abs(response * columns["input"]),
            }
    return columns


def bands_of(rec: "Reconstruction") -> Bands:
    """Bands weighted by (C^φφ + N0)^−2 of the best estimator: the same for all, so that their band powers compare."""
    n0 = rec.n0[rec.best]
    return make_bands(rec.recipe.reconstruction.bin_edges, np.where(n0 > 0, (rec.setting.cl_phi + n0) ** 2, 0.0))


def _powers(rec: "Reconstruction", key: str, w4: float) -> tuple[NDArray, NDArray]:
    """Spectra of φ̂ and Ω̂ with the mean field taken off, and that of the mean field, over ⟨w⁴⟩; (2, L_max+1) each."""
    estimate = rec.estimates[key]
    if key not in rec.mean_fields:
        raw = np.stack([alm_to_cl(row) for row in estimate]) / w4
        return raw, np.zeros_like(raw)
    field = rec.mean_fields[key]
    power = np.stack([alm_to_cl(a, b) for a, b in zip(*field.halves, strict=True)])
    return subtracted_spectrum(estimate, field) / w4, power / w4


def _n1(rec: "Reconstruction", bands: Bands) -> dict[str, NDArray]:
    """N1 of φ̂ and Ω̂ by estimator; zero where it is left in."""
    first, kind = rec.first_order, rec.recipe.reconstruction.n1
    zero = np.zeros((2, len(rec.setting.cl_phi)))
    if first is None or kind == "none":
        return dict.fromkeys(rec.estimates, zero)
    cl_phi = rec.setting.cl_lens
    key = rec.best
    if kind == "fitted" and key in first.keys:
        w4 = rec.moment(4)
        auto, _ = _powers(rec, key, w4)
        sigma = gaussian_sigma(rec.setting.cl_phi + rec.setting.n0[key][0], bands, w4**2 / rec.moment(8))
        power = bin_spectrum(auto[0] - rec.biases.n0[key][0], bands) / rec.divided_response(key, bands) ** 2
        cl_phi = fitted_potential(power, sigma, first, key, bands, cl_phi)
    found = first.spectra(cl_phi)
    return {key: found.get(key, zero) for key in rec.estimates}
