"""Lensed-gradient spectra on drawn skies: ⟨T̃ (∇T)~⟩, the gradient of the unlensed sky carried to where it is seen."""

import numpy as np

from lensrec.recipe import Recipe
from lensrec.sky.primary import draw_primary
from lensrec.sphere.alm import alm_to_cl, resize_alm, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.remap import deflected_positions, deflection, remap
from lensrec.sphere.sht import analysis
from lensrec.stages.setting import theory_of
from lensrec.theory.lensing import gradient_spectra, lensed_spectra
from tests.stages.conftest import COSMOLOGY

SKY, TOP, COUNT = 500, 350, 16
AMPLITUDE = 6.0


def test_paired_skies_follow_the_gradient_spectrum() -> None:
    """Change of C^{T∇T} by lensing, six times as strong as in our sky, over 16 paired skies in 8 bands of ℓ ≤ 350.

    The gradient coefficients G of the transported spin-1 field ∇T give √(ℓ(ℓ+1)) C^{T∇T} with T̃. Deviations are in
    units of the error of the mean from the scatter: |t| < 6.6 with 15 degrees of freedom has a false-alarm rate of
    1e-5, 8e-5 for all. The lensed spectrum C̃^TT, which is not this one, must break the same bound.
    """
    theory = theory_of(Recipe.model_validate({"cosmology": COSMOLOGY, "sky": {"nside": 128, "lmax": SKY}}))
    unlensed = {key: cl[: SKY + 1] for key, cl in theory.unlensed.items()}
    cl_phi = AMPLITUDE * theory.potential["PP"][: SKY + 1]
    expected = gradient_spectra(unlensed, cl_phi, lmax=TOP)["TT"] - unlensed["TT"][: TOP + 1]
    other = lensed_spectra(unlensed, cl_phi, lmax=TOP)["TT"] - unlensed["TT"][: TOP + 1]
    none = np.zeros(SKY + 1)
    grid = gauss_legendre_grid(2 * SKY + 400 + TOP)
    ell = np.arange(SKY + 1.0)
    root = np.sqrt(ell * (ell + 1.0))
    changes = []
    for sim in range(COUNT):
        teb, phi = draw_primary(unlensed, {"PP": cl_phi, "TP": none, "EP": none}, SKY, seed=9, sim=sim)
        positions, gamma = deflected_positions(deflection(phi, grid), grid)
        lensed = analysis(remap(teb[0], positions, spin=0, epsilon=1e-8), grid, TOP)
        moved = remap(scale_alm(teb[0], root), positions, spin=1, epsilon=1e-8, gamma=gamma)
        gradient = analysis(moved, grid, TOP, 1)[0]
        cross = np.divide(alm_to_cl(lensed, gradient), root[: TOP + 1], out=np.zeros(TOP + 1), where=ell[: TOP + 1] > 0)
        changes.append(cross - alm_to_cl(resize_alm(teb[0], TOP)))
    edges = np.linspace(30, TOP + 1, 9).astype(int)
    modes = 2.0 * ell[: TOP + 1] + 1.0

    def binned(cl: np.ndarray) -> np.ndarray:
        return np.add.reduceat(modes * cl / unlensed["TT"][2:].max(), edges[:-1], axis=-1)[..., :8]

    bins = binned(np.array(changes))
    error = bins.std(0, ddof=1) / np.sqrt(COUNT)
    assert (np.abs(bins.mean(0) - binned(expected)) < 6.6 * error).all()
    assert (np.abs(bins.mean(0) - binned(other)) > 6.6 * error).any()
