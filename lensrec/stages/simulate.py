"""Simulate: from a recipe to lensed skies and the data an instrument makes of them."""

import logging
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import Backend, complex_dtype, real_dtype
from lensrec.arrays import backend as make_backend
from lensrec.engine import Progress, Workers, run_tasks
from lensrec.recipe import Recipe
from lensrec.recipe import Sky as SkyRecipe
from lensrec.rundir import RunDir, read_theory, record_backend, write_theory
from lensrec.sky.instrument import noise_alm, observed_alm
from lensrec.sky.io import write_alm, write_map
from lensrec.sky.primary import draw_primary
from lensrec.sphere.alm import resize_alm
from lensrec.sphere.grids import Grid, gauss_legendre_grid, healpix_grid
from lensrec.sphere.nufft_setting import needed_bytes
from lensrec.sphere.remap import remap_tp
from lensrec.sphere.sht import analysis_tp, synthesis_tp
from lensrec.stages.masking import mask_of, noise_pattern
from lensrec.stages.memory_advice import require_memory
from lensrec.stages.setting import noise_of, optics_of, theory_of
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.spectra import TheorySpectra

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sky:
    """One simulated sky.

    Attributes
    ----------
    recipe : Recipe
    sim : int
    phi_alm : array (nalm,)
        The lensing potential that remapped this sky.
    unlensed_alm : array (1 or 3, nalm)
        Primary T, E, B in µK.
    lensed : array (1 or 3, npix)
        T, Q, U in µK, before beam, noise and mask; HEALPix RING.
    data : array (1 or 3, npix)
        With beam, pixel window, noise and mask.
    mask : array (npix,) or None
        The apodised weights on `data`.
    """

    recipe: Recipe
    sim: int
    phi_alm: NDArray
    unlensed_alm: NDArray
    lensed: NDArray
    data: NDArray
    mask: NDArray | None

    def _repr_html_(self) -> str:
        from lensrec.stages.show import sky_html

        return sky_html(self)


def simulate(
    recipe: Recipe,
    sim: int = 0,
    *,
    theory: TheorySpectra | None = None,
    mask: NDArray | None = None,
    pattern: NDArray | None = None,
    backend: Backend | None = None,
    nthreads: int = 0,
) -> Sky:
    """Simulate one sky of a recipe.

    Parameters
    ----------
    recipe : Recipe
    sim : int
        Its number; the same recipe and number give the same sky, whatever else is simulated.
    theory : TheorySpectra, optional
        Spectra of the recipe's cosmology, where they have been made before.
    mask : array (npix,), optional
        The apodised weights of the recipe's mask, likewise.
    pattern : array (npix,), optional
        Rms of the noise in each pixel over that of the map, likewise.
    backend : Backend, optional
        Where the sky is lensed; that of the recipe's compute.backend.
    nthreads : int
        0: as many as this process may use.

    Raises
    ------
    NoDevice
        A ValueError: if the recipe asks for a GPU that cannot be had.
    """
    backend = backend or backend_of(recipe, nthreads=nthreads)
    theory = theory or theory_of(recipe)
    unlensed, phi = draw_sky(recipe, theory, sim, nthreads=nthreads)
    grid = healpix_grid(recipe.sky.nside)
    mask = mask_of(recipe.mask, recipe.sky.nside) if mask is None else mask
    if recipe.sky.lensed:
        lensed = _lens(unlensed, phi, grid, recipe.sky.epsilon, backend, nthreads)
    else:
        lensed = synthesis_tp(unlensed, grid, nthreads=nthreads)
    alm = lensed_alm(recipe, unlensed, phi, backend=backend, nthreads=nthreads)
    pattern = noise_pattern(recipe.instrument, recipe.sky.nside, mask) if pattern is None else pattern
    data = observe(recipe, alm, sim, pattern=pattern, nthreads=nthreads)
    if mask is not None:
        data *= mask
    return Sky(recipe, sim, phi, unlensed, lensed, data, mask)


def draw_sky(recipe: Recipe, theory: TheorySpectra, sim: int, *, nthreads: int = 0) -> tuple[NDArray, NDArray]:
    """Primary T, E, B (or T alone) and the φ that will lens them, at sky.lmax.

    The four-point amplitude `a_phi` scales C^φφ of the φ that remaps. The two-point one is made up for by drawing the
    primary sky from TT, EE and TE that are already smoothed by (a_smooth − a_phi) C^φφ, which may be negative: to
    first order in C^φφ, smoothings add. The B modes that such smoothing would make are left out: they are no part of
    A_L^TTTEEE. With `lensed: false` the sky is Gaussian and has the lensed spectra.
    """
    sky = recipe.sky
    primary = dict(theory.unlensed)
    extra = sky.a_smooth - sky.a_phi
    if not sky.lensed:
        primary = dict(theory.lensed)
        if sky.a_smooth != 1.0:
            primary |= lensed_spectra(theory.unlensed, theory.potential["PP"], amplitude=sky.a_smooth)
    elif extra:
        smoothed = lensed_spectra(theory.unlensed, theory.potential["PP"], amplitude=extra)
        for key in ("TT", "EE", "TE"):
            # Lensing brings some power to monopole and dipole, and taking lensing away would leave less than none.
            smoothed[key][:2] = theory.unlensed[key][:2]
            primary[key] = smoothed[key]
    teb, phi = draw_primary(
        primary, theory.potential, sky.lmax, seed=sky.seed, sim=sim, phi_seed=sky.phi_seed, nthreads=nthreads
    )
    dtype = complex_dtype(sky.precision)
    phi *= np.sqrt(sky.a_phi)
    return teb[: 3 if sky.polarisation else 1].astype(dtype, copy=False), phi.astype(dtype, copy=False)


def backend_of(recipe: Recipe, *, nthreads: int = 0) -> Backend:
    """Where a recipe's skies are lensed: what compute.backend says, with the memory that its largest remap takes.

    Raises
    ------
    NoDevice
        If it says "cupy" and no GPU can be had.
    """
    name = recipe.compute.backend
    if name == "numpy" or not recipe.sky.lensed:
        return make_backend("numpy", nthreads=nthreads)
    sky = recipe.sky
    rows = 3 if sky.polarisation else 1
    grids = (healpix_grid(sky.nside), _analysis_grid(sky))
    needed = max(needed_bytes(grid, sky.lmax, rows=rows, epsilon=sky.epsilon) for grid in grids)
    return make_backend(name, needed_bytes=needed, nthreads=nthreads)


def _lens(
    unlensed: NDArray, phi: NDArray, grid: Grid, epsilon: float, backend: Backend | None, nthreads: int
) -> NDArray:
    """The lensed map on the host: on a GPU by NUFFTs, without one by interpolation, which is faster there."""
    if backend is None or not backend.on_device:
        return remap_tp(unlensed, phi, grid, epsilon=epsilon, nthreads=nthreads)
    from lensrec.sphere import nufft_remap

    return backend.to_host(nufft_remap.remap_tp(unlensed, phi, grid, epsilon=epsilon, backend=backend))


def lensed_alm(
    recipe: Recipe, unlensed: NDArray, phi: NDArray, *, backend: Backend | None = None, nthreads: int = 0
) -> NDArray:
    """Lensed T, E, B (or T alone) up to sky.lmax_data.

    The sky is remapped onto a Gauss–Legendre grid, from which its harmonic coefficients follow by one exact
    transform: a HEALPix map would need iterations, and keep a quadrature error. Without a backend it is lensed in
    numpy.
    """
    sky = recipe.sky
    if not sky.lensed:
        return resize_alm(unlensed, sky.lmax_data)
    grid = _analysis_grid(sky)
    if backend is not None and backend.on_device and backend.legendre == "device":
        return _lensed_alm_on_device(unlensed, phi, grid, sky, backend)
    maps = _lens(unlensed, phi, grid, sky.epsilon, backend, nthreads)
    return analysis_tp(maps, grid, sky.lmax_data, nthreads=nthreads)


def _lensed_alm_on_device(unlensed: NDArray, phi: NDArray, grid: Grid, sky: SkyRecipe, backend: Backend) -> NDArray:
    """The same, with nothing but coefficients crossing between host and device."""
    from lensrec.sphere import nufft_remap
    from lensrec.sphere.device_sht import transforms_on

    maps = nufft_remap.remap_tp(unlensed, phi, grid, epsilon=sky.epsilon, backend=backend)
    with backend.active():
        transforms = transforms_on(backend)
        rows = [transforms.adjoint_synthesis(maps[0], grid, sky.lmax_data, weighted=True)[None]]
        if len(maps) == 3:
            rows.append(transforms.adjoint_synthesis(maps[1:], grid, sky.lmax_data, 2, weighted=True))
        return np.concatenate([backend.to_host(row) for row in rows])


def _analysis_grid(sky: SkyRecipe) -> Grid:
    return gauss_legendre_grid(sky.lmax + lensing_reach(sky.lmax) + sky.lmax_data)


def lensing_reach(lmax: int) -> int:
    """How far beyond the band limit of the unlensed sky lensed power must be kept from coming back as an alias.

    Remapping leaves a tail that falls slowly up to lmax plus the band limit of φ. At 4/7 of lmax beyond, and no less
    than 2000, it is below 2e-3 of C^BB at the data's last multipole, 1500 below lmax, and of less weight in T and E.
    """
    return max(2000, 4 * lmax // 7)


def observe(
    recipe: Recipe, alm: NDArray, sim: int, *, pattern: NDArray | None = None, nthreads: int = 0
) -> NDArray[np.float64]:
    """The map (1 or 3, npix) that the instrument makes of T, E, B: beam and pixel window on, noise added, unmasked.

    Parameters
    ----------
    pattern : array (npix,), optional
        Rms of the noise in each pixel over that of the map: see `lensrec.stages.masking.noise_pattern`.
    """
    sky = recipe.sky
    optics = optics_of(recipe.instrument, sky.nside, sky.lmax_data)
    noise = noise_of(recipe.instrument, sky.lmax_data)
    drawn = noise_alm(noise["TT"], noise["EE"], sky.lmax_data, seed=sky.seed, sim=sim)[: len(alm)]
    observed = observed_alm(alm, optics.temperature, optics.polarisation)
    grid = healpix_grid(sky.nside)
    if pattern is None:
        return synthesis_tp((observed + drawn).astype(alm.dtype, copy=False), grid, nthreads=nthreads)
    maps = synthesis_tp(drawn.astype(alm.dtype, copy=False), grid, nthreads=nthreads)
    maps *= pattern.astype(maps.dtype, copy=False)
    maps += synthesis_tp(observed.astype(alm.dtype, copy=False), grid, nthreads=nthreads)
    return maps


def simulate_run(run: RunDir, *, executor: Workers = None, progress: Progress | None = None, nthreads: int = 0) -> None:
    """Simulate every sky of a run that is not there yet; `executor` says where, see `lensrec.engine`."""
    recipe = run.recipe
    missing = [sim for sim in range(recipe.sky.n_sims) if not run.has(*(run.sim(sim, name) for name in _FILES))]
    if missing:
        require_memory(recipe, "simulate", tasks=executor is None, nthreads=nthreads)
    written = run.has(run.path / "mask.fits")
    mask = None if written and not missing else mask_of(recipe.mask, recipe.sky.nside)
    pattern = noise_pattern(recipe.instrument, recipe.sky.nside, mask) if missing else None
    if mask is not None and not written:
        write_map(run.path / "mask.fits", mask, unit="", column_names=["MASK"])
    if not run.has(run.theory):
        write_theory(run, theory_of(recipe))
    if len(missing) < recipe.sky.n_sims:
        log.info("%d of %d skies are simulated already", recipe.sky.n_sims - len(missing), recipe.sky.n_sims)
    theory = read_theory(run) if missing else None
    backend = _backend_here(recipe, nthreads) if missing else None
    if backend is not None:
        record_backend(run, "simulate", backend.about)
        if backend.on_device:
            log.info("lensing on %s", backend.about)

    shared = (run, theory, mask, pattern, nthreads)
    run_tasks(simulate_into, missing, shared=shared, executor=executor, progress=progress, description="simulate")


def simulate_into(shared: tuple[RunDir, TheorySpectra, NDArray | None, NDArray | None, int], sim: int) -> None:
    """Simulate one sky of a run and leave it there; shared are the run, theory, mask, noise pattern and threads."""
    run, theory, mask, pattern, nthreads = shared
    backend = _backend_here(run.recipe, nthreads)
    sky = simulate(run.recipe, sim, theory=theory, mask=mask, pattern=pattern, backend=backend, nthreads=nthreads)
    _write_sky(run, sky)


@lru_cache(maxsize=1)
def _backend_here(recipe: Recipe, nthreads: int) -> Backend:
    """A process keeps its device's plans and kernels from one sky to the next."""
    return backend_of(recipe, nthreads=nthreads)


_FILES = ("phi_alm.fits", "unlensed_alm.fits", "lensed.fits", "data.fits")


def _write_sky(run: RunDir, sky: Sky) -> None:
    where = run.sim(sky.sim, "data.fits").parent
    where.mkdir(parents=True, exist_ok=True)
    dtype = real_dtype(complex_dtype(run.recipe.sky.precision))
    write_alm(where / "phi_alm.fits", sky.phi_alm)
    write_alm(where / "unlensed_alm.fits", sky.unlensed_alm, unit="uK_CMB", names=list("TEB")[: len(sky.unlensed_alm)])
    write_map(where / "lensed.fits", sky.lensed, dtype=dtype)
    write_map(where / "data.fits", sky.data, dtype=dtype)
