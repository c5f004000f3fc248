"""The preconditioner: what it solves exactly, how fast it is, and its maps of holes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.filtering import multigrid
from lensrec.filtering.conjugate_gradient import conjugate_gradient
from lensrec.filtering.noise_weighting import real_dot
from lensrec.filtering.preconditioner import System, pack, unpack
from lensrec.filtering.wiener import wiener_filter
from lensrec.sphere.alm import alm_ell, alm_index, alm_m
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from tests.filtering.test_wiener import cut_sky
from tests.reference.remap import pixel_angles


def cut_system(nside: int, lmax: int, fields: str, noise: float = 1.0) -> System:
    """The matrix of a cut sky whose N⁻¹ is multiplied by `noise`."""
    _, grid, inverse_noise, signal, transfer, _ = cut_sky(healpix_grid(nside), lmax, fields).arguments()
    scaled = noise * inverse_noise
    return wiener_filter(
        grid, scaled, signal, transfer, lmax, fields=fields, preconditioner="diagonal", nthreads=1
    ).system


def unknowns(system: System, seed: int) -> NDArray[np.complex128]:
    """Coefficients of unit variance."""
    nfields = len(system.root)
    rng = np.random.default_rng(seed)
    return unpack(rng.normal(size=nfields * (system.lmax + 1) ** 2), nfields, system.lmax)


@pytest.mark.parametrize("fields", ["T", "TP"])
def test_the_low_part_is_a_part_of_the_whole(fields: str) -> None:
    system = cut_system(8, 14, fields)
    x = unknowns(system, 1)
    inside = alm_index(14, alm_ell(5), alm_m(5))
    whole = system(x)[:, inside]
    # 1e-13: rounding of sums over 768 pixels
    assert np.abs(system.low_part(x, 5) - whole).max() < 1e-13 * np.abs(whole).max()


@pytest.mark.parametrize("fields", ["T", "P"])
def test_low_multipoles_stay_solved(fields: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After P r, of a residual without low multipoles, A P r has none; a first step along K r leaves none."""
    monkeypatch.setattr(multigrid, "SMALL", 0)
    system = cut_system(16, 24, fields)
    made = multigrid.multigrid(system)
    low = 12
    inside = alm_index(24, alm_ell(low), alm_m(low))
    residual = unknowns(system, 2)
    left = residual - system(made.first(residual))
    # 1e-9: rounding times the condition number, 1e4 to 1e5, of what was solved
    assert np.abs(left[:, inside]).max() < 1e-9 * np.abs(left).max()
    image = system(made.apply(left))
    assert np.abs(image[:, inside]).max() < 1e-9 * np.abs(image).max()


def test_temperature_far_above_the_noise_converges() -> None:
    """To 1e-4 of a known solution, with S/N 1e2 at lmax, as the CMB of 30 µK·arcmin at ℓ = 1000."""
    system = cut_system(32, 62, "T", noise=40.0)
    truth = unknowns(system, 3)
    truth[:, alm_ell(62) < 2] = 0.0
    made = multigrid.multigrid(system)
    goal = 1e-4 * np.sqrt(pack(truth).size)
    found = conjugate_gradient(
        system, system(truth), made.apply, real_dot, first=made.first, tolerance=goal, max_iterations=40
    )
    wrong = found.x - truth
    assert found.converged
    # the estimate of the error is good to 1.5, see test_conjugate_gradient
    assert real_dot(wrong, system(wrong)) ** 0.5 < 1.5 * goal
    # 24; 45 without overlap of octaves and dense multipoles, over 900 with the diagonal
    assert found.iterations <= 26


def test_what_lies_in_a_wide_cut_has_no_data() -> None:
    """The rings of a cut are not on the grid of the data, and the next one that is may be far away."""
    whole = healpix_grid(32)
    theta, _ = pixel_angles(whole)
    system = cut_system(32, 40, "T")
    weighting = system.weighting
    assert len(weighting.grid.theta) < len(whole.theta)
    other = gauss_legendre_grid(120)
    density = multigrid.nearest(multigrid.native_density(weighting, 0), weighting.grid, other)
    rings = np.repeat(other.theta, other.nphi.astype(np.int64))
    seen = np.abs(np.cos(theta)) > np.sin(0.3)
    # a ring may be taken from the next, half a pixel away
    pixel = np.radians(2.0)
    edge = float(np.abs(np.pi / 2 - theta[seen]).min())
    assert not density[np.abs(np.pi / 2 - rings) < edge - pixel].any()
    assert (density > 0.0).mean() > 0.5


def test_a_taper_is_one_in_a_hole_and_zero_outside() -> None:
    system = cut_system(32, 60, "T")
    grid = gauss_legendre_grid(180)
    taper = multigrid.hole_taper(system.weighting, 0, 1.0, 0.02, grid)
    latitude = np.abs(np.pi / 2 - np.repeat(grid.theta, grid.nphi.astype(np.int64)))
    # 0.3 is the cut's edge; 0.1 = 5σ from it all but the ringing of the grid's multipoles has gone
    assert taper[latitude < 0.2].min() > 0.9
    south = np.repeat(grid.theta, grid.nphi.astype(np.int64)) > np.pi / 2 + 0.4
    assert taper[south].max() < 0.02
