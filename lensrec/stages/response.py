"""The response of φ̂ to φ as simulations have it, mask, pixels and filter included."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.smoothing import smooth_ratio
from lensrec.engine import Progress, run_tasks
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.recipe import Recipe
from lensrec.sky.instrument import observed_alm
from lensrec.spectra.bandpowers import Bands, bin_spectrum
from lensrec.sphere.alm import alm_to_cl, lmax_of, resize_alm, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import analysis, synthesis, synthesis_tp
from lensrec.stages.estimate import estimate_phi
from lensrec.stages.filtering import Filtering
from lensrec.stages.masking import SMALLEST_WEIGHT, mask_moment
from lensrec.stages.placing import Quadratic
from lensrec.stages.setting import Setting, optics_of
from lensrec.stages.simulate import draw_sky, lensed_alm
from lensrec.theory.spectra import TheorySpectra

# Numbered from here, so that they share no random number with the skies of a run or with Gaussian ones.
FIRST_SIM = 2_000_000


@dataclass(frozen=True, eq=False)
class SimulatedResponse:
    """Spectra of simulations, in which φ̂ is read against the φ that was put in.

    Attributes
    ----------
    cross : dict of key to array (count, L_max+1)
        φ̂ × φ_in of each, over ⟨w²⟩.
    power : array (count, L_max+1)
        φ_in × φ_in, of that part of the sky which φ̂ is of; see `seen_power`.
    """

    cross: dict[str, NDArray[np.float64]]
    power: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of pairs of skies."""
        return len(self.power)

    def in_bands(self, key: str, bands: Bands) -> NDArray[np.float64]:
        """⟨φ̂ × φ_in⟩/⟨φ_in × φ_in⟩ of each band, (nbins,), smooth in L; 1 for an estimator that was not simulated."""
        if key not in self.cross:
            return np.ones(len(bands.centres))
        power = self.power.mean(0)
        ratio, _ = smooth_ratio(self.cross[key].mean(0), power, 1.0 / (2.0 * np.arange(len(power)) + 1.0))
        return bin_spectrum(ratio * power, bands) / bin_spectrum(power, bands)

    def sigma(self, key: str, bands: Bands) -> NDArray[np.float64]:
        """Standard error of `in_bands`, by leaving out one pair after the other; infinite for one pair."""
        if self.count < 2:
            return np.full(len(bands.centres), np.inf)
        return np.sqrt((self.count - 1.0) * self.leaving_one_out(key, bands).var(0))

    def leaving_one_out(self, key: str, bands: Bands) -> NDArray[np.float64]:
        """`in_bands` without each pair in turn, (count, nbins); (count − 1) times its covariance is that of all."""
        return np.stack([self._without(n).in_bands(key, bands) for n in range(self.count)])

    def _without(self, number: int) -> "SimulatedResponse":
        cross = {key: np.delete(rows, number, axis=0) for key, rows in self.cross.items()}
        return SimulatedResponse(cross, np.delete(self.power, number, axis=0))


def simulated_response(
    recipe: Recipe,
    theory: TheorySpectra,
    setting: Setting,
    nside: int,
    mask: NDArray | None,
    filtering: Filtering,
    *,
    quadratic: Quadratic = quadratic_estimates,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> SimulatedResponse:
    """Response from `reconstruction.response_sims` pairs of skies, the same CMB lensed by φ and by −φ.

    Half the difference of the two estimates has lost what does not change sign with φ: mean field, N0, and most of the
    noise; no instrumental noise is added, since an estimate is bilinear and its response does not know of it. φ has
    the fiducial spectrum.
    """

    def one(number: int) -> dict[str, NDArray]:
        return response_sky(
            recipe, theory, setting, nside, mask, filtering, number, quadratic=quadratic, nthreads=nthreads
        )

    numbers = range(recipe.reconstruction.response_sims)
    return gathered(run_tasks(one, numbers, progress=progress, description="response"), setting)


def response_sky(
    recipe: Recipe,
    theory: TheorySpectra,
    setting: Setting,
    nside: int,
    mask: NDArray | None,
    filtering: Filtering,
    number: int,
    *,
    quadratic: Quadratic = quadratic_estimates,
    nthreads: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Spectra of one pair of skies: those of φ̂ × φ_in by estimator, and "power" of φ_in; (L_max+1,) each."""
    plain = recipe.model_copy(
        update={
            "sky": recipe.sky.model_copy(
                update={"a_phi": 1.0, "a_smooth": 1.0, "lensed": True, "polarisation": setting.polarised}
            )
        }
    )
    lmax_phi = recipe.reconstruction.L_max
    optics = optics_of(recipe.instrument, nside, recipe.sky.lmax_data)
    unlensed, phi = draw_sky(plain, theory, FIRST_SIM + number, nthreads=nthreads)
    estimates = []
    for sign in (1.0, -1.0):
        alm = lensed_alm(plain, unlensed, sign * phi, nthreads=nthreads)
        observed = observed_alm(alm, optics.temperature, optics.polarisation)
        maps = synthesis_tp(observed, healpix_grid(nside), nthreads=nthreads)
        if mask is not None:
            maps *= mask
        legs = filtering(maps)
        estimates.append(estimate_phi(legs, setting, lmax_phi, quadratic=quadratic, nthreads=nthreads))
        del alm, observed, maps, legs  # lensing the next sky takes the most
    fsky = mask_moment(mask, 2, recipe.reconstruction.filter)
    power = seen_power(phi, recipe, nside, mask, lmax_phi, nthreads=nthreads) / fsky
    phi, (up, down) = resize_alm(phi, lmax_phi), estimates
    out = {key: alm_to_cl(0.5 * (up[key][0] - down[key][0]), phi) / fsky for key in setting.keys}
    return out | {"power": power}


def seen_power(
    phi: NDArray, recipe: Recipe, nside: int, mask: NDArray | None, lmax_phi: int, *, nthreads: int = 0
) -> NDArray[np.float64]:
    """C_L^φφ of w²κ with κ, (lmax_phi+1,): that which φ̂, an estimate of w²κ, would have with φ_in if it had no noise.

    Its mean over skies is ⟨w²⟩ C_L^φφ, as that of φ̂ × φ_in is R ⟨w²⟩ C_L^φφ; and where φ happens to be strong in what
    is seen of the sky both are larger, so that their ratio scatters far less than that of φ̂ × φ_in to all of φ_in.
    """
    if mask is None:
        return alm_to_cl(resize_alm(phi, lmax_phi))
    weights = (mask > SMALLEST_WEIGHT) if recipe.reconstruction.filter == "optimal" else mask**2
    top = min(lmax_of(len(phi)), 3 * nside - 1)
    ell = np.arange(top + 1.0)
    to_kappa = ell * (ell + 1.0) / 2.0
    kappa = scale_alm(resize_alm(phi, top), to_kappa).astype(np.complex128)
    grid = healpix_grid(nside)
    seen = analysis(weights * synthesis(kappa, grid, nthreads=nthreads), grid, min(top, lmax_phi), nthreads=nthreads)
    cross = alm_to_cl(seen, resize_alm(kappa, min(top, lmax_phi)))
    # Beyond what pixels resolve, that of all of φ_in.
    out = float(np.mean(weights)) * alm_to_cl(resize_alm(phi, lmax_phi))
    out[1 : len(cross)] = cross[1:] / to_kappa[1 : len(cross)] ** 2
    return out


def gathered(each: list[Mapping[str, NDArray]], setting: Setting) -> SimulatedResponse:
    """The response from the spectra of its pairs of skies."""
    return SimulatedResponse(
        {key: np.stack([one[key] for one in each]) for key in setting.keys}, np.stack([one["power"] for one in each])
    )
