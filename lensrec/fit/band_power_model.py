"""What band powers should be for ΛCDM, both lensing amplitudes and the calibrations of the maps.

With s = A_L^TTTEEE, A = A_L^φφ and ⟨d⟩ linear in spectra (`spectra.linear_data`),

    m_i = Σ_X g_X(c, p) Σ_ℓ W^X_iℓ C̃_ℓ^X(θ, s)                              for band powers of the CMB,
    m_i = A Σ_L (W^φφ_iL + K^φφ_iL) C_L^φφ(θ) + A k_i(θ, s, c, p) + (1 − A) k_i(θ⁰, 1, 1, 1) + o_i    for φφ,
    k_i = Σ_X g_X(c, p) Σ_ℓ K^X_iℓ C̃_ℓ^X(θ, s),    g = c² for TT, c² p for TE, c² p² for EE and BB.

The calibration c multiplies what the maps of T, Q and U are believed to show, and the polarisation efficiency p that of
Q and U again. In Planck's convention, where theory is divided by A_planck², c = 1/A_planck. φ̂ is normalised by what the
maps show, which is why its corrections K^X read g C̃ as well; and since a changed normalisation changes φ̂φ̂ by a factor,
they grow with A. At A = 1 this is what `LinearData.expected` says.

All of it is linear in the coefficients of the response surface, so that windows are applied once, to those.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.fit.response_surface import (
    DERIVED,
    KEYS,
    ResponseSurface,
    amplitude_power_derivatives,
    amplitude_powers,
)
from lensrec.spectra.linear_data import LinearData
from lensrec.theory.acoustic_scale import PARAMETERS as COSMOLOGY

SMOOTHING, POTENTIAL = "A_L_TTTEEE", "A_L_phiphi"
CALIBRATION, EFFICIENCY = "calibration", "polarisation_efficiency"
PARAMETERS = (*COSMOLOGY, SMOOTHING, POTENTIAL, CALIBRATION, EFFICIENCY)

_SOURCES = (("TT",), ("TE",), ("EE", "BB"))
_POWERS = np.array([[2, 0], [2, 1], [2, 2]])
"""Of c and p in each of these."""


@dataclass(frozen=True, eq=False)
class BandPowerModel:
    """Expected band powers as functions of PARAMETERS.

    Attributes
    ----------
    surface : ResponseSurface
        Where its coefficients come from.
    cmb : array (3, 5, 28, n)
        What TT, TE, and EE with BB give, of each power of A_L^TTTEEE − 1 and each monomial of θ.
    potential : array (28, n)
        What C_L^φφ gives.
    offset : array (n,)
    lensing : array (n,), bool
        Which are of φφ.
    """

    surface: ResponseSurface
    cmb: NDArray[np.float64]
    potential: NDArray[np.float64]
    offset: NDArray[np.float64]
    lensing: NDArray[np.bool_]

    @property
    def start(self) -> NDArray[np.float64]:
        """PARAMETERS at the centre of the surface, amplitudes and calibrations 1, (10,)."""
        return np.concatenate([self.surface.centre, np.ones(len(PARAMETERS) - len(COSMOLOGY))])

    def value(self, parameters: ArrayLike) -> NDArray[np.float64]:
        """m for parameters (…, 10): array (…, n)."""
        x = np.asarray(parameters, dtype=np.float64)
        monomials, powers = self.surface.potential.monomials(x[..., :6]), amplitude_powers(x[..., 6])
        gain = np.prod(x[..., None, 8:10] ** _POWERS, axis=-1)
        each = gain[..., :, None, None] * powers[..., None, :, None] * monomials[..., None, None, :]
        cmb = each.reshape(*x.shape[:-1], -1) @ self.cmb.reshape(-1, self.cmb.shape[-1])
        grown = (x[..., 7:8] - 1.0) * np.where(self.lensing, cmb - self._normalised, 0.0)
        return cmb + grown + x[..., 7:8] * (monomials @ self.potential) + self.offset

    def jacobian(self, parameters: ArrayLike) -> NDArray[np.float64]:
        """∂m/∂parameters for parameters (10,): array (n, 10)."""
        x = np.asarray(parameters, dtype=np.float64)
        theta, smoothing, phi, calibrations = x[:6], x[6], x[7], x[8:10]
        basis = self.surface.potential
        monomials, slopes = basis.monomials(theta), basis.monomial_derivatives(theta)
        gain = np.prod(calibrations**_POWERS, axis=-1)
        by_source = gain[:, None, None] * np.einsum("k,skmn->smn", amplitude_powers(smoothing), self.cmb)
        slope = np.einsum("s,k,m,skmn->n", gain, amplitude_power_derivatives(smoothing), monomials, self.cmb)
        seen = monomials @ by_source
        factor = np.where(self.lensing, phi, 1.0)
        return np.column_stack(
            [
                *(slopes @ (factor * by_source.sum(0) + phi * self.potential)),
                factor * slope,
                monomials @ self.potential + np.where(self.lensing, seen.sum(0) - self._normalised, 0.0),
                *(factor * ((_POWERS[:, k] / calibrations[k]) @ seen) for k in range(2)),
            ]
        )

    @property
    def _normalised(self) -> NDArray[np.float64]:
        """What the CMB spectra of the centre give, with amplitudes and calibrations 1."""
        return self.cmb[:, 0, 0].sum(0)


def band_power_model(data: LinearData, surface: ResponseSurface) -> BandPowerModel:
    """The model of band powers through their windows.

    Raises
    ------
    ValueError
        If the windows read further than the surface goes.
    """
    n, width = len(data), surface.lmax + 1
    phi = surface.potential.coefficients[:, : -len(DERIVED)]
    ends = {**dict.fromkeys(KEYS, surface.lmax), "PP": phi.shape[1] - 1}
    for key, end in data.lmax.items():
        if end > ends[key]:
            raise ValueError(f"{data.name} reads C_l^{key} to l = {end}, but the surface ends at {ends[key]}")
    cmb, potential = np.zeros((len(_SOURCES), *surface.cmb.shape[:2], n)), np.zeros((len(phi), n))
    for matrices in (data.windows, data.corrections):
        for key, matrix in matrices.items():
            if key == "PP":
                potential += phi[:, : matrix.shape[1]] @ matrix.T
            else:
                start = KEYS.index(key) * width
                source = next(k for k, keys in enumerate(_SOURCES) if key in keys)
                cmb[source] += surface.cmb[:, :, start : start + matrix.shape[1]] @ matrix.T
    return BandPowerModel(surface, cmb, potential, np.asarray(data.offset, dtype=np.float64), data.block == "PP")
