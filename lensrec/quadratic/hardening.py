"""Bias-hardened estimators: the response matrix between φ and contaminant fields, and what is made of it.

An estimator of one field a responds to all fields b that correlate multipoles,

    ⟨q^a_LM⟩ = Σ_b R^{ab}_L b_LM,        R^{ab}_L = (1 + δ_XY)⁻¹ (2L+1)⁻¹ Σ_ℓ₁ℓ₂ f^{a*} f^b F^X_ℓ₁ F^Y_ℓ₂

with f^a of the estimator's weights and f^b of the truth, so that R is symmetric only where they are the same. The
estimate (Namikawa, Hanson & Takahashi 2013, arXiv:1209.0091, eq. 26; Osborne, Hanson & Doré 2014, arXiv:1310.7547)

    φ̂^H_L = Σ_b (R⁻¹)^{φb}_L q^b_L

responds 1 to φ and 0 to every field. Here it is q^H/R^H with q^H = q^φ + Σ_c h^c q^c, where h solves
R^{φc′} + Σ_c h^c R^{cc′} = 0 over the fields c′ alone and R^H = R^{φφ} + Σ_c h^c R^{cφ} = 1/(R⁻¹)^{φφ}: the same, and
regular at L = 0, where φ does not respond. So q^H and R^H stand wherever q and R of an ordinary estimator do.

Ω is odd under the parity under which φ and scalar fields are even: R^{Ωc} = R^{cΩ} = 0, and Ω̂ needs no hardening.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.contaminants import Contaminant, field_estimates, paired_field_estimates
from lensrec.quadratic.estimators import paired_estimates, quadratic_estimates
from lensrec.quadratic.grams import Term, full_terms, half_terms, padded, sigma, total_between, wigner_grams
from lensrec.quadratic.response import Normalisation
from lensrec.sphere.alm import scale_alm

PHI = "phi"
"""How φ (and Ω) is called among the fields."""

ILL_CONDITIONED = 1e8
"""Condition number of the fields' correlation-like matrix from which no hardening is offered. Its entries are good to
some 1e-13, so that a response to a field is cancelled to 1e-5 of what it was, or better."""

_DEAD = 1e-12
"""A field whose R^{cc} at one L is below this times its largest one does not respond there; rounding is 1e-15."""


@dataclass(frozen=True)
class ResponseMatrix:
    """Responses and Gaussian noise of the estimators of φ and of other fields.

    Attributes
    ----------
    names : tuple of str
        "phi" and the fields.
    response : dict of (key, a, b) to array (2, lmax_phi+1)
        R^{ab}_L of the estimator XY of field a to field b; rows for φ and Ω. A scalar field has a row of zeros for Ω,
        except that (key, "phi", "phi") holds R^{ΩΩ} there.
    noise : dict of ((key, a), (key′, b)) to array (2, lmax_phi+1)
        ⟨q^a_LM q^b*_LM⟩ of Gaussian fields with the given total spectra.
    """

    names: tuple[str, ...]
    response: dict[tuple[str, str, str], NDArray[np.float64]]
    noise: dict[tuple[tuple[str, str], tuple[str, str]], NDArray[np.float64]]

    @property
    def keys(self) -> list[str]:
        """The estimators."""
        return list(dict.fromkeys(key for key, _, _ in self.response))


@dataclass(frozen=True)
class Hardening:
    """Estimators of φ hardened against some fields.

    Attributes
    ----------
    against : tuple of str
    coefficients : dict of (key, name) to array (lmax_phi+1,)
        h^c_L: q^H = q^φ + Σ_c h^c q^c.
    norm : Normalisation
        R^H, ⟨q^H⟩ = R^H φ, and ⟨q^H q^H′*⟩, of which n0, weights and sum of MV are made as for ordinary estimators.
        Zero at those L where φ can't be told from the fields. Rows of Ω are those of the ordinary estimators.
    responses : dict of (key, name) to array (lmax_phi+1,)
        R^{Hb}_L of q^H to each field b of the matrix, hardened against or not.
    """

    against: tuple[str, ...]
    coefficients: dict[tuple[str, str], NDArray[np.float64]]
    norm: Normalisation
    responses: dict[tuple[str, str], NDArray[np.float64]]


def response_matrix(
    keys: Iterable[str],
    fields: Mapping[str, Contaminant],
    weights: Mapping[str, NDArray],
    signal: Mapping[str, NDArray],
    filters: Mapping[str, NDArray],
    totals: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    truth: Mapping[str, Contaminant] | None = None,
    nthreads: int = 0,
) -> ResponseMatrix:
    """Responses and Gaussian noise between all pairs of φ and the fields, of several quadratic estimators.

    Parameters
    ----------
    keys : estimators "TT", "EE", "TE", "TB", "EB"
    fields : mapping of a name to Contaminant
        The estimators' weights.
    weights, signal, filters, totals, lmax_phi
        As in `response.normalisation`: φ's weights, and the spectra that respond to lensing in truth.
    truth : mapping like `fields`, optional
        Fields as they are in truth, where they differ from the weights.

    Returns
    -------
    ResponseMatrix

    Raises
    ------
    ValueError
        For a field called "phi", or one without the weights of an estimator.
    """
    keys = list(keys)
    if PHI in fields:
        raise ValueError(f"a field cannot be called {PHI!r}, the name of the lensing potential")
    names = (PHI, *fields)
    true_fields = {**fields, **(truth or {})}
    lmax = max(len(f) for f in filters.values()) - 1
    filt = {field: padded(filters[field], lmax) for field in filters}
    total = {key: padded(totals[key], lmax) for key in totals}
    halves, truths = {}, {}
    for key in keys:
        halves[key, PHI], truths[key, PHI] = half_terms(key, weights, lmax), full_terms(key, signal, lmax)
        for name in fields:
            halves[key, name] = _field_terms(key, name, fields[name], lmax)
            terms = _field_terms(key, name, true_fields[name], lmax)
            truths[key, name] = terms + [t.transposed() for t in terms] if key[0] == key[1] else terms
    gram = wigner_grams(lmax, lmax_phi, nthreads=nthreads)

    response = {}
    for key in keys:
        first, second = filt[key[0]], filt[key[1]]
        # No pair of multipoles is left beyond, where sums over Wigner-d functions leave rounding
        reached = np.arange(lmax_phi + 1) <= sum(int(np.flatnonzero(f).max(initial=-1)) for f in (first, second))
        for a in names:
            for b in names:
                response[key, a, b] = gram(halves[key, a], truths[key, b], first, second, sigma(key)) * reached
    noise = {}
    labels = [(key, name) for key in keys for name in names]
    for i, one in enumerate(labels):
        for two in labels[i:]:
            value = np.zeros((2, lmax_phi + 1))
            if sigma(one[0]) == sigma(two[0]):
                x, y, u, v = *list(one[0]), *list(two[0])

                def cross(p: str, q: str) -> NDArray:
                    return filt[p] * filt[q] * total_between(total, p, q)

                value += gram(halves[one], halves[two], cross(x, u), cross(y, v), sigma(one[0]))
                swapped = [term.transposed() for term in halves[two]]
                value += gram(halves[one], swapped, cross(x, v), cross(y, u), sigma(one[0]))
            noise[one, two] = noise[two, one] = value
    return ResponseMatrix(names, response, noise)


def hardening(matrix: ResponseMatrix, against: Iterable[str] | None = None) -> Hardening:
    """Harden the estimators of φ against some of the matrix's fields at once, or against all.

    Raises
    ------
    ValueError
        For an unknown field, or where two fields, or more, cannot be told apart: the matrix of their responses, with
        unit diagonal, has a condition number above 1e8 at some L ≥ 1.

    Notes
    -----
    A field that has no response of its own at some L (R^{cc} below 1e-12 of its largest, as for L beyond the sum of the
    legs' ℓ) is left out there. At L = 0 φ does not respond, q^H = 0. Where φ itself looks like a sum of the fields,
    R^H < 1e-8 R^{φφ} (L next to that sum), R^H is set to zero, and φ̂^H = 0.
    """
    against = tuple(matrix.names[1:] if against is None else against)
    for name in against:
        if name not in matrix.names[1:]:
            raise ValueError(f"cannot harden against {name!r}: the response matrix has {', '.join(matrix.names[1:])}")
    coefficients, response, responses = {}, {}, {}
    for key in matrix.keys:
        h = _solve(key, matrix, against)
        coefficients.update({(key, name): row for name, row in zip(against, h, strict=True)})

        def respond(b: str, key: str = key) -> NDArray:
            extra = sum(coefficients[key, c] * matrix.response[key, c, b][0] for c in against)
            return matrix.response[key, PHI, b][0] + extra

        bare = matrix.response[key, PHI, PHI]
        hard = respond(PHI)
        response[key] = np.stack([np.where(abs(hard) > abs(bare[0]) / ILL_CONDITIONED, hard, 0.0), bare[1]])
        responses.update({(key, b): respond(b) for b in matrix.names[1:]})
    noise = {}
    for one in matrix.keys:
        for two in matrix.keys:
            value = matrix.noise[(one, PHI), (two, PHI)].copy()
            for c in against:
                value[0] += coefficients[one, c] * matrix.noise[(one, c), (two, PHI)][0]
                value[0] += coefficients[two, c] * matrix.noise[(one, PHI), (two, c)][0]
                for d in against:
                    product = coefficients[one, c] * coefficients[two, d]
                    value[0] += product * matrix.noise[(one, c), (two, d)][0]
            noise[one, two] = np.where((response[one] != 0) & (response[two] != 0), value, 0.0)
    return Hardening(against, coefficients, Normalisation(response, noise), responses)


def hardened(
    estimates: Mapping[str, NDArray],
    of_fields: Mapping[tuple[str, str], NDArray],
    coefficients: Mapping[tuple[str, str], NDArray],
) -> dict[str, NDArray]:
    """q^H = q^φ + Σ_c h^c q^c, unnormalised, and q^Ω as it is.

    Parameters
    ----------
    estimates : mapping of key to array (2, nalm)
        q^φ and q^Ω of `quadratic_estimates`.
    of_fields : mapping of (key, name) to array (nalm,)
        q^c of `field_estimates`, of the same legs. It may hold more fields than are hardened against.
    coefficients : mapping of (key, name) to array (lmax_phi+1,)
        Of a `Hardening`.

    Returns
    -------
    dict of key to array (2, nalm)
        To be normalised with `Hardening.norm`. It is linear in q^φ and q^c: that of a pair of maps is made of the q of
        the pair, and that of a sum over pairs of their sums.
    """
    out = {key: np.array(q) for key, q in estimates.items()}
    for (key, name), h in coefficients.items():
        if key in out:
            out[key][0] += scale_alm(of_fields[key, name], h)
    return out


def hardened_estimates(
    keys: Iterable[str],
    filtered: Mapping[str, NDArray],
    weights: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    fields: Mapping[str, Contaminant],
    hardening: Hardening,
    second: Mapping[str, NDArray] | None = None,
    nthreads: int = 0,
) -> dict[str, NDArray]:
    """Unnormalised hardened estimates of φ, and Ω, with the arguments of `quadratic_estimates`, which it can stand for.

    Parameters
    ----------
    fields : mapping of a name to Contaminant
        As given to `response_matrix`; all that `hardening` is against.
    hardening : Hardening
    """
    keys = list(keys)
    used = {name: fields[name] for name in hardening.against}
    estimates = quadratic_estimates(keys, filtered, weights, lmax_phi, second=second, nthreads=nthreads)
    of_fields = field_estimates(keys, used, filtered, lmax_phi, second=second, nthreads=nthreads)
    return hardened(estimates, of_fields, hardening.coefficients)


def paired_hardened_estimates(
    keys: Iterable[str],
    sets: Sequence[Mapping[str, NDArray]],
    pairs: Iterable[tuple[int, int]],
    weights: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    fields: Mapping[str, Contaminant],
    hardening: Hardening,
    nthreads: int = 0,
) -> list[dict[str, NDArray]]:
    """Hardened estimates of many pairs of maps, with the arguments of `estimators.paired_estimates`, for RDN0."""
    keys, pairs = list(keys), list(pairs)
    used = {name: fields[name] for name in hardening.against}
    estimates = paired_estimates(keys, sets, pairs, weights, lmax_phi, nthreads=nthreads)
    of_fields = paired_field_estimates(keys, used, sets, pairs, lmax_phi, nthreads=nthreads)
    return [hardened(q, c, hardening.coefficients) for q, c in zip(estimates, of_fields, strict=True)]


def _solve(key: str, matrix: ResponseMatrix, against: tuple[str, ...]) -> NDArray[np.float64]:
    """h^c_L of Σ_c h^c R^{cc′} = −R^{φc′}, in units where R^{cc} = ±1; array (fields, lmax_phi+1)."""
    blocks = [[matrix.response[key, c, d][0] for d in against] for c in against]
    to_phi = np.array([matrix.response[key, PHI, d][0] for d in against])
    if not against:
        return to_phi
    r = np.moveaxis(np.array(blocks), -1, 0)
    diagonal = np.abs(np.einsum("lcc->lc", r))
    alive = diagonal > _DEAD * diagonal.max(0)
    scale = np.where(alive, 1.0 / np.sqrt(np.where(alive, diagonal, 1.0)), 0.0)
    unit = r * scale[:, :, None] * scale[:, None, :]
    unit += np.eye(len(against)) * ~alive[:, :, None]
    condition = np.linalg.cond(unit)
    condition[0] = 1.0  # φ is not there to be hardened
    worst = int(condition.argmax())
    if not condition[worst] < ILL_CONDITIONED:
        # The direction that the fields leave undetermined tells which of them are alike
        direction = np.abs(np.linalg.svd(unit[worst])[0][:, -1])
        alike = ", ".join(name for name, part in zip(against, direction, strict=True) if part > 0.1)
        raise ValueError(
            f"estimator {key} cannot tell the fields {alike} apart at L = {worst} (condition number"
            f" {condition[worst]:.1e}): harden against fewer of them, or take a lower lmax_phi"
        )
    right = -(to_phi.T * scale)
    h = np.zeros_like(right)
    h[1:] = np.linalg.solve(np.swapaxes(unit, 1, 2)[1:], right[1:, :, None])[..., 0]
    return (h * scale).T


def _field_terms(key: str, name: str, field: Contaminant, lmax: int) -> list[Term]:
    """The terms of a field's products, with X in the first slot; i of a B leg left out as in `grams`.

    Γ² has 3j(ℓ₁ ℓ₂ L; 2 −2 0) = ε J(−2, 2), and ε = −1 with a B leg; so a plain B turns the sign against a plain E.
    """
    terms = []
    for product in field.of(key, name):
        outer, inner = product.factor * padded(product.outer, lmax), padded(product.inner, lmax)
        if product.plain == "T":
            term = Term(0, 0, outer, inner)
        else:
            term = Term(-2, 2, -outer if product.plain == "B" else outer, inner)
        terms.append(term if product.plain == key[0] else term.transposed())
    return terms
