"""What band powers should be for ΛCDM, both lensing amplitudes and the calibrations of the maps.

With s = A_L^TTTEEE, A = A_L^φφ and ⟨d⟩ linear in spectra (`spectra.linear_data`),

    m_i = g_i(c, p) [Σ_X Σ_ℓ (W^X_iℓ + K^X_iℓ) C_ℓ^X(θ, s, A) + o_i],    C^XY = C̃^XY(θ, s),    C^φφ = A C^φφ(θ),
    g = c² for TT, c² p for TE, c² p² for EE and BB, 1 for φφ.

The calibration c multiplies what the maps of T, Q and U are believed to show, and the polarisation efficiency p that of
Q and U again. In Planck's convention, where theory is divided by A_planck², c = 1/A_planck.

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

_POWERS = {"TT": (2, 0), "TE": (2, 1), "EE": (2, 2), "BB": (2, 2), "PP": (0, 0)}
"""Of c and p in each block."""


@dataclass(frozen=True, eq=False)
class BandPowerModel:
    """Expected band powers as functions of PARAMETERS.

    Attributes
    ----------
    surface : ResponseSurface
        Where its coefficients come from.
    cmb : array (5, 28, n)
        What the CMB spectra give, of each power of A_L^TTTEEE − 1 and each monomial of θ.
    potential : array (28, n)
        What C_L^φφ gives.
    offset : array (n,)
    powers : array (2, n)
        Of c and p.
    """

    surface: ResponseSurface
    cmb: NDArray[np.float64]
    potential: NDArray[np.float64]
    offset: NDArray[np.float64]
    powers: NDArray[np.int64]

    @property
    def start(self) -> NDArray[np.float64]:
        """PARAMETERS at the centre of the surface, amplitudes and calibrations 1, (10,)."""
        return np.concatenate([self.surface.centre, np.ones(len(PARAMETERS) - len(COSMOLOGY))])

    def value(self, parameters: ArrayLike) -> NDArray[np.float64]:
        """m for parameters (…, 10): array (…, n)."""
        x = np.asarray(parameters, dtype=np.float64)
        return self._gain(x) * self._uncalibrated(x)

    def jacobian(self, parameters: ArrayLike) -> NDArray[np.float64]:
        """∂m/∂parameters for parameters (10,): array (n, 10)."""
        x = np.asarray(parameters, dtype=np.float64)
        theta, smoothing, phi, c, p = x[:6], x[6], x[7], x[8], x[9]
        basis = self.surface.potential
        monomials, slopes = basis.monomials(theta), basis.monomial_derivatives(theta)
        cmb = np.einsum("k,kmn->mn", amplitude_powers(smoothing), self.cmb)
        by_smoothing = np.einsum("k,m,kmn->n", amplitude_power_derivatives(smoothing), monomials, self.cmb)
        gain, inside = self._gain(x), self._uncalibrated(x)
        return np.column_stack(
            [
                *(gain * (slopes @ (cmb + phi * self.potential))),
                gain * by_smoothing,
                gain * (monomials @ self.potential),
                gain * inside * self.powers[0] / c,
                gain * inside * self.powers[1] / p,
            ]
        )

    def _uncalibrated(self, x: NDArray) -> NDArray[np.float64]:
        monomials = self.surface.potential.monomials(x[..., :6])
        powers = amplitude_powers(x[..., 6])
        both = (powers[..., :, None] * monomials[..., None, :]).reshape(*x.shape[:-1], -1)
        cmb = both @ self.cmb.reshape(-1, self.cmb.shape[-1])
        return cmb + x[..., 7:8] * (monomials @ self.potential) + self.offset

    def _gain(self, x: NDArray) -> NDArray[np.float64]:
        return x[..., 8:9] ** self.powers[0] * x[..., 9:10] ** self.powers[1]


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
    cmb, potential = np.zeros((*surface.cmb.shape[:2], n)), np.zeros((len(phi), n))
    for matrices in (data.windows, data.corrections):
        for key, matrix in matrices.items():
            if key == "PP":
                potential += phi[:, : matrix.shape[1]] @ matrix.T
            else:
                start = KEYS.index(key) * width
                cmb += surface.cmb[:, :, start : start + matrix.shape[1]] @ matrix.T
    powers = np.array([_POWERS[block] for block in data.block.tolist()]).T
    return BandPowerModel(surface, cmb, potential, np.asarray(data.offset, dtype=np.float64), powers)
