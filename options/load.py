"""Load option files: YAML to typed options, with errors that name the file, the line and the remedy."""

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, create_model

from options.mistakes import Mistake, OptionsError, Place, Source
from options.schema import Options, TestOptions, TrainOptions
from options.validate import known_words, nearest, option_rows, shown, validate

AnyOptions = TypeVar("AnyOptions", bound=Options)


def load_train(path: str | os.PathLike, overrides: Iterable[str] = ()) -> TrainOptions:
    """The options of one training run; `overrides` are strings such as "train.lr=1e-4".

    Raises OptionsError with one line for each mistake.
    """
    return _load(TrainOptions, path, overrides)


def load_test(path: str | os.PathLike, overrides: Iterable[str] = ()) -> TestOptions:
    """The options of one test; `overrides` are strings such as "data.test.0.folder=pictures".

    Raises OptionsError with one line for each mistake.
    """
    return _load(TestOptions, path, overrides)


def dump(options: Options) -> str:
    """The options as YAML, with every default; loading it gives equal options."""
    values = options.model_dump(by_alias=True)
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def dotted(values: dict | list, into_lists: bool = True, prefix: str = "") -> dict[str, Any]:
    """Flatten nested values to dotted keys, as in `--set`: {"train": {"lr": 1}} -> {"train.lr": 1}.

    into_lists: flatten lists too ("train.phases.0.name").
    """
    flat: dict[str, Any] = {}
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        if isinstance(value, dict) or (into_lists and isinstance(value, list)):
            flat |= dotted(value, into_lists, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def describe(schema: type[Options]) -> str:
    """A text table of every key in the schema: key, type, default, meaning [unit]."""
    rows = [("key", "type", "default", "meaning [unit]"), *option_rows(schema, "")]
    key, kind, default, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(f"{a:{key}}  {b:{kind}}  {c:{default}}  {d}" for a, b, c, d in rows)


def check_arguments(
    options: Options, section: str, constructor: Callable, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Check the arguments that `section` of the option file gives to `constructor`, and return them.

    They must fit the names, annotations and defaults in the constructor's signature.
    section: dotted key of the arguments, such as "network" or "train.phases.0.loss".
    arguments: plain values from the option file.
    Returns only the given arguments, in the annotated types (a list becomes a tuple). Raises OptionsError
    with one line for each mistake.
    """
    model = argument_model(constructor)
    checked, mistakes = validate(model, arguments, options._source, section)
    _refuse(mistakes)
    given = {
        str(field.alias): getattr(checked, name)
        for name, field in model.model_fields.items()
        if name in checked.model_fields_set
    }
    return given | (checked.model_extra or {})


def argument_model(constructor: Callable) -> type[BaseModel]:
    """A schema of the arguments that an option file may give to a constructor; each is the alias of a field.

    Positional-only arguments are left out, because the program itself gives them.
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
            # Aliases, because pydantic does not allow fields called `_x`, `copy` or `schema`.
            field = Field(default, alias=name)
            fields[f"argument_{len(fields)}"] = (hints.get(name, Any), field)
    config = ConfigDict(extra=extra, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    return create_model("Arguments", __config__=config, **fields)


def _load(schema: type[AnyOptions], path: str | os.PathLike, overrides: Iterable[str]) -> AnyOptions:
    source = Source(path=os.fspath(path))
    text = _text(source.path)
    values = _read(text, lambda line: Place(line, f"{source.path}:{line}"), "", source)
    if values is None:
        raise OptionsError(str(source.mistake("", "the file is empty")))
    if not isinstance(values, dict):
        message = f"expected a section (key: value), got {shown(values)}"
        raise OptionsError(str(source.mistake("", message)))
    for override in overrides:
        _override(values, override, source)
    options, mistakes = validate(schema, values, source, "")
    _refuse(source.mistakes + mistakes)
    options._source = source
    return options


def _refuse(mistakes: list[Mistake]) -> None:
    if mistakes:
        in_order = sorted(mistakes, key=lambda mistake: mistake.place.line)
        raise OptionsError("\n".join(map(str, in_order)))


# --- YAML with the line of every key -----------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Reads only plain values. Refuses tags, and aliases, because they can expand without bound."""

    yaml_implicit_resolvers: dict = {}  # filled from _PLAIN: YAML 1.1 reads 3e-4 as text and `on` as true

    def compose_node(self, parent, index):
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            refused = f"alias '*{event.anchor}' is not allowed; write the value out"
        elif event.tag:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            refused = f"tag '{tag}' is not allowed; option files hold plain values only"
        else:
            return super().compose_node(parent, index)
        raise yaml.MarkedYAMLError(problem=refused, problem_mark=event.start_mark)


class _Dumper(yaml.SafeDumper):
    """Quotes every string that this loader or a YAML 1.1 loader would otherwise read as something else."""

    def ignore_aliases(self, data):
        return True  # because the loader refuses aliases


# The meaning of an unquoted scalar: tag -> (pattern, possible first characters, conversion).
_PLAIN = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""], lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text[0] in "tT"),
    # Longer integers become floats, because Python refuses to parse thousands of digits.
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
        raise OptionsError(f"{path}:{line}: {byte}; save the file as UTF-8") from None
    except FileNotFoundError:
        files = sorted(file.name for file in Path(path).parent.glob("*.y*ml"))
        near = nearest(Path(path).name, files) or known_words(files)
        raise OptionsError(f"{path}: no such file{near}") from None
    except OSError as error:
        raise OptionsError(f"{path}: cannot be read: {error.strerror}") from None


def _read(text: str, at: Callable[[int], Place], key: str, source: Source) -> Any:
    """Parse YAML text to plain values; record in `source` the place of every key, and keys given twice.

    at: line number in this text -> place in the option file.
    key: dotted key whose value the whole text is.
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
        line, problem = 1, "brackets or lists are nested too deeply"
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
            message = f"given twice (first on line {lines[name]})"
            source.mistakes.append(Mistake(at(line), inner, message))
        else:
            source.places[inner], lines[name] = at(line), line
            values[name] = _value(child, at, inner, source)
    return list(values.values()) if isinstance(node, yaml.SequenceNode) else values


def _word(node: yaml.Node) -> str:
    # As written, because `on`, `25` and `null` are names when they are keys.
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=node.start_mark)
    return node.value


def _override(values: dict[str, Any], override: str, source: Source) -> None:
    """Apply one override such as "train.lr=1e-4" to `values` and record its place in `source`."""
    place = Place(sys.maxsize, f"--set {override}")  # sorts after the mistakes in the file
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
                return mistake(
                    here, f"no entry {part!r}; the list has {len(section)} entries, counted from 0"
                )
            part = int(part)
        elif not isinstance(section, dict):
            return mistake(here, f"expected a section or a list, got {shown(section)}")
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
