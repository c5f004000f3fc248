"""How a recipe is written down: YAML without its traps, angles and noise levels with their units."""

import re
import reprlib
from math import inf, isfinite, pi
from typing import Any

import yaml

ARCMIN = pi / 10800.0  # radians

LONGEST = 1 << 20
"""Letters of YAML that are read: a recipe has a few thousand."""

DEEPEST = 32
"""Levels of YAML that are read: a recipe has four."""

MOST = 10_000
"""Values that YAML may hold, those of an alias counted wherever it stands: nine lines of aliases can make 10⁹."""

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
        raise ValueError(f"{shown(value)} is not an angle; write e.g. '7 {unit}'")
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
        raise ValueError(f"{shown(value)} is not a noise level; write e.g. '6 uK arcmin'")
    number = float(match[1])
    return number * _MICROKELVIN[match[2]] * _ARCMINUTES[match[3]] if match[2] else number


def read_yaml(text: str) -> Any:
    """Parse YAML by the rules of version 1.2: 1e-9 is a number, 010 is ten, `on` and `12:30` are text.

    Raises
    ------
    ValueError
        If the text is not YAML, names a Python object, gives a key of one mapping twice, or holds more than any recipe
        does (LONGEST, DEEPEST, MOST); one line.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} letters are more than any recipe has; at most {LONGEST}")
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader: builds plain data only
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(place + (getattr(err, "problem", None) or str(err).splitlines()[0])) from None
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
    ) as err:  # a tag and what is no such thing
        raise ValueError(f"a value cannot be read ({type(err).__name__}: {err})") from None


def shown(value: object) -> str:
    """A value as a message quotes it: on one line, and not much longer than that."""
    return _SHORT.repr(value)


def shown_key(key: str) -> str:
    """A key as a message names it, quoted where it has letters that do not print or is too long."""
    return key if key.isprintable() and len(key) <= _SHORT.maxstring else shown(key)


def write_yaml(data: Any) -> str:
    """YAML text of plain data, keys in their own order, lists on one line; `read_yaml` gives the same back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _match(pattern: str, value: object) -> re.Match[str] | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        number = float(value) if abs(value) < 1e300 else inf
        return re.fullmatch(pattern, repr(number)) if isfinite(number) else None
    return re.fullmatch(pattern, value.strip().lower())


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  (PyYAML's own attribute, YAML 1.1's rules left out)

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._count = 0
        self._sizes: dict[int, int] = {}  # values in each node that is complete

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        """Also count: a node that is named by aliases counts as often as it is named."""
        event: Any = self.peek_event()
        mark: Any = event.start_mark
        self._depth += 1
        self._count += 1
        if self._depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} levels of values", mark)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if not isinstance(event, yaml.AliasEvent):
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in _parts(node))
        elif id(node) not in self._sizes:
            raise yaml.composer.ComposerError(None, None, "an alias inside of what it names", mark)
        if max(self._count, self._sizes[id(node)]) > MOST:
            raise yaml.composer.ComposerError(None, None, f"more than {MOST} values", mark)
        return node

    def construct_scalar(self, node: yaml.Node) -> Any:
        """Text that no file name and no terminal can take is refused."""
        value = super().construct_scalar(node)  # type: ignore[arg-type]
        if isinstance(value, str) and any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value):
            raise yaml.constructor.ConstructorError(None, None, "NUL, or half of a letter", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict | set):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key)} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _parts(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


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
