"""The comparisons: what each side does, what is set up before the clock starts, and what is compared."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lensrec.arrays import thread_count
from lensrec.filtering.isotropic import filter_alm
from lensrec.quadratic.combination import minimum_variance, minimum_variance_weights, normalised
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.response import normalisation
from lensrec.sphere.alm import lmax_of, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.remap import deflected_positions, deflection, remap_tp
from lensrec.theory.lensing import lensed_spectra
from tests.benchmarks import inputs
from tests.benchmarks.healpix_estimators import healpix_estimate
from tests.benchmarks.inputs import Size

KEYS = ("TT", "TE", "TB", "EB", "EE")
EPSILON, FINEST = 1e-6, 1e-12
Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes
    ----------
    title : str
        What is timed, at which size.
    sides : dict of label to factory
        A factory sets up and returns what is timed. The others are set against the first.
    sample : function of a result, optional
        The part of a result that is compared, as an array.
    truth : factory, optional
        What the samples are compared with; else those of the other sides are compared with the first.
    unlike : labels of sides that compute something else, and are not compared.
    children : bool
        Whether the work is done by processes that the sides start, so that their own memory says nothing.
    """

    title: str
    sides: dict[str, Callable[[], Run]]
    sample: Callable[[object], np.ndarray] | None = None
    truth: Callable[[], Run] | None = None
    unlike: tuple[str, ...] = ()
    children: bool = False


def cases(size: Size) -> dict[str, Case]:
    """Every comparison at a size, by its name."""
    both = {
        f"remap-{'TQU' if polarised else 'T'}": Case(
            f"lensed {'T, Q, U' if polarised else 'T'} from alm, nside {size.nside_map}, ℓ ≤ {size.lmax_map}, "
            f"ε = {EPSILON:g}, double",
            {
                "lensrec": lambda polarised=polarised: _remap(size, polarised, EPSILON),
                "lenspyx": lambda polarised=polarised: _lenspyx(size, polarised),
                "bare ducc0 transforms": lambda polarised=polarised: _bare_transforms(size, polarised),
            },
            sample=lambda maps: np.asarray(maps)[:, ::101],
            truth=lambda polarised=polarised: _remap(size, polarised, FINEST),
            unlike=("bare ducc0 transforms",),
        )
        for polarised in (False, True)
    }
    estimators = {
        f"phi-{name}": Case(
            f"φ̂ and Ω̂ from {title}, ℓ, L ≤ {size.lmax_phi}",
            {
                "lensrec": lambda keys=keys: _estimate(size, keys),
                f"one by one on HEALPix, nside {size.nside_phi}": lambda keys=keys: _estimate_healpix(size, keys),
            },
            sample=convergence,
        )
        for name, title, keys in (("TT", "TT", ("TT",)), ("MV", "TT, TE, TB, EB, EE and MV", KEYS))
    }
    return {
        **both,
        **estimators,
        "noise": Case(
            f"responses and N0 of all five and MV, with cross terms, ℓ, L ≤ {size.lmax_noise}",
            {"lensrec": lambda: _noise(size), "pytempura": lambda: _pytempura(size)},
            sample=lambda n0: np.asarray(n0)[..., 10:],
        ),
        "lensed-spectra": Case(
            f"lensed TT, EE, BB, TE from unlensed and C^φφ, ℓ ≤ {size.lmax_lensed}",
            {
                "lensrec": lambda: _lensed(size),
                "CAMB's lensed_cls, all angles": lambda: _camb_lensed(size, None),
                "CAMB's lensed_cls as it comes, θ < π/32": lambda: _camb_lensed(size, np.pi / 32),
            },
            sample=lambda cls: np.asarray(cls)[:, 2 : size.lmax_lensed * 3 // 4],
        ),
        "start": Case(
            "start-up of a process",
            {
                "python -c pass": lambda: _python("-c", "pass"),
                "import lensrec": lambda: _python("-c", "import lensrec"),
                "lensrec --help": lambda: _command(str(Path(sys.executable).with_name("lensrec")), "--help"),
            },
            children=True,
        ),
    }


def convergence(potentials: np.ndarray) -> np.ndarray:
    """κ and its curl counterpart, which the lowest L do not outweigh, for 10 ≤ L ≤ L_max/2.

    Above, products of legs alias on a HEALPix grid of nside ≈ lmax/2, by some 10 % of φ̂ at L_max.
    """
    lmax = lmax_of(potentials.shape[-1])
    ell = np.arange(lmax + 1.0)
    return scale_alm(potentials, np.where((ell >= 10) & (ell <= lmax / 2), ell * (ell + 1) / 2, 0.0))


def _remap(size: Size, polarised: bool, epsilon: float) -> Run:
    teb, phi = inputs.unlensed_sky(size)
    teb = teb if polarised else teb[:1]
    grid = healpix_grid(size.nside_map)
    return lambda: remap_tp(teb, phi, grid, epsilon=epsilon)


def _lenspyx(size: Size, polarised: bool) -> Run:
    import lenspyx

    teb, phi = inputs.unlensed_sky(size)
    ell = np.arange(size.lmax_map + 1.0)
    spin1 = scale_alm(phi, np.sqrt(ell * (ell + 1)))
    geometry = ("healpix", {"nside": size.nside_map})
    threads = thread_count()

    def run() -> list[np.ndarray]:
        maps = lenspyx.alm2lenmap(
            list(teb) if polarised else teb[0], spin1, geometry=geometry, epsilon=EPSILON, nthreads=threads
        )
        return list(maps) if polarised else [maps]

    return run


def _bare_transforms(size: Size, polarised: bool) -> Run:
    """The transforms that lensing cannot do without: α by a spin-1 synthesis, then T, and Q and U, at given places."""
    import ducc0

    teb, phi = inputs.unlensed_sky(size)
    grid = healpix_grid(size.nside_map)
    positions, _ = deflected_positions(deflection(phi, grid), grid, rotation=False)
    ell = np.arange(size.lmax_map + 1.0)
    spin1 = np.stack([scale_alm(phi, np.sqrt(ell * (ell + 1))), np.zeros_like(phi)])
    rings = {"theta": grid.theta, "nphi": grid.nphi, "phi0": grid.phi0, "ringstart": grid.ringstart}
    common = {"lmax": size.lmax_map, "nthreads": thread_count()}

    def run() -> None:
        ducc0.sht.synthesis(alm=spin1, spin=1, **rings, **common)
        ducc0.sht.synthesis_general(alm=teb[:1], spin=0, loc=positions, epsilon=EPSILON, **common)
        if polarised:
            ducc0.sht.synthesis_general(alm=teb[1:], spin=2, loc=positions, epsilon=EPSILON, **common)

    return run


def _estimate(size: Size, keys: tuple[str, ...]) -> Run:
    lmax = size.lmax_phi
    legs, norm, weights = _phi_inputs(size, keys)
    mixing, _ = minimum_variance_weights(norm)

    def run() -> np.ndarray:
        return _phi(quadratic_estimates(keys, legs, weights, lmax), norm, mixing)

    return run


def _estimate_healpix(size: Size, keys: tuple[str, ...]) -> Run:
    lmax = size.lmax_phi
    legs, norm, weights = _phi_inputs(size, keys)
    mixing, _ = minimum_variance_weights(norm)

    def run() -> np.ndarray:
        return _phi({key: healpix_estimate(key, legs, weights, size.nside_phi, lmax) for key in keys}, norm, mixing)

    return run


def _phi_inputs(size: Size, keys: tuple[str, ...]) -> tuple:
    """Filtered legs, the normalisation and the weights; they are the same for every sky, and not timed."""
    lmax = size.lmax_phi
    weights, filt = inputs.weights(size, lmax), inputs.filters(size, lmax)
    legs = {field: filter_alm(alm, filt[field]) for field, alm in inputs.data_sky(size, lmax).items()}
    return legs, normalisation(keys, weights, weights, filt, inputs.totals(size, lmax), lmax), weights


def _phi(estimates: dict, norm: object, mixing: dict) -> np.ndarray:
    """φ̂ and Ω̂ of each estimator, and of MV where there is more than one."""
    each = [normalised(q, norm.response[key]) for key, q in estimates.items()]
    if len(each) > 1:
        each.append(minimum_variance(estimates, norm, mixing))
    return np.concatenate(each)


def _noise(size: Size) -> Run:
    lmax = size.lmax_noise
    weights, filt, totals = (f(size, lmax) for f in (inputs.weights, inputs.filters, inputs.totals))

    def run() -> np.ndarray:
        norm = normalisation(KEYS, weights, weights, filt, totals, lmax)
        minimum_variance_weights(norm)
        return np.stack([1 / np.maximum(norm.response[key][0], 1e-300) for key in KEYS])

    return run


def _pytempura(size: Size) -> Run:
    import pytempura

    lmax = size.lmax_noise
    weights, totals = inputs.weights(size, lmax), inputs.totals(size, lmax)

    def run() -> np.ndarray:
        norms = pytempura.get_norms([*KEYS, "MV"], weights, weights, totals, 100, lmax, k_ellmax=lmax, no_corr=False)
        return np.stack([norms[key][0] for key in KEYS])

    return run


def _lensed(size: Size) -> Run:
    spectra = inputs.theory(size)

    def run() -> np.ndarray:
        cls = lensed_spectra(spectra.unlensed, spectra.potential["PP"])
        return np.stack([cls[key] for key in ("TT", "EE", "BB", "TE")])

    return run


def _camb_lensed(size: Size, theta_max: float | None) -> Run:
    from camb.correlations import lensed_cls

    spectra = inputs.theory(size)
    ell = np.arange(size.lmax_lensed + 1.0)
    scale = np.maximum(ell * (ell + 1) / (2 * np.pi), 1e-300)
    cls = np.stack([spectra.unlensed[key] * scale for key in ("TT", "EE", "BB", "TE")], axis=1)
    clpp = spectra.potential["PP"] * (ell * (ell + 1)) ** 2 / (2 * np.pi)
    return lambda: (lensed_cls(cls, clpp, theta_max=theta_max) / scale[:, None]).T


def _python(*arguments: str) -> Run:
    return _command(sys.executable, *arguments)


def _command(*words: str) -> Run:
    # Bytecode is kept, as it is for anyone who starts a program twice; the first call, which is not timed, makes it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(inputs.FOLDER / "bytecode")
    return lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environment)
