"""The adjoint of the remap: from pixels back to harmonic coefficients, by the transpose of what lensing does."""

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count
from lensrec.sphere.remap import FINEST_EPSILON, SINGLE_EPSILON, check_epsilon, turn


def remap_adjoint(
    maps: NDArray,
    positions: NDArray[np.float64],
    lmax: int,
    *,
    spin: int,
    epsilon: float = 1e-7,
    gamma: NDArray[np.float64] | None = None,
    nthreads: int = 0,
) -> NDArray:
    """The transpose L† of `lensrec.sphere.remap.remap`, for the same positions, ε and γ.

    Parameters
    ----------
    maps : array (npix,) for spin 0, (2, npix) otherwise, real
        For ε < 1e-5 single precision is raised to double.
    positions : array (npix, 2), float64
        Colatitude in [0, π] and longitude in [0, 2π], radians.
    lmax : int
    spin : int ≥ 0
    epsilon : float
        From 1e-12 to 1e-3. The pair is adjoint to rounding at any ε, since both use one interpolation.
    gamma : array (npix,), optional
        The angles by which `remap` turned the field.
    nthreads : int

    Returns
    -------
    array (nalm,) for spin 0, (2, nalm) otherwise, complex

    Raises
    ------
    ValueError
        If epsilon is out of range or shapes do not fit.

    Notes
    -----
    ⟨L a, m⟩ = Σ_p (L a)_p m_p = ⟨a, L† m⟩ = Σ_ℓ [a_ℓ0 b_ℓ0 + 2 Re Σ_{m>0} a_ℓm b*_ℓm], b = L† m: no quadrature weight
    enters (Reinecke, Belkner & Carron 2023, arXiv:2304.10431, section 2.3).
    """
    check_epsilon(epsilon)
    rows = np.atleast_2d(maps)
    expected = (1 if spin == 0 else 2, len(positions))
    if rows.shape != expected:
        raise ValueError(f"maps of spin {spin} at {len(positions)} positions must be {expected}, got {rows.shape}")
    single = rows.dtype == np.float32 and epsilon >= SINGLE_EPSILON
    rows = np.ascontiguousarray(rows, dtype=np.float32 if single else np.float64)
    if spin > 0 and gamma is not None:
        # The transpose of a rotation is the rotation back; not in the caller's map.
        rows = rows.copy()
        turn(rows, -gamma, spin, thread_count(nthreads))
    alm = ducc0.sht.adjoint_synthesis_general(
        map=rows,
        spin=spin,
        lmax=lmax,
        loc=positions,
        epsilon=max(epsilon, FINEST_EPSILON),
        nthreads=thread_count(nthreads),
    )
    return alm[0] if spin == 0 else alm
