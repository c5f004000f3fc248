"""Theory spectra of a cosmology from CAMB."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lensrec.theory.lensing import gradient_spectra
from lensrec.theory.spectra import CMB_KEYS, POTENTIAL_KEYS, Spectra, TheorySpectra, extended

FIDUCIAL: Mapping[str, float] = MappingProxyType(
    {
        "H0": 67.36,
        "ombh2": 0.02237,
        "omch2": 0.1200,
        "mnu": 0.06,
        "omk": 0.0,
        "tau": 0.0544,
        "As": 2.100e-9,
        "ns": 0.9649,
    }
)
"""Base ΛCDM of Planck 2018 VI (arXiv:1807.06209), table 2, TT,TE,EE+lowE+lensing; H0 in km/s/Mpc, mnu in eV."""

OPTIONAL = ("nnu", "YHe")
"""Further keys that are taken; left out, they are CAMB's own: 3.044, and big-bang nucleosynthesis."""

MARGIN = 1000
"""Multipoles computed beyond lmax, for CAMB's sampling in ℓ and lensing to be good up to there."""

_POSITIVE = ("H0", "ombh2", "omch2", "As", "nnu", "YHe")
_LOWEST = {"omk": -1.0, "ns": -np.inf}


def camb_spectra(lmax: int, *, cosmology: Mapping[str, float], lens_potential_accuracy: float = 4) -> TheorySpectra:
    """Scalar CMB and lensing spectra of a cosmology.

    Parameters
    ----------
    lmax : int ≥ 2
    cosmology : mapping
        Any of H0 (km/s/Mpc), ombh2, omch2, mnu (eV, one massive eigenstate), omk, tau, As (at 0.05/Mpc), ns, nnu,
        YHe. What is left out is that of FIDUCIAL, or CAMB's own for nnu and YHe.
    lens_potential_accuracy : float
        CAMB's setting of the same name; 4 gives C_L^φφ to 0.3 % at L = 2000 and 1 % at 4000, for the non-linear
        model that CAMB has by default. 1 is quicker but 5 % low at L = 2000.

    Returns
    -------
    TheorySpectra
        From ℓ = 0 to lmax; monopole and dipole are zero. Unlensed BB is zero: there are no tensors.

    Raises
    ------
    ValueError
        For an unknown parameter, a value out of range, or where CAMB finds no solution.

    Notes
    -----
    Lensed spectra are CAMB's, by correlation functions on the full range of angles. Its lensed-gradient spectra are
    flat-sky, with about 2 % too little lensing in them; `theory.lensing.gradient_spectra` is used instead, its input
    carried on beyond lmax. φ spectra are those of CAMB's lens-potential output, which its Alens would scale; Alens
    is never set here.
    """
    if lmax < 2:
        raise ValueError(f"lmax must be at least 2, got {lmax}")
    results = _run(_checked(cosmology), lmax + MARGIN, lens_potential_accuracy)
    raw = {"lmax": lmax + MARGIN, "CMB_unit": "muK", "raw_cl": True}
    unlensed = _columns(results.get_unlensed_scalar_cls(**raw), CMB_KEYS)
    lensed = _columns(results.get_lensed_scalar_cls(**raw), CMB_KEYS)
    potential = _columns(results.get_lens_potential_cls(**raw), POTENTIAL_KEYS)
    gradient = _gradient(unlensed, potential["PP"], lmax)
    groups = {"unlensed": unlensed, "lensed": lensed, "gradient": gradient, "potential": potential}
    return TheorySpectra(**{name: {key: cl[: lmax + 1] for key, cl in group.items()} for name, group in groups.items()})


def _checked(cosmology: Mapping[str, float]) -> dict[str, float]:
    known = (*FIDUCIAL, *OPTIONAL)
    unknown = sorted(set(cosmology) - set(known))
    if unknown:
        raise ValueError(f"unknown cosmological parameter {', '.join(unknown)}; known are {', '.join(known)}")
    values = {key: float(value) for key, value in {**FIDUCIAL, **cosmology}.items()}
    for key, value in values.items():
        if not np.isfinite(value) or value < _LOWEST.get(key, 0.0) or (value == 0 and key in _POSITIVE):
            raise ValueError(f"cosmological parameter {key} = {value} is out of range")
    if values["tau"] > (most := _highest_tau(values)):
        raise ValueError(
            f"cosmological parameter tau = {values['tau']:g} is more than the electrons of ombh2 = {values['ombh2']:g} "
            f"have in front of z = 50; at most {most:.2g}"
        )
    return values


def _highest_tau(values: Mapping[str, float]) -> float:
    """The optical depth of a universe that is ionised since z = 50, less 5 %: beyond it CAMB ends the whole process."""
    matter = values["ombh2"] + values["omch2"] + values["mnu"] / 94.0
    return 0.76 * (values["ombh2"] / 0.02237) * (0.143 / matter) ** 0.5


def _run(cosmology: Mapping[str, float], lmax: int, lens_potential_accuracy: float):  # type: ignore[no-untyped-def]
    import camb

    try:
        params = camb.set_params(**cosmology, lmax=lmax, lens_potential_accuracy=lens_potential_accuracy)
        params.Accuracy.AccurateBB = True
        return camb.get_results(params)
    except (camb.CAMBError, ValueError, ArithmeticError) as error:
        values = ", ".join(f"{key}={value:g}" for key, value in cosmology.items())
        reason = " ".join(str(error).split())
        raise ValueError(f"CAMB finds no spectra for {values}: {reason}") from error


def _columns(table: NDArray, keys: tuple[str, ...]) -> Spectra:
    return {key: np.ascontiguousarray(table[:, column]) for column, key in enumerate(keys)}


def _gradient(unlensed: Spectra, cl_phi: NDArray, lmax: int) -> Spectra:
    """Gradient spectra from input carried on so far that its end is not felt at lmax (1e-5 in TT and EE)."""
    cmb_end, phi_end = lmax + 1500, lmax + 4000
    longer = {key: extended(unlensed[key], cmb_end, law="exponential") for key in ("TT", "EE")}
    longer["TE"] = np.concatenate([unlensed["TE"], np.zeros(cmb_end + 1 - len(unlensed["TE"]))])
    gradient = gradient_spectra(longer, extended(cl_phi, phi_end, law="power"), lmax=lmax)
    for cl in gradient.values():
        cl[:2] = 0.0
    return gradient
