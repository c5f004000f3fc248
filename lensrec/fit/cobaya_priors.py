"""Cobaya likelihoods of a few numbers each: BAO distances, the compressed CMB, τ and A_s e^{−2τ}."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from cobaya.likelihood import Likelihood
from scipy.constants import c as LIGHT

from lensrec.fit.compressed_cmb import compressed_cmb_chi2
from lensrec.fit.desi_dr2 import LYA_EDGES, REDSHIFTS, bao_chi2, lya_hubble_distance


class DesiDR2BAO(Likelihood):
    """DESI DR2's thirteen BAO distances (see `fit.desi_dr2`).

    average_lya
        For models in which H(z) jumps at 1.8 < z < 4: the Lyman-α forest's D_H is that of its whole range.
    """

    type = "BAO"
    average_lya: bool = False

    def get_requirements(self) -> dict[str, Any]:
        own: dict[str, Any] = {
            "angular_diameter_distance": {"z": REDSHIFTS},
            "Hubble": {"z": REDSHIFTS},
            "rdrag": None,
        }
        return own | ({"comoving_radial_distance": {"z": LYA_EDGES}} if self.average_lya else {})

    def logp(self, **_: Any) -> float:
        transverse = (1 + REDSHIFTS) * np.asarray(self.provider.get_angular_diameter_distance(REDSHIFTS))
        hubble = LIGHT / 1e3 / np.asarray(self.provider.get_Hubble(REDSHIFTS, units="km/s/Mpc"))
        if self.average_lya:
            hubble[-1] = lya_hubble_distance(self.provider.get_comoving_radial_distance(LYA_EDGES))
        return -float(bao_chi2(transverse, hubble, self.provider.get_param("rdrag"))) / 2


class _OfParameters(Likelihood):
    """χ² of parameters of the theory, sampled or derived; `parameters` has what they are called there."""

    parameters: dict[str, str] = {}  # noqa: RUF012

    def get_requirements(self) -> dict[str, None]:
        return dict.fromkeys(self._names.values())

    @property
    def _names(self) -> dict[str, str]:
        """What the YAML renames, on top of the names of the class."""
        return {**type(self).parameters, **self.parameters}

    def _values(self) -> dict[str, float]:
        return {own: float(self.provider.get_param(name)) for own, name in self._names.items()}


class CompressedCMB(_OfParameters):
    """θ_*, ω_b and ω_b + ω_c of the primary CMB (see `fit.compressed_cmb`).

    parameters
        Names in the theory; those of CAMB are the default. For CLASS: {thetastar: theta_star_100, ombh2: omega_b,
        omch2: omega_cdm}. `thetastar` may be θ_* (as where it is sampled) or 100 θ_* (as CAMB derives it).
    """

    type = "CMB"
    parameters: dict[str, str] = {"thetastar": "thetastar", "ombh2": "ombh2", "omch2": "omch2"}  # noqa: RUF012

    def logp(self, **_: Any) -> float:
        values = self._values()
        if values["thetastar"] > 0.1:
            values["thetastar"] /= 100
        return -float(compressed_cmb_chi2(**values)) / 2


class TauPrior(_OfParameters):
    """A Gaussian of the optical depth, which stands for low-ℓ polarisation.

    mean, sigma
        0.0544 ± 0.0073, Planck 2018 VI (arXiv:1807.06209), TT,TE,EE+lowE; of lowE alone 0.0506 ± 0.0086.
    parameters
        {tau: its name in the theory}.
    """

    mean: float = 0.0544
    sigma: float = 0.0073
    parameters: dict[str, str] = {"tau": "tau"}  # noqa: RUF012

    def logp(self, **_: Any) -> float:
        return _gaussian(self._values()["tau"], self.mean, self.sigma)


class AsExpPrior(_OfParameters):
    """A Gaussian of 10⁹ A_s e^{−2τ}, the height of the acoustic peaks.

    mean, sigma
        1.884 ± 0.012, Planck 2018 VI (arXiv:1807.06209), table 2, TT,TE,EE+lowE. Not to be added to those spectra.
    parameters
        {As: …, tau: …}, their names in the theory.
    """

    mean: float = 1.884
    sigma: float = 0.012
    parameters: dict[str, str] = {"As": "As", "tau": "tau"}  # noqa: RUF012

    def logp(self, **_: Any) -> float:
        values: Mapping[str, float] = self._values()
        return _gaussian(1e9 * values["As"] * np.exp(-2 * values["tau"]), self.mean, self.sigma)


def _gaussian(value: float, mean: float, sigma: float) -> float:
    return -float(((value - mean) / sigma) ** 2) / 2
