"""Chains of a Gaussian whose mean and covariance are known; chains that were killed; quantiles."""

import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cobaya.likelihood import Likelihood
from numpy.typing import NDArray

from lensrec.fit.joint_likelihood import JointLikelihood, Part
from lensrec.fit.posterior import WeightedSamples
from lensrec.fit.sampling import (
    IGNORED,
    cobaya_info,
    importance_chain,
    quiet,
    read_chain,
    run_chain,
    summary_of,
    weighted_quantiles,
)

NAMES = ("x", "y", "z")
MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[1.0, 0.35, 0.0], [0.35, 0.25, -0.05], [0.0, -0.05, 0.04]])
SIGMA = np.sqrt(np.diag(COVARIANCE))
UNROOT = np.linalg.inv(np.linalg.cholesky(COVARIANCE))


def residual(parameters: Mapping[str, float]) -> NDArray[np.float64]:
    return UNROOT @ (np.array([parameters[name] for name in NAMES]) - MEAN)


def gaussian() -> JointLikelihood:
    bounds = {name: (m - 12 * s, m + 12 * s) for name, m, s in zip(NAMES, MEAN, SIGMA, strict=True)}
    return JointLikelihood(
        [Part("gaussian", residual, 3)], bounds, dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 0.1)
    )


class Gaussian(Likelihood):
    """For Cobaya, with a derived parameter, slow or wrong if asked."""

    pause: float = 0.0
    broken: bool = False

    def get_can_support_params(self) -> list[str]:
        return list(NAMES)

    def get_can_provide_params(self) -> list[str]:
        return ["sum"]

    def logp(self, _derived: dict[str, float] | None = None, **parameters: float) -> float:
        time.sleep(self.pause)
        if self.broken:
            raise RuntimeError("an array has the wrong length")
        if _derived is not None:
            _derived["sum"] = sum(parameters[name] for name in NAMES)
        return float(-np.sum(residual(parameters) ** 2) / 2)


def info_of(**options: Any) -> dict[str, Any]:
    joint = gaussian()
    asked: dict[str, Any] = {"r_minus_1": 0.05, "max_samples": 1500, "seed": 11} | options
    own = {name: asked.pop(name) for name in ("pause", "broken") if name in asked}
    likelihood = {"tests.fit.test_sampling.Gaussian": own}
    return cobaya_info(likelihood, joint, joint.best_fit(), derived=("sum",), **asked)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    run_chain(info_of(), folder / "chain")
    return folder / "chain"


def test_a_chain_has_the_mean_and_the_covariance(chain: Path) -> None:
    samples = read_chain(chain, (*NAMES, "sum"))
    # with N independent samples a mean is off by σ/√N, a variance by √(2/N); 4.5 σ of either, nine numbers: 6e-5 by
    # chance, a seed being fixed
    n = samples.effective
    assert n > 150
    sigma = np.sqrt(np.diag(COVARIANCE))
    assert np.all(np.abs(samples.mean[:3] - MEAN) < 4.5 * sigma / np.sqrt(n))
    relative = samples.covariance[:3, :3] / np.outer(sigma, sigma) - COVARIANCE / np.outer(sigma, sigma)
    assert np.all(np.abs(relative) < 4.5 * np.sqrt(2 / n))
    np.testing.assert_allclose(samples.points[:, 3], samples.points[:, :3].sum(axis=1), atol=1e-6)
    assert samples.weights.sum() == pytest.approx(1)


def test_what_a_chain_leaves_is_text_that_others_read(chain: Path) -> None:
    from getdist import loadMCSamples

    found = sorted(path.name for path in chain.parent.iterdir())
    kinds = ("1.txt", "checkpoint", "covmat", "input.yaml", "progress", "updated.yaml")
    assert found == [f"chain.{kind}" for kind in kinds]
    lines = [line for line in (chain.parent / "chain.1.txt").read_text().splitlines() if not line.startswith("#")]
    samples = read_chain(chain, ("x",))
    assert len(samples.points) == len(lines) - int(IGNORED * len(lines))
    with quiet():
        other = loadMCSamples(str(chain), settings={"ignore_rows": IGNORED})
    assert other.mean("x") == pytest.approx(samples.mean[0], abs=1e-3)
    # an own count of the effective number, by autocorrelation, agrees with that of another tool's
    assert samples.effective == pytest.approx(other.getEffectiveSamples(other.paramNames.numberOfName("x")), rel=0.02)


def test_a_finished_chain_is_left_alone(chain: Path) -> None:
    before = (chain.parent / "chain.1.txt").read_bytes()
    run_chain(info_of(), chain)
    assert (chain.parent / "chain.1.txt").read_bytes() == before


def test_wrong_columns_and_no_chain(chain: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"chain\.1\.txt has no column mnu; it has weight, minuslogpost, x, y, z"):
        read_chain(chain, ("x", "mnu"))
    with pytest.raises(ValueError, match="there is no chain"):
        read_chain(tmp_path / "chain", ("x",))


def test_a_killed_chain_goes_on(tmp_path: Path) -> None:
    """Killed outright: what was on the disk is the beginning of the finished chain."""
    script = (
        "import sys; from pathlib import Path; from lensrec.fit.sampling import run_chain; "
        "from tests.fit.test_sampling import info_of; i = info_of(pause=1e-3); "
        "i['sampler']['mcmc']['output_every'] = 20; run_chain(i, Path(sys.argv[1]))"
    )
    file = tmp_path / "chain.1.txt"
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "chain")]) as process:
        end = time.monotonic() + 200
        while not (file.is_file() and len(file.read_text().splitlines()) > 40) and time.monotonic() < end:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    # a line may be cut where the process was killed
    before = file.read_text().rpartition("\n")[0].splitlines()
    assert len(before) > 30
    info = info_of(r_minus_1=0.1, pause=1e-3)
    run_chain(info, tmp_path / "chain")
    after = file.read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) > len(before) + 100
    assert len({len(line.split()) for line in after[1:]}) == 1
    samples = read_chain(tmp_path / "chain", NAMES)
    assert np.all(np.abs(samples.mean - MEAN) < 5 * np.sqrt(np.diag(COVARIANCE) / samples.effective))


def test_a_chain_says_only_what_lensrec_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root, own = logging.getLogger(), logging.getLogger("lensrec")
    states = root.level, list(root.handlers), own.level
    with caplog.at_level(logging.INFO, logger="lensrec"):
        run_chain(info_of(r_minus_1=0.3), tmp_path / "chain")
    assert capfd.readouterr() == ("", "")
    assert "120 steps taken of" in caplog.text
    assert {record.name for record in caplog.records} == {"lensrec.fit.sampling"}
    assert (root.level, own.level) == (states[0], states[2])
    assert [handler for handler in root.handlers if handler not in states[1]] == []


def test_an_error_of_the_likelihood_stops_the_chain(tmp_path: Path) -> None:
    """Cobaya would count it as a point of no likelihood, and the chain would avoid it silently."""
    with pytest.raises(RuntimeError, match="an array has the wrong length"):
        run_chain(info_of(broken=True), tmp_path / "chain")


def test_other_parameters_in_a_chain_that_is_there(chain: Path) -> None:
    info = info_of()
    info["likelihood"]["tests.fit.test_sampling.Gaussian"]["pause"] = 1e-5
    with pytest.raises(RuntimeError, match="Cobaya stopped: Old and new run information not compatible"):
        run_chain(info, chain)


def test_proposal_is_no_wider_than_the_priors() -> None:
    joint = JointLikelihood(
        [Part("weak", lambda p: np.array([0.01 * p["a"], p["b"]]), 2)],
        {"a": (-1.0, 1.0), "b": (-50.0, 50.0)},
        {"a": 0.0, "b": 0.0},
        {"a": 0.1, "b": 0.1},
    )
    info = cobaya_info({"x": {}}, joint, joint.best_fit(), r_minus_1=0.1, max_samples=10, seed=1)
    covariance = np.array(info["sampler"]["mcmc"]["covmat"])
    assert covariance[0, 0] == pytest.approx(1 / (0.01**2 + 12 / 4))
    assert covariance[1, 1] == pytest.approx(1 / (1 + 12 / 1e4))


def test_importance_samples_of_the_gaussian() -> None:
    joint = gaussian()
    samples = importance_chain(joint, joint.best_fit(), draws=4000, rng=np.random.default_rng(3))
    # 4.5 σ of three numbers: 2e-5 by chance
    assert samples.effective > 2000
    assert np.all(np.abs(samples.mean - MEAN) < 4.5 * np.sqrt(np.diag(COVARIANCE) / samples.effective))


def test_quantiles() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])
    # half of a sample's weight lies on either side of it
    np.testing.assert_allclose(weighted_quantiles(values, weights, (0.125, 0.5, 0.875)), [1, 2, 3])
    assert weighted_quantiles(values, weights, (0.3125,))[0] == pytest.approx(1.5)
    uniform = np.linspace(0, 1, 10001)
    np.testing.assert_allclose(weighted_quantiles(uniform, np.ones(10001), (0.025, 0.84)), [0.025, 0.84], atol=1e-3)
    # weights that repeat: the same as samples that do
    a = weighted_quantiles(np.repeat(uniform[::100], 5), np.ones(505), (0.16, 0.5, 0.9))
    b = weighted_quantiles(uniform[::100], np.full(101, 5.0), (0.16, 0.5, 0.9))
    np.testing.assert_allclose(a, b, atol=0.01)


def test_summary() -> None:
    rng = np.random.default_rng(5)
    points = rng.normal([0, 3], [1, 2], (40000, 2))
    found = summary_of(("a", "b"), WeightedSamples(points, np.full(40000, 1 / 40000), 40000), {"a": 0.1})
    assert set(found["a"]) == {"mean", "sigma", "median", "limit68", "limit95", "best_fit"}
    assert "best_fit" not in found["b"]
    # quantiles at 2.5 % of a Gaussian are off by σ √(q(1 − q)/N)/p = 0.013 σ; 4.5 of those
    np.testing.assert_allclose(found["b"]["limit95"], [3 - 2 * 1.96, 3 + 2 * 1.96], atol=2 * 0.06)
    np.testing.assert_allclose(found["a"]["limit68"], [-0.9945, 0.9945], atol=0.04)
    assert found["b"]["sigma"] == pytest.approx(2, rel=4.5 / np.sqrt(2 * 40000))
