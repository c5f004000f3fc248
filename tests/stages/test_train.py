"""Training of the emulator: goes on where it was stopped, takes what is there, and says how good the result is."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.fit.emulator_file import read_emulator
from lensrec.fit.emulator_points import EmulatorPoint
from lensrec.fit.emulator_training import Degrees
from lensrec.stages.train import BATCH, emulator_of
from tests.fit.emulator_stand_in import LMAX, stand_in

ONE_EACH = (1, 1, 1, np.inf, 1, 1, 1, 1, 1)
POTENTIAL = (1, 1, 1, 1, 1, np.inf, 1, 1, 1)


class Counted:
    """The stand-in, that counts its calls, and fails at one of them if told so."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls: list[EmulatorPoint] = []
        self.fails_at = fails_at

    def __call__(self, point: EmulatorPoint) -> NDArray[np.float64]:
        if len(self.calls) == self.fails_at:
            raise KeyboardInterrupt
        self.calls.append(point)
        return stand_in(point)


def train(folder: Path, function: Counted, *, n: int = 48, degree: float = 2, n_unseen: int = 3) -> dict:
    return {
        "emulator": emulator_of(
            LMAX,
            n_training=n,
            n_unseen=n_unseen,
            folder=folder,
            function=function,
            nthreads=1,
            cmb_degrees=Degrees(degree, ONE_EACH),
            potential_degrees=Degrees(degree, POTENTIAL),
            n_primary=1,
            n_potential=2,
            n_shaped=1,
        ),
        "calls": len(function.calls),
    }


@pytest.fixture(autouse=True)
def quick_and_without_published_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is tested here is what is kept and told, not the smoothing, for which a factor stands."""

    def factor(unlensed: dict, cl_phi: NDArray, *, lmax: int, amplitude: float = 1.0, nthreads: int = 0) -> dict:
        cls = {"BB": 0.0 * unlensed["TT"], **unlensed}
        return {key: cl[: lmax + 1] * (1 + 0.01 * amplitude) for key, cl in cls.items()}

    def slopes(unlensed: dict, cl_phi: NDArray, changes: NDArray, *, lmax: int, nthreads: int = 0) -> dict:
        cls = {"BB": 0.0 * unlensed["TT"], **unlensed}
        return {key: np.outer(cl[: lmax + 1], np.full(len(changes), 0.01 / len(changes))) for key, cl in cls.items()}

    monkeypatch.setattr("lensrec.fit.emulator_training.lensed_spectra", factor)
    monkeypatch.setattr("lensrec.fit.emulator_errors.lensed_spectra", factor)
    monkeypatch.setattr("lensrec.fit.emulator_training.lensed_derivatives", slopes)
    monkeypatch.delenv("LENSREC_DATA", raising=False)
    monkeypatch.setattr("lensrec.fit.data_files.cache_folder", lambda: tmp_path / "cache")


def test_a_stopped_training_goes_on_and_more_points_add_to_it(tmp_path: Path) -> None:
    stopped = Counted(fails_at=2 * BATCH + 3)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "one", stopped)
    resumed = train(tmp_path / "one", Counted())
    # 48 of training, a batch of unseen ones, and the centre twice; two batches were there
    assert resumed["calls"] == 48 + 8 + 2 - 2 * BATCH
    again = train(tmp_path / "one", Counted())
    assert again["calls"] == 0
    more = train(tmp_path / "one", Counted(), n=64)
    assert more["calls"] == 16
    x = again["emulator"].box.centre
    np.testing.assert_array_equal(again["emulator"].spectra(x)["TT"], resumed["emulator"].spectra(x)["TT"])
    assert not np.array_equal(more["emulator"].spectra(x)["TT"], again["emulator"].spectra(x)["TT"])
    stored = read_emulator(tmp_path / "one" / "emulator.fits")
    np.testing.assert_array_equal(stored.spectra(x)["TT"], more["emulator"].spectra(x)["TT"])


def test_a_bad_emulator_says_so(tmp_path: Path) -> None:
    """With constants in place of polynomials errors are many σ, and its own report of them tells it."""
    function = Counted()
    good = train(tmp_path / "kept", function, degree=2)["emulator"]
    bad = train(tmp_path / "kept", function, degree=0)["emulator"]
    for emulator in (good, bad):
        assert set(emulator.errors) == {"planck_like", "planck_like_centre"}
        assert np.all(emulator.errors["planck_like"][2] == 3)
    worst = [np.max(emulator.errors["planck_like"][0]) for emulator in (good, bad)]
    assert worst[1] > 5
    assert worst[0] < 0.3 * worst[1]
    # the largest error is no smaller than the root mean square, and no larger than √n times that
    largest, rms, n = bad.errors["planck_like"]
    assert np.all(rms <= largest * (1 + 1e-6))
    assert np.all(largest <= np.sqrt(n) * rms * (1 + 1e-6))
