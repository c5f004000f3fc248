"""What a forecast knows of the theory: spectra and distances at a fiducial cosmology, and their derivatives.

Derivatives are central differences, (f(θ + h) − f(θ − h))/2h, θ_* held unless it is the parameter, and Σmν in three
equal states or in one. A step is a few of the errors to be forecast, or, for parameters that are degenerate and poorly
measured (Σmν, w, wa), small against what it changes: see STEPS. The second differences come free, and tell how far the
model is from linear.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.forecast_bao import REDSHIFTS
from lensrec.theory.acoustic_scale import DAMPED, MARGIN
from lensrec.theory.spectra import Spectra, extended

FIDUCIAL: Mapping[str, float] = MappingProxyType(
    {
        "ombh2": 0.02236,
        "omch2": 0.1202,
        "thetastar": 0.0104109,
        "logA": 3.045,
        "ns": 0.9649,
        "tau": 0.0544,
        "mnu": 0.06,
        "w": -1.0,
        "wa": 0.0,
    }
)
"""Planck 2018 VI (arXiv:1807.06209), table 2, TT,TE,EE+lowE; Σmν in eV."""

STEPS: Mapping[str, float] = MappingProxyType(
    {
        "ombh2": 2e-4,
        "omch2": 2e-3,
        "thetastar": 5e-6,
        "logA": 0.02,
        "ns": 0.01,
        "tau": 0.01,
        "mnu": 0.03,
        "w": 0.05,
        "wa": 0.1,
    }
)
"""Steps of the central differences. Halved, they move the errors of ΛCDM, Σmν and both A_L by less than 0.9 % (SO with
DESI), those in w0wa by less than 3.1 %, of which most is noise of the halved ones."""

BEYOND, BEYOND_PHI = 1500, 2500
"""Multipoles that spectra of the CMB and of φ are carried on beyond lmax, for lensing there to be good to 1e-4."""

TAIL = ("r_d", "H0", "omega_m")
"""What follows the distances in a vector of `evaluate`."""

NNU = 3.044
"""N_eff."""


MASSIVE: Mapping[str, int] = MappingProxyType({"degenerate": 3, "one": 1})
"""How many states share Σmν. Errors depend on it: three of 0.02 eV change the expansion and the growth later, and by
less an eV, than one of 0.06 eV, so that σ(Σmν) of SO with DESI is 16 % larger for three."""


class TheoryPoint(NamedTuple):
    """One evaluation: parameters by name, and how far it goes."""

    parameters: tuple[tuple[str, float], ...]
    lmax: int
    lens_potential_accuracy: float
    neutrinos: str = "degenerate"


class Layout(NamedTuple):
    """Where the parts of a vector of `evaluate` lie."""

    top: int
    lmax_phi: int

    @property
    def cmb(self) -> int:
        """Length of one CMB spectrum."""
        return self.top + 1

    def spectra(self, vector: NDArray) -> Spectra:
        """Unlensed TT, EE, TE, µK², or their derivatives, each (top+1,)."""
        return {key: vector[k * self.cmb : (k + 1) * self.cmb] for k, key in enumerate(("TT", "EE", "TE"))}

    def cl_phi(self, vector: NDArray) -> NDArray[np.float64]:
        """C_L^φφ, (lmax_phi+1,)."""
        return vector[3 * self.cmb :][: self.lmax_phi + 1]

    def distances(self, vector: NDArray) -> NDArray[np.float64]:
        """D_M and D_H at REDSHIFTS in Mpc, (2, n)."""
        start = 3 * self.cmb + self.lmax_phi + 1
        return vector[start : start + 2 * len(REDSHIFTS)].reshape(2, -1)

    def tail(self, vector: NDArray) -> dict[str, float]:
        """r_d in Mpc, H0 in km/s/Mpc, and Ω_m."""
        return {name: float(value) for name, value in zip(TAIL, vector[-len(TAIL) :], strict=True)}


def layout(lmax: int) -> Layout:
    """That of a point with this lmax: CMB to lmax + 1500 (2500 at least), C_L^φφ to lmax + 2500."""
    return Layout(max(lmax + BEYOND, DAMPED), lmax + BEYOND_PHI)


def evaluate(point: TheoryPoint) -> NDArray[np.float64]:
    """Unlensed TT, EE, TE, then C_L^φφ, D_M, D_H, and r_d, H0, Ω_m, end to end; see `Layout`.

    Raises
    ------
    ValueError
        Where CAMB finds no such cosmology.
    """
    import camb

    values = dict(point.parameters)
    shape = layout(point.lmax)
    end = max(point.lmax + MARGIN, DAMPED)
    try:
        params = camb.set_params(
            ombh2=values["ombh2"],
            omch2=values["omch2"],
            thetastar=values["thetastar"],
            mnu=values["mnu"],
            nnu=NNU,
            num_massive_neutrinos=MASSIVE[point.neutrinos],
            neutrino_hierarchy="degenerate",
            As=1e-10 * np.exp(values["logA"]),
            ns=values["ns"],
            tau=values["tau"],
            w=values["w"],
            wa=values["wa"],
            dark_energy_model="ppf",
            lmax=end,
            lens_potential_accuracy=point.lens_potential_accuracy,
        )
        results = camb.get_results(params)
    except (camb.CAMBError, ValueError, ArithmeticError) as error:
        listed = ", ".join(f"{name}={value:g}" for name, value in point.parameters)
        raise ValueError(f"CAMB finds no spectra for {listed}: {' '.join(str(error).split())}") from error
    table = results.get_unlensed_scalar_cls(lmax=end, CMB_unit="muK", raw_cl=True)
    cl_phi = results.get_lens_potential_cls(lmax=end, CMB_unit="muK", raw_cl=True)[:, 0]
    tt, ee = (extended(table[:, k], shape.top, law="exponential")[: shape.cmb] for k in (0, 1))
    te = np.pad(table[:, 3], (0, max(0, shape.top - end)))[: shape.cmb]
    potential = extended(cl_phi, shape.lmax_phi, law="power")[: shape.lmax_phi + 1]
    d_m, d_h = results.comoving_radial_distance(REDSHIFTS), 1.0 / results.h_of_z(REDSHIFTS)
    h = params.H0 / 100
    omega_m = (params.ombh2 + params.omch2 + params.omnuh2) / h**2
    tail = [results.get_derived_params()["rdrag"], params.H0, omega_m]
    return np.concatenate([tt, ee, te, potential, d_m, d_h, tail])


@dataclass(frozen=True, eq=False)
class Responses:
    """The theory about a fiducial cosmology.

    Attributes
    ----------
    parameters : tuple of str
        In the order of the rows below.
    fiducial : mapping of str to float
        All of FIDUCIAL's keys.
    lmax : int
    value : array (n,)
        f at the fiducial point, see `Layout`.
    first : array (p, n)
        ∂f/∂θ.
    second : array (p, n)
        ∂²f/∂θ², each parameter with itself.
    """

    parameters: tuple[str, ...]
    fiducial: Mapping[str, float]
    lmax: int
    value: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    @property
    def layout(self) -> Layout:
        """Where the parts of the vectors lie."""
        return layout(self.lmax)

    def derivative(self, name: str) -> NDArray[np.float64]:
        """∂f/∂θ of one parameter, (n,)."""
        return self.first[self.parameters.index(name)]

    def derived(self, name: str) -> NDArray[np.float64]:
        """∂/∂θ of r_d, H0 or omega_m, (p,)."""
        return self.first[:, len(TAIL) * -1 + TAIL.index(name)]


def responses(
    *,
    lmax: int,
    parameters: Sequence[str] = tuple(FIDUCIAL),
    fiducial: Mapping[str, float] = FIDUCIAL,
    steps: Mapping[str, float] = STEPS,
    lens_potential_accuracy: float = 2,
    neutrinos: str = "degenerate",
    mapping: Callable[[Callable[[TheoryPoint], NDArray], Iterable[TheoryPoint]], Iterable[NDArray]] = map,
) -> Responses:
    """The fiducial theory and its derivatives, from 1 + 2p calls of CAMB.

    Parameters
    ----------
    lmax : int
        Highest multipole of the CMB that will be forecast.
    parameters : sequence of str
        Of FIDUCIAL's keys those that derivatives are wanted by.
    fiducial, steps : mappings
        Values of all of FIDUCIAL's keys, and steps of `parameters`.
    lens_potential_accuracy : float
        As in `theory.acoustic_scale.unlensed_cosmology`.
    neutrinos : "degenerate" or "one"
        Three states of equal mass, or a single massive one.
    mapping : callable
        mapping(evaluate, list of TheoryPoint) yields the vectors in order: `map`, a pool's, or one that keeps them.

    Raises
    ------
    ValueError
        For an unknown parameter, a fiducial value that is missing, or a step that is not positive.
    """
    unknown = sorted((set(parameters) | set(fiducial)) - set(FIDUCIAL))
    missing = sorted(set(FIDUCIAL) - set(fiducial))
    if unknown or missing:
        raise ValueError(
            f"a forecast's parameters are {', '.join(FIDUCIAL)}: "
            + (f"unknown {', '.join(unknown)}" if unknown else f"the fiducial lacks {', '.join(missing)}")
        )
    if neutrinos not in MASSIVE:
        raise ValueError(f"neutrinos of a forecast are {', '.join(MASSIVE)}, got {neutrinos!r}")
    bad = [name for name in parameters if not steps.get(name, 0.0) > 0]
    if bad:
        raise ValueError(f"derivatives by {', '.join(bad)} need a positive step")

    def at(name: str | None = None, sign: float = 0.0) -> TheoryPoint:
        values = {key: float(fiducial[key]) for key in FIDUCIAL}
        if name is not None:
            values[name] += sign * steps[name]
        return TheoryPoint(tuple(values.items()), lmax, lens_potential_accuracy, neutrinos)

    tasks = [at(), *(at(name, sign) for name in parameters for sign in (1.0, -1.0))]
    vectors = list(mapping(evaluate, tasks))
    middle, plus, minus = vectors[0], np.array(vectors[1::2]), np.array(vectors[2::2])
    h = np.array([steps[name] for name in parameters])[:, None]
    return Responses(
        tuple(parameters),
        MappingProxyType(dict(fiducial)),
        lmax,
        middle,
        (plus - minus) / (2 * h),
        (plus + minus - 2 * middle) / h**2,
    )
