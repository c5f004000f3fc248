"""How a recipe is written down: YAML without its traps, angles and noise levels with their units."""

import re
from math import isfinite, pi
from typing import Any

import yaml

ARCMIN = pi / 10800.0  # radians

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
_ARCMINUTES = {
    **dict.fromkeys(("rad", "radian"), 1.0 / ARCMIN),
    **dict.fromkeys(("deg", "degree", "°"), 60.0),
    **dict.fromkeys(("arcmin", "arcminute", "'", "′"), 1.0),
    **dict.fromkeys(("arcsec", "arcsecond", '"', "″"), 1.0 / 60.0),
}
_MICROKELVIN = {"k": 1e6, "mk": 1e3, "uk": 1.0, "µk": 1.0, "μk": 1.0, "nk": 1e-3}


def parse_angle(value: object, unit: str = "arcmin") -> float:
    """An angle in `unit` ("arcmin" or "deg"): a bare number is taken to be in it, text may name another.

    Raises
    ------
    ValueError
        If the value is neither a finite number nor text that is a number with an angle's unit.
    """
    match = _match(_NUMBER + r"\s*(?:(\D+?)s?)?", value)
    if not match or (match[2] and match[2] not in _ARCMINUTES):
        raise ValueError(f"{value!r} is not an angle; write e.g. '7 {unit}'")
    number = float(match[1])
    return number * _ARCMINUTES[match[2]] / _ARCMINUTES[unit] if match[2] else number


def parse_noise(value: object) -> float:
    """A white-noise level in µK·arcmin: a bare number, or text such as "6 uK arcmin" or "0.1 µK·deg".

    Raises
    ------
    ValueError
        If the value is neither a finite number nor text that is a number with a temperature times an angle.
    """
    match = _match(_NUMBER + r"\s*(?:([nmuµμ]?k)[\s*·.-]*(\D+?))?", value)
    if not match or (match[2] and match[3] not in _ARCMINUTES):
        raise ValueError(f"{value!r} is not a noise level; write e.g. '6 uK arcmin'")
    number = float(match[1])
    return number * _MICROKELVIN[match[2]] * _ARCMINUTES[match[3]] if match[2] else number


def read_yaml(text: str) -> Any:
    """Parse YAML by the rules of version 1.2: 1e-9 is a number, 010 is ten, `on` and `12:30` are text.

    Raises
    ------
    ValueError
        If the text is not YAML, names a Python object, or gives a key of one mapping twice; one line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader: builds plain data only
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(place + (getattr(err, "problem", None) or str(err).splitlines()[0])) from None


def write_yaml(data: Any) -> str:
    """YAML text of plain data, keys in their own order, lists on one line; `read_yaml` gives the same back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _match(pattern: str, value: object) -> re.Match[str] | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return re.fullmatch(pattern, repr(value)) if isfinite(value) else None
    return re.fullmatch(pattern, value.strip().lower())


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  (PyYAML's own attribute, YAML 1.1's rules left out)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict | set):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)

_CORE_SCHEMA = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}
for _tag, (_pattern, _first) in _CORE_SCHEMA.items():
    for _kind in (_Loader, _Dumper):  # the dumper, too, so that it quotes words that would be read as numbers
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
