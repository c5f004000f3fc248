"""The covariance of band powers of the lensed CMB with each other and with those of the lensing potential.

Beside the Gaussian covariances of each, a shared sky makes three:

1. The lenses are one realisation. To first order in the realised power δC_L of φ, of variance V_L = 2 (C_L^φφ)²/((2L+1)
   f_sky), every C̃_ℓ moves by ∂C̃_ℓ/∂C_L^φφ δC_L, and Ĉ_L^φ̂φ̂ by δC_L:

       cov(C̃_ℓ^X, C̃_ℓ′^Y) ∋ Σ_L ∂C̃_ℓ^X/∂C_L^φφ V_L ∂C̃_ℓ′^Y/∂C_L^φφ,    cov(C̃_ℓ^X, Ĉ_L^φ̂φ̂) ∋ ∂C̃_ℓ^X/∂C_L^φφ V_L

   (Benoit-Lévy, Smith & Hu 2012, arXiv:1205.0474;
   Schmittfull et al. 2013, arXiv:1308.0286; Peloton et al. 2017, arXiv:1611.01446).
2. The fluctuations of the CMB and of the noise, Ĉ_ℓ^X, are in C_ℓ and in the Gaussian bias of φ̂. For any function Q of
   Gaussian fields cov(Q, Ĉ_ℓ^X) = Σ_Y ∂⟨Q⟩/∂C_ℓ^Y cov(Ĉ_ℓ^Y, Ĉ_ℓ^X), because the score ∂ ln P/∂C_ℓ^Y is
   Σ_X (cov⁻¹)^{YX} (Ĉ_ℓ^X − C_ℓ^X). With Q = Ĉ_L^φ̂φ̂ of the quadratic estimators, ⟨Q⟩ is N0_L of the total power in
   filters and weights that stay as they are:

       cov(Ĉ_L^φ̂φ̂, Ĉ_ℓ^X) ∋ Σ_Y ∂N0_L/∂C_ℓ^Y cov(Ĉ_ℓ^Y, Ĉ_ℓ^X)         with N0 of a model taken off

   (Schmittfull et al. 2013). N0[C, C] is a quadratic form in C. Realisation-dependent, N0 is
   4⟨Ĉ[q̄(d, s)]⟩ − 2⟨Ĉ[q̄(s, s′)]⟩, whose mean for data of power C is 2 N0[C, C_s] − N0[C_s, C_s]: the same theorem gives
   it the covariance 2 N0[·, C_s], the derivative of N0 at the power C_s of the simulations. So of

       2 (N0[·, C] − N0[·, C_s])                                          with RDN0 taken off

   nothing is left where simulations have the data's power, and a part δ of the above where they are off by δ. The
   semi-analytic 2 N0[Ĉ, C_s] − N0[C_s, C_s] reads no phases, only Ĉ_ℓ, and its covariance is the same 2 N0[·, C_s]:
   nothing is left there either, though it leaves in what off-diagonal ⟨d d*⟩ adds to the scatter of φ̂φ̂ itself.
3. T and E are correlated with φ at low ℓ: cov(Ĉ_ℓ^TT, Ĉ_ℓ^φφ) ∋ 2 (C_ℓ^Tφ)²/((2ℓ+1) f_sky), and so on.

4. Not of the covariance, but of what the band powers mean: normalised by the R_L of a fiducial cosmology, φ̂φ̂ in another
   has the mean (R_L[C]/R_L[C_fid])² C_L^φφ + N1_L[C^φφ] − N1_L[C_fid^φφ], which `lensing_corrections` linearises.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.grams import full_terms, half_terms, padded, sigma, wigner_grams

CMB = ("TT", "TE", "EE", "BB")


def lens_variance(cl_phi: NDArray, fsky: float = 1.0) -> NDArray[np.float64]:
    """V_L = 2 (C_L^φφ)²/((2L+1) f_sky), (L_max+1,): the cosmic variance of the power of the lenses."""
    cl_phi = np.asarray(cl_phi, dtype=np.float64)
    return 2.0 * cl_phi**2 / ((2 * np.arange(len(cl_phi)) + 1) * fsky)


def shared_fsky(mask: NDArray, first: int, second: int) -> float:
    """The f_sky of the covariance of two powers that see the sky through w^first and w^second, ⟨w^a⟩⟨w^b⟩/⟨w^{a+b}⟩.

    Power spectra of masked maps carry w², those of φ̂ from them w⁴: (2, 2) for TT with TT, (2, 4) for TT with φ̂φ̂,
    (4, 4) for φ̂φ̂ with itself. Equal pixels are taken for granted. 1/f_sky is a matrix of products of w^a/⟨w^a⟩, so that
    no covariance built from it has a negative eigenvalue.
    """
    w = np.asarray(mask, dtype=np.float64)
    return float(np.mean(w**first) * np.mean(w**second) / np.mean(w ** (first + second)))


def lens_induced(first: NDArray, second: NDArray, cl_phi: NDArray, fsky: float = 1.0) -> NDArray[np.float64]:
    """Σ_L A_iL V_L B_jL, (n, m): the covariance from the cosmic variance of lenses.

    Parameters
    ----------
    first, second : arrays (n, L_max+1), (m, L_max+1)
        ∂d_i/∂C_L^φφ of two sets of band powers: `theory.lensed_response.bandpower_derivatives` of those of the CMB, the
        windows on C_L^φφ of those of φ̂ (with windows @ ∂N1/∂C^φφ added, if N1 of the realisation is to be counted).
        They may end at different L; what one lacks is zero.
    cl_phi : array, at least as long as the shorter
    fsky : float
        See `shared_fsky`.
    """
    width = min(first.shape[1], second.shape[1])
    if len(cl_phi) < width:
        raise ValueError(f"derivatives go to L = {width - 1}, but C_L^phiphi ends at {len(cl_phi) - 1}")
    return (first[:, :width] * lens_variance(cl_phi[:width], fsky)) @ second[:, :width].T


def multipole_covariance(totals: Mapping[str, NDArray], fsky: float = 1.0) -> dict[tuple[str, str], NDArray]:
    """Gaussian cov(Ĉ_ℓ^{ab}, Ĉ_ℓ^{cd}) = (C^{ac} C^{bd} + C^{ad} C^{bc})/((2ℓ+1) f_sky), (lmax+1,) each.

    Parameters
    ----------
    totals : mapping of "TT", "TE", "EE", "BB" to array (lmax+1,)
        Power in the maps, signal and noise. Between the mean cross-spectrum of n equal splits and the auto-spectrum of
        their sum it holds with the noise of the sum, as for the auto-spectrum.
    """
    zero = np.zeros_like(totals["TT"])
    ell = np.arange(len(zero))

    def between(p: str, q: str) -> NDArray:
        return totals.get("".join(sorted((p, q), key="TEB".index)), zero)

    return {
        (x, y): (between(x[0], y[0]) * between(x[1], y[1]) + between(x[0], y[1]) * between(x[1], y[0]))
        / ((2 * ell + 1) * fsky)
        for x in CMB
        for y in CMB
    }


def shared_fluctuations(
    first: Mapping[str, NDArray], second: Mapping[str, NDArray], totals: Mapping[str, NDArray], fsky: float = 1.0
) -> NDArray[np.float64]:
    """Σ_ℓ Σ_XY A^X_iℓ cov(Ĉ_ℓ^X, Ĉ_ℓ^Y) B^Y_jℓ, (n, m), of two linear readings of the power in the maps.

    Parameters
    ----------
    first, second : mappings of "TT", "TE", "EE", "BB" to array (n, lmax+1) and (m, lmax+1)
        Windows of band powers, or for φ̂φ̂ with N0 of a model `windows @ n0_derivative(…)`: (windows, ∂N0) gives the
        2-point × 4-point block, (∂N0, ∂N0) what the same fluctuations add to the 4-point block.
    totals : mapping of the same to array (lmax+1,)
        As for `multipole_covariance`, as long as the longest reading.

    Notes
    -----
    With RDN0 nothing of this is left in φ̂φ̂ (see above); with simulations whose power is C_s rather than `totals`, what
    is left is that of n0_derivative(…, totals) − n0_derivative(…, C_s).
    """
    total = 0.0
    for (x, y), variance in multipole_covariance(totals, fsky).items():
        if x in first and y in second:
            width = min(first[x].shape[1], second[y].shape[1])
            total = total + (first[x][:, :width] * variance[:width]) @ second[y][:, :width].T
    return np.asarray(total)


def shared_modes(
    windows: Mapping[str, NDArray], phi_windows: NDArray, cl_tp: NDArray, cl_ep: NDArray, fsky: float = 1.0
) -> NDArray[np.float64]:
    """The covariance (n, m) of CMB and φ̂φ̂ band powers from 2 C_ℓ^{aφ} C_ℓ^{bφ}/((2ℓ+1) f_sky), ab = TT, TE, EE.

    Parameters
    ----------
    windows : mapping of "TT", "TE", "EE" to array (n, lmax+1)
    phi_windows : array (m, L_max+1)
        Acting on C_L^φφ.
    cl_tp, cl_ep : arrays
        C_ℓ^Tφ and C_ℓ^Eφ, as long as the shorter of the windows.
    """
    fields = {"T": np.asarray(cl_tp), "E": np.asarray(cl_ep)}
    total = 0.0
    for key in windows.keys() & {"TT", "TE", "EE"}:
        width = min(windows[key].shape[1], phi_windows.shape[1])
        product = 2.0 * fields[key[0]][:width] * fields[key[1]][:width] / ((2 * np.arange(width) + 1) * fsky)
        total = total + (windows[key][:, :width] * product) @ phi_windows[:, :width].T
    return np.asarray(total)


def n0_derivative(
    n0: Callable[[dict[str, NDArray]], NDArray],
    totals: Mapping[str, NDArray],
    edges: Sequence[int] | NDArray,
    *,
    keys: Iterable[str] = CMB,
) -> dict[str, NDArray]:
    """∂N0_L/∂C_ℓ^Y with respect to the total power, weights, filters and normalisation staying as they are.

    Parameters
    ----------
    n0 : function of total spectra
        Gives N0_L, (L_max+1,), or band powers of it: quadratic in the spectra. Called twice for each bin and key.
    totals : mapping of "TT", "EE", "BB", "TE" to array (lmax+1,)
    edges : sequence of int, rising
        Bins edges[b] ≤ ℓ < edges[b+1], over which the change is spread: see `spread`.
    keys : iterable of str
        The Y.

    Returns
    -------
    dict of key to array (L_max+1, lmax+1)
        Exact for changes that have the shape of `totals` in each bin, the central difference of a quadratic function
        being its derivative at any step; the steps here are the whole power of a bin.
    """
    base = {key: np.asarray(cl, dtype=np.float64) for key, cl in totals.items()}

    def of(key: str) -> NDArray:
        def central(change: NDArray) -> NDArray:
            return 0.5 * (n0(base | {key: base[key] + change}) - n0(base | {key: base[key] - change}))

        return spread(central, bin_shape(base, key), edges)

    return {key: of(key) for key in keys}


def bin_shape(spectra: Mapping[str, NDArray], key: str) -> NDArray[np.float64]:
    """The shape s_ℓ of a change of C_ℓ within a bin: C_ℓ itself, and for TE, which has zeros, √(C^TT C^EE)."""
    return np.sqrt(np.abs(spectra[key[0] * 2] * spectra[key[1] * 2]))


def spread(derivative: Callable[[NDArray], NDArray], shape: NDArray, edges: Sequence[int] | NDArray) -> NDArray:
    """∂f/∂C_ℓ, (n, lmax+1), from df/dp_b for changes p_b s_ℓ of C_ℓ within each bin b.

    Parameters
    ----------
    derivative : function of a change (lmax+1,) of C_ℓ
        Gives the change of f, (n,), to first order.
    shape : array (lmax+1,)
        s_ℓ.
    edges : sequence of int, rising
        Bins edges[b] ≤ ℓ < edges[b+1]. Outside of them, and where s_ℓ is zero, the derivative is zero.

    Notes
    -----
    Sums over modes with weights that vary with ℓ as C_ℓ does have ∂f/∂C_ℓ ∝ (2ℓ+1)/s_ℓ times a slow function of ℓ; this
    is the shape given to ∂f/∂C_ℓ within a bin, so that relative changes count equally for each mode.
    """
    edge = np.asarray(edges, dtype=np.int64)
    if edge.ndim != 1 or len(edge) < 2 or (np.diff(edge) <= 0).any() or edge[0] < 0 or edge[-1] > len(shape):
        raise ValueError(f"bin edges must rise from 0 to at most {len(shape)}, got {edge.tolist()}")
    columns = []
    profiles = np.zeros((len(edge) - 1, len(shape)))
    for b, (low, high) in enumerate(pairwise(edge)):
        inside = np.zeros(len(shape))
        inside[low:high] = shape[low:high]
        modes = np.where(inside > 0, 2.0 * np.arange(len(shape)) + 1, 0.0)
        if modes.any():
            profiles[b] = np.divide(modes, inside, out=np.zeros_like(modes), where=inside > 0) / modes.sum()
        columns.append(derivative(inside))
    return np.stack(columns, axis=1) @ profiles


def joint_covariance(
    cmb: NDArray,
    phi: NDArray,
    derivative: NDArray,
    phi_windows: NDArray,
    cl_phi: NDArray,
    *,
    fsky_cmb: float = 1.0,
    fsky_cross: float = 1.0,
    extra_cross: NDArray | None = None,
    extra_phi: NDArray | None = None,
) -> NDArray[np.float64]:
    """The covariance of n band powers of the lensed CMB followed by m of φ̂φ̂, (n+m, n+m).

    Parameters
    ----------
    cmb : array (n, n)
        Gaussian, of lensed total spectra.
    phi : array (m, m), or (m,) for a diagonal one
        Of φ̂φ̂, from 2 (C^φφ + N0)²/((2L+1) f_sky): the cosmic variance of lenses is in it already.
    derivative : array (n, L+1)
        ∂d_i/∂C_L^φφ of the CMB's band powers: `theory.lensed_response.bandpower_derivatives`.
    phi_windows : array (m, L+1)
        ∂⟨d_j⟩/∂C_L^φφ of those of φ̂φ̂: their windows, with or without N1.
    cl_phi : array (L+1,)
    fsky_cmb, fsky_cross : float
        shared_fsky(mask, 2, 2) and shared_fsky(mask, 2, 4).
    extra_cross, extra_phi : arrays (n, m), (m, m), optional
        Where N0 of a model is taken off rather than RDN0, both from `shared_fluctuations`; `shared_modes` may be added
        to the first.

    Raises
    ------
    ValueError
        If shapes differ, or the result is not positive definite.
    """
    n, m = len(cmb), len(phi)
    four = np.diag(phi) if np.ndim(phi) == 1 else np.asarray(phi)
    if cmb.shape != (n, n) or four.shape != (m, m) or len(derivative) != n or len(phi_windows) != m:
        raise ValueError(
            f"blocks of {n} and {m} band powers do not fit: {cmb.shape}, {four.shape}, derivatives "
            f"{derivative.shape}, windows {phi_windows.shape}"
        )
    joint = np.empty((n + m, n + m))
    joint[:n, :n] = cmb + lens_induced(derivative, derivative, cl_phi, fsky_cmb)
    joint[n:, n:] = four if extra_phi is None else four + extra_phi
    cross = lens_induced(derivative, phi_windows, cl_phi, fsky_cross)
    joint[:n, n:] = cross if extra_cross is None else cross + extra_cross
    joint[n:, :n] = joint[:n, n:].T
    joint = (joint + joint.T) / 2
    sigma = np.sqrt(np.diag(joint))
    lowest = float(np.linalg.eigvalsh(joint / np.outer(sigma, sigma))[0]) if (sigma > 0).all() else 0.0
    if not lowest > 0:
        raise ValueError(
            "the joint covariance is not positive definite "
            f"(lowest eigenvalue of the correlation matrix {lowest:.1e}): do its blocks share one f_sky and one sky?"
        )
    return joint


def response_ratio(
    combination: Mapping[str, NDArray],
    weights: Mapping[str, NDArray],
    fiducial: Mapping[str, NDArray],
    filters: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    nthreads: int = 0,
) -> Callable[[Mapping[str, NDArray]], NDArray[np.float64]]:
    """Σ_α w^α_L R^α_L[C]/R^α_L[C_fid], (lmax_phi+1,), as a function of C: φ̂ of φ in a sky of other spectra.

    Parameters
    ----------
    combination : mapping of "TT", "EE", "TE", "TB", "EB" to array (2, lmax_phi+1)
        w of φ and Ω, with which φ̂ is put together: `minimum_variance_weights`, or ones for a single estimator.
    weights, fiducial, filters
        `weights`, `signal` and `filters` of `quadratic.response.normalisation`.

    Returns
    -------
    function
        Of "TT", "TE", "EE", "BB", lensed-gradient spectra of a sky, any of them; what is absent is zero, the function
        being linear. Zero where no estimator responds.
    """
    lmax = max(len(f) for f in filters.values()) - 1
    filt = {field: padded(filters[field], lmax) for field in filters}
    halves = {key: half_terms(key, weights, lmax) for key in combination}
    zero = np.zeros(lmax + 1)

    def responses(spectra: Mapping[str, NDArray]) -> dict[str, NDArray]:
        # a gram keeps every correlation function it has made: one for each call, or they would pile up
        gram = wigner_grams(lmax, lmax_phi, nthreads=nthreads)
        full = {key: spectra.get(key, zero) for key in CMB}
        return {
            key: gram(half, full_terms(key, full, lmax), filt[key[0]], filt[key[1]], sigma(key))[0]
            for key, half in halves.items()
        }

    about = responses(fiducial)

    def ratio(spectra: Mapping[str, NDArray]) -> NDArray[np.float64]:
        total = np.zeros(lmax_phi + 1)
        for key, response in responses(spectra).items():
            fid = about[key]
            total += combination[key][0] * np.divide(response, fid, out=np.zeros_like(fid), where=fid != 0)
        return total

    return ratio


def lensing_corrections(
    phi_windows: NDArray,
    cl_phi: NDArray,
    lensed: Mapping[str, NDArray],
    edges: Sequence[int] | NDArray,
    *,
    ratio: Callable[[Mapping[str, NDArray]], NDArray],
    n1_matrix: NDArray | None = None,
    n0: Mapping[str, NDArray] | None = None,
    keys: Iterable[str] = ("TT", "TE", "EE"),
) -> tuple[dict[str, NDArray], NDArray[np.float64]]:
    """K and o of φ̂φ̂ band powers, as `LinearData` reads them: what their normalisation and N1 take from the cosmology.

    Parameters
    ----------
    phi_windows : array (m, L_max+1)
        W, on C_L^φφ.
    cl_phi : array, at least L_max+1 and as long as N1's columns
        Fiducial C_L^φφ.
    lensed : mapping of `keys` and of those of `n0` to array (lmax+1,)
        Fiducial lensed C_ℓ, "TT" and "EE" always among them. A change of the lensed-gradient spectra is taken to be
        that of the lensed ones.
    edges : sequence of int, rising
        Bins of ℓ in which derivatives are made, see `spread`; one call of `ratio` for each bin and key.
    ratio : function of spectra
        r_L[C], linear, 1 at the fiducial where φ̂ is normalised: `response_ratio`.
    n1_matrix : array (L_max+1, L′_max+1), optional
        ∂N1_L/∂C_L′^φφ, if N1 is taken off the band powers, and at the fiducial C^φφ: `bias.n1.n1_derivative`.
    n0 : mapping of "TT", "TE", "EE", "BB" to array (L_max+1, lmax+1), optional
        ∂N0_L/∂C_ℓ, if N0 is that of a model rather than RDN0: `n0_derivative`.

    Returns
    -------
    corrections : dict of the keys and of "PP" to array (m, …)
        K^X_jℓ = Σ_L W_jL [2 C_L^φφ ∂r_L/∂C_ℓ^X + ∂N0_L/∂C_ℓ^X] and K^PP = W ∂N1/∂C^φφ.
    offset : array (m,)
        o_j = −Σ K^X_jℓ C_ℓ^{X,fid}.

    Raises
    ------
    ValueError
        If C_L^φφ ends too early.
    """
    width = phi_windows.shape[1]
    needed = max(width, 0 if n1_matrix is None else n1_matrix.shape[1])
    if len(cl_phi) < needed:
        raise ValueError(f"the fiducial C_L^phiphi must go to L = {needed - 1}, it ends at {len(cl_phi) - 1}")
    weighted = 2.0 * phi_windows * np.asarray(cl_phi)[:width]

    def of(key: str) -> NDArray:
        return spread(lambda change: weighted @ ratio({key: change}), bin_shape(lensed, key), edges)

    corrections = {key: of(key) for key in keys}
    for key, derivative in (n0 or {}).items():
        taken = phi_windows @ derivative
        corrections[key] = corrections[key] + taken if key in corrections else taken
    fiducial = {**lensed, "PP": np.asarray(cl_phi)}
    if n1_matrix is not None:
        corrections["PP"] = phi_windows @ n1_matrix
    offset = -sum(
        (matrix @ fiducial[key][: matrix.shape[1]] for key, matrix in corrections.items()), np.zeros(len(phi_windows))
    )
    return corrections, offset
