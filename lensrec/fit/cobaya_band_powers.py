"""Cobaya likelihoods of band powers: Planck's plik_lite, published lensing, and lensrec's own.

What they take of the theory, and how the two amplitudes of lensing enter, is in `fit.cobaya_spectra`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError

from lensrec.fit.cobaya_spectra import band_power_chi2, expected, from_cobaya, lensed_here, needed, whitening
from lensrec.fit.published import published
from lensrec.spectra.linear_data import CMB_BLOCKS, LinearData
from lensrec.spectra.sacc_file import read_sacc

SMOOTHING, POTENTIAL = "A_L_TTTEEE", "A_L_phiphi"

AMPLITUDES: Mapping[str, Mapping[str, Any]] = {
    SMOOTHING: {"prior": {"min": 0, "max": 3}, "ref": 1, "proposal": 0.05, "latex": r"A_L^{TTTEEE}"},
    POTENTIAL: {"prior": {"min": 0, "max": 3}, "ref": 1, "proposal": 0.02, "latex": r"A_L^{\phi\phi}"},
}
"""What they are in a model where the option `free` of a likelihood names them."""


class _BandPowers(Likelihood):
    """Band powers and their covariance; who inherits says which, and reads calibrations from the parameters."""

    type = "CMB"
    free: list[str] = []  # noqa: RUF012
    lens: bool | None = None
    nthreads: int = 0

    @classmethod
    def get_class_options(cls, input_options: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """Options and their defaults, with the parameters that `free` asks for."""
        options = dict(super().get_class_options(input_options))
        asked = input_options.get("free") or []
        if unknown := sorted(set(asked) - set(AMPLITUDES)):
            raise ValueError(f"free: no amplitude {', '.join(unknown)}; there are {', '.join(AMPLITUDES)}")
        params = dict(options.get("params", {})) | {name: dict(AMPLITUDES[name]) for name in asked}
        return options | ({"params": params} if params else {})

    def _load(self) -> LinearData:
        raise NotImplementedError

    def _calibrations(self, values: Mapping[str, float]) -> dict[str, float]:
        return {}

    def initialize(self) -> None:
        try:
            self._data = self._load()
            self._white = whitening(self._data)
        except (ValueError, OSError) as error:
            raise LoggedError(self.log, "%s", error) from error
        self._cmb = {key: lmax for key, lmax in self._data.lmax.items() if key in CMB_BLOCKS}

    def initialize_with_provider(self, provider: Any) -> None:
        super().initialize_with_provider(provider)
        if ("PP" in self._data.lmax or self._lenses) and (scaled := _scaled_by_theory(provider.model)):
            raise LoggedError(
                self.log,
                "the theory's %s scales the C_L^phiphi that %s reads: leave it at 1 and take %s and %s instead",
                scaled,
                self.get_name(),
                POTENTIAL,
                SMOOTHING,
            )

    def get_can_support_params(self) -> list[str]:
        amplitudes = [POTENTIAL] if "PP" in self._data.lmax else []
        return amplitudes + ([SMOOTHING] if self._cmb else [])

    def get_requirements(self) -> dict[str, Any]:
        return needed(self._data, lens=self._lenses)

    def logp(self, **values: Any) -> float:
        potential = values.get(POTENTIAL, 1.0)
        model = expected(self._data, self._spectra(values), potential=potential, **self._calibrations(values))
        return -band_power_chi2(self._data, self._white, model) / 2

    @property
    def _lenses(self) -> bool:
        free = SMOOTHING in self._given
        if free and self.lens is False:
            raise LoggedError(self.log, "%s needs `lens: true`, but it is false", SMOOTHING)
        return bool(self._cmb) and (free or bool(self.lens))

    @property
    def _given(self) -> tuple[str, ...]:
        """Names of the parameters that this likelihood is given; none before Cobaya has assigned them."""
        return tuple(self.input_params) if isinstance(self.input_params, list | tuple | set | dict) else ()

    def _spectra(self, values: Mapping[str, float]) -> dict[str, Any]:
        if not self._lenses:
            return from_cobaya(self.provider.get_Cl(ell_factor=False, units="FIRASmuK2"))
        unlensed = from_cobaya(self.provider.get_unlensed_Cl(ell_factor=False, units="FIRASmuK2"))
        potential = np.asarray(self.provider.get_Cl(ell_factor=False, units="FIRASmuK2")["pp"])
        amplitude, lmax = values.get(SMOOTHING, 1.0), max(self._cmb.values())
        lensed = lensed_here(unlensed, potential, lmax=lmax, amplitude=amplitude, nthreads=self.nthreads)
        return {**lensed, "PP": potential}


class PlanckPlikLite(_BandPowers):
    r"""Planck 2018's foreground-marginalised TT, TE and EE bins, with low-ℓ TT in two (see `fit.plik_lite`).

    spectra
        Which of TT, TE, EE.
    low_ell
        The two bins of TT at 2 ≤ ℓ ≤ 29, with TT. There is no low-ℓ polarisation: add TauPrior, or another.
    lens, nthreads, free
        See above; threads of the lensing, 0 for all.
    """

    spectra: list[str] = ["TT", "TE", "EE"]  # noqa: RUF012
    low_ell: bool = True
    params: dict[str, Any] = {  # noqa: RUF012
        "A_planck": {
            "prior": {"dist": "norm", "loc": 1.0, "scale": 0.0025},
            "ref": {"dist": "norm", "loc": 1.0, "scale": 0.002},
            "proposal": 0.0005,
            "latex": r"A_\mathrm{planck}",
        }
    }

    def _load(self) -> LinearData:
        data = published("planck2018_plik_lite", variant="low_ell" if self.low_ell else "high_ell")
        return _of_blocks(data, self.spectra)

    def _calibrations(self, values: Mapping[str, float]) -> dict[str, float]:
        return {"calibration": 1 / values["A_planck"]}


class LensingBandPowers(_BandPowers):
    """Published lensing band powers (see `fit.published`).

    data
        planck_pr4_lensing, act_dr6_lensing or act_planck_spt_lensing. Planck and ACT see the same lenses: take the
        last for both.
    variant
        One of `fit.published.VARIANTS`; left out, the one that goes with power spectra of the CMB. The one with
        explicit corrections by the CMB takes A_planck, too.
    free
        See above.
    """

    data: str = "planck_pr4_lensing"
    variant: str | None = None

    def get_can_support_params(self) -> list[str]:
        return super().get_can_support_params() + (["A_planck"] if self._cmb else [])

    def _load(self) -> LinearData:
        return published(self.data, variant=self.variant)

    def _calibrations(self, values: Mapping[str, float]) -> dict[str, float]:
        return {"calibration": 1 / values.get("A_planck", 1.0)}


class LensrecBandPowers(_BandPowers):
    """Joint band powers of TT, TE, EE, BB and φφ that lensrec measured, or any SACC file that it reads.

    file
        bandpowers.sacc.fits of a run.
    spectra
        Which of TT, TE, EE, BB, PP; left out, all.
    lens, nthreads, free
        See above.

    `calibration` and `polarisation_efficiency`, which multiply what the maps of T, Q and U, and of Q and U again, are
    believed to show, are parameters where `params` names them, and 1 where not.
    """

    file: str = ""
    spectra: list[str] | None = None

    def get_can_support_params(self) -> list[str]:
        own = ["calibration", "polarisation_efficiency"] if self._cmb else []
        return super().get_can_support_params() + own

    def _load(self) -> LinearData:
        if not self.file:
            raise ValueError("LensrecBandPowers needs the option `file`: the bandpowers.sacc.fits of a run")
        data = read_sacc(self.file)
        return data if self.spectra is None else _of_blocks(data, self.spectra)

    def _calibrations(self, values: Mapping[str, float]) -> dict[str, float]:
        return {
            "calibration": values.get("calibration", 1.0),
            "efficiency": values.get("polarisation_efficiency", 1.0),
        }


def _of_blocks(data: LinearData, blocks: list[str]) -> LinearData:
    """Those of some spectra, without windows that no longer read anything."""
    if unknown := sorted(set(blocks) - set(data.block.tolist())):
        raise ValueError(f"{data.name} has no {', '.join(unknown)}; it has {', '.join(dict.fromkeys(data.block))}")
    kept = data.selected(np.isin(data.block, blocks))
    return LinearData(
        kept.name,
        kept.block,
        kept.low,
        kept.high,
        kept.centre,
        kept.mean,
        kept.covariance,
        {key: matrix for key, matrix in kept.windows.items() if matrix.any()},
        {key: matrix for key, matrix in kept.corrections.items() if matrix.any()},
        kept.offset,
        kept.metadata,
    )


def _scaled_by_theory(model: Any) -> str:
    """The parameter by which the theory scales C_L^φφ, CAMB's or CLASS's, if it is not 1."""
    fixed = model.parameterization.constant_params()
    for name in ("Alens", "lcmb_rescale"):
        if name in model.parameterization.input_params() and fixed.get(name) != 1:
            return name
        for theory in model.theory.values():
            if (getattr(theory, "extra_args", None) or {}).get(name, 1) != 1:
                return name
    return ""
