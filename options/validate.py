"""Check plain values against a schema and describe every mistake, with the nearest correct name."""

import difflib
import json
from collections.abc import Iterable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo

from options.mistakes import Mistake, Source

_WORDS = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    bool: ("true or false", "values true or false"),
    dict: ("a section", "sections"),
    list: ("a list", "lists"),
    tuple: ("a list", "lists"),
    NoneType: ("null", "nulls"),
    Any: ("anything", "values"),
}
_LIMITS = {  # pydantic's error type -> what it adds to the words for the type
    "greater_than": " above {gt}",
    "greater_than_equal": " of at least {ge}",
    "less_than": " below {lt}",
    "less_than_equal": " of at most {le}",
    "string_too_short": " that is not empty",
    "too_short": " that is not empty",
}


def validate(
    model: type[BaseModel], values: dict[str, Any], source: Source, section: str
) -> tuple[Any, list[Mistake]]:
    """The validated model and no mistakes, or None and the mistakes.

    section: dotted key of `values` in the option file; "" for the whole file.
    """
    try:
        # Through JSON, because strict mode then still turns a list into a tuple.
        return model.model_validate_json(json.dumps(values)), []
    except ValidationError as invalid:
        found: dict[tuple, list] = {}  # a union reports one error per member; they count as one mistake
        for error in invalid.errors():
            found.setdefault(_follow(model, error["loc"])[0], []).append(error)
    return None, [
        source.mistake(
            ".".join([*filter(None, [section]), *map(str, location)]),
            _message(model, location, errors, values),
        )
        for location, errors in found.items()
    ]


def _message(model: type[BaseModel], location: tuple, errors: list[dict], values: Any) -> str:
    reported = errors[0]["loc"]  # `location` lacks the parts that pydantic adds
    _, annotation, field = _follow(model, reported)
    title = field.title if field else None
    words, first = title or _words(annotation), errors[0]
    if first["type"] == "extra_forbidden":
        keys = list(_fields(_bare(_follow(model, reported[:-1])[1])))
        return f"unknown key{nearest(location[-1], keys) or known_words(keys)}"
    if first["type"] == "missing" and reported[-1:] == location[-1:]:
        meaning = f": {field.description}" if field and field.description else ""
        return f"missing ({words}{meaning})"
    if first["type"] == "value_error":  # from a validator of the schema
        return str(first["ctx"]["error"])
    if first["type"] == "json_invalid":  # nested too deeply; the place in the text is not that in the file
        return first["ctx"]["error"].partition(" at line ")[0]
    for part in location:
        values = values[part]
    limits = {_LIMITS.get(error["type"], "").format(**error.get("ctx", {})) for error in errors}
    if len(limits) == 1 and (limit := limits.pop()):
        words = (title or _words(_bare(annotation))) + limit
    near = nearest(values, _choices(annotation))
    return f"expected {words}, got {shown(values)}{near}"


def _follow(model: type[BaseModel], location: tuple) -> tuple[tuple, Any, FieldInfo | None]:
    """Follow `location` into the model: (the part of it that is in the file, the type there, the field).

    It stops at a union or a tuple, where pydantic adds parts that are not in the file. A union whose members
    have tags is followed further, without the tag.
    """
    annotation: Any = model
    field: FieldInfo | None = None
    way: tuple = ()
    for part in location:
        section = _bare(annotation)
        tagged = _tagged(section)
        if part in tagged:
            annotation, field = tagged[part], None
            continue
        if _is_section(section):
            field = _fields(section).get(part)
            annotation = field.annotation if field else Any
        elif get_origin(section) in (list, dict, Sequence):
            annotation, field = get_args(section)[-1], None
        else:
            break
        way += (part,)
    return way, annotation, field


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type(BaseModel))


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _members(annotation: Any) -> tuple:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()


def _tagged(annotation: Any) -> dict[Any, Any]:
    """The members of a union by their tags; empty if they have none."""
    return {
        extra.tag: member
        for member in _members(annotation)
        if get_origin(member) is Annotated
        for extra in get_args(member)[1:]
        if isinstance(extra, Tag)
    }


def _bare(annotation: Any) -> Any:
    """The type without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    members = [member for member in _members(annotation) if member is not NoneType]
    return _bare(members[0]) if len(members) == 1 else annotation


def _choices(annotation: Any) -> list:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for member in _members(annotation) for choice in _choices(member)]


def _words(annotation: Any, plural: bool = False) -> str:
    """A type in words: "an integer or null", "a list of 2 numbers"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0], plural)
    either = [repr(choice) for choice in _choices(annotation)]
    others = [member for member in _members(annotation) if get_origin(member) is not Literal]
    either += [_words(member, plural) for member in others]
    if either:
        return " or ".join(filter(None, [", ".join(either[:-1]), either[-1]]))
    if origin is tuple and ... not in arguments and not plural:
        return f"a list of {len(arguments)} {_words(arguments[0], plural=True)}"
    if origin in (list, tuple, Sequence) and not plural:
        return f"a list of {_words(arguments[0], plural=True)}"
    kind = dict if _is_section(annotation) else origin or annotation
    name = getattr(annotation, "__name__", str(annotation))
    return _WORDS.get(kind, (name, name))[plural]


def nearest(word: Any, words: list) -> str:
    """A hint at the word that is most similar, such as ", did you mean 'steps'?"; "" if none is similar."""
    words = [other for other in words if isinstance(other, str)]
    near = difflib.get_close_matches(word, words, 1) if isinstance(word, str) else []
    return f", did you mean {near[0]!r}?" if near else ""


def known_words(words: list[str]) -> str:
    """A hint that lists the words; "" if there are none."""
    return f"; known here: {', '.join(words)}" if words else ""


def shown(value: Any) -> str:
    """A value as an error message shows it, at most 60 characters long."""
    plain = {None: "null", True: "true", False: "false"}
    text = plain[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def option_rows(model: type[BaseModel], prefix: str) -> Iterable[tuple[str, str, str, str]]:
    """(key, type in words, default, meaning) of every key in a section, and in the sections inside it.

    prefix: what the keys begin with, such as "train."; "" for the whole file.
    """
    for name, field in _fields(model).items():
        default = "required"
        if not field.is_required():
            default = json.dumps(
                field.get_default(), default=lambda entry: entry.model_dump(exclude_defaults=True)
            )
        words = field.title or _words(field.annotation)
        yield f"{prefix}{name}", words, default, field.description or ""
        inner, below = _bare(field.annotation), f"{prefix}{name}."
        if get_origin(inner) is list:
            inner, below = _bare(get_args(inner)[0]), f"{below}0."
            inner = _bare(next(iter(_tagged(inner).values()), inner))  # for an attack or a chain, the attack
        if _is_section(inner):
            yield from option_rows(inner, below)
