"""Noise of experiments for a forecast: of the maps, and of the lensing reconstructed from them.

Of a channel with white noise w in T (µK·arcmin in µK·rad), w_P in polarisation, and beam b_ℓ,

    N^TT_ℓ b_ℓ² = w² + N_red (ℓ/1000)^{−α},    N^PP_ℓ b_ℓ² = w_P² [1 + (ℓ/ℓ_knee)^{−α_P}],

the form and the figures of the Simons Observatory's model (arXiv:1808.07445, section 2.2; public noise model, version
3.1). Channels are summed with the weights of inverse variance. There are no foregrounds in it beyond the cut in ℓ of T:
against the published component separation of all of SO's bands N0_L is 9 to 15 % low for L from 10 to 2000, and σ(Σmν)
with DESI 1.5 %; a forecast takes published curves, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.filtering.isotropic import inverse_variance, total_spectra
from lensrec.quadratic.combination import minimum_variance_weights
from lensrec.quadratic.response import normalisation
from lensrec.theory.lensing import gradient_spectra, lensed_spectra
from lensrec.theory.spectra import Spectra

ARCMIN = np.pi / 180 / 60
ESTIMATORS = ("TT", "EE", "TE", "TB", "EB")


class Channel(NamedTuple):
    """One frequency band.

    Attributes
    ----------
    white : float
        Of T, µK·arcmin.
    fwhm : float
        arcmin.
    white_p : float, optional
        Of Q and U, µK·arcmin; √2 times that of T if left out.
    red : float
        N_red, µK² sr.
    slope, knee_p, slope_p : float
        α, ℓ_knee and α_P; a knee of zero is none.
    """

    white: float
    fwhm: float
    white_p: float | None = None
    red: float = 0.0
    slope: float = 3.5
    knee_p: float = 0.0
    slope_p: float = 1.4


@dataclass(frozen=True)
class Experiment:
    """A survey of the CMB, as far as a forecast knows it.

    Attributes
    ----------
    name : str
    fsky : float
        Fraction of the sky with CMB spectra and lensing.
    channels : tuple of Channel
    lmin, lmax_t, lmax_p : int
        Multipoles ℓ_min ≤ ℓ < ℓ_max of T and E (and B, for lensing) that are used; T is cut where foregrounds take
        over, E where the noise of SO is 400 times the signal, and that of CMB-S4 6 times.
    phi_lmin, phi_lmax : int
        Multipoles of φ̂φ̂ that are used.
    iterations : int
        Of the reconstruction, see `reconstruction_noise`; 0 is the quadratic estimator.
    planck : bool
        Whether Planck is added: to the maps, and on the rest of its sky; see `fit.forecast`.
    recon_lmin, recon_lmax : int
        Narrower limits on the multipoles that lensing is reconstructed from; 0: those of the spectra.
    n0_factor : float
        Multiplies N0_L: what hardening against sources, cuts of modes and cross-spectra of splits cost.
    """

    name: str
    fsky: float
    channels: tuple[Channel, ...]
    lmin: int = 30
    lmax_t: int = 3000
    lmax_p: int = 4000
    phi_lmin: int = 30
    phi_lmax: int = 3000
    iterations: int = 0
    planck: bool = True
    recon_lmin: int = 0
    recon_lmax: int = 0
    n0_factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.fsky <= 1:
            raise ValueError(f"f_sky of {self.name} must lie in (0, 1], got {self.fsky}")
        if not (2 <= self.lmin < min(self.lmax_t, self.lmax_p) and 2 <= self.phi_lmin < self.phi_lmax):
            raise ValueError(f"ranges of multipoles of {self.name} must start at 2 or later, and end after they start")

    @property
    def lmax(self) -> int:
        """Highest multipole of T or P."""
        return max(self.lmax_t, self.lmax_p)

    def limited(self, lmax: int) -> "Experiment":
        """The same, cut at a lower multipole of the CMB and of φ."""
        return replace(
            self,
            lmax_t=min(self.lmax_t, lmax),
            lmax_p=min(self.lmax_p, lmax),
            phi_lmax=min(self.phi_lmax, lmax),
        )


def _so(white: tuple[float, float]) -> tuple[Channel, ...]:
    return (Channel(white[0], 2.2, red=2.23e-5, knee_p=700), Channel(white[1], 1.4, red=2.81e-4, knee_p=700))


PLANCK = Experiment(
    "planck",
    0.65,
    # 143 and 217 GHz of Planck 2018 I (arXiv:1807.06205), table 4
    (Channel(33.0, 7.22, white_p=70.2), Channel(46.8, 4.90, white_p=105.0)),
    lmax_t=2500,
    lmax_p=2500,
    phi_lmin=8,
    phi_lmax=400,
    planck=False,
    recon_lmin=100,
    recon_lmax=2048,
)

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        "planck": PLANCK,
        # ACT DR6 (arXiv:2304.05202): 9400 square degrees of lensing from 600 < ℓ < 3000. Ideal estimators would give
        # A_L^φφ to 0.0127 for 40 ≤ L ≤ 763; the factor makes it the published 0.023.
        "act_dr6": Experiment(
            "act_dr6",
            0.23,
            (Channel(11.0, 1.4, red=3e-5, slope=3.0, knee_p=700),),
            lmin=600,
            phi_lmin=40,
            phi_lmax=763,
            recon_lmin=600,
            recon_lmax=3000,
            n0_factor=2.74,
        ),
        "so_baseline": Experiment("so_baseline", 0.4, _so((8.0, 10.0))),
        "so_goal": Experiment("so_goal", 0.4, _so((5.8, 6.3))),
        "cmb_s4": Experiment("cmb_s4", 0.4, (Channel(1.0, 1.4),), iterations=3),
    }
)
"""Surveys by name; "cmb_s4" is like what CMB-S4 was to be (arXiv:1610.02743), without 1/f noise."""


def noise_spectra(channels: Iterable[Channel], lmax: int) -> Spectra:
    """N_ℓ/b_ℓ² of TT, EE, BB of all channels together, µK², (lmax+1,)."""
    ell = np.maximum(np.arange(lmax + 1.0), 2.0)
    weight = {"T": np.zeros(lmax + 1), "P": np.zeros(lmax + 1)}
    for channel in channels:
        white_p = np.sqrt(2) * channel.white if channel.white_p is None else channel.white_p
        beam = np.exp(-ell * (ell + 1) * (channel.fwhm * ARCMIN) ** 2 / (8 * np.log(2)))
        knee = (ell / channel.knee_p) ** -channel.slope_p if channel.knee_p > 0 else 0.0
        weight["T"] += beam / ((channel.white * ARCMIN) ** 2 + channel.red * (ell / 1000) ** -channel.slope)
        weight["P"] += beam / ((white_p * ARCMIN) ** 2 * (1 + knee))
    # a beam that is 1e-150 of its peak leaves nothing to see
    t, p = (1.0 / np.maximum(w, 1e-150) for w in weight.values())
    return {"TT": t, "EE": p, "BB": p.copy()}


def combined_noise(first: Mapping[str, NDArray], second: Mapping[str, NDArray]) -> Spectra:
    """Of two independent maps of one sky, summed with the weights of inverse variance."""
    return {key: 1.0 / (1.0 / first[key] + 1.0 / second[key]) for key in first}


def residual_potential(cl_phi: NDArray, n0: NDArray) -> NDArray[np.float64]:
    """C_L N_L/(C_L + N_L): the power of φ − ρ_L² φ̂, ρ_L² = C_L/(C_L + N_L), with none taken off beyond the end of N."""
    out = np.array(cl_phi, dtype=np.float64)
    n = min(len(out), len(n0))
    used = np.zeros(len(out), dtype=bool)
    used[:n] = (n0[:n] > 0) & (out[:n] > 0)
    noise = np.asarray(n0)[used[:n]]
    out[used] *= noise / (out[used] + noise)
    return out


def reconstruction_noise(
    unlensed: Mapping[str, NDArray],
    cl_phi: NDArray,
    noise: Mapping[str, NDArray],
    *,
    lmin: int,
    lmax_t: int,
    lmax_p: int,
    lmax_phi: int,
    iterations: int = 0,
    nthreads: int = 0,
) -> NDArray[np.float64]:
    """N0_L of φ̂ of the minimum-variance combination of TT, EE, TE, TB, EB, (lmax_phi+1,); zero below L = 2.

    Parameters
    ----------
    unlensed : mapping of "TT", "EE", "TE" to array, µK², from ℓ = 0
        Longer than the multipoles used, see `theory.lensing.lensed_spectra`.
    cl_phi : array
    noise : mapping of "TT", "EE", "BB" to array
        N_ℓ/b_ℓ², µK².
    lmin, lmax_t, lmax_p : int
    iterations : int
        B is delensed with the φ̂ of the last round, C̃_ℓ^BB → that of C_L N_L/(C_L + N_L), and reconstruction repeated:
        the approximation of Smith et al. 2012 (arXiv:1010.0048) to the maximum-likelihood noise. All rounds but the
        last go by EB alone, which is what gains.
    """
    top = max(lmax_t, lmax_p)
    gradient = gradient_spectra(unlensed, cl_phi, lmax=top, nthreads=nthreads)
    lensed = lensed_spectra(unlensed, cl_phi, lmax=top, nthreads=nthreads)
    n0 = np.zeros(lmax_phi + 1)
    for k in range(iterations + 1):
        keys = ESTIMATORS if k == iterations else ("EB",)
        if k > 0:
            left = residual_potential(cl_phi, n0)
            lensed = lensed | {"BB": lensed_spectra(unlensed, left, lmax=top, nthreads=nthreads)["BB"]}
        totals = total_spectra(lensed, noise, top)
        limits = {"T": lmax_t, "E": lmax_p, "B": lmax_p}
        filters = {x: inverse_variance(totals[x * 2], lmin, limits[x]) for x in limits}
        norm = normalisation(keys, gradient, gradient, filters, totals, lmax_phi, nthreads=nthreads)
        n0 = minimum_variance_weights(norm)[1][0]
    n0[:2] = 0.0
    return n0
