"""What each quadratic estimator multiplies: the one table that legs, estimators and responses all read.

Lensing moves ₛX(n) to ₛX(n + α), to first order δₛX = −½ [₁α ð̄ₛX + ₋₁α ðₛX]. The gradient of the Gaussian
likelihood with respect to α is then a spin-1 field made of products of an inverse-variance filtered, "plain" leg
X̄ and the gradient of a Wiener-filtered one, Y^W = C^{XY} Ȳ (Carron & Lewis 2017, arXiv:1704.08230, eq. 2.4;
Planck 2018 VIII, arXiv:1807.06210, eq. 5),

    temperature    ₁d = T̄ ∇Y^W = −T̄ ðY^W
    polarisation   ₁d = −½ [ P̄* ð(₂Y^W) + P̄ (ð̄ ₂Y^W)* ]

Kept apart by the fields that are correlated, these are the estimators TT, EE, TE, TB and EB of Okamoto & Hu 2003
(astro-ph/0301031), with separable weights for TE.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Product:
    """A plain leg times a gradient leg.

    Attributes
    ----------
    plain : "T", "E" or "B"
        The inverse-variance filtered field that is not differentiated.
    source : "T", "E" or "B"
        The field whose Wiener-filtered gradient is taken.
    spectrum : "TT", "EE", "BB", "TE" or "joint"
        The weight that turns the filtered source into a prediction of the field that `plain` observes; "joint" for the
        prediction from T and E together, T^W = C^TT T̄ + C^TE Ē or E^W = C^TE T̄ + C^EE Ē.
    """

    plain: str
    source: str
    spectrum: str

    @property
    def polarised(self) -> bool:
        """Whether the product is one of spin-2 fields."""
        return self.plain != "T"


JOINT = "joint"

PRODUCTS: dict[str, tuple[Product, ...]] = {
    "TT": (Product("T", "T", "TT"),),
    "TE": (Product("T", "E", "TE"), Product("E", "T", "TE")),
    "TB": (Product("B", "T", "TE"),),
    "EB": (Product("B", "E", "EE"), Product("E", "B", "BB")),
    "EE": (Product("E", "E", "EE"),),
}
"""The products of each estimator, in the order that keeps the fewest legs in memory."""

GMV = "GMV"
"""The global minimum-variance estimator (Maniyar et al. 2021, arXiv:2101.12193): all products at once, of legs that are
filtered jointly. It is the whole gradient of the likelihood, of which the five estimators are parts."""

_TABLE = {
    **PRODUCTS,
    "BB": (Product("B", "B", "BB"),),
    GMV: (
        Product("T", "T", JOINT),
        Product("E", "E", JOINT),
        Product("B", "E", JOINT),
        Product("E", "B", "BB"),
        Product("B", "B", "BB"),
    ),
}


def spin_raised(lmax: int, spin: int) -> NDArray[np.float64]:
    """√((ℓ−s)(ℓ+s+1)) from ℓ = 0: what ð makes of ₛY_ℓm; zero for ℓ < max(|s|, |s+1|)."""
    ell = np.arange(lmax + 1, dtype=np.float64)
    return np.sqrt(np.where(ell >= max(abs(spin), abs(spin + 1)), (ell - spin) * (ell + spin + 1), 0.0))


def products_in_use(key: str, weights: Mapping[str, NDArray]) -> tuple[Product, ...]:
    """The products of an estimator whose weight spectrum is not zero everywhere.

    With C^BB = 0 among the weights (a loss of signal-to-noise of order (C^BB/C^EE)²) EB needs one product only.

    Raises
    ------
    ValueError
        For an unknown estimator, listing the known ones, or a missing weight spectrum.
    """
    if key not in _TABLE:
        known = ", ".join((*PRODUCTS, GMV))
        raise ValueError(f"unknown estimator {key!r}: the quadratic estimators are {known}")
    for product in _TABLE[key]:
        for spectrum in ("TT", "TE", "EE") if product.spectrum == JOINT else (product.spectrum,):
            if spectrum not in weights:
                raise ValueError(f"estimator {key} needs the weight spectrum {spectrum}")
    return tuple(product for product in _TABLE[key] if product.spectrum == JOINT or np.any(weights[product.spectrum]))
