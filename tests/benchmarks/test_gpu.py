"""The GPU benchmark says plainly where there is no GPU, and times every stage on the stand-in for cupy."""

import pytest

from lensrec.arrays import Backend
from lensrec.devices import NoDevice
from lensrec.sphere import nufft_remap
from tests.benchmarks import gpu
from tests.reference.cuda_on_host import COMPILER
from tests.reference.strict_namespace import Machine


def test_without_a_device_it_says_so(monkeypatch, capsys):
    def none(name, **options):
        raise NoDevice("backend cupy: there is no CUDA driver on this machine; use the backend numpy")

    monkeypatch.setattr(gpu, "backend", none)
    assert gpu.main([]) == 1
    assert capsys.readouterr().err.startswith("no CUDA device: ")


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")
def test_every_stage_is_timed_and_counted():
    machine, before = Machine(free=10**8), nufft_remap.follow
    b = Backend("cupy", machine.namespace, "stand-in", 0, nthreads=1, nufft=machine.nufft)
    record = gpu.measure(b, 16, 40, 1e-6, 2)
    assert record["difference"] < 2e-6  # ε for each
    assert nufft_remap.follow is before
    stages = set(record["bytes"])
    assert stages == {"Legendre sums, modes", "pixel centres", "positions", "NUFFT", "NUFFT: sorting"} | {
        "turning, unpacking"
    }
    npix = record["npix"]
    assert record["bytes"]["positions"] == 40 * npix  # α read; θ′, φ′, γ written
    # complex values and γ or nothing read, as double precision; T alone leaves the imaginary part
    assert record["bytes"]["turning, unpacking"] == (16 + 8 + 8) * npix + (16 + 8 + 16) * npix
    text = "\n".join(gpu.table(record))
    assert all(stage in text for stage in (*stages, "all", "map to the host", "threads"))
