"""Maps that lensrec did not make: lensed by lenspyx or gridded by pixell, through the command."""

import os
from pathlib import Path
from typing import NamedTuple

import healpy as hp
import lenspyx
import numpy as np
import pytest
from astropy.io import fits
from pixell import curvedsky, enmap

from lensrec.rundir import open_run, read_response
from lensrec.sky.io import read_alm
from lensrec.sphere.alm import alm_to_cl, resize_alm
from lensrec.stages import gaussian
from lensrec.stages.legs import Legs
from lensrec.theory.spectra import TheorySpectra
from tests.stages.command import Answer, contents, lensrec

NSIDE, LMAX, L_MAX = 256, 600, 300
FWHM, NOISE = 8.0, 2.0
KEYS = ("TT", "EE", "TE", "TB", "EB", "MV")


class Sky(NamedTuple):
    """What a sky was made of: φ, and the lensed T, E, B with beam, all healpy's alm; and where its files are."""

    phi: np.ndarray
    observed: np.ndarray
    folder: Path


@pytest.fixture(scope="module")
def sky(theory: TheorySpectra, tmp_path_factory: pytest.TempPathFactory) -> Sky:
    """Drawn by healpy and lensed by lenspyx, with an apodised mask as a file."""
    folder = tmp_path_factory.mktemp("foreign")
    lmax = 1100
    np.random.seed(11)  # noqa: NPY002  (healpy draws from the global state)
    cls = [theory.unlensed[key][: lmax + 1] for key in ("TT", "EE", "BB", "TE")]
    t, e, _ = hp.synalm([*cls, *np.zeros((2, lmax + 1))], lmax=lmax, new=True)
    phi = hp.synalm(theory.potential["PP"][: lmax + 1], lmax=lmax)
    ell = np.arange(lmax + 1.0)
    deflection = hp.almxfl(phi, np.sqrt(ell * (ell + 1)))
    lensed = lenspyx.alm2lenmap([t, e], [deflection], geometry=("healpix", {"nside": 512}), epsilon=1e-5, nthreads=2)
    # one iteration leaves 1e-3 of an amplitude, far below what is asked here
    alm = hp.map2alm(np.array(lensed), lmax=700, iter=1)
    beam = hp.gauss_beam(np.radians(FWHM / 60), lmax=700)
    x, y, z = hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))
    seen = (np.abs(z) > np.sin(np.radians(15))) & (x + 0.3 * y < 0.97)
    hp.write_map(folder / "mask.fits", seen.astype(np.float32), dtype=np.float32)
    return Sky(phi, np.array([hp.almxfl(row, beam) for row in alm]), folder)


def noisy(sky: Sky, nside: int) -> np.ndarray:
    """T, Q, U in µK at healpy's pixels, with white noise."""
    level = NOISE * np.array([1.0, 2**0.5, 2**0.5]) * np.pi / 10800 / hp.nside2resol(nside)
    noise = np.random.default_rng(12).normal(size=(3, 12 * nside**2)) * level[:, None]
    return hp.alm2map(sky.observed, nside) + noise


@pytest.fixture(scope="module")
def nested(sky: Sky) -> Path:
    """As Planck would: float32, NESTED, in K."""
    file = sky.folder / "iqu.fits"
    maps = hp.reorder(1e-6 * noisy(sky, NSIDE), r2n=True)
    hp.write_map(file, maps, nest=True, dtype=np.float32, column_units="K_CMB", coord="G")
    return file


def reconstruct(file: Path, out: Path, *more: object) -> Answer:
    words = ["--map", file, "--fwhm", f"{FWHM}arcmin", "--noise", NOISE, "--lmax", LMAX, "--lmin", 50, "--out", out]
    settings = [f"reconstruction.L_max={L_MAX}", "cosmology.lens_potential_accuracy=1", "reconstruction.n1=none", *more]
    flags = [word for word in settings if str(word).startswith("--") or "=" not in str(word)]
    keys = [word for setting in settings if setting not in flags for word in ("--set", setting)]
    return lensrec("reconstruct", *words, *flags, *keys)


def transfer(run: Path, key: str, phi: np.ndarray, low: int, high: int) -> tuple[float, float]:
    """φ̂×φ / (⟨w²⟩ φ×φ) over low ≤ L < high with weights (2L+1) L⁴, and its Gaussian standard deviation."""
    _, n0 = read_response(open_run(run))
    estimate = read_alm(run / "recon" / "data" / f"phi_{key}_alm.fits")[0]
    mask = hp.read_map(run / "mask.fits", dtype=np.float64)
    w2, w4 = np.mean(mask**2), np.mean(mask**4)
    ell = np.arange(L_MAX + 1)
    phi = resize_alm(phi, L_MAX)
    weight = np.where((ell >= low) & (ell < high), (2 * ell + 1.0) * ell**4.0, 0.0)
    auto = alm_to_cl(phi)
    norm = np.sum(weight * auto)
    variance = auto * (auto + n0[key]) / (2 * ell + 1.0) * w4 / w2**2
    return float(np.sum(weight * alm_to_cl(estimate, phi)) / w2 / norm), float(
        np.sqrt(np.sum(weight**2 * variance)) / norm
    )


@pytest.fixture(scope="module")
def from_lenspyx(sky: Sky, nested: Path) -> Path:
    run = sky.folder / "run"
    answer = reconstruct(nested, run, "--mask", sky.folder / "mask.fits", "--apodise", "6deg")
    assert answer.status == 0, answer.err
    assert "no mean field is taken off" in answer.err
    return run


@pytest.mark.parametrize("key", KEYS)
def test_a_map_that_lenspyx_lensed_gives_its_phi(from_lenspyx: Path, sky: Sky, key: str) -> None:
    # From L = 40, above the mean field of the mask. 6 numbers within 4 σ: false alarm 4e-4.
    value, sigma = transfer(from_lenspyx, key, sky.phi, 40, 200)
    assert abs(value - 1) < 4 * sigma
    # how sharp a test it is: EB sees 1 %, TT, of so few multipoles, 6 %
    assert sigma < {"EB": 0.012, "MV": 0.012, "TB": 0.02}.get(key, 0.08)


def test_kappa_of_a_map_looks_like_that_which_lensed_it(from_lenspyx: Path, sky: Sky) -> None:
    data = from_lenspyx / "recon" / "data"
    wiener = hp.read_map(data / "kappa_MV_wiener.fits")
    full = hp.read_map(data / "kappa_MV.fits")
    assert hp.get_nside(wiener) == hp.get_nside(full) == NSIDE
    mask = hp.read_map(from_lenspyx / "mask.fits")
    assert 0.5 < np.mean(mask) < 0.72
    inside = mask > 0.99
    ell = np.arange(L_MAX + 1.0)
    _, n0 = read_response_of(from_lenspyx)
    cl = alm_to_cl(resize_alm(sky.phi, L_MAX))
    filtered = np.divide(cl, cl + n0["MV"], out=np.zeros_like(cl), where=n0["MV"] > 0) * ell * (ell + 1) / 2
    kappa = hp.alm2map(hp.almxfl(resize_alm(sky.phi, L_MAX), filtered), NSIDE)
    # Where φ̂ = φ + noise, two maps under one filter correlate by √(ΣF²C / ΣF²(C+N0)), here 0.72; some 100 degrees
    # of freedom of the lowest L scatter it by 0.03.
    weight = (2 * ell + 1) * filtered**2
    expected = np.sqrt(np.sum(weight * cl) / np.sum(weight * (cl + n0["MV"])))
    found = np.corrcoef(wiener[inside], kappa[inside])[0, 1]
    assert abs(found - expected) < 0.05
    assert expected > 0.6


def test_the_wrong_sign_of_u_shows(nested: Path, sky: Sky) -> None:
    """The same file taken for IAU: what the tests above would see if U had the other sign."""
    run = sky.folder / "wrong"
    mask = ("--mask", sky.folder / "mask.fits", "--apodise", "6deg")
    assert reconstruct(nested, run, *mask, "--polconv", "IAU", "--estimators", "EB").status == 0
    value, sigma = transfer(run, "EB", sky.phi, 40, 200)
    assert abs(value - 1) > 20 * sigma


def test_temperature_alone_gives_tt(sky: Sky, from_lenspyx: Path) -> None:
    file, run = sky.folder / "t.fits", sky.folder / "t"
    hp.write_map(file, noisy(sky, NSIDE)[0], dtype=np.float64, column_units="uK_CMB")
    assert reconstruct(file, run, "--mask", sky.folder / "mask.fits", "--apodise", "6deg").status == 0
    assert sorted(p.name for p in (run / "recon" / "data").glob("*.fits")) == [
        "kappa_TT.fits",
        "kappa_TT_wiener.fits",
        "phi_TT_alm.fits",
    ]
    alone, among = (read_alm(r / "recon" / "data" / "phi_TT_alm.fits")[0] for r in (run, from_lenspyx))
    # float32 and K in the other file: 1e-7 of a map, of which φ̂ is the square
    assert np.abs(alone - among).max() < 1e-5 * np.abs(among).max()


def test_a_car_map_as_act_writes_it_gives_the_same_phi(sky: Sky) -> None:
    """A part of the sky at 10′, IAU with a STOKES axis, against the same sky under the same mask in HEALPix."""
    shape, wcs = enmap.fullsky_geometry(res=np.radians(10 / 60))
    level = NOISE * np.pi / 10800 * np.array([1.0, 2**0.5, 2**0.5])
    np.random.seed(13)  # noqa: NPY002  (healpy draws from the global state)
    observed = sky.observed + np.array([hp.synalm(np.full(701, n**2), lmax=700) for n in level])
    car = curvedsky.alm2map(observed, enmap.zeros((3, *shape), wcs))
    part = enmap.submap(car, np.radians([[-62.0, 150.0], [22.0, -120.0]]))
    part[2] *= -1  # to IAU
    file = sky.folder / "car.fits"
    enmap.write_map(str(file), part)
    with fits.open(file, mode="update") as hdus:
        header = hdus[0].header
        header["CTYPE3"], header["CRVAL3"], header["CRPIX3"], header["CDELT3"] = "STOKES", 1.0, 1.0, 1.0
        header["BUNIT"], header["POLCCONV"] = "uK", "IAU"
    run = sky.folder / "car"
    answer = reconstruct(file, run, "--estimators", "TT,TE,EB", "--apodise", "5deg")
    assert answer.status == 0, answer.err
    mask = hp.read_map(run / "mask.fits", dtype=np.float64)
    # 84° of declination and 270° of right ascension, less borders and apodisation: of 0.47 of the sky
    assert 0.35 < np.mean(mask) < 0.47
    assert hp.get_nside(mask) == 512  # the coarsest pixels, 6.9′, that are no larger than 10′
    same = sky.folder / "same.fits"
    hp.write_map(same, hp.alm2map(observed, 512), dtype=np.float64, column_units="uK_CMB")
    twin = sky.folder / "twin"
    answer = reconstruct(same, twin, "--estimators", "TT,TE,EB", "--mask", run / "mask.fits", "--apodise", "0")
    assert answer.status == 0, answer.err
    inside = mask > 0.5
    # Q and U with both signs wrong leave EB as it is: TE tells
    for key in ("TT", "TE", "EB"):
        # The maps may differ by 3e-4 of their rms (lensrec.sky.car_io), so κ by some 1e-3 of its own: 1 − r < 1e-5.
        # With nothing between 600 and the 1080 that 10′ can carry they do by far less.
        one, two = (kappa(r, key)[inside] for r in (run, twin))
        assert np.corrcoef(one, two)[0, 1] > 1 - 1e-5, key
        assert abs(np.std(one) / np.std(two) - 1) < 5e-3
    value, sigma = transfer(run, "EB", sky.phi, 40, 200)
    assert abs(value - 1) < 4 * sigma  # false alarm 6e-5


def kappa(run: Path, key: str) -> np.ndarray:
    """The Wiener-filtered convergence of one estimator, on the pixels of its run."""
    _, n0 = read_response_of(run)
    ell = np.arange(L_MAX + 1.0)
    phi = read_alm(run / "recon" / "data" / f"phi_{key}_alm.fits")[0]
    cl = 1e-7 / np.maximum(ell, 1.0) ** 4  # about C_L^φφ
    return hp.alm2map(hp.almxfl(phi, cl / (cl + n0[key]) * ell * (ell + 1) / 2), 512)


def read_response_of(run: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return read_response(open_run(run))


def test_a_mask_of_another_nside_will_do(sky: Sky, nested: Path) -> None:
    coarse = sky.folder / "coarse.fits"
    hp.write_map(coarse, hp.ud_grade(hp.read_map(sky.folder / "mask.fits"), 64), dtype=np.float32)
    run = sky.folder / "coarse_run"
    assert reconstruct(nested, run, "--mask", coarse, "--apodise", "2deg", "--estimators", "TT").status == 0
    assert hp.get_nside(hp.read_map(run / "mask.fits")) == NSIDE


def test_what_a_killed_reconstruction_of_a_map_left_is_used(
    sky: Sky, nested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--estimators", "TT", "--mask", sky.folder / "mask.fits", "--apodise", "6deg", "--mean-field-sims", 4)
    run, other = sky.folder / "killed", sky.folder / "undisturbed"
    real, drawn = gaussian.gaussian_legs, []

    def mortal(skies: gaussian.GaussianSkies, number: int) -> Legs:
        if number == 2 and not drawn:
            drawn.append(number)
            raise KeyboardInterrupt
        if drawn:
            drawn.append(number)
        return real(skies, number)

    monkeypatch.setattr(gaussian, "gaussian_legs", mortal)
    assert reconstruct(nested, run, *words).status != 0
    assert not (run / "recon" / "data").exists()
    assert reconstruct(nested, run, *words).status == 0
    assert drawn == [2, 2, 3]
    monkeypatch.undo()
    assert reconstruct(nested, other, *words).status == 0
    assert contents(run, "recon", "mask.fits") == contents(other, "recon", "mask.fits")


def test_wmap_is_read_and_inspected() -> None:
    folder = os.environ.get("LENSREC_DATA") or Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    wmap = Path(folder) / "wmap7_nside32"
    if not wmap.is_dir():
        pytest.skip("no folder of real maps: set LENSREC_DATA")
    for band in "VW":
        file = wmap / f"wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits"
        answer = lensrec("inspect", file, "--unit", "mK")
        assert answer.status == 0
        assert "nside: 32\n" in answer.out
        assert "problems: none" in answer.out
