"""The comparisons: what each side does, what is set up before the clock starts, and what is compared."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lensrec.arrays import thread_count
from lensrec.filtering.isotropic import filter_alm
from lensrec.quadratic.combination import minimum_variance, minimum_variance_weights, normalised
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.response import normalisation
from lensrec.spectra.coupling import coupling_matrices
from lensrec.sphere.alm import alm_to_cl, lmax_of, scale_alm
from lensrec.sphere.geodesic import pixel_angles
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.remap import deflected_positions, deflection, remap_by, remap_tp
from lensrec.sphere.sht import analysis
from lensrec.theory.lensing import lensed_spectra
from tests.benchmarks import inputs
from tests.benchmarks.bias_cases import n1_sides, rdn0_sides
from tests.benchmarks.healpix_estimators import healpix_estimate
from tests.benchmarks.inputs import Size

KEYS = ("TT", "TE", "TB", "EB", "EE")
EPSILON, SINGLE_EPSILON, FINEST = 1e-6, 1e-5, 1e-12
SKIES = 4
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
    return {
        **_map_cases(size),
        **_phi_cases(size),
        "noise": Case(
            f"responses and N0 of all five and MV, with cross terms, ℓ, L ≤ {size.lmax_noise}",
            {"lensrec": lambda: _noise(size), "pytempura": lambda: _pytempura(size)},
            sample=lambda n0: np.asarray(n0)[..., 10:],
        ),
        "rdn0": Case(
            f"RDN0, per simulation, of all five and MV, φ and Ω, ℓ, L ≤ {size.phi[0][1]}",
            rdn0_sides(size, size.phi[0][1]),
        ),
        "n1": Case(f"N1 of MV with its derivative by C^φφ, ℓ, L ≤ {size.lmax_noise}", n1_sides(size)),
        "coupling": Case(
            f"mode-coupling matrices of a mask, spin 0, 2 and between them, nside {size.coupling[0]}, "
            f"ℓ ≤ {size.coupling[1]}",
            {"lensrec": partial(_coupling, size)}
            | ({"NaMaster": partial(_namaster, size)} if find_spec("pymaster") else {}),
            sample=lambda matrix: np.asarray(matrix),
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


def _map_cases(size: Size) -> dict[str, Case]:
    rows = {}
    for nside, lmax in size.maps:
        for name, what, keep, epsilon, dtype in (
            ("T", "T", 1, EPSILON, np.complex128),
            ("TQU", "T, Q, U", 3, EPSILON, np.complex128),
            ("TQU-single", "T, Q, U", 3, SINGLE_EPSILON, np.complex64),
        ):
            problem = Lens(size, nside, lmax, keep, epsilon, dtype)
            rows[f"remap-{name}-{nside}"] = Case(
                f"lensed {what} from alm, nside {nside}, ℓ ≤ {lmax}, ε = {epsilon:g}, "
                f"{'single' if dtype is np.complex64 else 'double'}",
                {
                    "lensrec": partial(_remap, problem),
                    "lenspyx": partial(_lenspyx, problem),
                    "bare ducc0 transforms": partial(_bare_transforms, problem),
                },
                sample=lambda maps: np.asarray(maps)[:, ::101],
                truth=partial(_remap, problem._replace(epsilon=FINEST, dtype=np.complex128)),
                unlike=("bare ducc0 transforms",),
            )
    nside, lmax = size.maps[0]
    problem = Lens(size, nside, lmax, 3, EPSILON, np.complex128)
    rows["remap-skies"] = Case(
        f"lensed T, Q, U of {SKIES} skies behind one φ, otherwise as above, nside {nside}",
        {"lensrec": partial(_remap_skies, problem), "lenspyx, its deflection kept": partial(_lenspyx_skies, problem)},
        sample=lambda maps: np.asarray(maps)[:, ::101],
        truth=partial(_remap_skies, problem._replace(epsilon=FINEST)),
    )
    return rows


def _phi_cases(size: Size) -> dict[str, Case]:
    return {
        f"phi-{name}-{nside}": Case(
            f"φ̂ and Ω̂ from {title}, ℓ, L ≤ {lmax}",
            {
                "lensrec": partial(_estimate, size, lmax, keys),
                f"one by one on HEALPix, nside {nside}": partial(_estimate_healpix, size, nside, lmax, keys),
            },
            sample=convergence,
        )
        for nside, lmax in size.phi
        for name, title, keys in (("TT", "TT", ("TT",)), ("MV", "TT, TE, TB, EB, EE and MV", KEYS))
    }


def convergence(potentials: np.ndarray) -> np.ndarray:
    """κ and its curl counterpart, which the lowest L do not outweigh, for 10 ≤ L ≤ L_max/2.

    Above, products of legs alias on a HEALPix grid of nside ≈ lmax/2, by some 10 % of φ̂ at L_max.
    """
    lmax = lmax_of(potentials.shape[-1])
    ell = np.arange(lmax + 1.0)
    return scale_alm(potentials, np.where((ell >= 10) & (ell <= lmax / 2), ell * (ell + 1) / 2, 0.0))


class Lens(NamedTuple):
    """A sky to be lensed."""

    size: Size
    nside: int
    lmax: int
    keep: int
    epsilon: float
    dtype: type

    def sky(self, sim: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """T, or T, E, B, in the precision asked for, and φ."""
        teb, phi = inputs.unlensed_sky(self.size, self.lmax, sim)
        return teb[: self.keep].astype(self.dtype), phi

    def spin1(self, phi: np.ndarray) -> np.ndarray:
        """√(L(L+1)) φ_LM."""
        ell = np.arange(self.lmax + 1.0)
        return scale_alm(phi, np.sqrt(ell * (ell + 1)))


def _remap(lens: Lens) -> Run:
    teb, phi = lens.sky()
    grid = healpix_grid(lens.nside)
    return lambda: remap_tp(teb, phi, grid, epsilon=lens.epsilon)


def _lenspyx(lens: Lens) -> Run:
    import lenspyx

    teb, phi = lens.sky()
    spin1 = lens.spin1(phi)
    geometry = ("healpix", {"nside": lens.nside})
    threads = thread_count()

    def run() -> list[np.ndarray]:
        sky = list(teb) if lens.keep == 3 else teb[0]
        maps = lenspyx.alm2lenmap(sky, spin1, geometry=geometry, epsilon=lens.epsilon, nthreads=threads)
        return list(maps) if lens.keep == 3 else [maps]

    return run


def _bare_transforms(lens: Lens) -> Run:
    """The transforms that lensing cannot do without: α by a spin-1 synthesis, then T, and Q and U, at given places."""
    import ducc0

    teb, phi = lens.sky()
    grid = healpix_grid(lens.nside)
    positions, _ = deflected_positions(deflection(phi, grid), grid, rotation=False)
    spin1 = np.stack([lens.spin1(phi), np.zeros_like(phi)])
    rings = {"theta": grid.theta, "nphi": grid.nphi, "phi0": grid.phi0, "ringstart": grid.ringstart}
    common = {"lmax": lens.lmax, "nthreads": thread_count()}

    def run() -> None:
        ducc0.sht.synthesis(alm=spin1, spin=1, **rings, **common)
        ducc0.sht.synthesis_general(alm=teb[:1], spin=0, loc=positions, epsilon=lens.epsilon, **common)
        if lens.keep == 3:
            ducc0.sht.synthesis_general(alm=teb[1:], spin=2, loc=positions, epsilon=lens.epsilon, **common)

    return run


def _remap_skies(lens: Lens) -> Run:
    skies = [lens.sky(sim)[0] for sim in range(SKIES)]
    phi = lens.sky()[1]
    grid = healpix_grid(lens.nside)

    def run() -> np.ndarray:
        field = deflection(phi, grid)
        for teb in skies:
            maps = remap_by(teb, field, grid, epsilon=lens.epsilon)
        return maps

    return run


def _lenspyx_skies(lens: Lens) -> Run:
    from lenspyx.lensing import get_geom
    from lenspyx.remapping.deflection_028 import deflection as lenspyx_deflection

    skies = [lens.sky(sim)[0] for sim in range(SKIES)]
    spin1 = lens.spin1(lens.sky()[1])
    geometry, threads = get_geom(("healpix", {"nside": lens.nside})), thread_count()

    def run() -> np.ndarray:
        field = lenspyx_deflection(geometry, spin1, None, epsilon=lens.epsilon, numthreads=threads)
        for teb in skies:
            temperature = field.gclm2lenmap(teb[0], None, 0, False)
            maps = np.concatenate([np.atleast_2d(temperature), field.gclm2lenmap(teb[1:], None, 2, False)])
        return maps

    return run


def _estimate(size: Size, lmax: int, keys: tuple[str, ...]) -> Run:
    legs, norm, weights = _phi_inputs(size, lmax, keys)
    mixing, _ = minimum_variance_weights(norm)

    def run() -> np.ndarray:
        return _phi(quadratic_estimates(keys, legs, weights, lmax), norm, mixing)

    return run


def _estimate_healpix(size: Size, nside: int, lmax: int, keys: tuple[str, ...]) -> Run:
    legs, norm, weights = _phi_inputs(size, lmax, keys)
    mixing, _ = minimum_variance_weights(norm)

    def run() -> np.ndarray:
        return _phi({key: healpix_estimate(key, legs, weights, nside, lmax) for key in keys}, norm, mixing)

    return run


def _phi_inputs(size: Size, lmax: int, keys: tuple[str, ...]) -> tuple:
    """Filtered legs, the normalisation and the weights; they are the same for every sky, and not timed."""
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


def _mask(nside: int) -> np.ndarray:
    """An apodised cap."""
    theta, _ = pixel_angles(healpix_grid(nside), np.arange(12 * nside**2))
    return np.clip((np.radians(70) - theta) / np.radians(5), 0, 1)


def _coupling(size: Size) -> Run:
    nside, lmax = size.coupling
    mask, grid = _mask(nside), healpix_grid(nside)

    def run() -> np.ndarray:
        spectrum = alm_to_cl(analysis(mask, grid, min(2 * lmax, 3 * nside - 1), iterations=0))
        return coupling_matrices(spectrum, lmax)["00"]

    return run


def _namaster(size: Size) -> Run:
    import pymaster

    nside, lmax = size.coupling
    mask = _mask(nside)
    empty = np.zeros((2, 12 * nside**2))
    bins = pymaster.NmtBin.from_lmax_linear(lmax, 1)

    def run() -> np.ndarray:
        fields = [pymaster.NmtField(mask, empty[: 1 + spin // 2], spin=spin, n_iter=0, lmax=lmax) for spin in (0, 2)]
        for a, b in ((0, 1), (1, 1), (0, 0)):
            workspace = pymaster.NmtWorkspace.from_fields(fields[a], fields[b], bins)
        return workspace.get_coupling_matrix()

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
