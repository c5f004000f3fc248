"""Quadratic estimators of φ and of the curl potential Ω, evaluated in position space.

The unnormalised estimate is q_LM = √(L(L+1)) times the gradient (φ) or curl (Ω) coefficient of the spin-1 field ₁d
of `products`. In harmonic space this equals the sum of Okamoto & Hu 2003 (astro-ph/0301031, eq. 20),

    q_LM = (1 + δ_XY)⁻¹ (−1)^M Σ 3j(ℓ₁ ℓ₂ L; m₁ m₂ −M) f*_{ℓ₁Lℓ₂} X̄_{ℓ₁m₁} Ȳ_{ℓ₂m₂},   ⟨q_LM⟩ = R_L φ_LM,

and the grid holds the products exactly, so the two agree to rounding.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from lensrec.quadratic.legs import gradient_leg, plain_leg
from lensrec.quadratic.products import GMV, JOINT, Product, products_in_use, spin_raised
from lensrec.sphere.device_sht import Transforms
from lensrec.sphere.ring_products import Field, vector_products


def quadratic_estimates(
    keys: Iterable[str],
    filtered: Mapping[str, NDArray],
    weights: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    second: Mapping[str, NDArray] | None = None,
    transforms: Transforms | None = None,
    nthreads: int = 0,
) -> dict[str, Any]:
    """Unnormalised estimates of φ and Ω by several quadratic estimators that share their legs.

    Parameters
    ----------
    keys : estimators "TT", "EE", "TE", "TB", "EB", "GMV"
    filtered : mapping of "T", "E", "B" to array (nalm,), complex
        Inverse-variance filtered alm, T̄ = F^T T and so on, for GMV jointly filtered ones; their lmax may differ.
    weights : mapping of "TT", "EE", "TE", "BB" to array, from ℓ = 0
        Lensed-gradient spectra, for the Wiener filter of the gradient legs.
    lmax_phi : int
        Largest lensing multipole L.
    second : mapping like `filtered`, optional
        Another set of maps: X is taken from `filtered` and Y from `second`. TT and EE are symmetrised over
        the two sets, and so is GMV; q[TE] with the sets exchanged is ET.
    transforms : Transforms, optional
        Where to compute, if on a device; it holds legs and products whole, 8 bytes (double precision) for each of their
        components and pixels.

    Returns
    -------
    dict of key to array (2, nalm), complex
        q_LM of φ and of Ω; device arrays with `transforms`.

    Raises
    ------
    ValueError
        For an unknown estimator, or a weight or field that is missing.

    Notes
    -----
    A leg is summed over ℓ once, whatever the number of estimators that use it: all five cost 9 syntheses (11 where
    C^BB is among the weights) and 5 spin-1 analyses, of which all syntheses share one evaluation of λ_ℓm(θ), and all
    analyses another.
    """
    keys = list(keys)
    sets = [filtered] if second is None else [filtered, second]
    plan = [_terms(key, weights, 0, len(sets) - 1, symmetrise=False) for key in keys]
    return dict(zip(keys, _evaluate(keys, plan, sets, weights, lmax_phi, transforms, nthreads), strict=True))


def paired_estimates(
    keys: Iterable[str],
    sets: Sequence[Mapping[str, NDArray]],
    pairs: Iterable[tuple[int, int]],
    weights: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    transforms: Transforms | None = None,
    nthreads: int = 0,
) -> list[dict[str, Any]]:
    """Unnormalised estimates from many pairs of maps, every leg of a map synthesised once for all of its pairs.

    Parameters
    ----------
    sets : sequence of mappings like `filtered` of `quadratic_estimates`
    pairs : iterable of (i, j)
        Numbers of two sets: the symmetrised estimate ½ [q(i, j) + q(j, i)], summed before its one analysis.

    Returns
    -------
    list of dict of key to array (2, nalm), in the order of the pairs.

    Notes
    -----
    With k sets and n pairs the five estimators cost 9k syntheses and 5n analyses, and as much memory as their legs'
    coefficients take, 15 real a_ℓm a set: give as many sets at a time as there is room for.
    """
    keys, pairs = list(keys), list(pairs)
    plan = [_terms(key, weights, i, j, symmetrise=True) for i, j in pairs for key in keys]
    labels = keys * len(pairs)
    estimates = iter(_evaluate(labels, plan, sets, weights, lmax_phi, transforms, nthreads))
    return [{key: next(estimates) for key in keys} for _ in pairs]


def _evaluate(
    keys: Sequence[str],
    plan: Sequence[Sequence[tuple]],
    sets: Sequence[Mapping[str, NDArray]],
    weights: Mapping[str, NDArray],
    lmax_phi: int,
    transforms: Transforms | None,
    nthreads: int,
) -> Any:
    """The estimate that each row of the plan sums up."""
    for key, terms in zip(keys, plan, strict=True):
        if not terms:
            raise ValueError(f"estimator {key}: all of its weight spectra are zero")
        for _, (first, plain), _, (other, gradient) in terms:
            sources = "TE" if gradient.spectrum == JOINT else gradient.source
            for field in (plain, *sources):
                if field not in sets[first] or field not in sets[other]:
                    raise ValueError(f"estimator {key} needs the filtered field {field}")
    if not plan:
        return []

    fields: list[Field] = []
    places: dict[tuple, slice] = {}
    for name in dict.fromkeys(leg for terms in plan for _, p, _, g in terms for leg in (p, g)):
        which, what = name
        leg = gradient_leg(what, sets[which], weights) if isinstance(what, Product) else plain_leg(what, sets[which])
        start = sum(field.components for field in fields)
        places[name] = slice(start, start + sum(field.components for field in leg))
        fields += leg

    def multiply(legs: NDArray, products: NDArray) -> None:
        if transforms is not None:
            from lensrec.quadratic.device_pixels import polarisation_product, temperature_product
        else:
            from lensrec.quadratic.pixels import polarisation_product, temperature_product

        for i, terms in enumerate(plan):
            for j, (product, plain, factor, gradient) in enumerate(terms):
                kind = polarisation_product if product.polarised else temperature_product
                scale = legs.dtype.type(factor)
                kind(legs[places[plain]], legs[places[gradient]], scale, products[2 * i : 2 * i + 2], j > 0)

    root = spin_raised(lmax_phi, 0)
    if transforms is not None:
        return transforms.vector_products(fields, multiply, len(plan), lmax_phi, scale=root)
    return vector_products(fields, multiply, len(plan), lmax_phi, scale=root, nthreads=nthreads)


def _terms(key: str, weights: Mapping[str, NDArray], first: int, second: int, *, symmetrise: bool) -> list[tuple]:
    """(product, plain leg, factor, gradient leg) of an estimator; a leg is named by its set and what it is.

    Estimators of one field with itself, and GMV, are always symmetrised over two different sets. Gradient legs of one
    source and one weight that differ only in the field they multiply (Ē or B̄) are the same leg, so they carry the same
    name.
    """
    terms = []
    for product in products_in_use(key, weights):
        gradient = Product("E" if product.polarised else "T", product.source, product.spectrum)
        if first == second:
            orders = [(1.0, first, first)]
        elif symmetrise or key[0] == key[1] or key == GMV:
            orders = [(0.5, first, second), (0.5, second, first)]
        else:
            x = key[0]
            plain_set, source_set = (first if field == x else second for field in (product.plain, product.source))
            orders = [(1.0, plain_set, source_set)]
        terms += [(product, (plain, product.plain), factor, (other, gradient)) for factor, plain, other in orders]
    return terms
