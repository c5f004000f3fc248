"""Lensed spectra and C_L^φφ of ΛCDM, Σm_ν of either sign and w0w_a, from polynomials, for any A_L^TTTEEE.

Three facts keep the polynomials small. Unlensed spectra are proportional to A_s, and to e^{−2τ} where reionisation does
not show, so that only the rest is expanded. They hardly know dark energy, save by the late ISW effect. And lensing is
linear in unlensed spectra: with U_p the principal components of these (U_0 their mean),

    C_ℓ(θ) = F Σ_p α_p(θ) U_pℓ,    F = A_s e^{−2τ} over that of the centre,
    C̃_ℓ = F Σ_p α_p [Σ_k T_pkℓ (a − 1)^k + Σ_b (ρ_b − a) Σ_j D_pjbℓ (a − 1)^j],

where the components are lensed once, by C_L^φφ of a reference, times amplitudes (T, a quartic), and with C_L^φφ of the
reference changed by a hat function of ln L about each of some multipoles L_b (D, to first order, at three amplitudes).
Any C_L^φφ goes in through its ratios to the reference, and the mean of these,

    ρ_b = A_L^TTTEEE r(L_b) C^φφ(L_b; θ)/C^φφ,ref(L_b),    a = Σ_b w_b ρ_b,    Σ_b w_b = 1,

with r the ratio of a further model to this one: the smoothing follows from what C_L^φφ is, whichever parameter
made it so. ln(C_L^φφ/A_s) is expanded in components with polynomial coefficients as well.

Σm_ν < 0, in two definitions that are never mixed:

"observables" (mirrored): X(−m) = 2X(0) − X(m) for each output with the sampled parameters, θ_* among them, held fixed.
Of C_L^φφ the logarithm is mirrored instead for large masses; between 0.2 and 0.4 eV one passes smoothly into the
other, so that value and derivative are continuous. They are at 0, too.

"lensing" (Craig, Green, Meyers & Rajendran, arXiv:2405.00836): primary spectra, H0 and Ω_m at a physical mass,
whatever Σm_ν is, and C_L^φφ alone extrapolated in it as above, where it lenses and where it is reconstructed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.fit.emulator_points import PARAMETERS, PIVOT, Box, cmb_knots, potential_knots
from lensrec.theory.polynomials import Monomials
from lensrec.theory.spectra import Spectra

KEYS = ("TT", "TE", "EE", "BB")
DERIVED = ("H0", "omega_m")
Mirror = Literal["observables", "lensing"]
PHYSICAL_MASS = 0.06
"""Σm_ν in eV of everything but C_L^φφ in the lensing definition."""

DARK_ENERGY, DARK_ENERGY_SCALE = 0.5, 1.2
"""c of the variable for w + w_a, and half of that variable's range."""

BLEND = (0.2, 0.4)
"""From |Σm_ν| in eV where C_L^φφ is mirrored to where its logarithm is."""

_TAU, _LOG_A, _MASS = PARAMETERS.index("tau"), PARAMETERS.index("logA"), PARAMETERS.index("mnu")


class Coefficients(NamedTuple):
    """What everything is linear in, and what it all comes from.

    `cmb` (…, P+1, K): of (a − 1)^k of each lensed component; `bands` (…, P_b, J, B): of each change of shape;
    `log_potential` (…, n): ln C_L^φφ at its knots; `derived` (…, 2): H0 and Ω_m. Their derivatives have one more axis
    at the front, over the parameters and A_L^TTTEEE.
    """

    cmb: NDArray[np.float64]
    bands: NDArray[np.float64]
    log_potential: NDArray[np.float64]
    derived: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Emulator:
    """The theory over a box of cosmologies.

    Attributes
    ----------
    lmax : int
        CMB spectra run from ℓ = 0 to lmax, C_L^φφ to lmax + 2500.
    box : Box
    monomials, potential_monomials : Monomials
        In the scaled parameters (`scaled`), of α_p, and of the components of ln C_L^φφ.
    primary : array (M, P+1)
        Coefficients of α_p; α_0 = 1.
    potential : array (M', Q)
        Of the components of ln(C_L^φφ/A_s).
    components : array (Q+1, n)
        These, their mean first, at the knots of C_L^φφ.
    derived_coefficients : array (M', 2)
        Of ln H0 and ln Ω_m.
    unlensed : array (P+1, 3, n_u)
        U_p of TT, TE, EE at the knots of unlensed spectra, µK².
    lensed : array (P+1, K, 4, n_l)
        T of TT, TE, EE, BB at the knots up to lmax.
    bands : array (P_b, J, B, 4, n_l)
        D of the first components.
    band_knots : array (B,), int
        Where L_b lie among the knots of C_L^φφ.
    band_weights : array (B,)
        w_b.
    reference : array (n,)
        ln C_L^φφ,ref at its knots.
    shift : array (n,)
        What the means of ln C_L^φφ have been given for more accurate settings of CAMB.
    errors : mapping of str to array
        Of each set of data, largest |error| over points not seen, root mean square, and their number: (3, bins), in σ;
        and under the name with `_centre` the error at the centre, (1, bins). See `lensrec.fit.emulator_errors`.
    """

    lmax: int
    box: Box
    monomials: Monomials
    potential_monomials: Monomials
    primary: NDArray[np.float64]
    potential: NDArray[np.float64]
    components: NDArray[np.float64]
    derived_coefficients: NDArray[np.float64]
    unlensed: NDArray[np.float64]
    lensed: NDArray[np.float64]
    bands: NDArray[np.float64]
    band_knots: NDArray[np.int64]
    band_weights: NDArray[np.float64]
    reference: NDArray[np.float64]
    shift: NDArray[np.float64]
    errors: Mapping[str, NDArray[np.float64]]

    def spectra(
        self,
        x: ArrayLike,
        mirrored: Mirror = "observables",
        *,
        a_smooth: float = 1.0,
        a_phi: float = 1.0,
        ratio: NDArray | None = None,
    ) -> Spectra:
        """Lensed TT, TE, EE, BB in µK² from ℓ = 0 to lmax, and PP to lmax + 2500.

        Parameters
        ----------
        x : array (9,)
            In the order of PARAMETERS; Σm_ν of either sign.
        mirrored : str
            What a negative Σm_ν means.
        a_smooth, a_phi : float
            A_L^TTTEEE, A_L^φφ.
        ratio : array, optional
            r_L from L = 0 to lmax + 2500 by which C_L^φφ of a further model differs, in the smoothing as in PP.
        """
        of = self.coefficients(x, a_smooth, mirrored, ratio=ratio)
        at_knots = np.einsum("pk,pkxn->xn", of.cmb, self.lensed)
        at_knots += np.einsum("pjb,pjbxn->xn", of.bands, self.bands)
        out = {key: interpolated(row, self.lmax) for key, row in zip(KEYS, at_knots, strict=True)}
        out["PP"] = a_phi * potential_interpolation(self.lmax) @ np.exp(of.log_potential)
        if ratio is not None:
            out["PP"] *= np.asarray(ratio)[: len(out["PP"])]
        return out

    def unlensed_spectra(self, x: ArrayLike) -> Spectra:
        """TT, TE, EE at Σm_ν ≥ 0 before lensing, µK², from ℓ = 0 to lmax + 1500."""
        alpha, _ = self._primary(np.asarray(x, dtype=np.float64), slopes=False)
        rows = np.einsum("p,pxn->xn", alpha, self.unlensed)
        return {key: interpolated(row, self.lmax + 1500, self.lmax) for key, row in zip(KEYS[:3], rows, strict=True)}

    def derived(self, x: ArrayLike, mirrored: Mirror = "observables") -> dict[str, NDArray[np.float64]]:
        """H0 in km/s/Mpc and Ω_m for x (…, 9)."""
        values = self.coefficients(x, 1.0, mirrored).derived
        return {name: values[..., k] for k, name in enumerate(DERIVED)}

    def coefficients(
        self, x: ArrayLike, a_smooth: ArrayLike, mirrored: Mirror = "observables", *, ratio: NDArray | None = None
    ) -> Coefficients:
        """What spectra at x (…, 9) and A_L^TTTEEE (…) are made of."""
        return self._either(np.asarray(x, dtype=np.float64), np.asarray(a_smooth), mirrored, ratio, False)[0]

    def coefficient_derivatives(
        self, x: ArrayLike, a_smooth: float, mirrored: Mirror = "observables", *, ratio: NDArray | None = None
    ) -> tuple[Coefficients, Coefficients]:
        """The same at x (9,), and derivatives by x and A_L^TTTEEE: a new first axis of 10."""
        return self._either(np.asarray(x, dtype=np.float64), np.asarray(a_smooth), mirrored, ratio, True)

    def _either(
        self, x: NDArray, a_smooth: NDArray, mirrored: Mirror, ratio: NDArray | None, slopes: bool
    ) -> tuple[Coefficients, Coefficients]:
        """Coefficients and, if asked for, their derivatives, for either sign of Σm_ν."""
        if x.ndim == 0 or x.shape[-1] != len(PARAMETERS):
            raise ValueError(f"the emulator is in {', '.join(PARAMETERS)}, got an array of shape {x.shape}")
        if mirrored not in ("observables", "lensing"):
            raise ValueError(f'mirrored is "observables" or "lensing", got {mirrored!r}')
        mass = x[..., _MASS]
        plain = mirrored == "observables" and bool(np.all(mass >= 0))
        here = self._log_potential(_with_mass(x, np.abs(mass)), slopes)
        zero = here if plain else self._log_potential(_with_mass(x, 0.0), slopes)
        potential = here if plain else _mirrored_log(here, zero, mass)
        if mirrored == "lensing":
            fixed = _with_mass(x, PHYSICAL_MASS)
            return self._lensed(fixed, potential, a_smooth, ratio, slopes, mass_moves_primary=False)
        found, slope = self._lensed(_with_mass(x, np.abs(mass)), here, a_smooth, ratio, slopes)
        if plain:
            return found, slope
        at_zero, slope_zero = self._lensed(_with_mass(x, 0.0), zero, a_smooth, ratio, slopes)
        negative = mass < 0
        value = Coefficients(*(_where(negative, 2 * none - one, one) for one, none in zip(found, at_zero, strict=True)))
        value = value._replace(log_potential=potential[0])
        if not slopes:
            return value, slope
        if negative:
            # by Σm_ν itself the derivative is that by |Σm_ν|: both the mirror and the modulus change its sign
            parts = []
            for one, none in zip(slope, slope_zero, strict=True):
                part = 2 * none - one
                part[_MASS] = one[_MASS]
                parts.append(part)
            slope = Coefficients(*parts)
        log_slope = np.concatenate([potential[1], np.zeros_like(potential[1][:1])])
        return value, slope._replace(log_potential=log_slope)

    def _lensed(
        self,
        x: NDArray,
        log_potential: tuple[NDArray, NDArray],
        a_smooth: NDArray,
        ratio: NDArray | None,
        slopes: bool,
        *,
        mass_moves_primary: bool = True,
    ) -> tuple[Coefficients, Coefficients]:
        """At Σm_ν ≥ 0, for a C_L^φφ that may be another's."""
        alpha, alpha_slopes = self._primary(x, slopes)
        log_derived, derived_slopes = self._derived(x, slopes)
        seen = np.exp((log_potential[0] - self.reference)[..., self.band_knots])
        if ratio is not None:
            seen = seen * np.asarray(ratio, dtype=np.float64)[potential_knots(self.lmax)[self.band_knots]]
        rho = a_smooth[..., None] * seen
        mean = rho @ self.band_weights
        shape = rho - mean[..., None]
        n_first, orders = self.bands.shape[:2]
        first = alpha[..., :n_first]
        powers = (mean - 1)[..., None] ** np.arange(self.lensed.shape[1])
        of_shape = powers[..., :orders, None] * shape[..., None, :]
        derived = np.exp(log_derived)
        value = Coefficients(
            alpha[..., None] * powers[..., None, :],
            first[..., None, None] * of_shape[..., None, :, :],
            log_potential[0],
            derived,
        )
        if not slopes:
            return value, value
        # by x, then by A_L^TTTEEE, which moves nothing but ρ
        none = np.zeros((1, 1))
        if not mass_moves_primary:
            alpha_slopes, derived_slopes = alpha_slopes.copy(), derived_slopes.copy()
            alpha_slopes[_MASS], derived_slopes[_MASS] = 0.0, 0.0
        d_alpha = np.concatenate([alpha_slopes, none * alpha])
        d_rho = np.concatenate([rho * log_potential[1][:, self.band_knots], seen[None]])
        d_mean = d_rho @ self.band_weights
        d_shape = d_rho - d_mean[:, None]
        k = np.arange(self.lensed.shape[1])
        d_powers = d_mean[:, None] * (k * (mean - 1) ** np.maximum(k - 1, 0))
        d_of_shape = d_powers[:, :orders, None] * shape + powers[:orders, None] * d_shape[:, None, :]
        return value, Coefficients(
            d_alpha[:, :, None] * powers + alpha[:, None] * d_powers[:, None, :],
            d_alpha[:, :n_first, None, None] * of_shape + first[:, None, None] * d_of_shape[:, None],
            np.concatenate([log_potential[1], none * log_potential[0]]),
            np.concatenate([derived * derived_slopes, none * derived]),
        )

    def _primary(self, x: NDArray, slopes: bool) -> tuple[NDArray, NDArray]:
        """F α_p at x, and the derivatives, (9, P+1)."""
        amplitude = np.exp(x[..., _LOG_A] - self.box.centre[_LOG_A] - 2 * (x[..., _TAU] - self.box.centre[_TAU]))
        alpha = amplitude[..., None] * (self.monomials.value(scaled(x, self.box)) @ self.primary)
        if not slopes:
            return alpha, alpha
        y, dy = scaled(x, self.box), scale_derivatives(x, self.box)
        out = amplitude * (dy @ (self.monomials.derivatives(y) @ self.primary))
        out[_LOG_A] += alpha
        out[_TAU] -= 2 * alpha
        return alpha, out

    def _log_potential(self, x: NDArray, slopes: bool) -> tuple[NDArray, NDArray]:
        """ln C_L^φφ at its knots, and the derivatives, (9, n)."""
        y = scaled(x, self.box)
        n = len(self.components) - 1
        value = self.components[0] + self.potential_monomials.value(y) @ self.potential @ self.components[1:]
        value = value + x[..., _LOG_A, None]
        if not slopes or n == 0:
            return value, value
        of_y = self.potential_monomials.derivatives(y) @ self.potential @ self.components[1:]
        out = scale_derivatives(x, self.box) @ of_y
        out[_LOG_A] += 1.0
        return value, out

    def _derived(self, x: NDArray, slopes: bool) -> tuple[NDArray, NDArray]:
        y = scaled(x, self.box)
        value = self.potential_monomials.value(y) @ self.derived_coefficients
        if not slopes:
            return value, value
        of_y = self.potential_monomials.derivatives(y) @ self.derived_coefficients
        return value, scale_derivatives(x, self.box) @ of_y


def scaled(x: ArrayLike, box: Box) -> NDArray[np.float64]:
    """x (…, 9) in the variables of the polynomials, about −1 to 1; the mass from 0, dark energy from Λ.

    For w and w_a stand w + 0.273 w_a, and (e^{c(1+w+w_a)} − 1)/c, c = DARK_ENERGY: how much less there once was of dark
    energy hardly matters, where it was much less. Errors of C_L^φφ are half of those with w_a.
    """
    x = np.asarray(x, dtype=np.float64)
    centre, half = _scales(box)
    y = (x - centre) / half
    y[..., 7] = (x[..., 7] + 1 + PIVOT * x[..., 8]) / half[7]
    y[..., 8] = np.expm1(DARK_ENERGY * (1 + x[..., 7] + x[..., 8])) / (DARK_ENERGY * half[8])
    return y


def scale_derivatives(x: ArrayLike, box: Box) -> NDArray[np.float64]:
    """∂y/∂x as rows of x (9,): (9, 9)."""
    x = np.asarray(x, dtype=np.float64)
    _, half = _scales(box)
    out = np.diag(1 / half)
    out[8, 7] = PIVOT / half[7]
    out[7:, 8] = np.exp(DARK_ENERGY * (1 + x[7] + x[8])) / half[8]
    return out


@lru_cache(maxsize=4)
def _scales(box: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.array(box.low), np.array(box.high)
    half = np.array([*(high[:6] - low[:6]) / 2, high[6], np.ptp(box.pivot) / 2, DARK_ENERGY_SCALE])
    return np.array([*box.centre[:6], 0.0, -1.0, 0.0]), half


def _with_mass(x: NDArray, mass: ArrayLike) -> NDArray[np.float64]:
    out = np.array(x)
    out[..., _MASS] = mass
    return out


def _where(negative: NDArray, one: NDArray, other: NDArray) -> NDArray[np.float64]:
    return np.where(negative.reshape(negative.shape + (1,) * (one.ndim - negative.ndim)), one, other)


def _mirrored_log(
    here: tuple[NDArray, NDArray], zero: tuple[NDArray, NDArray], mass: NDArray
) -> tuple[NDArray, NDArray]:
    """ln C_L^φφ at Σm_ν of either sign, and its derivatives by x, from both at |Σm_ν| and 0.

    Of C itself, 2C(0) − C(m), blended over BLEND into that of ln C: t³-smooth, so that derivatives have no step.
    """
    drop = here[0] - zero[0]
    size = np.abs(mass)
    t = np.clip((size - BLEND[0]) / (BLEND[1] - BLEND[0]), 0.0, 1.0)
    weight = (t * t * (3 - 2 * t))[..., None]
    by_value, by_log = np.log(np.maximum(2 - np.exp(drop), 1e-3)), -drop
    value = zero[0] + np.where((mass < 0)[..., None], (1 - weight) * by_value + weight * by_log, drop)
    if here[1] is here[0] or mass.ndim or mass >= 0:
        return value, here[1]
    d_drop = here[1] - zero[1]
    d_drop[_MASS] = -here[1][_MASS]
    d_zero = zero[1].copy()
    d_zero[_MASS] = 0.0
    d_weight = np.zeros((len(d_drop), 1))
    d_weight[_MASS] = -6 * t * (1 - t) / (BLEND[1] - BLEND[0])
    by_value_slope = -np.exp(drop) / (2 - np.exp(drop)) * d_drop
    slope = (1 - weight) * by_value_slope - weight * d_drop + d_weight * (by_log - by_value)
    return value, d_zero + slope


def interpolated(row: NDArray, top: int, lmax: int | None = None) -> NDArray[np.float64]:
    """A CMB spectrum (…, n) at its knots, at every ℓ from 0 to `top`; zero at 0 and 1."""
    from scipy.interpolate import CubicSpline

    knots = cmb_knots(top if lmax is None else lmax)[: row.shape[-1]]
    out = np.zeros((*row.shape[:-1], top + 1))
    out[..., 2:] = CubicSpline(knots, row, axis=-1)(np.arange(2, top + 1))
    return out


@lru_cache(maxsize=4)
def potential_interpolation(lmax: int) -> NDArray[np.float64]:
    """The matrix (lmax + 2501, n) from C_L^φφ at its knots to every L: a cubic spline of [L(L+1)]² C_L in ln L."""
    from scipy.interpolate import CubicSpline

    knots = potential_knots(lmax)
    ell = np.arange(2, lmax + 2501)
    out = np.zeros((lmax + 2501, len(knots)))
    spline = CubicSpline(np.log(knots), np.eye(len(knots)))(np.log(ell))
    out[2:] = spline * (knots * (knots + 1.0)) ** 2 / (ell * (ell + 1.0))[:, None] ** 2
    out.setflags(write=False)
    return out
