"""How users write an attack: `{type: jpeg, quality: 80}` in option files, `jpeg:80` on a command line."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from channel.attacks import ATTACKS, Attack, Chain, StrengthError
from errors import UserError

Written = Mapping[str, Any] | Sequence[Mapping[str, Any]]  # an attack, or a list of attacks: a chain


def make_attack(written: Written) -> Attack:
    """Make an attack from a mapping such as {"type": "jpeg", "quality": 80}, or a chain from a list of them.

    A chain of one attack is that attack. Raises UserError for an unknown attack or strength, with the
    nearest name; for a strength out of its range, with the range; and for a chain without attacks.
    """
    if not isinstance(written, Mapping):
        links = tuple(make_attack(link) for link in written)
        return links[0] if len(links) == 1 else Chain(links)
    strengths = dict(written)
    kind = _kind(strengths.pop("type", None))
    for name in strengths:
        if name not in _names(kind):
            raise UserError(f"{kind.type} has no strength '{name}'{_nearest(name, _names(kind))}")
    return kind(**strengths)


def parse_attack(text: str) -> Attack:
    """Read an attack from a command line: "jpeg:80", or "jpeg:80+webp:80" for a chain.

    The main strength follows the colon. Further strengths follow commas, with their names
    ("gaussian:0.8,size=3"). A strength that is left out has its default. Raises UserError as `make_attack`
    does.
    """
    links = tuple(_parse_link(link.strip()) for link in text.split("+"))
    return links[0] if len(links) == 1 else Chain(links)


def _parse_link(text: str) -> Attack:
    name, colon, rest = text.partition(":")
    kind = _kind(name.strip())
    written: dict[str, Any] = {"type": kind.type}
    for k, part in enumerate(rest.split(",") if colon else ()):
        strength, equals, value = part.partition("=")
        if not equals and k == 0 and _names(kind):
            strength, value = _names(kind)[0], part
        if not value.strip() or strength.strip() in written:
            main, *further = (f"{name}={name.upper()}" for name in _names(kind) or [""])
            usage = ",".join([main.rpartition("=")[2], *further])
            raise UserError(f"'{text}': expected {kind.type}{':' if usage else ''}{usage}")
        written[strength.strip()] = _value(value.strip())
    try:
        return make_attack(written)
    except StrengthError as error:
        raise UserError(f"'{text}': {error}") from error


def _value(text: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def _kind(name: Any) -> type[Attack]:
    if not isinstance(name, str) or name not in ATTACKS:
        raise UserError(f"no attack is called '{name}'{_nearest(name, list(ATTACKS))}")
    return ATTACKS[name]


def _names(kind: Any) -> list[str]:
    """Return the names of an attack's strengths, the main one first."""
    return [field.name for field in fields(kind)]


def _nearest(word: Any, words: list[str]) -> str:
    near = difflib.get_close_matches(str(word), words, 1)
    return f", did you mean '{near[0]}'?" if near else f"; there are: {', '.join(words) or 'none'}"
