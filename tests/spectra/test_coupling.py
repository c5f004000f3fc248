"""Coupling matrices against sums over 3j symbols and against masked skies, mode by mode."""

import numpy as np
import pytest

from lensrec.spectra.coupling import KINDS, coupling_matrices
from lensrec.sphere.alm import alm_index, alm_size, alm_to_cl, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.sht import adjoint_synthesis, synthesis
from tests.reference.wigner3j import wigner3j_row


def by_3j(mask_cl, lmax, lmax_sky):
    L = np.arange(len(mask_cl))
    power = (2 * L + 1) * mask_cl / (4 * np.pi)
    out = {kind: np.zeros((lmax + 1, lmax_sky + 1)) for kind in KINDS}
    for l1 in range(lmax + 1):
        for l2 in range(lmax_sky + 1):
            zero, two = (wigner3j_row(l1, l2, s, -s, L[-1]) for s in (0, 2))
            even = (l1 + l2 + L) % 2 == 0
            sums = {"00": zero**2, "02": zero * two, "++": two**2 * even, "--": two**2 * ~even}
            for kind, product in sums.items():
                out[kind][l1, l2] = (2 * l2 + 1) * (power * product).sum()
    return out


@pytest.mark.parametrize(("lmax", "lmax_sky"), [(12, 12), (9, 14), (14, 9), (0, 3), (3, 0), (1, 1)])
@pytest.mark.parametrize("length", [40, 17, 1])
def test_sums_over_3j_symbols(lmax, lmax_sky, length):
    """Any spectrum, negative ones of two masks too, longer and shorter than what enters."""
    mask_cl = np.random.default_rng(41).normal(size=length)
    matrices, expected = coupling_matrices(mask_cl, lmax, lmax_sky=lmax_sky), by_3j(mask_cl, lmax, lmax_sky)
    assert tuple(matrices) == KINDS
    for kind in KINDS:
        # sums of 30 terms of order 1
        np.testing.assert_allclose(matrices[kind], expected[kind], rtol=0, atol=1e-14)


@pytest.mark.parametrize("kinds", [("++",), ("--",), ("--", "00"), ("02", "++"), ("++", "--")])
def test_kinds_by_themselves_are_those_of_all(kinds):
    mask_cl = np.random.default_rng(42).random(50)
    every, some = coupling_matrices(mask_cl, 20), coupling_matrices(mask_cl, 20, kinds=kinds)
    assert set(some) == set(kinds)
    for kind in kinds:
        np.testing.assert_allclose(some[kind], every[kind], rtol=0, atol=1e-14)


def unit_modes(lmax, lmin):
    """Real fields whose squares add up to the mean power of a sky with C_ℓ = 1, and the ℓ of each."""
    for ell in range(lmin, lmax + 1):
        for m in range(ell + 1):
            for value in [1.0] if m == 0 else [np.sqrt(0.5), 1j * np.sqrt(0.5)]:
                alm = np.zeros(alm_size(lmax), dtype=complex)
                alm[alm_index(lmax, np.array(ell), np.array(m))] = value
                yield ell, alm


def test_masked_skies_mode_by_mode():
    """Mask each mode of T, E and B on its own and add up pseudo-spectra: their mean, without a random number."""
    rng = np.random.default_rng(43)
    lmax, lmax_sky, lmax_mask = 7, 5, 6
    grid = gauss_legendre_grid(lmax + lmax_sky + lmax_mask)
    w = rng.normal(size=alm_size(lmax_mask)) + 1j * rng.normal(size=alm_size(lmax_mask))
    w[: lmax_mask + 1] = w[: lmax_mask + 1].real
    mask = synthesis(w, grid)

    def masked(alm, spin):
        return adjoint_synthesis(mask * synthesis(alm, grid, spin), grid, lmax, spin, weighted=True)

    mean = {kind: np.zeros((lmax + 1, lmax_sky + 1)) for kind in KINDS}
    for ell, alm in unit_modes(lmax_sky, 0):
        t = masked(alm, 0)
        mean["00"][:, ell] += alm_to_cl(t)
        if ell >= 2:
            e, b = masked(np.array([alm, 0 * alm]), 2)
            mean["02"][:, ell] += alm_to_cl(t, e)
            mean["++"][:, ell] += alm_to_cl(e)
            mean["--"][:, ell] += alm_to_cl(b)
            # B to B as E to E, and B to E as E to B, but for its sign
            e2, b2 = masked(np.array([0 * alm, alm]), 2)
            np.testing.assert_allclose([b2, -e2], [e, b], rtol=0, atol=1e-13)
    matrices = coupling_matrices(alm_to_cl(w), lmax, lmax_sky=lmax_sky)
    for kind in KINDS:
        np.testing.assert_allclose(matrices[kind], mean[kind], rtol=0, atol=1e-13)
        assert np.abs(matrices[kind]).max() > 0.1


def test_the_whole_sky_couples_nothing():
    for kind, matrix in coupling_matrices(np.array([4 * np.pi]), 300).items():
        unit = np.zeros(301) if kind == "--" else (np.arange(301.0) >= (0 if kind == "00" else 2))
        np.testing.assert_allclose(matrix, np.diag(unit), rtol=0, atol=1e-13)


def test_rows_add_up_to_the_mean_of_the_mask_squared():
    """Σ_ℓ′ (2ℓ′+1) (ℓ ℓ′ L; s −s 0)² = 1: white power is scaled by ⟨w²⟩, at high multipoles too."""
    lmax, lmax_mask = 900, 60
    mask_cl = scale_alm(np.ones(alm_size(lmax_mask), dtype=complex), 1 / (1 + np.arange(lmax_mask + 1.0)))
    mask_cl = alm_to_cl(mask_cl)
    square = (2 * np.arange(lmax_mask + 1.0) + 1) @ mask_cl / (4 * np.pi)
    matrices = coupling_matrices(mask_cl, lmax, lmax_sky=lmax + lmax_mask, nthreads=2)
    np.testing.assert_allclose(matrices["00"].sum(axis=1), square, rtol=1e-12)
    # what is lost to ℓ′ < 2, which no spin-2 field has, is none above ℓ = 62
    both = (matrices["++"] + matrices["--"]).sum(axis=1)
    np.testing.assert_allclose(both[lmax_mask + 2 :], square, rtol=1e-12)
    assert both[2] < square


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="one of 00, 02"):
        coupling_matrices(np.ones(3), 4, kinds=["22"])
    with pytest.raises(ValueError, match="named twice"):
        coupling_matrices(np.ones(3), 4, kinds=["00", "00"])
    for bad in (np.ones((2, 3)), np.zeros(0), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="one list of finite numbers"):
            coupling_matrices(bad, 4)
    with pytest.raises(ValueError, match="negative"):
        coupling_matrices(np.ones(3), -1)
