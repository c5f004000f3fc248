"""What band powers should be for ΛCDM, Σm_ν of either sign and w0w_a, both lensing amplitudes and calibrations.

What `fit.band_power_model` says of corrections and calibrations holds here too, with the spectra of an emulator:

    m_i = Σ_X g_X(c, p) Σ_ℓ W^X_iℓ C̃_ℓ^X(x, s)                              for band powers of the CMB,
    m_i = A Σ_L (W^φφ_iL + K^φφ_iL) r_L C_L^φφ(x) + A k_i(x, s, c, p) + (1 − A) k_i(x⁰, 1, 1, 1) + o_i    for φφ,
    k_i = Σ_X g_X(c, p) Σ_ℓ K^X_iℓ C̃_ℓ^X(x, s),    g = c² for TT, c² p for TE, c² p² for EE and BB,

x⁰ being Planck's ΛCDM (`response_surface.CENTRE`, Σm_ν = 0.06 eV), and r_L, 1 unless given, what C_L^φφ of a further
model is to that of the emulator, in the smoothing as well. All is linear in the coefficients of the emulator's lensed
components, to which windows are applied once, and in C_L^φφ at its knots.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.fit.emulator import (
    KEYS,
    PHYSICAL_MASS,
    Coefficients,
    Emulator,
    Mirror,
    interpolated,
    potential_interpolation,
)
from lensrec.fit.emulator_points import PARAMETERS as COSMOLOGY
from lensrec.fit.emulator_points import potential_knots
from lensrec.fit.response_surface import CENTRE
from lensrec.spectra.linear_data import LinearData

SMOOTHING, POTENTIAL = "A_L_TTTEEE", "A_L_phiphi"
CALIBRATION, EFFICIENCY = "calibration", "polarisation_efficiency"
PARAMETERS = (*COSMOLOGY, SMOOTHING, POTENTIAL, CALIBRATION, EFFICIENCY)

_SOURCES = (("TT",), ("TE",), ("EE", "BB"))
_POWERS = np.array([[2, 0], [2, 1], [2, 2]])
"""Of c and p in each of these."""
_N = len(COSMOLOGY)


@dataclass(frozen=True, eq=False)
class EmulatedModel:
    """Expected band powers as functions of PARAMETERS, (…, 13).

    Attributes
    ----------
    emulator : Emulator
    mirrored : str
        What a negative Σm_ν means.
    components : array (3, R, n)
        What TT, TE, and EE with BB give of each coefficient: of powers of a − 1 of the lensed components, then of
        changes of shape.
    potential : array (n', n)
        What C_L^φφ at its knots gives.
    offset, normalised : arrays (n,)
        o, and k_i(x⁰, 1, 1, 1).
    lensing : array (n,), bool
        Which are of φφ.
    ratio : array or None
        r_L from L = 0.
    """

    emulator: Emulator
    mirrored: Mirror
    components: NDArray[np.float64]
    potential: NDArray[np.float64]
    offset: NDArray[np.float64]
    normalised: NDArray[np.float64]
    lensing: NDArray[np.bool_]
    ratio: NDArray[np.float64] | None = None

    @property
    def start(self) -> NDArray[np.float64]:
        """PARAMETERS at x⁰, amplitudes and calibrations 1, (13,)."""
        return np.concatenate([reference_point(), np.ones(len(PARAMETERS) - _N)])

    def value(self, parameters: ArrayLike) -> NDArray[np.float64]:
        """m for parameters (…, 13): array (…, n)."""
        z = np.asarray(parameters, dtype=np.float64)
        of = self.emulator.coefficients(z[..., :_N], z[..., _N], self.mirrored, ratio=self.ratio)
        gain = np.prod(z[..., None, _N + 2 : _N + 4] ** _POWERS, axis=-1)
        flat = _flat(of)
        each = gain[..., :, None] * flat[..., None, :]
        cmb = each.reshape(*z.shape[:-1], -1) @ self.components.reshape(-1, self.components.shape[-1])
        phi = z[..., _N + 1 : _N + 2]
        grown = (phi - 1.0) * np.where(self.lensing, cmb - self.normalised, 0.0)
        return cmb + grown + phi * (np.exp(of.log_potential) @ self.potential) + self.offset

    def jacobian(self, parameters: ArrayLike) -> NDArray[np.float64]:
        """∂m/∂parameters for parameters (13,): array (n, 13)."""
        z = np.asarray(parameters, dtype=np.float64)
        phi, calibrations = z[_N + 1], z[_N + 2 : _N + 4]
        of, slopes = self.emulator.coefficient_derivatives(z[:_N], float(z[_N]), self.mirrored, ratio=self.ratio)
        gain = np.prod(calibrations**_POWERS, axis=-1)
        by_source = np.einsum("r,srn->sn", _flat(of), self.components)
        moved = _flat(slopes) @ np.tensordot(gain, self.components, 1)
        seen = np.exp(of.log_potential)
        factor = np.where(self.lensing, phi, 1.0)
        by_potential = phi * (slopes.log_potential * seen) @ self.potential
        cmb = gain @ by_source
        return np.column_stack(
            [
                *(factor * moved + by_potential),
                seen @ self.potential + np.where(self.lensing, cmb - self.normalised, 0.0),
                *(factor * ((gain * _POWERS[:, k] / calibrations[k]) @ by_source) for k in range(2)),
            ]
        )


def emulated_model(
    data: LinearData, emulator: Emulator, *, mirrored: Mirror = "observables", ratio: NDArray | None = None
) -> EmulatedModel:
    """The model of band powers through their windows.

    Parameters
    ----------
    data : LinearData
    emulator : Emulator
    mirrored : str
        "observables" or "lensing": what Σm_ν < 0 means, see `fit.emulator`.
    ratio : array, optional
        r_L from L = 0 to as far as the emulator's C_L^φφ.

    Raises
    ------
    ValueError
        If the windows read further than the emulator goes, or the ratio ends earlier.
    """
    n, lmax = len(data), emulator.lmax
    for key, end in data.lmax.items():
        top = lmax + 2500 if key == "PP" else lmax
        if end > top:
            raise ValueError(f"{data.name} reads C_l^{key} to l = {end}, but the emulator ends at {top}")
    potential = _seen_potential(data, lmax, ratio)
    lensed = emulator.lensed.reshape(-1, *emulator.lensed.shape[-2:])
    bands = emulator.bands.reshape(-1, *emulator.bands.shape[-2:])
    rows = np.concatenate([lensed, bands])
    components = np.zeros((len(_SOURCES), len(rows), n))
    for matrices in (data.windows, data.corrections):
        for key, matrix in matrices.items():
            if key != "PP":
                source = next(k for k, keys in enumerate(_SOURCES) if key in keys)
                components[source] += interpolated(rows[:, KEYS.index(key)], lmax)[:, : matrix.shape[1]] @ matrix.T
    lensing = data.block == "PP"
    at_start = emulator.coefficients(reference_point(), 1.0)
    normalised = np.where(lensing, np.einsum("r,srn->n", _flat(at_start), components), 0.0)
    offset = np.asarray(data.offset, dtype=np.float64)
    return EmulatedModel(emulator, mirrored, components, potential, offset, normalised, lensing, ratio)


def with_ratio(model: EmulatedModel, data: LinearData, ratio: NDArray) -> EmulatedModel:
    """The model of the same band powers for another r_L, sharing all that does not depend on it."""
    return replace(model, potential=_seen_potential(data, model.emulator.lmax, ratio), ratio=ratio)


def _seen_potential(data: LinearData, lmax: int, ratio: NDArray | None) -> NDArray[np.float64]:
    """What C_L^φφ at its knots, times r_L, gives in each band power, (n', n)."""
    if ratio is not None and len(ratio) < lmax + 2501:
        raise ValueError(f"the ratio of C_L^phiphi must reach L = {lmax + 2500}, it ends at {len(ratio) - 1}")
    out = np.zeros((len(potential_knots(lmax)), len(data)))
    for matrices in (data.windows, data.corrections):
        if "PP" in matrices:
            width = matrices["PP"].shape[1]
            scaling = np.ones(width) if ratio is None else np.asarray(ratio, dtype=np.float64)[:width]
            out += (matrices["PP"] * scaling @ potential_interpolation(lmax)[:width]).T
    return out


def reference_point() -> NDArray[np.float64]:
    """x⁰ (9,): Planck's ΛCDM."""
    return np.array([*CENTRE.values(), PHYSICAL_MASS, -1.0, 0.0])


def _flat(of: Coefficients) -> NDArray[np.float64]:
    """Coefficients of all lensed components, (…, R)."""
    lead = of.cmb.shape[:-2]
    return np.concatenate([of.cmb.reshape(*lead, -1), of.bands.reshape(*lead, -1)], axis=-1)
