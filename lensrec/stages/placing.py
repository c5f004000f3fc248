"""Where the estimators of a recipe run: in numpy, or on a CUDA device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
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


def quadratic_of(recipe: Recipe, *, temperature_only: bool = False, nthreads: int = 0) -> Quadratic:
    """The quadratic estimators where a recipe says, here and in other processes, each on a device of its own.

    Raises
    ------
    NoDevice
        If the recipe says "cupy" and no GPU can be had.
    """
    backend = estimation_backend(recipe, temperature_only=temperature_only, nthreads=nthreads)
    return quadratic_on(backend, (recipe, temperature_only, nthreads))


def quadratic_on(backend: Backend, asked: tuple[Recipe, bool, int] | None = None) -> Quadratic:
    """The quadratic estimators where a backend says; for `asked` see `OnDevice`."""
    return OnDevice(backend, asked) if backend.on_device else quadratic_estimates


@dataclass(frozen=True, eq=False)
class OnDevice:
    """`quadratic_estimates` on a device, whose tables are made once for all calls.

    Attributes
    ----------
    backend : Backend
    asked : (Recipe, bool, int), optional
        What `quadratic_of` was asked for: in another process, where no device of this one exists, it is asked again.
        Without it the estimators stay in their process.
    """

    backend: Backend
    asked: tuple[Recipe, bool, int] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, NDArray]:
        """Like `quadratic_estimates`."""
        with self.backend.active():
            estimates = quadratic_estimates(*args, transforms=transforms_on(self.backend), **kwargs)
            return {key: self.backend.to_host(estimate) for key, estimate in estimates.items()}

    def __reduce__(self) -> tuple[Callable[..., Quadratic], tuple[Recipe, bool, int]]:
        if self.asked is None:
            raise TypeError(f"estimators on {self.backend.about} cannot be sent to another process")
        return _again, self.asked


@lru_cache(maxsize=2)
def _again(recipe: Recipe, temperature_only: bool, nthreads: int) -> Quadratic:
    return quadratic_of(recipe, temperature_only=temperature_only, nthreads=nthreads)
