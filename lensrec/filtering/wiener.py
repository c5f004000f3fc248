"""The optimal filter: inverse-variance weighting of maps with uneven noise, holes, beams and templates.

The data are d = YBs + n, and what comes out is, for T, for E and B, or for all three,

    X̄ = BᵀYᵀN⁻¹(d − YB s^WF) = S⁻¹ s^WF,      s^WF = (S⁻¹ + BᵀYᵀN⁻¹YB)⁻¹ BᵀYᵀN⁻¹ d,

which is BᵀYᵀ C⁻¹ d for the covariance C of the pixels: with even noise and no holes the isotropic filter's
(S + N/b²)⁻¹ times beam-deconvolved a_ℓm. See Wandelt, Larson & Lakshminarayanan (2004, astro-ph/0310080), Smith, Zahn &
Doré (2007, arXiv:0705.3980).
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import complex_dtype, real_dtype, thread_count
from lensrec.filtering.conjugate_gradient import conjugate_gradient
from lensrec.filtering.multigrid import multigrid
from lensrec.filtering.noise_weighting import NoiseWeighting, Transforms, observed_rings, real_dot
from lensrec.filtering.preconditioner import (
    Preconditioner,
    System,
    dense,
    diagonal,
    largest_density,
)
from lensrec.filtering.signal import FIELDS, apply_blocks, block_inverse, block_root, signal_covariance
from lensrec.filtering.templates import orthonormal_templates
from lensrec.sphere.alm import alm_size, scale_alm
from lensrec.sphere.grids import Grid

log = logging.getLogger(__name__)

TOLERANCE = 1e-5
"""rms error of s^WF per mode in units of its posterior σ. X̄ is then within 1e-4 of its own error bar."""

MAX_ITERATIONS = 500

PRECONDITIONERS: Mapping[str, Callable[[System], Preconditioner]] = {
    "multigrid": multigrid,
    "diagonal": diagonal,
    "dense": dense,
}


@dataclass(frozen=True, eq=False)
class WienerFiltered:
    """Maps after the optimal filter.

    Attributes
    ----------
    filtered : dict of "T", "E", "B" to array (nalm,)
        X̄, µK⁻¹, in the normalisation of the isotropic filter.
    wiener : dict of "T", "E", "B" to array (nalm,)
        s^WF, µK, beam-deconvolved.
    iterations : int
    error : float
        Estimate of the rms error of s^WF per mode, in units of its posterior standard deviation.
    converged : bool
    transforms : Counter of (lmax, spin)
        Syntheses and adjoint syntheses made.
    """

    filtered: dict[str, NDArray]
    wiener: dict[str, NDArray]
    iterations: int
    error: float
    converged: bool
    transforms: Transforms


@dataclass(frozen=True, eq=False)
class WienerFilter:
    """An optimal filter that is ready for many maps of one noise model; made by `wiener_filter`.

    Attributes
    ----------
    npix : int
        Pixels of a map.
    pixels : array of int
        Those on rings that are observed.
    templates : array (ntemplates, ncomp, npix of those rings)
        Orthonormal in N⁻¹.
    covariance : array (nfields, nfields, lmax+1)
        S_ℓ, µK².
    system : System
        A = 1 + S^½ BᵀYᵀN⁻¹YB S^½.
    preconditioner : Preconditioner
    density : array (nfields, lmax+1)
        n_ℓ = b_ℓ² N⁻¹ per steradian where that is largest.
    dtype : of coefficients
    """

    npix: int
    pixels: NDArray[np.int64]
    templates: NDArray
    covariance: NDArray[np.float64]
    system: System
    preconditioner: Preconditioner
    density: NDArray[np.float64]
    dtype: np.dtype

    @property
    def fields(self) -> tuple[str, ...]:
        """What is filtered together."""
        return self.system.weighting.fields

    def apply(
        self,
        maps: NDArray,
        *,
        start: Mapping[str, NDArray] | None = None,
        lmin: int = 0,
        tolerance: float = TOLERANCE,
        max_iterations: int = MAX_ITERATIONS,
        progress: Callable[[int, float], None] | None = None,
    ) -> WienerFiltered:
        """Filter maps (ncomp, npix); see `solve_wiener` for the arguments, the result and the errors."""
        system = self.system
        before = Counter(system.weighting.transforms)
        source = system.weighting.adjoint(self._observed(maps))
        first = None
        if start is not None:
            first = apply_blocks(system.root, self._weighted(self._coefficients(start), source))
        modes = self._modes()
        solution = conjugate_gradient(
            system,
            apply_blocks(system.root, source),
            self.preconditioner.apply,
            real_dot,
            first=self.preconditioner.first,
            start=first,
            tolerance=tolerance * modes**0.5,
            max_iterations=max_iterations,
            progress=None if progress is None else lambda i, error: progress(i, error / modes**0.5),
        )
        error = solution.error / modes**0.5
        if not solution.converged:
            log.warning(
                "the optimal filter stopped after %d iterations with an error of %s per mode, not %.2g; "
                "allow more iterations or ask for less",
                solution.iterations,
                f"{error:.2g} σ" if np.isfinite(error) else "unknown size, for it hardly falls,",
                tolerance,
            )
        filtered = self._weighted(apply_blocks(system.root, solution.x), source)
        wiener = apply_blocks(self.covariance, filtered)
        kept = np.arange(system.lmax + 1) >= lmin
        return WienerFiltered(
            {name: scale_alm(alm, kept) for name, alm in zip(self.fields, filtered, strict=True)},
            dict(zip(self.fields, wiener, strict=True)),
            solution.iterations,
            error,
            solution.converged,
            system.weighting.transforms - before,
        )

    def _weighted(self, wiener: NDArray, source: NDArray) -> NDArray:
        """X̄ of s^WF, as (1 + n S)⁻¹ (n s^WF + BᵀYᵀN⁻¹(d − YB s^WF)).

        At the solution both terms belong to X̄ = S⁻¹ s^WF, and nothing is divided by S. Away from it this is one more
        Richardson step, which never enlarges the error, as n is nowhere smaller than what it stands for.
        """
        unit = np.eye(len(self.density))[..., None]
        inverse = block_inverse(unit + self.density[:, None] * self.covariance)
        pulled = np.stack([scale_alm(row, n) for row, n in zip(wiener, self.density, strict=True)])
        return apply_blocks(inverse, pulled + (source - self.system.weighting(wiener)))

    def _observed(self, maps: NDArray) -> NDArray:
        """Maps on the observed rings, holes emptied, templates taken out."""
        maps = np.atleast_2d(np.asarray(maps))
        weighting = self.system.weighting
        ncomp = sum(1 if spin == 0 else 2 for spin in weighting.inverse_noise)
        if maps.shape != (ncomp, self.npix):
            raise ValueError(
                f"maps: {'T' if ncomp == 1 else 'Q, U' if ncomp == 2 else 'T, Q, U'} of {self.npix} pixels each are "
                f"expected, shape ({ncomp}, {self.npix}), got {maps.shape}"
            )
        noise = weighting.pixel_noise()
        data = np.where(noise > 0.0, maps[:, self.pixels], 0.0).astype(real_dtype(self.dtype))
        if not np.isfinite(data).all():
            raise ValueError(
                "maps: not finite in a pixel whose inverse noise is not 0; set that to 0 where data are bad"
            )
        for template in self.templates:
            amplitude = np.sum(template * noise * data, dtype=np.float64)
            data -= (amplitude * template).astype(data.dtype)
        return data

    def _coefficients(self, start: Mapping[str, NDArray]) -> NDArray:
        missing = [name for name in self.fields if name not in start]
        if missing:
            raise ValueError(f"start: {', '.join(missing)} missing; the s^WF of {', '.join(self.fields)} are expected")
        size = alm_size(self.system.lmax)
        for name in self.fields:
            if start[name].shape != (size,):
                raise ValueError(
                    f"start: {name} of lmax {self.system.lmax}, shape ({size},), is expected, got {start[name].shape}"
                )
        return np.stack([start[name] for name in self.fields]).astype(self.dtype)

    def _modes(self) -> int:
        """Real numbers to be found."""
        alive = np.einsum("iil->il", self.covariance) > 0.0
        return max(1, int((alive * (2 * np.arange(self.system.lmax + 1) + 1)).sum()))


def wiener_filter(
    grid: Grid,
    inverse_noise: NDArray,
    signal: Mapping[str, NDArray],
    transfer: NDArray,
    lmax: int,
    *,
    fields: str = "TP",
    templates: NDArray | None = None,
    preconditioner: str = "multigrid",
    precision: str = "double",
    nthreads: int = 0,
) -> WienerFilter:
    """Make an optimal filter ready for any number of maps of one noise model; see `solve_wiener`."""
    if fields not in FIELDS:
        raise ValueError(f'fields must be "T", "P" or "TP", got {fields!r}')
    if preconditioner not in PRECONDITIONERS:
        raise ValueError(f"preconditioner must be one of {', '.join(PRECONDITIONERS)}, got {preconditioner!r}")
    names, dtype = FIELDS[fields], complex_dtype(precision)
    spins = [spin for spin, letter in ((0, "T"), (2, "P")) if letter in fields]
    noise = _checked_noise(inverse_noise, spins, grid.npix)
    covariance = signal_covariance(signal, names, lmax)
    short, pixels = observed_rings(grid, np.any(noise > 0.0, axis=0))
    noise = noise[:, pixels]
    empty = NoiseWeighting(
        short,
        names,
        lmax,
        {spin: row.astype(real_dtype(dtype)) for spin, row in zip(spins, noise, strict=True)},
        _transfers(transfer, names, lmax),
        np.zeros((0, len(names), alm_size(lmax)), dtype),
        thread_count(nthreads),
    )
    modes = _templates(templates, empty.pixel_noise(), grid.npix, pixels).astype(real_dtype(dtype))
    seen = np.stack([empty.adjoint(template) for template in modes]) if len(modes) else empty.template_alm
    weighting = replace(empty, template_alm=seen)
    system = System(block_root(covariance), weighting)
    density = largest_density(weighting)[:, None] * weighting.transfer**2
    return WienerFilter(
        grid.npix, pixels, modes, covariance, system, PRECONDITIONERS[preconditioner](system), density, dtype
    )


def solve_wiener(
    maps: NDArray,
    grid: Grid,
    inverse_noise: NDArray,
    signal: Mapping[str, NDArray],
    transfer: NDArray,
    lmax: int,
    *,
    templates: NDArray | None = None,
    start: Mapping[str, NDArray] | None = None,
    lmin: int = 0,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
    precision: str = "double",
    preconditioner: str = "multigrid",
    progress: Callable[[int, float], None] | None = None,
    nthreads: int = 0,
) -> WienerFiltered:
    """Filter maps optimally.

    Parameters
    ----------
    maps : array (1, npix) of T, (2, npix) of Q and U, or (3, npix) of T, Q and U
        µK, COSMO. What they hold where the inverse noise is 0 does not matter.
    grid : Grid
        HEALPix, CAR, or any other rings.
    inverse_noise : array (npix,), or (2, npix) for T, Q and U
        N⁻¹, µK⁻² per pixel: of T, of Q and U alike, or of T and then of Q and U. 0 where there are no data.
    signal : mapping of "TT", "EE", "BB", "TE" to array, µK², from ℓ = 0
        Lensed spectra. A multipole without power, as the monopole of CAMB's, counts as known to be 0.
    transfer : array (n,), or (2, n) for T and for polarisation
        Beam times pixel window, from ℓ = 0.
    lmax : int
    templates : array (ntemplates, ncomp, npix), optional
        Maps whose amplitudes are unknown: the data are as good as if they had been fitted and taken out.
    start : mapping of "T", "E", "B" to array (nalm,), optional
        An s^WF to start from.
    lmin : int
        X̄ is set to zero below it. s^WF is left as it is: those multipoles are part of the sky all the same.
    tolerance : float
        Of the rms error of s^WF per mode, in units of its posterior standard deviation.
    max_iterations : int
    precision : "double" or "single"
        Of coefficients and maps; inner products are double.
    preconditioner : "multigrid", "diagonal" or "dense"
    progress : function of iteration and error, optional
    nthreads : int
        0: as many as this process may use.

    Raises
    ------
    ValueError
        For inverse noise that is negative, not finite, zero everywhere, or of another shape than the grid; for maps or
        templates that do not fit; for spectra or transfer functions that end below lmax.
    """
    ncomp = len(np.atleast_2d(np.asarray(maps)))
    if ncomp not in (1, 2, 3):
        raise ValueError(f"maps: T, or Q and U, or T, Q and U are expected, got {ncomp} maps")
    ready = wiener_filter(
        grid,
        inverse_noise,
        signal,
        transfer,
        lmax,
        fields=("T", "P", "TP")[ncomp - 1],
        templates=templates,
        preconditioner=preconditioner,
        precision=precision,
        nthreads=nthreads,
    )
    return ready.apply(
        maps, start=start, lmin=lmin, tolerance=tolerance, max_iterations=max_iterations, progress=progress
    )


def _checked_noise(inverse_noise: NDArray, spins: list[int], npix: int) -> NDArray[np.float64]:
    noise = np.atleast_2d(np.asarray(inverse_noise, dtype=np.float64))
    if noise.shape != (len(spins), npix):
        what = "one map for T and one for Q and U" if len(spins) == 2 else "one map"
        raise ValueError(f"inverse_noise: {what} of {npix} pixels expected, got shape {noise.shape}")
    for name, row in zip(("T", "Q, U") if len(spins) == 2 else ("the maps",), noise, strict=True):
        bad = ~(np.isfinite(row) & (row >= 0.0))
        if bad.any():
            raise ValueError(
                f"inverse_noise of {name} must be finite and not negative, it is {row[bad][0]:g} in pixel "
                f"{bad.argmax()}; set it to 0 where there are no data"
            )
        if not row.any():
            raise ValueError(f"inverse_noise of {name} is 0 everywhere: there are no data to filter")
    return noise


def _transfers(transfer: NDArray, names: tuple[str, ...], lmax: int) -> NDArray[np.float64]:
    """One row a field."""
    rows = np.atleast_2d(np.asarray(transfer, dtype=np.float64))
    if rows.ndim != 2 or len(rows) > 2 or rows.shape[1] <= lmax:
        raise ValueError(
            f"transfer: one function of ℓ, or one for T and one for polarisation, up to ℓ = {lmax} at least, "
            f"is expected, got shape {np.shape(transfer)}"
        )
    if not np.isfinite(rows[:, : lmax + 1]).all():
        raise ValueError("transfer: not finite at some ℓ")
    return np.stack([rows[0 if name == "T" else -1, : lmax + 1] for name in names])


def _templates(templates: NDArray | None, noise: NDArray, npix: int, pixels: NDArray) -> NDArray[np.float64]:
    if templates is None or len(templates) == 0:
        return np.zeros((0, *noise.shape))
    maps = np.asarray(templates, dtype=np.float64)
    if maps.ndim != 3 or maps.shape[1:] != (len(noise), npix):
        raise ValueError(f"templates: shape (ntemplates, {len(noise)}, {npix}) is expected, got {maps.shape}")
    return orthonormal_templates(maps[..., pixels], noise)
