"""Planck's published bins against their definition, evaluated directly, and against the best fit's χ²."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.fit.plik_lite import plik_lite
from lensrec.fit.published import published
from lensrec.spectra.linear_data import LinearData
from lensrec.theory.spectra import Spectra

NAME = "planck2018_plik_lite"


def chi2(data: LinearData, spectra: Spectra) -> float:
    residual = data.mean - data.expected(spectra)
    return float(residual @ np.linalg.solve(data.covariance, residual))


def direct(folder: Path, spectra: Spectra) -> tuple[NDArray, NDArray, NDArray]:
    """Data, theory and covariance bin by bin in numbers read one after the other, in 𝒟_ℓ as plots have them.

    Weights turn into weights on 𝒟_ℓ, and the record of the covariance is read by its columns, so nothing of the
    windows, of C_ℓ, or of the order of the matrix is shared with lensrec.
    """
    numbers = {name: (folder / f"{name}.dat").read_text().split() for name in ("blmin", "blmax", "bweight")}
    bins = [(int(float(a)), int(float(b))) for a, b in zip(numbers["blmin"], numbers["blmax"], strict=True)]
    weights = [float(w) for w in numbers["bweight"]]
    model = []
    for key, count in (("TT", 215), ("TE", 199), ("EE", 199)):
        for first, last in bins[:count]:
            total = 0.0
            for i in range(first, last + 1):
                l = 30 + i
                d_l = l * (l + 1) * spectra[key][l] / (2 * np.pi)
                total += weights[i] * d_l * 2 * np.pi / (l * (l + 1))
            model.append(total)
    n = len(model)
    raw = (folder / "c_matrix_plik_v22.dat").read_bytes()
    record = np.array(struct.unpack(f"<i{n * n}di", raw)[1:-1])
    covariance = np.zeros((n, n))
    for column in range(n):
        for row in range(n):
            covariance[row, column] = record[n * column + row] or record[n * row + column]
    data = np.array([float(x) for x in (folder / "cl_cmb_plik_v22.dat").read_text().split()]).reshape(n, 3)
    assert np.allclose(np.diag(covariance), data[:, 2] ** 2, rtol=1e-6)
    return data[:, 1], np.array(model), covariance


def test_chi2_is_that_of_a_direct_evaluation_and_of_planck(
    published_folder: Callable[[str], Path], planck_theory: Spectra
) -> None:
    """The direct evaluation inverts by eigenvalues; the condition number, 6e9, may leave 1e-6 of χ² between the two."""
    data, model, covariance = direct(published_folder(NAME), planck_theory)
    ours = published(NAME, variant="high_ell")
    assert len(ours) == 613
    assert np.allclose(ours.expected(planck_theory), model, rtol=1e-12, atol=0)
    values, vectors = np.linalg.eigh(covariance)
    expected = float(np.sum((vectors.T @ (data - model)) ** 2 / values))
    assert chi2(ours, planck_theory) == pytest.approx(expected, abs=1e-3)
    # measured 584.21, and 584.00 to 584.05 at lens_potential_accuracy 4; windows one ℓ off cost 33 and 38
    assert chi2(ours, planck_theory) == pytest.approx(584.1, abs=0.3)
    for key, measured in (("TT", 206.4), ("TE", 186.5), ("EE", 197.3)):
        assert chi2(ours.selected(ours.block == key), planck_theory) == pytest.approx(measured, abs=0.5)


def test_the_bins(published_folder: Callable[[str], Path]) -> None:
    published_folder(NAME)
    data = published(NAME)
    assert [int(np.sum(data.block == key)) for key in ("TT", "TE", "EE")] == [217, 199, 199]
    assert data.lmax == {"TT": 2508, "TE": 1996, "EE": 1996}
    # without a gap between them, from ℓ = 2 or 30 to the end
    for key, first, last in (("TT", 2, 2508), ("TE", 30, 1996), ("EE", 30, 1996)):
        mine = data.block == key
        assert (data.low[mine][0], data.high[mine][-1]) == (first, last)
        assert np.array_equal(data.low[mine][1:], data.high[mine][:-1] + 1)
        l = np.arange(data.windows[key].shape[1])
        inside = (l >= data.low[mine, None]) & (l <= data.high[mine, None])
        assert np.array_equal(data.windows[key][mine] > 0, inside)
        assert not data.windows[key][~mine].any()
        # weights are ℓ(ℓ+1) over its sum
        flat = np.where(inside, l * (l + 1.0), 0)
        assert np.allclose(data.windows[key][mine], flat / flat.sum(axis=1, keepdims=True), rtol=1e-13)
    assert np.array_equal(data.covariance, data.covariance.T)
    assert np.linalg.eigvalsh(data.covariance)[0] > 0


def test_low_ell_bins_come_first_and_apart(published_folder: Callable[[str], Path], planck_theory: Spectra) -> None:
    published_folder(NAME)
    both, high = published(NAME), published(NAME, variant="high_ell")
    low = both.selected(np.arange(len(both)) < 2)
    assert not both.covariance[:2, 2:].any()
    assert chi2(both, planck_theory) == pytest.approx(chi2(low, planck_theory) + chi2(high, planck_theory), abs=1e-6)
    # the first bin, 2 ≤ ℓ ≤ 15, with weights ℓ(ℓ+1)
    l = np.arange(2, 16)
    assert low.expected(planck_theory)[0] * np.sum(l * (l + 1)) == pytest.approx(
        np.sum(l * (l + 1) * planck_theory["TT"][2:16])
    )
    pulls = (low.expected(planck_theory) - low.mean) / np.sqrt(np.diag(low.covariance))
    assert pulls == pytest.approx([0.51, 2.02], abs=0.01)
    # what the module's text says that the Gaussian form costs
    x, s = low.mean / low.expected(planck_theory), np.sqrt(np.diag(low.covariance)) / low.mean
    assert s == pytest.approx([0.092, 0.061], abs=5e-4)
    assert 2 / s**2 * (x - np.log(x) - 1) == pytest.approx([0.25, 3.49], abs=0.02)


def test_a_record_that_is_not_one(tmp_path: Path, published_folder: Callable[[str], Path]) -> None:
    folder = published_folder(NAME)
    for file in folder.rglob("*.dat"):
        copy = tmp_path / file.relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
    record = tmp_path / "c_matrix_plik_v22.dat"
    whole = record.read_bytes()
    record.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="not a Fortran record of 613 x 613"):
        plik_lite(tmp_path)
    # something in the empty triangle that isn't the mirror of the other
    full = np.frombuffer(whole, dtype="<f8", offset=4, count=613 * 613).reshape(613, 613).copy()
    full += np.triu(np.full_like(full, 1e-3), 1)
    record.write_bytes(whole[:4] + full.tobytes() + whole[-4:])
    with pytest.raises(ValueError, match="neither empty nor the mirror"):
        plik_lite(tmp_path)
