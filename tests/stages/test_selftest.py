"""The self-test: its truths are true, it passes here, and it fails when something is broken."""

import re

import numpy as np
import pytest

from lensrec.arrays import Backend, backend
from lensrec.devices import NoDevice
from lensrec.sphere.alm import alm_size, scale_alm
from lensrec.sphere.device_sht import Transforms
from lensrec.stages import selftest
from lensrec.stages.selftest import CHECKS, Check, device_checks, run_checks, truths
from tests.reference import okamoto_hu
from tests.reference import remap as reference
from tests.reference.cuda_on_host import COMPILER
from tests.reference.strict_namespace import Machine
from tests.stages.command import lensrec


@pytest.mark.parametrize("spin", [0, 1, 2, 3])
def test_harmonics_are_those_of_the_reference(spin):
    rng = np.random.default_rng(51)
    theta = np.concatenate([[0.0, 1e-9, np.pi / 2, np.pi], np.arccos(rng.uniform(-1, 1, 30))])
    phi = rng.uniform(0, 2 * np.pi, len(theta))
    for ell in (spin, spin + 1, 9, 20):
        expected = reference.spin_harmonics(ell, spin, theta, phi)
        for m in range(-ell, ell + 1):
            # powers of half-angles and Jacobi polynomials to ℓ = 20
            np.testing.assert_allclose(
                truths.spin_harmonic(ell, m, spin, theta, phi), expected[ell + m], rtol=0, atol=1e-12
            )


def test_walks_are_those_of_the_reference():
    rng = np.random.default_rng(52)
    theta, phi, alpha = np.arccos(rng.uniform(-1, 1, 200)), rng.uniform(0, 2 * np.pi, 200), rng.normal(size=(2, 200))
    alpha[:, 0] = 0
    here, there = truths.walk(theta, phi, alpha), reference.follow(theta, phi, alpha)
    for ours, theirs in zip(here, there, strict=True):
        # an angle's error is a rounding over sin θ′, which is above 1e-2 in these points
        np.testing.assert_allclose(np.exp(1j * (ours - theirs)), 1, rtol=0, atol=1e-13)


@pytest.mark.parametrize("key", ["TT", "EE", "EB"])
def test_estimates_are_those_of_the_reference(key):
    rng = np.random.default_rng(53)
    lmax, cl = 6, rng.uniform(0.5, 2, 7)
    alm = {f: scale_alm(rng.normal(size=alm_size(lmax)) + 0j, (np.arange(7) >= 2).astype(float)) for f in "TEB"}
    expected = okamoto_hu.estimate(key, alm, alm, {"TT": cl, "EE": cl}, 5)
    got = truths.estimate(key, alm[key[0]], alm[key[1]], cl, lmax, 5)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_all_promises_are_kept_here():
    answer = lensrec("selftest", "--backend", "numpy")
    assert (answer.status, answer.err) == (0, "")
    lines = [line for line in answer.out.splitlines() if line.endswith("  ok")]
    assert len(lines) == len(CHECKS)
    for line, check in zip(lines, CHECKS, strict=True):
        achieved, promised = (float(x) for x in re.search(r"(\S+) +(\S+)  ok$", line).groups())
        assert line.startswith(check.name)
        assert promised == check.promised
        assert achieved <= promised
    assert re.search(rf"^{len(CHECKS)} of {len(CHECKS)} in \d+ s$", answer.out, re.MULTILINE)


def scaled(function, factor):
    return lambda *a, **k: factor * np.asarray(function(*a, **k))


def written(function, factor):
    """A function that writes into its fourth argument, which comes out a little different."""

    def wrong(*arguments, **keywords):
        function(*arguments, **keywords)
        arguments[3][:] *= factor

    return wrong


BREAKS = {
    "a dipole": ("sphere.remap.follow_geodesics", lambda f: lambda field, *a, **k: f(field * (1 + 1e-11), *a, **k)),
    "lensed T, Q, U": ("sphere.remap.lens_rings", lambda f: written(f, 1 + 1e-9)),
    "the same in single precision, ε": ("sphere.remap.lens_rings", lambda f: written(f, 1 + 1e-4)),
    "at ℓ ≤ 300": ("sphere.remap.lens_rings", lambda f: written(f, 1 + 1e-6)),
    "adjoint": ("sphere.adjoint.turn", lambda f: lambda *a: None),
    "mean of det A": ("sphere.magnification._along_geodesic", lambda f: lambda s: (*f(s)[:2], 0.9 * f(s)[2])),
    "power of a lensed sky": ("sphere.magnification.scale_alm", lambda f: scaled(f, 1 + 1e-4)),
    "n + α(n)": ("sphere.inverse.spin1_alm", lambda f: scaled(f, 1 + 1e-6)),
    "a sky lensed, analysed": ("sphere.inverse.spin1_alm", lambda f: scaled(f, 1 + 1e-6)),
    "a_ℓm drawn": ("sky.random._fill", lambda f: lambda out, lmax, key, i: f(out, lmax, key + np.uint64(lmax), i)),
    "lensed spectra": ("theory.lensing.wigner_sum", lambda f: scaled(f, 1.001)),
    "φ̂ of": ("quadratic.legs.spin_raised", lambda f: scaled(f, 1 + 1e-9)),
    "N0 = 1/R": ("quadratic.response.full_terms", lambda f: lambda *a: f(*a)[:1]),
    "response of all": ("quadratic.grams.wigner_project", lambda f: scaled(f, 1.0001)),
    "coupling": ("spectra.coupling.thread_count", lambda f: lambda n: 1 / 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_found(name, monkeypatch):
    where, breaking = BREAKS[name]
    module, function = f"lensrec.{where}".rsplit(".", 1)
    check = next(check for check in CHECKS if check.name.startswith(name))
    broken = breaking(getattr(__import__(module, fromlist=[function]), function))
    monkeypatch.setattr(f"{module}.{function}", broken)
    (outcome,) = run_checks([check])
    assert not outcome.passed


def test_a_failure_is_told_and_ends_with_1(monkeypatch):
    checks = (
        Check("right", 1e-3, lambda: 1e-4),
        Check("wrong", 1e-3, lambda: 2e-3),
        Check("undefined", 1e-3, lambda: float("nan")),
        Check("crashing", 1e-3, lambda: 1 / 0),
    )
    monkeypatch.setattr(selftest, "CHECKS", checks)
    answer = lensrec("selftest", "--backend", "numpy")
    assert answer.status == 1
    assert answer.err == "lensrec: not as promised on this machine: wrong; undefined; crashing\n"
    assert re.search(r"^right +1.0e-04 +1e-03  ok$", answer.out, re.MULTILINE)
    assert re.search(r"^wrong +2.0e-03 +1e-03  FAILED$", answer.out, re.MULTILINE)
    assert re.search(r"^crashing +nan +1e-03  FAILED ZeroDivisionError: division by zero$", answer.out, re.MULTILINE)
    assert "1 of 4 in 0 s" in answer.out


def test_a_device_that_is_not_there_is_one_line(monkeypatch):
    def no_driver():
        raise NoDevice("backend cupy: there is no CUDA driver on this machine; use the backend numpy")

    monkeypatch.setattr("lensrec.arrays.ask_driver", no_driver)
    answer = lensrec("selftest", "--backend", "cupy")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == "lensrec: backend cupy: there is no CUDA driver on this machine; use the backend numpy\n"
    assert lensrec("selftest", "--backend", "torch").status == 1


def test_the_checks_of_a_device_hold_in_numpy(monkeypatch):
    """The same code with numpy and finufft in cupy's place; and they see what is wrong."""
    pytest.importorskip("finufft")
    outcomes = run_checks(device_checks(backend("numpy")))
    assert [outcome.trouble for outcome in outcomes] == [""] * len(outcomes)
    assert all(outcome.passed for outcome in outcomes)
    right = selftest.device.nufft_remap_tp
    monkeypatch.setattr(selftest.device, "nufft_remap_tp", lambda *a, **k: right(*a, **k) * (1 + 1e-4))
    (outcome,) = run_checks(device_checks(backend("numpy"))[:1])
    assert not outcome.passed


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")
def test_the_estimators_of_a_device_are_checked(monkeypatch):
    """On the stand-in for cupy; and a leg that is wrong by 1e-9 is seen."""
    machine = Machine()
    check = device_checks(Backend("cupy", machine.namespace, "", 0, nthreads=1))[-1]
    assert run_checks([check])[0].passed
    assert machine.launched
    right = Transforms.adjoint_synthesis
    monkeypatch.setattr(Transforms, "adjoint_synthesis", lambda *a, **k: right(*a, **k) * (1 + 1e-9))
    assert not run_checks([check])[0].passed


@pytest.mark.gpu
def test_the_checks_of_a_device_hold_there():
    outcomes = run_checks(device_checks(backend("cupy")))
    assert [(o.check.name, o.trouble, o.achieved) for o in outcomes if not o.passed] == []
