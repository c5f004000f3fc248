"""What is in the spectrum of φ̂ of the real sky beside lensing: cuts, hardening, skies with the map's uneven beam."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from lensrec.bias.mean_field import mean_field
from lensrec.fit.amplitude import Amplitude, fit_amplitude
from lensrec.recipe import Estimator, Recipe
from lensrec.sky.random import unit_alm
from lensrec.sphere.alm import alm_to_cl, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import analysis
from lensrec.stages.gaussian import GaussianResults, GaussianSkies, gaussian_estimate
from lensrec.stages.legs import Legs, leg_spectra, mean_spectra
from lensrec.stages.phi_bandpowers import phi_bandpowers
from lensrec.stages.reconstruct import Reconstruction, reconstruct
from tests.validate.cube_faces import through_faces
from tests.validate.store import kept

FACES, VARIANT_SIMS = 24, 16
LOW, HIGH = 40, 300


@dataclass(frozen=True)
class Finding:
    """Band powers of one way to reconstruct the sky, and A_L^φφ for 40 ≤ L < 300."""

    name: str
    table: dict[str, np.ndarray]
    amplitudes: dict[str, Amplitude]
    curl_pte: float


def of_table(name: str, table: dict[str, np.ndarray]) -> Finding:
    """What band powers amount to."""
    used = (table["L_low"] >= LOW) & (table["L_high"] < HIGH)
    fits = {
        key: fit_amplitude(table[f"auto_{key}"][used], table["fiducial"][used], table[f"sigma_{key}"][used] ** 2)
        for key in ("TT", "TTH")
    }
    curl = np.sum((table["curl_TT"][used] / table["curl_sigma_TT"][used]) ** 2)
    return Finding(name, table, fits, float(chi2.sf(curl, used.sum())))


def finding(name: str, rec: Reconstruction) -> Finding:
    """What a reconstruction amounts to."""
    return of_table(name, phi_bandpowers(rec))


def with_the_beam_of_faces(maps: np.ndarray, recipe: Recipe, mask: np.ndarray, store: Path) -> Finding:
    """Mean field and N0 from Gaussian skies that went through the pictures the map was made of."""

    def drawn(skies: GaussianSkies) -> GaussianResults:
        lmax = len(skies.totals["TT"]) - 1
        observed = skies.totals["TT"] * skies.optics.temperature**2
        transfer = kept(store, transfer_of(observed, skies.nside, lmax), 0)["transfer"]

        def face_legs(number: int) -> dict[str, np.ndarray]:
            alm = unit_alm(lmax, seed=9026, sim=number, component="T")
            sky = through_faces(scale_alm(alm, np.sqrt(observed / transfer)), skies.nside)
            return {"T": skies.filtering((sky * skies.mask)[None]).separate["T"].astype(np.complex64)}

        def face_sky(_: int) -> dict[str, np.ndarray]:
            alm = unit_alm(lmax, seed=9026, sim=0, component="T")
            return {"map": through_faces(scale_alm(alm, np.sqrt(observed / transfer)), skies.nside).astype(np.float32)}

        kept(store, face_sky, 0)
        legs = [Legs(kept(store, face_legs, number), {}) for number in range(FACES)]
        estimates = [gaussian_estimate(skies, one) for one in legs]
        fields = {key: mean_field(one[key] for one in estimates) for key in skies.setting.keys}
        spectra = mean_spectra([leg_spectra(one, skies.setting, skies.fsky) for one in legs])
        return GaussianResults(fields, spectra, legs.__getitem__, FACES)

    changed = _changed(recipe, mean_field_sims=FACES, rdn0="analytic", estimators=(Estimator.TT, Estimator.TTH))
    rec = reconstruct(maps, changed, mask=mask, masked=False, gaussian=drawn)
    return finding("skies with the beam of the faces", rec)


def transfer_of(observed: np.ndarray, nside: int, lmax: int) -> Callable[[int], dict[str, np.ndarray]]:
    """A function that measures the mean transfer of power through the pictures, (lmax+1,), smooth in ℓ."""

    def face_transfer(_: int) -> dict[str, np.ndarray]:
        alm = scale_alm(unit_alm(lmax, seed=9026, sim=10**6, component="T"), np.sqrt(observed))
        out = analysis(through_faces(alm, nside), healpix_grid(nside), lmax, iterations=0)
        modes = 2.0 * np.arange(lmax + 1) + 1.0
        kernel = np.exp(-0.5 * (np.arange(-90, 91) / 30.0) ** 2)
        num, den = (np.convolve(modes * alm_to_cl(a), kernel, mode="same") for a in (out, alm))
        return {"transfer": np.divide(num, den, out=np.ones(lmax + 1), where=den > 0)}

    return face_transfer


def variants(maps: np.ndarray, recipe: Recipe, mask: np.ndarray, store: Path) -> list[Finding]:
    """The same with other cuts in ℓ and in the mask."""
    import healpy

    latitude = np.abs(90.0 - np.degrees(healpy.pix2ang(healpy.npix2nside(len(mask)), np.arange(len(mask)))[0]))
    narrow = mask * np.clip((latitude - 35.0) / 5.0, 0.0, 1.0)
    cases: list[tuple[str, dict[str, object], np.ndarray]] = [
        ("ℓ ≤ 1000", {"lmax_t": 1000}, mask),
        ("ℓ ≥ 400", {"lmin_t": 400}, mask),
        ("latitudes above 35°", {}, narrow),
    ]

    def variant(number: int) -> dict[str, np.ndarray]:
        _, changes, weights = cases[number]
        both = (Estimator.TT, Estimator.TTH)
        changed = _changed(recipe, mean_field_sims=VARIANT_SIMS, rdn0="analytic", estimators=both, **changes)
        return phi_bandpowers(reconstruct(maps, changed, mask=weights, masked=False))

    return [of_table(name, kept(store, variant, number)) for number, (name, *_) in enumerate(cases)]


def _changed(recipe: Recipe, **changes: object) -> Recipe:
    settings = {**changes, "mc_response": "none"}
    return recipe.model_copy(update={"reconstruction": recipe.reconstruction.model_copy(update=settings)})
