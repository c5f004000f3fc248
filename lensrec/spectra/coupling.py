"""Mode coupling by a mask: the matrices that take a sky's spectra to the mean pseudo-spectra of the masked sky.

For the alm of w(n) T(n), w(n) (Q ± iU)(n) and C̃_ℓ^{XY} = Σ_m X̃_ℓm Ỹ*_ℓm / (2ℓ+1),

    ⟨C̃^TT⟩ = M⁰⁰ C^TT,    ⟨C̃^TE⟩ = M⁰² C^TE,    ⟨C̃^TB⟩ = M⁰² C^TB,    ⟨C̃^EB⟩ = (M⁺⁺ − M⁻⁻) C^EB,
    ⟨C̃^EE⟩ = M⁺⁺ C^EE + M⁻⁻ C^BB,    ⟨C̃^BB⟩ = M⁻⁻ C^EE + M⁺⁺ C^BB,

    M_ℓℓ′ = (2ℓ′+1)/4π Σ_L (2L+1) W_L J_ℓℓ′L,    W_L the spectrum of the mask, Σ_M |w_LM|²/(2L+1),

    J⁰⁰ = (ℓ ℓ′ L; 0 0 0)²,    J⁰² = (ℓ ℓ′ L; 0 0 0)(ℓ ℓ′ L; 2 −2 0),    J^±± = (ℓ ℓ′ L; 2 −2 0)² [1 ± (−1)^{ℓ+ℓ′+L}]/2

(Hivon et al. 2002, astro-ph/0105302, equation A31; Kogut et al. 2003, astro-ph/0302213, appendix A; Brown, Castro &
Taylor 2005, astro-ph/0410394). With two masks, W_L is their cross-spectrum and the fields are those
that each of them is put on.
"""

from collections.abc import Sequence

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count

# What ducc0 calls them; its type 4 makes ++ and −− from one set of 3j symbols.
_TYPES = {"00": 0, "02": 1, "++": 2, "--": 3}
KINDS = tuple(_TYPES)


def coupling_matrices(
    mask_cl: NDArray,
    lmax: int,
    *,
    kinds: Sequence[str] = KINDS,
    lmax_sky: int | None = None,
    nthreads: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Matrices M_ℓℓ′ of a mask: ⟨pseudo-C_ℓ⟩ = Σ_ℓ′ M_ℓℓ′ C_ℓ′.

    Parameters
    ----------
    mask_cl : array (n,)
        Spectrum W_L of the mask, or cross-spectrum of two, from L = 0; zero beyond its end. All of it that lies at
        L ≤ lmax + lmax_sky enters.
    lmax : int
        Of the pseudo-spectra.
    kinds : sequence of "00", "02", "++", "--"
        Spin 0; spin 0 with 2; spin 2, E to E and E to B.
    lmax_sky : int, optional
        Of the sky's spectra; `lmax` if it is left out. A sky that goes on beyond it leaks what is not counted.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    dict of kind to array (lmax+1, lmax_sky+1), float64
        ℓ in rows, ℓ′ in columns, both from 0; zero for ℓ < 2 or ℓ′ < 2 wherever spin 2 is involved.

    Raises
    ------
    ValueError
        If a kind is unknown or named twice, the spectrum is no list of finite numbers, or a multipole is negative.
    """
    if unknown := [k for k in kinds if k not in _TYPES]:
        raise ValueError(f"a coupling is one of {', '.join(_TYPES)}, got {unknown[0]!r}")
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"a coupling is named twice in {', '.join(kinds)}")
    spectrum = np.asarray(mask_cl, dtype=np.float64)
    if spectrum.ndim != 1 or not spectrum.size or not np.isfinite(spectrum).all():
        raise ValueError(f"the mask's spectrum must be one list of finite numbers, got the shape {spectrum.shape}")
    lmax_sky = lmax if lmax_sky is None else lmax_sky
    if lmax < 0 or lmax_sky < 0:
        raise ValueError(f"multipoles must not be negative, got lmax = {lmax} and {lmax_sky}")
    wanted = [k for k in KINDS if k in kinds]
    types = [_TYPES[k] for k in wanted]
    if types[-2:] == [2, 3]:
        types[-2:] = [4]
    padded = np.zeros(lmax + lmax_sky + 1)
    known = min(len(spectrum), len(padded))
    padded[:known] = spectrum[:known]
    matrices = np.zeros((len(wanted), lmax + 1, lmax_sky + 1))
    if types:
        # of ducc0's two routines the new one is 3 to 5 times as fast, and equal to 3e-15
        ducc0.misc.experimental.coupling_matrix_rect_new(
            spec=np.tile(padded, (len(types), 1)), optype=types, res=matrices, nthreads=thread_count(nthreads)
        )
    matrices *= 2.0 * np.arange(lmax_sky + 1.0) + 1.0
    return dict(zip(wanted, matrices, strict=True))
