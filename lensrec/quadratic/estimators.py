"""Quadratic estimators of φ and of the curl potential Ω, evaluated in position space.

The unnormalised estimate is q_LM = √(L(L+1)) times the gradient (φ) or curl (Ω) coefficient of the spin-1 field ₁d
of `products`. In harmonic space this equals the sum of Okamoto & Hu 2003 (astro-ph/0301031, eq. 20),

    q_LM = (1 + δ_XY)⁻¹ (−1)^M Σ 3j(ℓ₁ ℓ₂ L; m₁ m₂ −M) f*_{ℓ₁Lℓ₂} X̄_{ℓ₁m₁} Ȳ_{ℓ₂m₂},   ⟨q_LM⟩ = R_L φ_LM,

and the grid holds the products exactly, so the two agree to rounding.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from lensrec.quadratic.legs import gradient_leg, plain_leg
from lensrec.quadratic.products import Product, products_in_use, spin_raised
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
    keys : estimators "TT", "EE", "TE", "TB", "EB"
    filtered : mapping of "T", "E", "B" to array (nalm,), complex
        Inverse-variance filtered alm, T̄ = F^T T and so on; their lmax may differ.
    weights : mapping of "TT", "EE", "TE", "BB" to array, from ℓ = 0
        Lensed-gradient spectra, for the Wiener filter of the gradient legs.
    lmax_phi : int
        Largest lensing multipole L.
    second : mapping like `filtered`, optional
        Another set of maps: X is taken from `filtered` and Y from `second`. TT and EE are symmetrised over
        the two sets; q[TE] with the sets exchanged is ET.
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
    sets = {"a": filtered, "b": filtered if second is None else second}
    plan = {key: _pairs(key, dict(weights), symmetrise=second is not None) for key in keys}
    fields = {field for pairs in plan.values() for _, p, _, g in pairs for field in (p[1], g[1].source)}
    for field in sorted(fields):
        for legs in sets.values():
            if field not in legs:
                raise ValueError(f"estimators {', '.join(keys)} need the filtered field {field}")
    for key, pairs in plan.items():
        if not pairs:
            raise ValueError(f"estimator {key}: all of its weight spectra are zero")
    if not plan:
        return {}

    fields_in_use: list[Field] = []
    places: dict[tuple, slice] = {}
    for name in dict.fromkeys(leg for pairs in plan.values() for _, p, _, g in pairs for leg in (p, g)):
        which, what = name
        leg = gradient_leg(what, sets[which], weights) if isinstance(what, Product) else plain_leg(what, sets[which])
        start = sum(field.components for field in fields_in_use)
        places[name] = slice(start, start + sum(field.components for field in leg))
        fields_in_use += leg

    def multiply(legs: NDArray, products: NDArray) -> None:
        if transforms is not None:
            from lensrec.quadratic.device_pixels import polarisation_product, temperature_product
        else:
            from lensrec.quadratic.pixels import polarisation_product, temperature_product

        for i, pairs in enumerate(plan.values()):
            for j, (product, plain, factor, gradient) in enumerate(pairs):
                kind = polarisation_product if product.polarised else temperature_product
                scale = legs.dtype.type(factor)
                kind(legs[places[plain]], legs[places[gradient]], scale, products[2 * i : 2 * i + 2], j > 0)

    root = spin_raised(lmax_phi, 0)
    if transforms is not None:
        estimates = transforms.vector_products(fields_in_use, multiply, len(plan), lmax_phi, scale=root)
    else:
        estimates = vector_products(fields_in_use, multiply, len(plan), lmax_phi, scale=root, nthreads=nthreads)
    return dict(zip(plan, estimates, strict=True))


def _pairs(key: str, weights: dict[str, NDArray], *, symmetrise: bool) -> list[tuple]:
    """(product, plain leg, factor, gradient leg) of an estimator; a leg is named by its set and what it is.

    Gradient legs of one source and one weight that differ only in the field they multiply (Ē or B̄) are the same
    leg, so they carry the same name.
    """
    pairs = []
    for product in products_in_use(key, weights):
        gradient = Product("E" if product.polarised else "T", product.source, product.spectrum)
        x = key[0]
        where = {True: "a", False: "b"} if symmetrise else {True: "a", False: "a"}
        if key[0] == key[1] and symmetrise:
            pairs += [
                (product, ("a", product.plain), 0.5, ("b", gradient)),
                (product, ("b", product.plain), 0.5, ("a", gradient)),
            ]
        else:
            plain_set, source_set = where[product.plain == x], where[product.source == x]
            pairs.append((product, (plain_set, product.plain), 1.0, (source_set, gradient)))
    return pairs
