"""The remap and its adjoint are transposes, on random, asymmetric input and a random φ."""

import numpy as np
import pytest

from lensrec.sphere.adjoint import remap_adjoint
from lensrec.sphere.alm import alm_size, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.remap import deflected_positions, deflection, remap

LMAX = 60


def random_alm(rng: np.random.Generator, spin: int) -> np.ndarray:
    rows = 1 if spin == 0 else 2
    alm = rng.normal(size=(rows, alm_size(LMAX))) + 1j * rng.normal(size=(rows, alm_size(LMAX)))
    alm[:, : LMAX + 1] = alm[:, : LMAX + 1].real
    alm = scale_alm(alm, (np.arange(LMAX + 1) >= spin).astype(float))
    return alm[0] if spin == 0 else alm


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Σ over all m of a real field's coefficients."""
    a, b = np.atleast_2d(a).astype(complex), np.atleast_2d(b).astype(complex)
    product = (a * b.conj()).real
    return float(2.0 * product.sum() - product[:, : LMAX + 1].sum())


@pytest.mark.parametrize("spin", [0, 1, 2, 3])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-5, 1e-7, 1e-9, 1e-12])
@pytest.mark.parametrize("single", [False, True])
def test_transposes(spin: int, epsilon: float, single: bool) -> None:
    """⟨L a, m⟩ = ⟨a, L†m⟩ relative to |L a||m|: 1e-12 in double, 1e-5 in single precision, whatever ε is.

    Sums of 12·32² products lose about 1e-14 and 1e-6; a γ of the wrong sign, or left out, costs 1e-2.
    """
    rng = np.random.default_rng(spin)
    grid = healpix_grid(32)
    phi = scale_alm(random_alm(rng, 0), 0.3 / (np.arange(LMAX + 1) + 5.0) ** 2)
    positions, gamma = deflected_positions(deflection(phi, grid, curl_alm=0.5 * phi[::1]), grid)
    alm, maps = random_alm(rng, spin), rng.normal(size=(1 if spin == 0 else 2, grid.npix))
    maps = maps[0] if spin == 0 else maps
    if single:
        alm, maps = alm.astype(np.complex64), maps.astype(np.float32)
    there = remap(alm, positions, spin=spin, epsilon=epsilon, gamma=gamma)
    back = remap_adjoint(maps, positions, LMAX, spin=spin, epsilon=epsilon, gamma=gamma)
    left = float(np.sum(there.astype(float) * maps))
    scale = np.linalg.norm(there) * np.linalg.norm(maps)
    low = single and epsilon >= 1e-5
    assert back.dtype == (np.complex64 if low else np.complex128)
    assert abs(left - dot(alm, back)) < (1e-5 if low else 1e-12) * scale
    if spin > 0:
        wrong = remap_adjoint(maps, positions, LMAX, spin=spin, epsilon=epsilon, gamma=-gamma)
        assert abs(left - dot(alm, wrong)) > 1e-4 * scale


def test_what_does_not_fit_is_refused() -> None:
    positions = np.full((5, 2), 1.0)
    with pytest.raises(ValueError, match=r"must be \(2, 5\)"):
        remap_adjoint(np.zeros(5), positions, 4, spin=2)
    with pytest.raises(ValueError, match="epsilon must be between"):
        remap_adjoint(np.zeros(5), positions, 4, spin=0, epsilon=1e-2)
