"""Fields other than lensing that correlate multipoles, and the quadratic estimators of them.

A real scalar field c(n), of sources, of noise, of gain, of a mask, makes to first order

    ⟨X_ℓ₁m₁ Y_ℓ₂m₂⟩ = Σ_LM (−1)^M 3j(ℓ₁ ℓ₂ L; m₁ m₂ −M) f^c_{ℓ₁Lℓ₂} c_LM,

and with Γˢ = [(2ℓ₁+1)(2ℓ₂+1)(2L+1)/4π]^½ 3j(ℓ₁ ℓ₂ L; s −s 0) every one here has, for temperature,

    f^c = Γ⁰ (p_ℓ₁ r_ℓ₂ + r_ℓ₁ p_ℓ₂).

Additive: independent emission of variance c(n) at each point, of profile u: p = ½u, r = u, so f = Γ⁰ u_ℓ₁ u_ℓ₂
(Namikawa, Hanson & Takahashi 2013, arXiv:1209.0091; Osborne, Hanson & Doré 2014, arXiv:1310.7547; with a profile
Sailer, Schaan & Ferraro 2020, arXiv:2007.04325). In maps that are deconvolved for the beam, point sources have u = 1
and white noise of uneven power has u_ℓ = 1/b_ℓ.

Modulating: T_obs = b∗T + c · (βb∗T), deconvolved: δT_ℓ₁ = b_ℓ₁⁻¹ Σ (3j) Γ⁰ c β_ℓ₂ b_ℓ₂ T_ℓ₂, so p = 1/b and r = b β C:
β goes with the multipole of C. β = 1 and b = 1 give the mask of Namikawa et al., f = Γ⁰ (C_ℓ₁ + C_ℓ₂).

Polarisation is P_obs = P + cP; its harmonics mix by Γ² in place of Γ⁰, and with e, o = [1 ± (−1)^{ℓ₁+ℓ₂+L}]/2

    EE  e Γ² (p₁ r₂ + r₁ p₂)       EB  −i o Γ² (p₁ r₂ [C^BB] + r₁ [C^EE] p₂)
    TE  e (p₁ r₂ Γ⁰ + r₁ p₂ Γ²)    TB  −i o Γ² r₁ p₂             r with C^TE for both,

the table of `products` again, each gradient leg replaced by the field itself. Additive emission with equal and
independent Q and U has C^EE = C^BB: EE  e Γ² u₁u₂,  EB  −i o Γ² u₁u₂, and none of TE and TB.

Position space: Γˢ is the integral of three harmonics, so an estimator is a product of two scalar or spin-2 fields,

    q^c_LM = (1 + δ_XY)⁻¹ (−1)^M Σ 3j f^c* X̄ Ȳ = Σ ∫ Y*_LM (p∗X̄)(r∗Ȳ)        or      ∫ Y*_LM Re[(p∗ ₂X̄)* (r∗ ₂Ȳ)].
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import real_dtype
from lensrec.quadratic.products import PRODUCTS, products_in_use
from lensrec.sphere.alm import alm_size, lmax_of, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.sht import adjoint_synthesis, synthesis


@dataclass(frozen=True, eq=False)
class FieldProduct:
    """One product p∗X̄ times r∗Ȳ, both in the spin of X.

    Attributes
    ----------
    plain, source : "T", "E" or "B"
        X and Y, as in `products.Product`.
    outer, inner : array (lmax+1,)
        p_ℓ and r_ℓ; zero beyond their ends.
    factor : float
        Multiplies the product.
    """

    plain: str
    source: str
    outer: NDArray[np.float64]
    inner: NDArray[np.float64]
    factor: float = 1.0


@dataclass(frozen=True, eq=False)
class Contaminant:
    """The weight functions f^c of one scalar field.

    Attributes
    ----------
    products : mapping of "TT", "EE", "TE", "TB", "EB" to tuple of FieldProduct
        Empty where the field leaves the pair uncorrelated; a key is missing where its spectra were not given.
    """

    products: Mapping[str, tuple[FieldProduct, ...]]

    def of(self, key: str, name: str) -> tuple[FieldProduct, ...]:
        """The products of an estimator; `name` is how an error calls the field.

        Raises
        ------
        ValueError
            For an unknown estimator, or one whose spectra the field was not given.
        """
        if key not in PRODUCTS:
            raise ValueError(f"unknown estimator {key!r}: the quadratic estimators are {', '.join(PRODUCTS)}")
        if key not in self.products:
            raise ValueError(f"field {name!r} has no weights for {key}: give it the spectra that {key} needs")
        return self.products[key]


def additive(profile: NDArray) -> Contaminant:
    """Emission, independent from point to point, with a profile: f = Γˢ u_ℓ₁ u_ℓ₂.

    Parameters
    ----------
    profile : array (lmax+1,)
        u_ℓ in beam-deconvolved maps: 1 for point sources. c(n) is the variance per steradian of what is convolved
        with u; for point sources Σ s²/dΩ, µK² sr if s is in µK sr.

    Raises
    ------
    ValueError
        If the profile is zero or not finite.
    """
    u = np.asarray(profile, dtype=np.float64)
    if not np.isfinite(u).all() or not u.any():
        raise ValueError("the profile of a field must be finite and not zero everywhere")
    products = {
        "TT": (FieldProduct("T", "T", u, u, 0.5),),
        "EE": (FieldProduct("E", "E", u, u, 0.5),),
        "EB": (FieldProduct("B", "E", u, u),),
        "TE": (),
        "TB": (),
    }
    return Contaminant(products)


def point_sources(lmax: int) -> Contaminant:
    """Sources without extent in beam-deconvolved maps, f = Γˢ; in polarisation of random angles."""
    return additive(np.ones(lmax + 1))


def uneven_noise(beam: NDArray) -> Contaminant:
    """White noise of power N(n), µK² sr: f = Γˢ/(b_ℓ₁ b_ℓ₂); zero where the beam (lmax+1,) is.

    N is of T for TT and of each of Q and U, uncorrelated, for EE and EB.
    """
    return additive(_inverse(beam))


def modulation(
    spectra: Mapping[str, NDArray], *, beam: NDArray | None = None, transfer: NDArray | None = None
) -> Contaminant:
    """A modulation X → b⁻¹∗[b∗X + c · (βb∗X)] of temperature and polarisation: of gain, mask, beam.

    Parameters
    ----------
    spectra : mapping of "TT", "EE", "BB", "TE" to array, µK², from ℓ = 0
        Spectra of what is modulated, in beam-deconvolved maps: the sky's for gain or beam; with the noise for a mask
        or a weight, that multiplies it, too. Estimators whose spectra are missing are left out.
    beam : array (lmax+1,), optional
        b_ℓ with which the modulation sees the sky; none: 1.
    transfer : array (lmax+1,), optional
        β_ℓ, by which the modulated multipoles are multiplied; none: 1.
    """
    lmax = max((len(cl) for cl in spectra.values()), default=1) - 1
    b = np.ones(lmax + 1) if beam is None else np.asarray(beam, dtype=np.float64)
    outer, inner = _inverse(b), b if transfer is None else _product(b, transfer)
    products = {}
    for key, parts in PRODUCTS.items():
        if all(part.spectrum in spectra for part in parts):
            products[key] = tuple(
                FieldProduct(part.plain, part.source, outer, _product(inner, spectra[part.spectrum]))
                for part in products_in_use(key, dict(spectra))
            )
    return Contaminant(products)


def uneven_beam(spectra: Mapping[str, NDArray], sigma: float, lmax: int) -> Contaminant:
    """A Gaussian beam of width σ [1 + c(n)], σ in radians: b = e^{−ℓ(ℓ+1)σ²/2}, β = ∂ ln b/∂ ln σ = −ℓ(ℓ+1)σ²."""
    ell = np.arange(lmax + 1.0)
    exponent = ell * (ell + 1.0) * sigma**2
    return modulation(spectra, beam=np.exp(-0.5 * exponent), transfer=-exponent)


def field_estimates(
    keys: Iterable[str],
    fields: Mapping[str, Contaminant],
    filtered: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    second: Mapping[str, NDArray] | None = None,
    nthreads: int = 0,
) -> dict[tuple[str, str], NDArray]:
    """Unnormalised estimates q^c_LM of scalar fields by several quadratic estimators.

    Parameters
    ----------
    keys : estimators "TT", "EE", "TE", "TB", "EB"
    fields : mapping of a name to Contaminant
    filtered : mapping of "T", "E", "B" to array (nalm,), complex
        Inverse-variance filtered alm.
    lmax_phi : int
        Largest L.
    second : mapping like `filtered`, optional
        Another set of maps, as in `estimators.quadratic_estimates`: X from `filtered`, Y from `second`, TT and EE
        symmetrised.

    Returns
    -------
    dict of (key, name) to array (nalm,), complex
        ⟨q_LM⟩ = R^{cc}_L c_LM + …; zero where the field does not respond in the estimator.

    Raises
    ------
    ValueError
        For an unknown estimator, or spectra or a field that are missing.

    Notes
    -----
    Each leg (a field of one set, times one profile) is synthesised once and held, 8 bytes (double precision) for
    each component and pixel, until its last use. The grid holds the products exactly.
    """
    names = [(key, name) for key in keys for name in fields]
    sets = [filtered] if second is None else [filtered, second]
    plan = [_terms(key, fields[name].of(key, name), 0, len(sets) - 1, symmetrise=False) for key, name in names]
    return dict(zip(names, _evaluate(names, plan, sets, lmax_phi, nthreads), strict=True))


def paired_field_estimates(
    keys: Iterable[str],
    fields: Mapping[str, Contaminant],
    sets: Sequence[Mapping[str, NDArray]],
    pairs: Iterable[tuple[int, int]],
    lmax_phi: int,
    *,
    nthreads: int = 0,
) -> list[dict[tuple[str, str], NDArray]]:
    """Estimates of scalar fields from many pairs of maps, every leg synthesised once, as `estimators.paired_estimates`.

    Parameters
    ----------
    sets : sequence of mappings like `filtered` of `field_estimates`
    pairs : iterable of (i, j)
        Numbers of two sets: ½ [q(i, j) + q(j, i)], summed before its one analysis.

    Returns
    -------
    list of dict of (key, name) to array (nalm,), in the order of the pairs.
    """
    names, pairs = [(key, name) for key in keys for name in fields], list(pairs)
    plan = [_terms(key, fields[name].of(key, name), i, j, symmetrise=True) for i, j in pairs for key, name in names]
    estimates = iter(_evaluate(names * len(pairs), plan, sets, lmax_phi, nthreads))
    return [{name: next(estimates) for name in names} for _ in pairs]


def _evaluate(
    names: Sequence[tuple[str, str]],
    plan: Sequence[list[tuple]],
    sets: Sequence[Mapping[str, NDArray]],
    lmax_phi: int,
    nthreads: int,
) -> list[NDArray]:
    """The estimate that each row of the plan sums up."""
    legs = [leg for terms in plan for _, one, two in terms for leg in (one, two)]
    profiles = dict(legs)
    for (key, name), terms in zip(names, plan, strict=True):
        for (which, field, *_), _ in (leg for _, one, two in terms for leg in (one, two)):
            if field not in sets[which]:
                raise ValueError(f"estimator {key} of the field {name!r} needs the filtered field {field}")
    if not names:
        return []
    # Also of the fields that are not in use: their precision is that of a result that is zero.
    source = max(lmax_of(alm.shape[-1]) for alms in sets for alm in alms.values())
    dtype = np.result_type(*(alm.dtype for alms in sets for alm in alms.values()))
    grid = gauss_legendre_grid(2 * source + lmax_phi)
    uses = Counter(leg for leg, _ in legs)
    held: dict[tuple, NDArray] = {}

    def on_grid(leg: tuple) -> NDArray:
        if leg not in held:
            which, field, spin, curl, _ = leg
            alm = scale_alm(sets[which][field], profiles[leg])
            rows = np.stack([np.zeros_like(alm), alm]) if curl else alm
            held[leg] = np.atleast_2d(synthesis(rows, grid, spin, nthreads=nthreads))
        uses[leg] -= 1
        return held[leg] if uses[leg] else held.pop(leg)

    estimates = []
    for terms in plan:
        product = np.zeros(grid.npix if terms else 0, dtype=real_dtype(dtype))
        for factor, (one, _), (two, _) in terms:
            for row, other in zip(on_grid(one), on_grid(two), strict=True):
                product += factor * row * other
        if terms:
            estimates.append(adjoint_synthesis(product, grid, lmax_phi, weighted=True, nthreads=nthreads))
        else:
            estimates.append(np.zeros(alm_size(lmax_phi), dtype=dtype))
    return estimates


def _terms(key: str, products: tuple[FieldProduct, ...], first: int, second: int, *, symmetrise: bool) -> list[tuple]:
    """(factor, leg, leg) of an estimator; a leg is its name (set, field, spin, curl, profile's bytes), profile."""
    terms = []
    for product in products:
        spin = 0 if product.plain == "T" else 2

        def leg(which: int, field: str, profile: NDArray, spin: int = spin) -> tuple:
            return (which, field, spin, spin > 0 and field == "B", profile.tobytes()), profile

        if first == second:
            orders = [(1.0, first, first)]
        elif symmetrise or key[0] == key[1]:
            orders = [(0.5, first, second), (0.5, second, first)]
        else:
            orders = [(1.0, first, second) if product.plain == key[0] else (1.0, second, first)]
        for factor, plain_set, source_set in orders:
            one = leg(plain_set, product.plain, product.outer)
            two = leg(source_set, product.source, product.inner)
            terms.append((product.factor * factor, one, two))
    return terms


def _inverse(values: NDArray) -> NDArray[np.float64]:
    """1/b, zero where b is."""
    values = np.asarray(values, dtype=np.float64)
    return np.divide(1.0, values, out=np.zeros_like(values), where=values != 0)


def _product(one: NDArray, two: NDArray) -> NDArray[np.float64]:
    """The product of two functions of ℓ to the end of the shorter."""
    n = min(len(one), len(two))
    return np.asarray(one[:n], dtype=np.float64) * two[:n]
