"""Random skies and awkward directions for the tests of remaps, and how far two fields are from each other."""

import ducc0
import numpy as np

from lensrec.sphere.alm import alm_m, alm_size, alm_to_cl, lmax_of, scale_alm

LADDER = (1e-3, 1e-4, 1e-5, 1e-7, 1e-9, 1e-12)


def random_alm(rng, rows, lmax, *, cl=None, lmin=0):
    """Gaussian alm of a real field, shape (rows, nalm); white unless `cl` is given."""
    alm = rng.standard_normal((rows, alm_size(lmax))) + 1j * rng.standard_normal((rows, alm_size(lmax)))
    alm /= np.sqrt(2)
    alm[:, : lmax + 1] = np.sqrt(2) * alm[:, : lmax + 1].real
    power = np.ones(lmax + 1) if cl is None else np.asarray(cl, dtype=float)
    return scale_alm(alm, np.sqrt(np.where(np.arange(lmax + 1) >= lmin, power, 0.0)))


def sky_rms(alm):
    """Root-mean-square over the sphere of each real component that the rows of alm synthesise to."""
    weight = np.where(alm_m(lmax_of(alm.shape[-1])) == 0, 1.0, 2.0)
    return np.sqrt((np.abs(alm) ** 2 * weight).sum() / (4 * np.pi * len(np.atleast_2d(alm))))


def lensing_potential(rng, lmax, rms, *, slope=-2.0):
    """A red random potential, scaled to a deflection of the given rms (radians)."""
    ell = np.arange(lmax + 1.0)
    phi = random_alm(rng, 1, lmax, cl=np.maximum(ell, 1) ** (slope - 2), lmin=1)[0]
    power = (2 * ell + 1) / (4 * np.pi) * ell * (ell + 1) * alm_to_cl(phi)
    return phi * rms / np.sqrt(power.sum())


def adversarial_directions():
    """Poles and next to them, HEALPix's belts, the equator, both ends of φ, zeros of Legendre polynomials."""
    small = np.array([0.0, 1e-300, 1e-20, 1e-9, 1e-5, 1e-3])
    theta = np.concatenate(
        [small, np.pi - small, np.arccos([2 / 3, -2 / 3, 3**-0.5, 0.0]), [np.pi / 2], ducc0.misc.GL_thetas(20)]
    )
    phi = np.array([0.0, 1e-17, np.pi / 4, np.pi / 2, np.pi, 3.0, 2 * np.pi])
    return [np.ravel(x) for x in np.meshgrid(theta, phi, indexing="ij")]


def complex_field(values):
    return values if values.ndim == 1 else values[0] + 1j * values[1]


def relative_error(values, expected):
    return np.sqrt(np.mean(np.abs(values - expected) ** 2) / np.mean(np.abs(expected) ** 2))


def dipole_potential(a):
    """alm of φ = a·n for a vector a."""
    x, y, z = (float(v) for v in a)
    return np.array([0, z * np.sqrt(4 * np.pi / 3), np.sqrt(2 * np.pi / 3) * (-x + 1j * y)])


def promised_positions(rng, lmax):
    """100,000 directions all over the sphere and as many within 3/lmax of the poles."""
    count = 100_000
    near = rng.uniform(0, 3 / lmax, count)
    theta = [np.arccos(rng.uniform(-1, 1, count)), np.where(rng.random(count) < 0.5, near, np.pi - near)]
    return [np.stack([t, rng.uniform(0, 2 * np.pi, count)], axis=1) for t in theta]
