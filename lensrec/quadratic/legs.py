"""Legs: filtered fields and their gradients, as fields of one real potential each."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.products import JOINT, Product, spin_raised
from lensrec.sphere.alm import lmax_of, resize_alm, scale_alm
from lensrec.sphere.ring_products import Field


def plain_leg(field: str, filtered: Mapping[str, NDArray]) -> tuple[Field, ...]:
    """The filtered field itself: T̄, or Q̄ + iŪ of Ē alone or of B̄ alone."""
    alm = filtered[field]
    one = np.ones(lmax_of(alm.shape[-1]) + 1)
    return (Field(alm, one, 0) if field == "T" else Field(alm, one, 2, curl=field == "B"),)


def gradient_leg(
    product: Product, filtered: Mapping[str, NDArray], weights: Mapping[str, NDArray]
) -> tuple[Field, ...]:
    """The gradient of the Wiener-filtered source, as the product needs it.

    Parameters
    ----------
    product : Product
    filtered : mapping of "T", "E", "B" to array (nalm,)
        Inverse-variance filtered alm.
    weights : mapping of "TT", "EE", "BB", "TE" to array (lmax+1,)

    Returns
    -------
    tuple of one Field
        Temperature: ∇Y^W, of spin 1.
    tuple of two
        Polarisation: M₃ = −½ ð ₂Y^W, of spin 3, and M₁ = −½ ð̄ ₂Y^W, of spin 1, so that ₁d = P̄* M₃ + P̄ M₁*.
    """
    joint = product.spectrum == JOINT
    alm = wiener_field(product.source, filtered, weights) if joint else filtered[product.source]
    lmax = lmax_of(alm.shape[-1])
    weight = np.ones(lmax + 1)
    if not joint:
        given = np.asarray(weights[product.spectrum], dtype=np.float64)[: lmax + 1]
        weight[: len(given)], weight[len(given) :] = given, 0.0
    if not product.polarised:
        return (Field(alm, weight * spin_raised(lmax, 0), 1),)
    # A field that stands for E has the gradient type, B the curl type; ð̄ ₂Y = −√((ℓ+2)(ℓ−1)) ₁Y turns its sign.
    curl = product.source == "B"
    return (
        Field(alm, -0.5 * weight * spin_raised(lmax, 2), 3, curl),
        Field(alm, 0.5 * weight * spin_raised(lmax, -2), 1, curl),
    )


def wiener_field(field: str, filtered: Mapping[str, NDArray], weights: Mapping[str, NDArray]) -> NDArray:
    """T^W = C^TT T̄ + C^TE Ē or E^W = C^TE T̄ + C^EE Ē, from jointly filtered T̄ and Ē; to the larger lmax of the two."""
    lmax = max(lmax_of(filtered[source].shape[-1]) for source in "TE")
    own, other = {"T": ("TT", "TE"), "E": ("TE", "EE")}[field]
    t, e = (
        scale_alm(resize_alm(filtered[source], lmax), np.asarray(weights[key], dtype=np.float64))
        for source, key in (("T", own), ("E", other))
    )
    return t + e
