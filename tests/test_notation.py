"""Angles, noise levels and YAML: read as they are meant, or refused with an example of what would do."""

from math import pi

import pytest

from lensrec.notation import parse_angle, parse_noise, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "arcmin"),
    [
        (7, 7.0),
        (1.4, 1.4),
        ("7", 7.0),
        ("7 arcmin", 7.0),
        ("1.4arcmin", 1.4),
        ("1.4'", 1.4),
        ("0.2 deg", 12.0),
        ("30 arcsec", 0.5),
        ("2 Degrees", 120.0),
        ("1e-1 deg", 6.0),
        (f"{pi / 10800} rad", 1.0),
    ],
)
def test_angles_are_read_in_arcminutes(text: object, arcmin: float) -> None:
    # a product of two rounded factors: a few units in the last place, 2e-16 each
    assert parse_angle(text) == pytest.approx(arcmin, rel=1e-15)


def test_bare_angles_are_in_the_unit_asked_for() -> None:
    assert parse_angle(2, "deg") == 2.0
    assert parse_angle("90 arcmin", "deg") == 1.5


@pytest.mark.parametrize(
    "text", ["7 parsec", "arcmin", "7 arcmin arcmin", "", True, None, float("nan"), "nan", [7], "7s"]
)
def test_what_is_no_angle_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not an angle; write e\.g\. '7 arcmin'"):
        parse_angle(text)


@pytest.mark.parametrize(
    "text",
    [6, "6", "6 uK arcmin", "6 µK·arcmin", "6 μK·arcmin", "6 uK*arcmin", "6uKarcmin", "6 uK-arcmin", "6e-3 mK arcmin"],
)
def test_noise_is_read_in_microkelvin_arcminutes(text: object) -> None:
    assert parse_noise(text) == pytest.approx(6.0, rel=1e-15)


def test_noise_takes_other_temperatures_and_angles() -> None:
    assert parse_noise("0.1 uK deg") == pytest.approx(6.0, rel=1e-15)
    assert parse_noise("1 K·arcmin") == 1e6


@pytest.mark.parametrize("text", ["6 uK", "6 arcmin", "6 uK parsec", "uK arcmin", False, float("inf"), None])
def test_what_is_no_noise_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a noise level; write e\.g\. '6 uK arcmin'"):
        parse_noise(text)


def test_yaml_reads_numbers_as_numbers_and_words_as_words() -> None:
    text = "a: 1e-9\nb: 2.1e-9\nc: 1E+3\nd: 010\ne: on\nf: 12:30\n"
    text += "g: no\nh: true\ni: -4\nj: ~\nk:\nl: 2026-01-01\nm: .5\nn: '1'"
    assert read_yaml(text) == {
        "a": 1e-9, "b": 2.1e-9, "c": 1000.0, "d": 10.0, "e": "on", "f": "12:30", "g": "no", "h": True, "i": -4,
        "j": None, "k": None, "l": "2026-01-01", "m": 0.5, "n": "1",
    }  # fmt: skip
    assert isinstance(read_yaml("-4"), int)


def test_yaml_refuses_a_key_given_twice_and_says_where() -> None:
    with pytest.raises(ValueError, match=r"^line 4: the key 'nside' is given twice$"):
        read_yaml("sky:\n  nside: 1\n  lmax: 3\n  nside: 2\n")


@pytest.mark.parametrize("text", ["!!python/object/apply:os.getcwd []", "a: [1", "a: b: c", "? [1, 2]\n: 3"])
def test_yaml_refuses_objects_and_errors_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_yaml(text)


def test_written_yaml_reads_back_and_has_lists_on_one_line() -> None:
    data = {"a": [1, 2.5, "x"], "b": {"c": 1e-300, "d": None, "e": "12", "f": True, "g": "on", "h": "1e-9"}}
    assert read_yaml(write_yaml(data)) == data
    assert "a: [1, 2.5, x]" in write_yaml(data)
