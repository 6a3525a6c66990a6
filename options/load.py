"""Option files: YAML -> typed options, with errors that name the file, the line and the cure."""

import difflib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from options.schema import Mistake, Options, OptionsError, Place, Source, TestOptions, TrainOptions

AnyOptions = TypeVar("AnyOptions", bound=Options)


def load_train(path: str | os.PathLike, overrides: Iterable[str] = ()) -> TrainOptions:
    """The options of one training run; `overrides` are texts such as "train.lr=1e-4"."""
    return _load(TrainOptions, path, overrides)


def load_test(path: str | os.PathLike, overrides: Iterable[str] = ()) -> TestOptions:
    """The options of one test; `overrides` are texts such as "data.test.0.folder=pictures"."""
    return _load(TestOptions, path, overrides)


def dump(options: Options) -> str:
    """YAML with every default filled in; loaded again it gives equal options."""
    values = options.model_dump(by_alias=True)
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def describe(schema: type[Options]) -> str:
    """A table of every key that the schema knows: key, type, default, meaning [unit]."""
    rows = [("key", "type", "default", "meaning [unit]"), *_rows(schema, "")]
    key, kind, default, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(f"{a:{key}}  {b:{kind}}  {c:{default}}  {d}" for a, b, c, d in rows)


def check_arguments(
    options: Options, section: str, constructor: Callable, arguments: dict[str, Any]
) -> dict[str, Any]:
    """The arguments that `section` of the option file gives to `constructor`, checked.

    They are held against the names, annotations and defaults in the constructor's signature.
    section: dotted key of the arguments, such as "network" or "train.phases.0.loss".
    arguments: plain values, as the option file gave them.
    Returns the given arguments only, in the annotated types (a list becomes a tuple).
    """
    hints = get_type_hints(
        constructor.__init__ if inspect.isclass(constructor) else constructor, include_extras=True
    )
    fields: dict[str, Any] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    for name, parameter in inspect.signature(constructor).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            default = ... if parameter.default is parameter.empty else parameter.default
            # Through aliases, since a field may not be called `_x`, `copy` or `schema`.
            field = Field(default, alias=name)
            fields[f"argument_{len(fields)}"] = (hints.get(name, Any), field)
    config = ConfigDict(extra=extra, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    model = create_model("Arguments", __config__=config, **fields)
    checked, mistakes = _validate(model, arguments, options._source, section)
    _refuse(mistakes)
    given = {
        str(field.alias): getattr(checked, name)
        for name, field in model.model_fields.items()
        if name in checked.model_fields_set
    }
    return given | (checked.model_extra or {})


def _load(schema: type[AnyOptions], path: str | os.PathLike, overrides: Iterable[str]) -> AnyOptions:
    source = Source(path=os.fspath(path))
    text = _text(source.path)
    values = _read(text, lambda line: Place(line, f"{source.path}:{line}"), "", source)
    if values is None:
        raise OptionsError(str(source.mistake("", "the file is empty")))
    if not isinstance(values, dict):
        message = f"expected a section (key: value), got {_show(values)}"
        raise OptionsError(str(source.mistake("", message)))
    for override in overrides:
        _override(values, override, source)
    options, mistakes = _validate(schema, values, source, "")
    _refuse(source.mistakes + mistakes)
    options._source = source
    return options


def _refuse(mistakes: list[Mistake]) -> None:
    if mistakes:
        in_order = sorted(mistakes, key=lambda mistake: mistake.place.line)
        raise OptionsError("\n".join(map(str, in_order)))


# --- YAML, with the line of every key -----------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Plain values only. Aliases, which can grow without bound, and tags are refused."""

    yaml_implicit_resolvers: dict = {}  # filled from _PLAIN: YAML 1.1 reads 3e-4 as text and `on` as true

    def compose_node(self, parent, index):
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            refused = f"alias '*{event.anchor}' refused, write the value out"
        elif event.tag:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            refused = f"tag '{tag}' refused, option files hold plain values only"
        else:
            return super().compose_node(parent, index)
        raise yaml.MarkedYAMLError(problem=refused, problem_mark=event.start_mark)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that this loader, or a YAML 1.1 loader, would not read as text."""

    def ignore_aliases(self, data):
        return True  # the loader refuses them


# What an unquoted scalar is: tag -> (pattern, possible first characters, conversion).
_PLAIN = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""], lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text[0] in "tT"),
    # Longer ones become floats: Python refuses to read integers of thousands of digits.
    "int": (r"[-+]?\d(_?\d){0,17}", "-+0123456789", int),
    "float": (r"[-+]?(\d(_?\d)*\.?\d*|\.\d+)([eE][-+]?\d+)?", "-+.0123456789", float),
}
_SCALARS: dict[str, Any] = {"tag:yaml.org,2002:str": str}
for _tag, (_pattern, _first, _convert) in _PLAIN.items():
    _SCALARS[f"tag:yaml.org,2002:{_tag}"] = _convert
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z", re.ASCII), list(_first)
        )


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{error.object[error.start]:02x} is not UTF-8"
        raise OptionsError(f"{path}:{line}: {byte}, save the file as UTF-8") from None
    except FileNotFoundError:
        files = sorted(file.name for file in Path(path).parent.glob("*.y*ml"))
        near = _near(Path(path).name, files) or _known(files)
        raise OptionsError(f"{path}: no such file{near}") from None
    except OSError as error:
        raise OptionsError(f"{path}: cannot be read: {error.strerror}") from None


def _read(text: str, at: Callable[[int], Place], key: str, source: Source) -> Any:
    """Plain values from YAML text; notes in `source` where every key is, and what is given twice.

    at: the place of a line of this text.
    key: dotted key that the whole text is the value of.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _value(node, at, key, source)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = ": ".join(part for part in (error.context, error.problem) if part)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"character {chr(error.character)!r} is not allowed"
    except RecursionError:
        line, problem = 1, "too many brackets or lists inside one another"
    raise OptionsError(str(Mistake(at(line), key, f"cannot be read: {problem}")))


def _value(node: yaml.Node, at: Callable[[int], Place], key: str, source: Source) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _SCALARS[node.tag](node.value)
    if isinstance(node, yaml.SequenceNode):
        children = [(str(index), child, child) for index, child in enumerate(node.value)]
    else:
        children = [(_word(name), name, child) for name, child in node.value]
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for name, marked, child in children:
        inner, line = f"{key}.{name}" if key else name, marked.start_mark.line + 1
        if name in values:
            message = f"given twice (first in line {lines[name]})"
            source.mistakes.append(Mistake(at(line), inner, message))
        else:
            source.places[inner], lines[name] = at(line), line
            values[name] = _value(child, at, inner, source)
    return list(values.values()) if isinstance(node, yaml.SequenceNode) else values


def _word(node: yaml.Node) -> str:
    # As it is written: as a key, `on`, `25` and `null` are names.
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=node.start_mark)
    return node.value


def _override(values: dict[str, Any], override: str, source: Source) -> None:
    """Puts one "train.lr=1e-4" into `values`, and its place into `source`."""
    place = Place(sys.maxsize, f"--set {override}")  # reported after the mistakes in the file
    key, equals, text = override.partition("=")
    parts = key.split(".")

    def mistake(key: str, message: str) -> None:
        source.mistakes.append(Mistake(place, key, message))

    if not equals or not all(parts):
        return mistake("", "expected key=value, such as train.lr=1e-4")
    section: Any = values
    part: str | int
    for depth, part in enumerate(parts):
        here, inner = ".".join(parts[:depth]), ".".join(parts[: depth + 1])
        if isinstance(section, list):
            if not re.fullmatch("[0-9]{1,9}", str(part)) or int(part) >= len(section):
                return mistake(here, f"no entry {part!r} among {len(section)}, counted from 0")
            part = int(part)
        elif not isinstance(section, dict):
            return mistake(here, f"expected a section or a list, got {_show(section)}")
        if inner == key:
            for old in [old for old in source.places if old.startswith(f"{key}.")]:
                del source.places[old]
            source.places[key] = place
            section[part] = _read(text, lambda line: place, key, source)
        else:
            if isinstance(section, dict) and section.get(part) is None:
                source.places.setdefault(inner, place)
                section[part] = {}
            section = section[part]


# --- plain values against a schema --------------------------------------------------------------

_WORDS = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    bool: ("true or false", "values true or false"),
    dict: ("a section", "sections"),
    list: ("a list", "lists"),
    tuple: ("a list", "lists"),
    NoneType: ("nothing", "nothings"),
    Any: ("anything", "values"),
}
_LIMITS = {  # of pydantic's error types, added to the words for the type
    "greater_than": " above {gt}",
    "greater_than_equal": " of at least {ge}",
    "less_than": " below {lt}",
    "less_than_equal": " of at most {le}",
    "string_too_short": " that is not empty",
    "too_short": " that is not empty",
}


def _validate(
    model: type[BaseModel], values: dict[str, Any], source: Source, section: str
) -> tuple[Any, list[Mistake]]:
    """The validated model, or None and its mistakes; `values` stand in `section` of the file."""
    try:
        # Through JSON, where a list may become a tuple although numbers and strings are strict.
        return model.model_validate_json(json.dumps(values)), []
    except ValidationError as invalid:
        found: dict[tuple, list] = {}  # a union reports one error per member: they are one mistake
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
    _, annotation, field = _follow(model, location)
    title = field.title if field else None
    words, first = title or _words(annotation), errors[0]
    if first["type"] == "extra_forbidden":
        keys = list(_fields(_bare(_follow(model, location[:-1])[1])))
        return f"unknown key{_near(location[-1], keys) or _known(keys)}"
    if first["type"] == "missing" and first["loc"] == location:
        meaning = f": {field.description}" if field and field.description else ""
        return f"missing ({words}{meaning})"
    if first["type"] == "value_error":  # from a validator of the schema
        return str(first["ctx"]["error"])
    if first["type"] == "json_invalid":  # 300 lists inside one another; the place is not the file's
        return first["ctx"]["error"].partition(" at line ")[0]
    for part in location:
        values = values[part]
    limits = {_LIMITS.get(error["type"], "").format(**error.get("ctx", {})) for error in errors}
    if len(limits) == 1 and (limit := limits.pop()):
        words = (title or _words(_bare(annotation))) + limit
    near = _near(values, _choices(annotation))
    return f"expected {words}, got {_show(values)}{near}"


def _follow(model: type[BaseModel], location: tuple) -> tuple[tuple, Any, FieldInfo | None]:
    """How far `location` leads into the model's sections and lists; the type and field there.

    It ends before a union or a tuple: what pydantic adds there is in no file.
    """
    annotation: Any = model
    field: FieldInfo | None = None
    for depth, part in enumerate(location):
        section = _bare(annotation)
        if _is_section(section):
            field = _fields(section).get(part)
            annotation = field.annotation if field else Any
        elif get_origin(section) in (list, dict, Sequence):
            annotation, field = get_args(section)[-1], None
        else:
            return location[:depth], annotation, field
    return location, annotation, field


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type(BaseModel))


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _members(annotation: Any) -> tuple:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()


def _bare(annotation: Any) -> Any:
    """Without Annotated, and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    members = [member for member in _members(annotation) if member is not NoneType]
    return _bare(members[0]) if len(members) == 1 else annotation


def _choices(annotation: Any) -> list:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for member in _members(annotation) for choice in _choices(member)]


def _words(annotation: Any, plural: bool = False) -> str:
    """A type in words: "an integer or nothing", "a list of 2 numbers"."""
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


def _near(word: Any, words: list) -> str:
    words = [other for other in words if isinstance(other, str)]
    near = difflib.get_close_matches(word, words, 1) if isinstance(word, str) else []
    return f", did you mean {near[0]!r}?" if near else ""


def _known(words: list[str]) -> str:
    return f"; known here: {', '.join(words)}" if words else ""


def _show(value: Any) -> str:
    plain = {None: "nothing", True: "true", False: "false"}
    text = plain[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _rows(model: type[BaseModel], prefix: str) -> Iterable[tuple[str, str, str, str]]:
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
        if _is_section(inner):
            yield from _rows(inner, below)
