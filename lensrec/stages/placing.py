"""Where the estimators of a recipe run: in numpy, or on a CUDA device."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from numpy.typing import NDArray

from lensrec.arrays import Backend
from lensrec.arrays import backend as make_backend
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.products import PRODUCTS
from lensrec.recipe import Recipe
from lensrec.sphere.device_sht import product_bytes, transforms_on
from lensrec.stages.setting import WEIGHTS, parts_of

Quadratic = Callable[..., dict[str, NDArray]]
"""A function like `quadratic_estimates`, with host arrays in and out."""


def estimation_backend(recipe: Recipe, *, temperature_only: bool = False, nthreads: int = 0) -> Backend:
    """What compute.backend says, with the memory that the estimators take.

    "auto" leaves a device alone whose double precision is slow: the sums over ℓ need it.

    Raises
    ------
    NoDevice
        If it says "cupy" and no GPU can be had.
    """
    name, rec = recipe.compute.backend, recipe.reconstruction
    if name == "numpy":
        return make_backend("numpy", nthreads=nthreads)
    parts, lmax = parts_of(recipe, temperature_only=temperature_only), max(rec.lmax_t, rec.lmax_p)
    needed = product_bytes(lmax, rec.L_max, leg_components(parts), len(parts), precision=rec.precision)
    chosen = make_backend(name, needed_bytes=needed, nthreads=nthreads)
    if name == "auto" and chosen.on_device and chosen.legendre == "host":
        return make_backend("numpy", nthreads=nthreads)
    return chosen


def leg_components(keys: Sequence[str]) -> int:
    """Real maps of all legs that some estimators share: T̄ 1, Q̄ + iŪ of Ē or of B̄ 2, ∇T^W 2, M₃ and M₁ 4."""
    used = [product for key in keys for product in PRODUCTS[key] if product.spectrum in WEIGHTS]
    gradients = {(product.polarised, product.source, product.spectrum) for product in used}
    plain = sum(1 if field == "T" else 2 for field in {product.plain for product in used})
    return plain + sum(4 if polarised else 2 for polarised, _, _ in gradients)


def quadratic_on(backend: Backend) -> Quadratic:
    """The quadratic estimators where a backend says; a device's tables are made once for all calls."""
    if not backend.on_device:
        return quadratic_estimates
    return partial(_on_device, backend)


def _on_device(
    backend: Backend,
    keys: Iterable[str],
    filtered: Mapping[str, NDArray],
    weights: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    nthreads: int = 0,
) -> dict[str, NDArray]:
    with backend.active():
        there = transforms_on(backend)
        estimates = quadratic_estimates(keys, filtered, weights, lmax_phi, transforms=there, nthreads=nthreads)
        return {key: backend.to_host(estimate) for key, estimate in estimates.items()}
