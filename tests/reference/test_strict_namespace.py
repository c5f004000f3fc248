"""The stand-in for cupy offers what cupy offers, and refuses what it should."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.reference.strict_namespace import DeviceArray, Machine, Refused

cupy = pytest.importorskip("cupy", reason="cupy's wheel, which needs no driver for this, is not installed")


def names(namespace, prefix=""):
    for name, value in vars(namespace).items():
        if not name.startswith("__"):
            yield prefix + name
            if isinstance(value, SimpleNamespace):
                yield from names(value, f"{prefix}{name}.")


def test_every_name_is_one_of_cupys():
    for name in names(Machine().namespace):
        there = cupy
        for part in name.split("."):
            assert hasattr(there, part), f"cupy has no {name}"
            there = getattr(there, part)
    import cupyx

    assert hasattr(cupyx, "empty_pinned")
    assert hasattr(cupy.cuda.Device, "attributes")  # whose names are the runtime's, without their first word
    assert hasattr(cupy.cuda.runtime, "cudaDevAttrSingleToDoublePrecisionPerfRatio")
    for method in (
        "set",
        "astype",
        "shape",
        "dtype",
        "size",
        "ndim",
        "flags",
        "nbytes",
        "device",
        "__iter__",
        "__len__",
    ):
        assert hasattr(DeviceArray, method) or method == "device"
        assert hasattr(cupy.ndarray, method)


def test_cufinufft_knows_the_options():
    devices = pytest.importorskip("lensrec.devices")
    try:
        plan = devices.import_cufinufft().Plan
    except devices.NoDevice as err:
        pytest.skip(f"no cufinufft: {err}")
    known = {name for name, _ in plan._default_opts()._fields_}
    from tests.reference.strict_namespace import _PLAN_OPTIONS

    assert known >= _PLAN_OPTIONS


def test_what_would_cross_is_refused():
    machine = Machine(devices=2)
    xp = machine.namespace
    there, host = xp.asarray(np.arange(6.0).reshape(2, 3)), np.arange(3.0)
    for crossing in (
        lambda: np.asarray(there),
        lambda: np.sin(there),
        lambda: there + host,
        lambda: host * there,
        lambda: there[np.array([0])],
        lambda: there.__setitem__(0, host),
        lambda: bool(there[0]),
        lambda: xp.conj(host),
        lambda: there.set(host),
    ):
        with pytest.raises(TypeError):
            crossing()
    with xp.cuda.Device(1), pytest.raises(Refused, match="device 0 used on device 1"):
        there + 1.0
    assert np.isnan(xp.asnumpy(xp.empty(3))).all()
