"""The optimal filter: against the isotropic one, against a dense solution, and against itself."""

import logging
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.filtering.conjugate_gradient import conjugate_gradient
from lensrec.filtering.noise_weighting import real_dot
from lensrec.filtering.preconditioner import pack, unpack
from lensrec.filtering.signal import FIELDS, apply_blocks
from lensrec.filtering.templates import monopole_dipole
from lensrec.filtering.wiener import WienerFiltered, solve_wiener, wiener_filter
from lensrec.sphere.alm import alm_ell, alm_size, scale_alm
from lensrec.sphere.grids import Grid, car_grid, gauss_legendre_grid, healpix_grid
from lensrec.sphere.sht import adjoint_synthesis, synthesis
from tests.reference.dense_wiener import dense_filter
from tests.reference.remap import pixel_angles

COMPONENTS = {"T": slice(0, 1), "P": slice(1, 3), "TP": slice(0, 3)}


class Case(NamedTuple):
    maps: NDArray
    grid: Grid
    inverse_noise: NDArray
    full_noise: NDArray
    signal: dict[str, NDArray]
    transfer: NDArray
    lmax: int
    fields: str

    def arguments(self) -> tuple[NDArray, Grid, NDArray, dict[str, NDArray], NDArray, int]:
        transfer = self.transfer if self.fields == "TP" else self.transfer[0 if self.fields == "T" else 1]
        return self.maps, self.grid, self.inverse_noise, self.signal, transfer, self.lmax

    def solve(self, **options: object) -> WienerFiltered:
        return solve_wiener(*self.arguments(), nthreads=1, **options)  # type: ignore[arg-type]


def spectra(lmax: int) -> dict[str, NDArray]:
    """Red and steep as the CMB's, TE of either sign, B faint; µK²."""
    ell = np.arange(lmax + 1.0)
    tt = 1e3 / (ell + 1.0) ** 2 * np.exp(-((ell / lmax) ** 2))
    ee = 0.02 * tt * (1.0 + 0.5 * np.cos(ell))
    out = {"TT": tt, "EE": ee, "BB": 1e-3 * ee, "TE": 0.5 * np.sin(0.7 * ell) * np.sqrt(tt * ee)}
    out["TT"][:2] = out["TE"][:2] = 0.0
    return out


def cut_sky(grid: Grid, lmax: int, fields: str, *, cut: float = 0.3, seed: int = 1) -> Case:
    """A band cut out, a hole, noise varying by 4, data that are not drawn from the model but as large as its."""
    rng = np.random.default_rng(seed)
    theta, phi = pixel_angles(grid)
    seen = (np.abs(np.cos(theta)) > np.sin(cut)) & ((np.cos(theta) < 0.8) | (np.cos(phi - 1.0) < 0.7))
    area = np.repeat(grid.weights, grid.nphi.astype(np.int64))
    noise = seen * area * rng.uniform(1.0, 4.0, (2, grid.npix)) * np.array([[20.0], [600.0]])
    full = noise[[0, 1, 1]][COMPONENTS[fields]]
    ell = np.arange(lmax + 1.0)
    transfer = np.stack([np.exp(-0.5 * (ell / lmax) ** 2), np.exp(-0.4 * (ell / lmax) ** 2)])
    maps = rng.normal(size=full.shape) * np.where(full > 0, 3.0 / np.sqrt(np.where(full > 0, full, 1.0)), 1e30)
    return Case(
        maps, grid, {"T": noise[0], "P": noise[1], "TP": noise}[fields], full, spectra(lmax), transfer, lmax, fields
    )


def worst(got: dict[str, NDArray], want: dict[str, NDArray]) -> float:
    """Largest difference over the rms, of the worst field."""
    assert list(got) == list(want)
    return max(float(np.abs(got[k] - want[k]).max() / np.sqrt(np.mean(np.abs(want[k]) ** 2))) for k in want)


def isotropic(case: Case, alm: NDArray, noise: NDArray) -> dict[str, NDArray]:
    """(S + N/b²)⁻¹ of beam-deconvolved a_ℓm, TE at its place, by 2×2 inverses."""
    names = FIELDS[case.fields]
    ell = alm_ell(case.lmax)
    total = np.zeros((case.lmax + 1, len(names), len(names)))
    deconvolved = []
    for i, one in enumerate(names):
        beam = case.transfer[0 if one == "T" else 1]
        deconvolved.append(scale_alm(alm[i], 1.0 / beam))
        total[:, i, i] = case.signal[one + one] + noise[0 if one == "T" else 1] / beam**2
        for j, two in enumerate(names):
            if {one, two} == {"T", "E"}:
                total[:, i, j] = case.signal["TE"]
    out = np.einsum("kij,jk->ik", np.linalg.inv(total)[ell], np.array(deconvolved))
    return dict(zip(names, out, strict=True))


@pytest.mark.parametrize("fields", ["T", "P", "TP"])
def test_even_noise_on_the_whole_sky_is_the_isotropic_filter(fields: str) -> None:
    """On a Gauss–Legendre grid N⁻¹ = w/N makes YᵀN⁻¹Y a multiple of 1, and the data's a_ℓm are those of the map."""
    lmax = 40
    grid = gauss_legendre_grid(2 * lmax)
    area = np.repeat(grid.weights, grid.nphi.astype(np.int64))
    noise = np.array([0.05, 0.002])
    case = cut_sky(grid, lmax, fields)
    weights = {"T": area / noise[0], "P": area / noise[1], "TP": area / noise[:, None]}[fields]
    rng = np.random.default_rng(4)
    maps = np.concatenate(
        [
            synthesis(rng.normal(size=alm_size(lmax)) + 0j, grid)[None],
            synthesis(rng.normal(size=(2, alm_size(lmax))) + 0j, grid, 2),
        ]
    )[COMPONENTS[fields]]
    case = case._replace(maps=maps, inverse_noise=weights)
    rows = [adjoint_synthesis(maps[0], grid, lmax, weighted=True)[None]] if "T" in fields else []
    rows += [adjoint_synthesis(maps[-2:], grid, lmax, 2, weighted=True)] if "P" in fields else []
    want = isotropic(case, np.concatenate(rows), noise)
    got = case.solve(tolerance=1e-9, preconditioner="diagonal")
    # the diagonal is the whole matrix: one step and one to see that nothing is left
    assert got.iterations <= 2
    for name in want:  # E and B have no multipoles below 2
        kept = alm_ell(lmax) >= (0 if name == "T" else 2)
        assert np.abs(got.filtered[name] - want[name])[kept].max() < 1e-10 * np.abs(want[name]).max()


def exact_weights(grid: Grid, degree: int) -> NDArray:
    """Pixel weights, near the pixels' area, that integrate every harmonic up to `degree`."""
    weights = np.full(grid.npix, 4.0 * np.pi / grid.npix)
    target = np.zeros(alm_size(degree), dtype=complex)
    target[0] = np.sqrt(4.0 * np.pi)
    for _ in range(40):
        wanting = target - adjoint_synthesis(weights, grid, degree)
        weights += 4.0 * np.pi / grid.npix * synthesis(wanting, grid)
    return weights


def on_healpix(nside: int, lmax: int, *, exact: bool) -> float:
    """Largest difference of the two filters on the whole sky, over the largest coefficient."""
    grid = healpix_grid(nside)
    noise = np.array([0.05, 0.002])
    case = cut_sky(grid, lmax, "TP")
    rng = np.random.default_rng(5)
    alm = rng.normal(size=(3, alm_size(lmax))) + 1j * rng.normal(size=(3, alm_size(lmax)))
    alm[:, : lmax + 1] = alm[:, : lmax + 1].real
    alm[1:, alm_ell(lmax) < 2] = 0.0
    maps = np.concatenate([synthesis(alm[0], grid)[None], synthesis(alm[1:], grid, 2)])
    area = exact_weights(grid, 2 * lmax) if exact else np.full(grid.npix, 4.0 * np.pi / grid.npix)
    got = case._replace(maps=maps, inverse_noise=area / noise[:, None]).solve(tolerance=1e-13)
    want = isotropic(case, alm, noise)
    return max(float(np.abs(got.filtered[k] - want[k]).max() / np.abs(want[k]).max()) for k in "TEB")


def test_on_healpix_the_two_filters_differ_by_the_quadrature() -> None:
    """The optimal filter takes the pixels as they are, YᵀN⁻¹Y and all; the isotropic one takes that for 1/N.

    So they differ by HEALPix's quadrature error, 1e-3 at nside = lmax and in proportion to nside⁻², and are the same
    where N⁻¹ has weights that integrate products of harmonics exactly.
    """
    coarse, fine = on_healpix(8, 8, exact=False), on_healpix(16, 8, exact=False)
    assert 1e-5 < fine < 3e-3
    assert 3.0 < coarse / fine < 5.0
    assert on_healpix(8, 8, exact=True) < 1e-10


@pytest.mark.parametrize("fields", ["T", "P", "TP"])
def test_a_cut_sky_is_the_dense_solution(fields: str) -> None:
    """Uneven noise, holes, templates: BᵀYᵀC⁻¹d by the covariance of the pixels, another formula on purpose."""
    case = cut_sky(healpix_grid(8), 11, fields)
    rng = np.random.default_rng(6)
    templates = rng.normal(size=(2, *case.maps.shape))
    if fields == "T":
        templates = np.concatenate([templates, monopole_dipole(case.grid)])
    want, wiener = dense_filter(
        case.maps, case.grid, case.full_noise, case.signal, case.transfer, case.lmax, fields, templates
    )
    for preconditioner in ("multigrid", "diagonal"):
        got = case.solve(templates=templates, tolerance=1e-12, preconditioner=preconditioner)
        assert got.converged
        assert worst(got.filtered, want) < 1e-8
        assert worst(got.wiener, wiener) < 1e-8
    # templates must have mattered, or nothing was proved
    plain = dense_filter(case.maps, case.grid, case.full_noise, case.signal, case.transfer, case.lmax, fields)[0]
    assert worst(plain, want) > 1e-3


def test_amplitudes_of_templates_do_not_matter() -> None:
    case = cut_sky(healpix_grid(8), 12, "T")
    templates = monopole_dipole(case.grid)
    first = case.solve(templates=templates, tolerance=1e-12)
    moved = np.where(case.full_noise > 0, case.maps + np.tensordot([100.0, -30.0, 20.0, 50.0], templates, 1), 0.0)
    # a dependent template more changes nothing
    more = np.concatenate([templates, templates[:1] + templates[2:3]])
    again = case._replace(maps=moved).solve(templates=more, tolerance=1e-12)
    assert worst(again.filtered, first.filtered) < 1e-9


@pytest.mark.parametrize("grid", [healpix_grid(8), car_grid(np.pi * (np.arange(12) + 0.5) / 12, 24, phi0=0.3)])
def test_templates_are_the_monopole_and_dipoles(grid: Grid) -> None:
    """1 and the Cartesian coordinates of the pixels, wherever a ring begins."""
    theta, phi = pixel_angles(grid)
    expected = [1 + 0 * theta, np.cos(theta), np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi)]
    np.testing.assert_allclose(monopole_dipole(grid)[:, 0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("fields", ["T", "P", "TP"])
def test_the_preconditioner_changes_the_way_and_not_the_answer(fields: str) -> None:
    """And to go on from the usual tolerance does not change the result by 1e-4 of its error bar."""
    case = cut_sky(healpix_grid(16), 40, fields)
    plain = case.solve(preconditioner="diagonal", tolerance=1e-9, max_iterations=3000)
    grids = case.solve(preconditioner="multigrid", tolerance=1e-9)
    assert plain.converged
    assert grids.converged
    # 37 for 383 in T, 34 for 155 in P, where S/N is less and there is less to gain, 36 for 359 in both
    assert grids.iterations < plain.iterations / (3 if fields == "P" else 7)
    assert worst(grids.filtered, plain.filtered) < 1e-7
    usual = case.solve()
    # of the data's X̄ the variance is S⁻¹ − S⁻¹ΣS⁻¹; per multipole, and at least half of f_sky S n/(1 + S n)/S
    for i, name in enumerate(FIELDS[fields]):
        beam = case.transfer[0 if name == "T" else 1]
        density = float(case.full_noise[i].sum()) / (4.0 * np.pi)
        power = case.signal[name + name]
        bar = 0.5 * density * beam**2 / (1.0 + power * density * beam**2)
        moved = np.abs(usual.filtered[name] - grids.filtered[name]) ** 2 / bar[alm_ell(case.lmax)]
        assert np.sqrt(moved[alm_ell(case.lmax) >= 2].mean()) < 1e-4


def test_a_warm_start_has_nothing_left_to_do() -> None:
    case = cut_sky(healpix_grid(16), 30, "TP")
    ready = wiener_filter(*case.arguments()[1:], fields="TP", nthreads=1)
    first = ready.apply(case.maps, tolerance=1e-7)
    again = ready.apply(case.maps, start=first.wiener, tolerance=1e-5)
    assert again.iterations <= 1
    assert worst(again.filtered, first.filtered) < 1e-5
    other = case.maps * 1.01
    assert (
        ready.apply(other, start=first.wiener, tolerance=1e-5).iterations
        < ready.apply(other, tolerance=1e-5).iterations
    )


def test_single_precision() -> None:
    case = cut_sky(healpix_grid(16), 30, "TP")
    double = case.solve(tolerance=1e-7)
    single = case.solve(tolerance=2e-6, precision="single")
    assert single.converged
    assert single.filtered["T"].dtype == np.complex64
    # rms 1.6e-6, 9e-6 at the worst coefficient, and that by the tolerance
    assert worst(single.filtered, double.filtered) < 2e-5


@pytest.mark.parametrize("fields", ["T", "TP"])
def test_car(fields: str) -> None:
    """Rings of a plate carrée map, of the southern sky alone."""
    theta = np.radians(np.arange(94.0, 180.0, 8.0))
    case = cut_sky(car_grid(theta, 32, 0.05), 12, fields)
    want, _ = dense_filter(case.maps, case.grid, case.full_noise, case.signal, case.transfer, case.lmax, fields)
    for preconditioner in ("multigrid", "diagonal"):
        got = case.solve(tolerance=1e-12, preconditioner=preconditioner, max_iterations=2000)
        assert worst(got.filtered, want) < 1e-8


def test_the_power_of_what_is_filtered_is_the_response() -> None:
    """⟨X̄ᵀ s⟩ = ⟨X̄ᵀ S X̄⟩ = tr(1 − A⁻¹) for data drawn from the model: the data's information, in modes."""
    lmax, fields = 10, "TP"
    case = cut_sky(healpix_grid(8), lmax, fields)
    ready = wiener_filter(*case.arguments()[1:], fields=fields, preconditioner="dense", nthreads=1)
    size = 3 * (lmax + 1) ** 2
    columns = [pack(ready.system(unpack(unit, 3, lmax))) for unit in np.eye(size)]
    expected = size - np.trace(np.linalg.inv(np.array(columns)))
    rng = np.random.default_rng(9)
    found = []
    for _ in range(40):
        sky = np.einsum("ijk,jk->ik", ready.system.root[..., alm_ell(lmax)], unpack(rng.normal(size=size), 3, lmax))
        beamed = np.stack([scale_alm(sky[i], case.transfer[min(i, 1)]) for i in range(3)])
        maps = np.concatenate([synthesis(beamed[0], case.grid)[None], synthesis(beamed[1:], case.grid, 2)])
        noise = rng.normal(size=maps.shape) / np.sqrt(np.where(case.full_noise > 0, case.full_noise, 1.0))
        got = ready.apply(maps + noise)
        found.append(sum(pack(got.filtered[k][None]) @ pack(got.wiener[k][None]) for k in "TEB"))
    # χ² of at most `size` modes: scatter √(2·expected/40) at most; 5σ, one false alarm in 2e6
    assert abs(np.mean(found) - expected) < 5.0 * np.sqrt(2.0 * expected / len(found))
    assert 0.2 * size < expected < 0.8 * size


def test_the_error_is_per_mode() -> None:
    """That of conjugate gradients, ‖x − A⁻¹b‖_A, over the root of the number of unknowns, 2ℓ + 1 for each ℓ ≥ 2."""
    lmax = 14
    modes = sum(2 * ell + 1 for ell in range(2, lmax + 1))
    case = cut_sky(healpix_grid(8), lmax, "T")
    ready = wiener_filter(*case.arguments()[1:], fields="T", preconditioner="diagonal", nthreads=1)
    data = np.where(case.full_noise > 0, case.maps, 0.0)[:, ready.pixels]
    solution = conjugate_gradient(
        ready.system,
        apply_blocks(ready.system.root, ready.system.weighting.adjoint(data)),
        ready.preconditioner.apply,
        real_dot,
        tolerance=1e-3 * modes**0.5,
        max_iterations=500,
    )
    got = ready.apply(case.maps, tolerance=1e-3)
    assert got.iterations == solution.iterations > 20
    assert got.error == pytest.approx(solution.error / modes**0.5, rel=1e-6)


def test_low_multipoles_are_cut_from_the_weighted_alm_alone(caplog: pytest.LogCaptureFixture) -> None:
    case = cut_sky(healpix_grid(8), 14, "T")
    whole, cut = case.solve(), case.solve(lmin=5)
    low = alm_ell(14) < 5
    assert not cut.filtered["T"][low].any()
    np.testing.assert_array_equal(cut.filtered["T"][~low], whole.filtered["T"][~low])
    np.testing.assert_array_equal(cut.wiener["T"], whole.wiener["T"])
    steps: list[tuple[int, float]] = []
    with caplog.at_level(logging.WARNING):
        short = case.solve(preconditioner="diagonal", max_iterations=3, progress=lambda i, e: steps.append((i, e)))
    assert not short.converged
    assert [i for i, _ in steps] == [1, 2, 3]
    assert f"after 3 iterations with an error of {short.error:.2g} σ" in caplog.text
    # one synthesis and one adjoint an iteration, two more at the end, and the adjoint of the data
    assert short.transforms[14, 0] == 2 * 3 + 3


def test_faint_and_absent_signals_divide_nothing() -> None:
    """C^BB of 1e-20 and of 0 give the same B̄, and the TEB of other fields at that."""
    case = cut_sky(healpix_grid(8), 12, "TP")
    results = []
    for level in (1e-20, 0.0):
        signal = {**case.signal, "BB": np.full(13, level)}
        results.append(case._replace(signal=signal).solve(tolerance=1e-12))
    assert worst(results[0].filtered, results[1].filtered) < 1e-9
    assert np.abs(results[1].filtered["B"]).max() > 0
    assert not results[1].wiener["B"].any()


def with_pixel(values: NDArray, number: float) -> NDArray:
    out = values.copy()
    out[..., -1] = number
    return out


def test_what_cannot_be_filtered_is_said() -> None:
    case = cut_sky(healpix_grid(4), 6, "T")
    maps, grid, noise, signal, transfer, lmax = case.arguments()
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"inverse_noise of the maps must be finite and not negative.*pixel 191"):
            solve_wiener(maps, grid, with_pixel(noise, bad), signal, transfer, lmax)
    with pytest.raises(ValueError, match="0 everywhere"):
        solve_wiener(maps, grid, 0 * noise, signal, transfer, lmax)
    with pytest.raises(ValueError, match=r"one map of 192 pixels expected, got shape \(1, 100\)"):
        solve_wiener(maps, grid, noise[:100], signal, transfer, lmax)
    with pytest.raises(ValueError, match=r"expected, shape \(1, 192\), got \(1, 7\)"):
        solve_wiener(maps[:, :7], grid, noise, signal, transfer, lmax)
    with pytest.raises(ValueError, match="got 4 maps"):
        solve_wiener(np.zeros((4, 192)), grid, noise, signal, transfer, lmax)
    with pytest.raises(ValueError, match="maps: not finite"):
        solve_wiener(with_pixel(maps, np.nan), grid, with_pixel(noise, 1.0), signal, transfer, lmax)
    with pytest.raises(ValueError, match="TT ends at ℓ = 4, the filter needs ℓ = 6"):
        solve_wiener(maps, grid, noise, {"TT": signal["TT"][:5]}, transfer, lmax)
    with pytest.raises(ValueError, match="TT is missing"):
        solve_wiener(maps, grid, noise, {"EE": signal["EE"]}, transfer, lmax)
    with pytest.raises(ValueError, match="TT must be finite and not negative, it is -1 at ℓ = 6"):
        solve_wiener(maps, grid, noise, {"TT": with_pixel(signal["TT"], -1.0)}, transfer, lmax)
    with pytest.raises(ValueError, match="transfer: one function"):
        solve_wiener(maps, grid, noise, signal, transfer[:5], lmax)
    with pytest.raises(ValueError, match=r"templates: shape \(ntemplates, 1, 192\)"):
        solve_wiener(maps, grid, noise, signal, transfer, lmax, templates=np.ones((1, 192)))
    with pytest.raises(ValueError, match="template 0 is zero wherever"):
        solve_wiener(maps, grid, noise, signal, transfer, lmax, templates=(case.full_noise == 0)[None])
    with pytest.raises(ValueError, match="start: T of lmax 6"):
        solve_wiener(maps, grid, noise, signal, transfer, lmax, start={"T": np.zeros(3, complex)})
    with pytest.raises(ValueError, match="one of multigrid, diagonal, dense"):
        solve_wiener(maps, grid, noise, signal, transfer, lmax, preconditioner="magic")
    tee = {**signal, "TE": 2.0 * np.sqrt(signal["TT"] * signal["EE"])}
    with pytest.raises(ValueError, match="larger than C\\^TT C\\^EE at ℓ = 2"):
        wiener_filter(grid, np.stack([noise, noise]), tee, transfer, lmax, fields="TP")
