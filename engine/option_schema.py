"""Make the JSON schema of option files and the page that explains them, from the typed classes."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic.json_schema import models_json_schema

from channel.attacks import ATTACKS
from models import MODELS
from options import TestOptions, TrainOptions
from options.load import argument_model
from options.validate import option_rows

DRAFT = "http://json-schema.org/draft-07/schema#"  # the draft that YAML language servers support best
HINT = "# yaml-language-server: $schema="  # start of an option file's first line; the schema's path follows

Schema = dict[str, Any]


def option_schema() -> Schema:
    """One schema for both kinds of option file: a file with `weights` is for test.py, any other for train.py.

    It includes the arguments of every method, objective and attack.
    """
    _, both = models_json_schema([(TrainOptions, "validation"), (TestOptions, "validation")])
    parts = _as_draft_07(both["$defs"])
    parts["Network"] = _one_of_types("Network", {name: _method(name) for name in MODELS}, parts["Network"])
    attacks = {name: _arguments(attack) for name, attack in ATTACKS.items()}
    parts["Attack"] = _one_of_types("Attack", attacks, parts["Attack"])
    ranges = {name: _with_ranges(one) for name, one in attacks.items()}
    parts["TrainAttack"] = _one_of_types("TrainAttack", ranges, parts["TrainAttack"])
    parts["TrainOptions"]["allOf"] = [_when_trained(name) for name, one in MODELS.items() if one.trainable]
    for part in parts.values():
        part.pop("discriminator", None)
    return {
        "$schema": DRAFT,
        "title": "An option file of train.py or test.py",
        "type": "object",
        "if": {"required": ["weights"]},
        "then": {"$ref": "#/$defs/TestOptions"},
        "else": {"$ref": "#/$defs/TrainOptions"},
        "$defs": parts,
    }


def _method(name: str) -> Schema:
    return _arguments(MODELS[name])


def _arguments(constructor: Callable) -> Schema:
    """The arguments that an option file may give to a constructor: name -> schema of the value."""
    found = _as_draft_07(argument_model(constructor).model_json_schema(by_alias=True))
    notes = argument_notes(constructor)
    properties = {}
    for name, one in found.get("properties", {}).items():
        properties[name] = {key: value for key, value in one.items() if key != "title"}
        if name in notes:
            properties[name]["description"] = notes[name]
    return properties


def _one_of_types(title: str, kinds: dict[str, Schema], whole: Schema) -> Schema:
    """The schema of a section whose `type` decides which other keys it may have."""
    common = {**whole["properties"], "type": {**whole["properties"]["type"], "enum": list(kinds)}}
    return {
        "title": title,
        "description": whole.get("description", ""),
        "type": "object",
        "properties": common,
        "required": ["type"],
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {
                    "properties": {**dict.fromkeys(common, True), **properties},
                    "additionalProperties": False,
                },
            }
            for name, properties in kinds.items()
        ],
    }


def _with_ranges(properties: Schema) -> Schema:
    """Strengths of an attack in training: one value, or a list of the lowest and the highest."""
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    return {name: {"anyOf": [one, pair]} for name, one in properties.items()}


def _when_trained(name: str) -> Schema:
    """The keys that the loss may have when this method is trained."""
    loss = {"properties": _arguments(MODELS[name].Objective), "additionalProperties": False}
    phases = {"items": {"properties": {"loss": loss}}}
    return {
        "if": {"properties": {"network": {"properties": {"type": {"const": name}}, "required": ["type"]}}},
        "then": {"properties": {"loss": loss, "train": {"properties": {"phases": phases}}}},
    }


def _as_draft_07(part: Any) -> Any:
    """Convert a schema to draft 07, where `items` lists the places of a tuple."""
    if isinstance(part, list):
        return [_as_draft_07(one) for one in part]
    if not isinstance(part, dict):
        return part
    found = {key: _as_draft_07(value) for key, value in part.items()}
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
    return found


def argument_notes(constructor: Callable) -> dict[str, str]:
    """What a class's docstring says about each argument of its constructor: name -> meaning.

    Each line of that list is indented by 4 spaces and has the names, two spaces and the meaning. Lines with a
    deeper indent continue the meaning.
    """
    known = set(inspect.signature(constructor).parameters)
    notes: dict[str, str] = {}
    names: list[str] = []
    for line in (inspect.getdoc(constructor) or "").splitlines():
        entry = re.match(r" {4}(\w+(?:, \w+)*) {2,}(\S.*)$", line)
        if entry and set(entry[1].split(", ")) <= known:
            names = entry[1].split(", ")
            notes |= dict.fromkeys(names, entry[2].strip())
        elif names and re.match(r" {6,}\S", line):
            notes |= {name: f"{notes[name]} {line.strip()}" for name in names}
        else:
            names = []
    return notes


# --- the page -------------------------------------------------------------------------------------

INTRODUCTION = """\
# Option files

This page lists every key of the YAML files for `train.py -opt` and `test.py -opt`. `scripts/make_schema.py`
writes it, and [options/schema.json](../options/schema.json) too. The first line of each option file names the
schema. An editor with a YAML language server, such as VS Code with Red Hat's extension "YAML", then completes
keys, explains them, and marks mistakes as you type.

    # yaml-language-server: $schema=../schema.json

The number in a key such as `data.test.0.crop` stands for any entry of a list.
"""


def option_page() -> str:
    """The text of docs/options.md: all keys of both kinds of file, with methods, objectives and attacks."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield from INTRODUCTION.splitlines()
    for title, schema in (("train.py", TrainOptions), ("test.py", TestOptions)):
        yield from ("", f"## {title}", "")
        yield from _table("key", option_rows(schema, ""))
    yield from ("", "## network: the methods", "")
    yield "The arguments of `network` besides its `type`, and those of `loss` if the method is trained."
    for name, method in MODELS.items():
        yield from ("", f"### {name}", "")
        rows = list(_argument_rows(method))
        yield from _table("argument", rows) if rows else ["No arguments."]
        if method.trainable and (rows := list(_argument_rows(method.Objective))):
            yield from ("", f"`loss` of {name} (`{method.Objective.__name__}`):", "")
            yield from _table("argument", rows)
    yield from ("", "## attacks", "")
    yield "The keys of an attack besides its `type`. In `train.channel`, strengths may be ranges [low, high]."
    yield ""
    yield from _table(
        "attack", (row for name, attack in ATTACKS.items() for row in _attack_rows(name, attack))
    )


def _argument_rows(constructor: Callable) -> Iterator[tuple[str, str, str, str]]:
    notes = argument_notes(constructor)
    for name, words, default, _ in option_rows(argument_model(constructor), ""):
        yield name, words, default, notes.get(name, "")


def _attack_rows(name: str, attack: Callable) -> Iterator[tuple[str, str, str, str]]:
    rows = list(option_rows(argument_model(attack), ""))
    about = (inspect.getdoc(attack) or "").partition("\n")[0]
    if not rows:
        yield name, "", "", about
    for argument, words, default, _ in rows:
        yield f"{name}: {argument}", words, default, about


def _table(first: str, rows: Iterable[tuple[str, str, str, str]]) -> Iterator[str]:
    yield f"| {first} | type | default | meaning [unit] |"
    yield "|---|---|---|---|"
    for key, words, default, meaning in rows:
        code = default if default in ("", "required") else f"`{default}`"
        cells = (f"`{key}`", words, code, meaning.replace("<", "&lt;"))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
