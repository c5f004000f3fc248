"""N1 against direct double sums, its derivative, and the flat-sky weights against the curved-sky responses."""

import itertools

import numpy as np
import pytest
from scipy.fft import irfft2, rfft2

from lensrec.bias.flat_weights import (
    FlatEstimator,
    Lattice,
    combined_estimator,
    flat_length,
    joint_estimator,
    lattice_weights,
    spectrum_rows,
)
from lensrec.bias.n1 import (
    N1,
    correlations,
    lattice_for,
    n1_bias,
    n1_derivative,
    n1_spectrum,
    sample_multipoles,
)
from lensrec.quadratic.combination import minimum_variance_weights
from lensrec.quadratic.response import Normalisation, normalisation
from tests.reference import n1_brute

KEYS = ("TT", "EE", "TE", "TB", "EB")


def rough_spectra(rng: np.random.Generator, lmax: int) -> dict[str, np.ndarray]:
    """Spectra without any smoothness, and a TE that no positivity ties to TT and EE."""
    ell = np.arange(lmax + 1)
    cls = {key: rng.uniform(0.5, 2.0, lmax + 1) / (ell + 5.0) ** 2 for key in ("TT", "EE", "BB")}
    cls["TE"] = rng.uniform(-0.4, 0.4, lmax + 1) / (ell + 5.0) ** 2
    return cls


class Rough:
    """Estimators at ℓ ≤ 12 with rough weights, filters of unequal ranges, and all that the double sum needs of them."""

    lmax = 12

    def __init__(self) -> None:
        rng = np.random.default_rng(41)
        ell = np.arange(self.lmax + 1)
        self.weights, self.signal = rough_spectra(rng, 16), rough_spectra(rng, 16)
        filters = {f: rng.uniform(0.5, 2.0, self.lmax + 1) * (ell >= m) for f, m in zip("TEB", (3, 4, 2), strict=True)}
        filters["T"] = filters["T"][:-2]
        apart = {2 * field: filt for field, filt in filters.items()}
        joint = {**apart, "TE": rng.uniform(-0.4, 0.4, self.lmax + 1) * (ell >= 4)}
        response = {key: rng.uniform(1.0, 2.0, self.lmax + 1) for key in KEYS}
        shares = {key: rng.uniform(0.1, 0.3, self.lmax + 1) for key in KEYS}
        one = np.ones(self.lmax + 1)
        args = (response, self.weights, filters)
        self.estimators = {key: combined_estimator({key: one}, *args) for key in KEYS}
        self.estimators["MV"] = combined_estimator(shares, *args)
        self.estimators["GMV"] = joint_estimator(one, self.weights, joint)
        self.direct = {key: ({key: 1.0 / response[key]}, apart) for key in KEYS}
        self.direct["MV"] = ({key: shares[key] / response[key] for key in KEYS}, apart)
        self.direct["GMV"] = (dict.fromkeys((*KEYS, "BB"), one), joint)
        self.lattice = lattice_for(self.lmax, 20, 1.5)
        i = np.arange(-self.lattice.reach, self.lattice.reach + 1) * self.lattice.spacing
        self.k = np.stack(np.meshgrid(i, i, indexing="ij"), axis=-1).reshape(-1, 2)

    def transforms(self, L: int, curl: bool) -> dict[str, np.ndarray]:
        rows = spectrum_rows(self.signal, self.lmax + 1)
        return {
            name: rfft2(lattice_weights(estimator, rows, L, self.lattice, curl=curl))
            for name, estimator in self.estimators.items()
        }

    def brute(self, L: int, direction: float, curl: bool, power, pairs) -> dict[tuple[str, str], float]:  # type: ignore[no-untyped-def]
        """The double sum on the lattice, turned so that L points anywhere."""
        c, s = np.cos(direction), np.sin(direction)
        turn = np.array([[c, -s], [s, c]])
        vector = turn @ [flat_length(L), 0.0]
        l1 = self.k @ turn.T + 0.5 * vector
        weights, signal = n1_brute.at_half_integers(self.weights), n1_brute.at_half_integers(self.signal)
        g = {}
        for name in {name for pair in pairs for name in pair}:
            shares, filters = self.direct[name]
            filters = n1_brute.at_half_integers(filters)
            at_l = {key: share[L] for key, share in shares.items()}
            g[name] = n1_brute.estimator_weights(at_l, vector, l1, weights, filters, curl)
        cell = self.lattice.spacing**2
        return {(a, b): n1_brute.double_sum(g[a], g[b], vector, l1, signal, power, cell) for a, b in pairs}


@pytest.fixture(scope="module")
def rough() -> Rough:
    return Rough()


ALL_PAIRS = list(itertools.combinations_with_replacement((*KEYS, "MV", "GMV"), 2))
SOME_PAIRS = [("EE", "EE"), ("TT", "TE"), ("TB", "EB"), ("MV", "GMV")]


@pytest.mark.parametrize(
    ("L", "direction", "curl", "pairs"),
    [(7, 0.4, False, ALL_PAIRS), (7, -2.0, True, ALL_PAIRS), (2, 1.1, False, SOME_PAIRS), (12, 0.0, False, SOME_PAIRS)],
)
def test_fourier_transforms_make_the_double_sum(
    L: int, direction: float, curl: bool, pairs: list, rough: Rough
) -> None:
    """To rounding, for a C^φφ without smoothness. Nothing may depend on where L points."""
    lattice = rough.lattice
    cl_phi = np.random.default_rng(42).uniform(0.5, 2.0, 18) / (np.arange(18) + 3.0) ** 4
    power = n1_brute.at_half_integers({"PP": cl_phi})["PP"]
    truth = rough.brute(L, direction, curl, lambda x, y: power(np.hypot(x, y)), pairs)
    transforms = rough.transforms(L, curl)
    qx, qy = np.meshgrid(*2 * [np.fft.fftfreq(lattice.n, 1.0 / lattice.n) * lattice.spacing], indexing="ij")
    weight = power(np.hypot(qx, qy)) * (lattice.spacing / (2.0 * np.pi)) ** 2
    size = {a: np.sqrt(abs(truth[a, a])) for a in rough.estimators if (a, a) in truth}
    for a, b in pairs:
        e = irfft2(correlations(transforms[a], transforms[b], lattice, 3), s=(lattice.n, lattice.n))
        total = np.sum(weight * (qx * qx * e[0] + 2.0 * qx * qy * e[1] + qy * qy * e[2]))
        assert abs(total - truth[a, b]) < 1e-10 * max(abs(truth[a, b]), 1e-2 * size.get(a, 0.0) * size.get(b, 0.0))


@pytest.mark.parametrize("curl", [False, True])
def test_matrix_is_the_average_over_directions(curl: bool, rough: Rough) -> None:
    """⟨q_a q_b E_ab⟩ by 128 directions of the trigonometric interpolation, which is band-limited in angle too.

    The sum over rings errs by 4e-6 of the sum of |P|, which is some ten times the largest average: 1e-4 is promised.
    """
    L, lattice = 7, rough.lattice
    pairs = [("TT", "EE"), ("TB", "EB"), ("MV", "GMV")]
    n1 = n1_bias(rough.estimators, rough.signal, 12, 20, pairs=pairs, multipoles=[L], spacing=1.5, curl=curl)
    transforms = rough.transforms(L, curl)
    angle = 2.0 * np.pi * np.arange(128) / 128
    x = np.fft.fftfreq(lattice.n) * 2.0 * np.pi / lattice.spacing
    for a, b in pairs:
        e = irfft2(correlations(transforms[a], transforms[b], lattice, 3), s=(lattice.n, lattice.n))
        p = np.fft.fft2(e).real / lattice.n**2
        expected = np.zeros(21)
        for i in range(21):
            qx, qy = (i + 0.5) * np.cos(angle), (i + 0.5) * np.sin(angle)
            e_xx, e_xy, e_yy = np.einsum(
                "tx,ty,axy->at", np.exp(1j * np.outer(qx, x)), np.exp(1j * np.outer(qy, x)), p
            ).real
            expected[i] = np.mean(qx * qx * e_xx + 2.0 * qx * qy * e_xy + qy * qy * e_yy) * (i + 0.5) / (2.0 * np.pi)
        assert np.abs(n1.matrix[a, b][0] - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_band_of_the_matrix_is_what_the_double_sum_gains_by_it(rough: Rough) -> None:
    """The derivative by rebuilding the whole: C^φφ with a smooth band doubled, less C^φφ, summed directly.

    A sum over points of q against one over its length: both are trapezoidal for a smooth band, and differ by what the
    rough weights leave of power at the lattice's own frequency.
    """
    L = 7

    def band(q: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * ((q - 8.0) / 2.0) ** 2)

    def cl_phi(q: np.ndarray, amplitude: float) -> np.ndarray:
        return 1.0 / (q + 3.0) ** 4 * (1.0 + amplitude * band(q))

    pairs = [("EE", "EE"), ("MV", "MV"), ("TT", "GMV")]
    n1 = n1_bias(rough.estimators, rough.signal, 12, 26, pairs=pairs, multipoles=[L], spacing=1.5)
    more = rough.brute(L, 0.3, False, lambda x, y: cl_phi(np.hypot(x, y), 1.0), pairs)
    less = rough.brute(L, 0.3, False, lambda x, y: cl_phi(np.hypot(x, y), 0.0), pairs)
    q = np.arange(27) + 0.5
    for pair in pairs:
        gain = n1.matrix[pair][0] @ (cl_phi(q, 1.0) - cl_phi(q, 0.0))
        assert abs(gain / (more[pair] - less[pair]) - 1.0) < 2e-3


class Smooth:
    """A sky and an experiment at ℓ ≤ 400, with peaks and damping."""

    lmax, lmin = 400, 20

    def __init__(self) -> None:
        ell = np.arange(self.lmax + 201.0)
        damping = np.exp(-((ell / 1400.0) ** 1.2)) / (ell + 10.0) ** 2
        self.signal = {
            "TT": 6e3 * damping * (1.3 + np.cos(ell / 48.0)),
            "EE": 1e2 * damping * (1.3 - np.cos(ell / 48.0)),
            "TE": 3e2 * damping * np.sin(ell / 48.0),
            "BB": 2e0 * damping,
        }
        self.weights = {key: 0.0 * cl if key == "BB" else cl for key, cl in self.signal.items()}
        noise = 1e-3 * np.exp(ell * (ell + 1) * 1e-5)
        self.totals = {k: c + (0.0 if k == "TE" else noise * (1 if k == "TT" else 2)) for k, c in self.signal.items()}
        keep = (ell >= self.lmin) & (ell <= self.lmax)
        self.filters = {f: np.where(keep, 1.0 / self.totals[f + f], 0.0)[: self.lmax + 1] for f in "TEB"}
        self.cl_phi = 1e-7 / (ell + 1.0) ** 4 / (1.0 + (ell / 60.0) ** 2)
        self.norm = normalisation(KEYS, self.weights, self.signal, self.filters, self.totals, self.lmax)

    def estimators(self, norm: Normalisation) -> dict[str, FlatEstimator]:
        response = {key: norm.response[key][0] for key in KEYS}
        one = np.ones(self.lmax + 1)
        out = {key: combined_estimator({key: one}, response, self.weights, self.filters) for key in KEYS}
        shares = {key: weight[0] for key, weight in minimum_variance_weights(norm)[0].items()}
        return {**out, "MV": combined_estimator(shares, response, self.weights, self.filters)}


@pytest.fixture(scope="module")
def smooth() -> Smooth:
    return Smooth()


@pytest.fixture(scope="module")
def all_pairs(smooth: Smooth) -> N1:
    return n1_bias(smooth.estimators(smooth.norm), smooth.signal, 400, 600, multipoles=[5, 60, 250], spacing=8.0)


@pytest.mark.parametrize("curl", [False, True])
@pytest.mark.parametrize("L", [50, 300])
def test_flat_response_and_noise_are_the_curved_ones(L: int, curl: bool, smooth: Smooth) -> None:
    """½ Σ H f and ½ Σ H C C H of the very H that N1 is made of; for L ≥ 50 the sphere is flat to 2/L² < 1e-3.

    On top of it stands the roughness of the filters' edges on a lattice of Δ = 4: up to 6e-3 of the noise, to which
    they matter the most, and 2e-3 of a response.
    """
    one = np.ones(smooth.lmax + 1)
    lattice = Lattice(2 * 103 + 1, 4.0, 103, points=1)
    i = np.fft.fftfreq(lattice.n, 1.0 / lattice.n) * lattice.spacing
    vector = np.array([flat_length(L), 0.0])
    l1 = np.stack(np.meshgrid(i, i, indexing="ij"), axis=-1) + 0.5 * vector
    l2 = vector - l1
    f = n1_brute.responses(vector[::-1] if curl else vector, l1, l2, n1_brute.at_half_integers(smooth.signal))
    totals = n1_brute.at_half_integers(smooth.totals)
    r1, r2 = np.hypot(*np.moveaxis(l1, -1, 0)), np.hypot(*np.moveaxis(l2, -1, 0))
    c1, c2 = (_matrix(lambda x, y, r=r: _total(totals, x, y, r)) for r in (r1, r2))
    turned1, turned2 = _rotation(l1), _rotation(l2)
    f_tqu = np.einsum("xi...,ij...,yj...->xy...", turned1, _matrix(lambda x, y: f[x + y]), turned2)
    c1 = np.einsum("xi...,ij...,yj...->xy...", turned1, c1, turned1)
    c2 = np.einsum("xi...,ij...,yj...->xy...", turned2, c2, turned2)
    cell = (lattice.spacing / (2.0 * np.pi)) ** 2
    h = {}
    for key in KEYS:
        estimator = combined_estimator({key: one}, {key: one}, smooth.weights, smooth.filters)
        h[key] = _whole(lattice_weights(estimator, spectrum_rows(smooth.signal, 401), L, lattice, curl=curl)[:6])
        response = 0.5 * cell * np.sum(h[key] * f_tqu)
        assert abs(response / smooth.norm.response[key][int(curl), L] - 1.0) < 5e-3
    for a, b in itertools.combinations_with_replacement(KEYS, 2):
        noise = 0.5 * cell * np.einsum("ij...,ik...,jl...,kl...->", h[a], c1, c2, h[b], optimize=True)
        size = np.sqrt(smooth.norm.noise[a, a][int(curl), L] * smooth.norm.noise[b, b][int(curl), L])
        assert abs(noise - smooth.norm.noise[a, b][int(curl), L]) < 1e-2 * size


def _matrix(entry) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.array([[entry(x, y) for y in "TEB"] for x in "TEB"])


def _total(totals: dict, x: str, y: str, r: np.ndarray) -> np.ndarray:
    key = "".join(sorted(x + y, key="TEB".index))
    return totals[key](r) if key in totals else np.zeros_like(r)


def _rotation(l: np.ndarray) -> np.ndarray:
    angle = 2.0 * np.arctan2(l[..., 1], l[..., 0])
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros(angle.shape)
    return np.array([[zero + 1.0, zero, zero], [zero, c, -s], [zero, s, c]])


def _whole(rows: np.ndarray) -> np.ndarray:
    """H^{XY} of all X, Y from those with X ≤ Y, by H(−k) = H(k)ᵀ."""
    out = np.zeros((3, 3, *rows.shape[1:]))
    for row, (x, y) in zip(rows, itertools.combinations_with_replacement(range(3), 2), strict=True):
        out[x, y] = row
        out[y, x] = np.roll(row[::-1, ::-1], (1, 1), (0, 1))
    return out


def test_pairs_do_not_mind_their_order_and_fields_left_out_are_not_missed(smooth: Smooth, all_pairs: N1) -> None:
    """T alone, or Q and U alone, are computed without the others."""
    estimators = smooth.estimators(smooth.norm)
    some = {"multipoles": [60, 250], "spacing": 8.0}
    backwards = n1_bias(estimators, smooth.signal, 400, 600, pairs=[("MV", "EB"), ("TE", "TT")], **some)
    for a, b in backwards.matrix:
        forwards = all_pairs.matrix[b, a][[1, 2]]
        assert np.abs(backwards.matrix[a, b] - forwards).max(axis=1) == pytest.approx(
            np.zeros(2), abs=1e-12 * np.abs(forwards).max()
        )
    for keys in (("TT",), ("EE", "EB")):
        alone = n1_bias({key: estimators[key] for key in keys}, smooth.signal, 400, 600, **some)
        for pair, matrix in alone.matrix.items():
            whole = all_pairs.matrix[pair][[1, 2]]
            assert (np.abs(matrix - whole).max(axis=1) < 1e-12 * np.abs(whole).max(axis=1)).all()


def test_minimum_variance_is_the_weighted_sum_of_all_pairs(smooth: Smooth, all_pairs: N1) -> None:
    weights, _ = minimum_variance_weights(smooth.norm)
    at = all_pairs.multipoles
    total = np.zeros_like(all_pairs.matrix["MV", "MV"])
    for a, b in itertools.product(KEYS, KEYS):
        matrix = all_pairs.matrix[(a, b) if (a, b) in all_pairs.matrix else (b, a)]
        total += (weights[a][0, at] * weights[b][0, at])[:, None] * matrix
    assert (np.abs(total - all_pairs.matrix["MV", "MV"]).max(axis=1) < 1e-11 * np.abs(total).max(axis=1)).all()


def test_positive_and_small_where_lensing_is_measured(smooth: Smooth, all_pairs: N1) -> None:
    """N1 is no variance, but for these it is some per cent of C^φφ at low L and grows beyond it."""
    for key in ("TT", "EB", "MV"):
        ratio = all_pairs.matrix[key, key] @ smooth.cl_phi[:601] / smooth.cl_phi[all_pairs.multipoles]
        assert (ratio > 0.0).all()
        assert ratio[1] < 0.2
        assert ratio[2] > 1.0


def test_the_spacing_of_the_lattice_does_not_matter(smooth: Smooth) -> None:
    """From Δ = lmax/80 to 3/5 of it N1 moves by 1.4e-3 at most, for TT, whose C_ℓ rises steeply towards lmin = 4Δ."""
    estimators = smooth.estimators(smooth.norm)
    for key in ("TT", "EB"):
        some = {"pairs": [(key, key)], "multipoles": [5, 40, 200, 390]}
        usual = n1_bias(estimators, smooth.signal, 400, 600, **some).matrix[key, key] @ smooth.cl_phi[:601]
        finer = n1_bias(estimators, smooth.signal, 400, 600, spacing=3.0, **some).matrix[key, key] @ smooth.cl_phi[:601]
        assert np.abs(usual / finer - 1.0).max() < 3e-3


def test_spectrum_is_linear_and_interpolates(smooth: Smooth) -> None:
    """N1 = (∂N1/∂C^φφ)·C^φφ at every L; doubling a band adds its columns; between the L computed it is good to 5e-3.

    TT is of all the least smooth, and most so towards L = lmax, where the peaks that one leg passes lie on the end of
    the other's range: 2e-2 there, with only 400 multipoles. At ℓ ≤ 3000 the same steps are good to 2e-3 everywhere.
    """
    estimators = {"TT": smooth.estimators(smooth.norm)["TT"]}
    pair = ("TT", "TT")
    n1 = n1_bias(estimators, smooth.signal, 400, 600)
    cl_phi = smooth.cl_phi[:601]
    spectrum = n1_spectrum(n1, cl_phi, 400)[pair]
    derivative = n1_derivative(n1, pair, 400)
    assert spectrum.shape == (401,)
    assert derivative.shape == (401, 601)
    assert spectrum[0] == 0.0
    assert np.abs(derivative @ cl_phi - spectrum)[1:] == pytest.approx(0.0, abs=1e-12 * np.abs(spectrum).max())
    assert np.abs((derivative @ cl_phi)[2:] / spectrum[2:] - 1.0).max() < 1e-12
    doubled = cl_phi.copy()
    doubled[30:60] *= 2.0
    gain = n1_spectrum(n1, doubled, 400)[pair] - spectrum
    assert np.abs(gain[2:] - derivative[2:, 30:60] @ cl_phi[30:60]).max() < 1e-12 * np.abs(spectrum[2:]).max()
    cut = np.where(np.arange(601) < 100, cl_phi, 0.0)
    np.testing.assert_allclose(n1_spectrum(n1, cl_phi[:100], 400)[pair], n1_spectrum(n1, cut, 400)[pair], rtol=1e-12)
    between = [int(L) for L in (sample_multipoles(400)[:-1] + sample_multipoles(400)[1:]) // 2][6::2]
    direct = n1_bias(estimators, smooth.signal, 400, 600, multipoles=between).matrix[pair] @ cl_phi
    error = np.abs(spectrum[between] / direct - 1.0)
    assert error[np.array(between) < 300].max() < 5e-3
    assert error.max() < 2e-2


def test_multipoles_computed_span_the_range() -> None:
    for lmax_phi in (1, 2, 3, 50, 3000):
        points = sample_multipoles(lmax_phi)
        assert points[-1] == lmax_phi
        assert (np.diff(points) > 0).all()
        assert np.diff(points, prepend=points[0]).max() <= 40


def test_mistakes_are_named(smooth: Smooth) -> None:
    estimators = {"MV": smooth.estimators(smooth.norm)["MV"]}
    with pytest.raises(ValueError, match="'EB'"):
        n1_bias(estimators, smooth.signal, 400, 600, pairs=[("MV", "EB")])
    with pytest.raises(ValueError, match="L = 400"):
        n1_bias(estimators, smooth.signal, 500, 600)
    with pytest.raises(ValueError, match="L = 1"):
        n1_bias(estimators, smooth.signal, 400, 600, multipoles=[0])
