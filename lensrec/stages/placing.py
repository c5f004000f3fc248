"""Where the estimators of a recipe run: in numpy, or on a CUDA device."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from lensrec.arrays import Backend
from lensrec.arrays import backend as make_backend
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.products import GMV, PRODUCTS
from lensrec.recipe import Recipe
from lensrec.sphere.device_sht import product_bytes, transforms_on
from lensrec.stages.setting import WEIGHTS, parts_of

Quadratic = Callable[..., dict[str, NDArray]]
"""A function like `quadratic_estimates`, with host arrays in and out."""


JOINT_COMPONENTS = 11
"""Real maps of the legs of GMV: T̄ 1, Q̄ + iŪ of Ē and of B̄ 4, ∇T^W 2, M₃ and M₁ of E^W 4."""


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
    legs, outputs = leg_components(parts), len(parts)
    if GMV in [str(key) for key in rec.estimators] and not temperature_only:
        legs, outputs = max(legs, JOINT_COMPONENTS), max(outputs, 1)
    needed = product_bytes(lmax, rec.L_max, legs, outputs, precision=rec.precision)
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
    return partial(_on_device, backend) if backend.on_device else quadratic_estimates


def _on_device(backend: Backend, *args: Any, **kwargs: Any) -> dict[str, NDArray]:
    with backend.active():
        estimates = quadratic_estimates(*args, transforms=transforms_on(backend), **kwargs)
        return {key: backend.to_host(estimate) for key, estimate in estimates.items()}
