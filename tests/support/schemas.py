"""Greenfield's published schemas: `$GLD_GREENFIELD`, or `../shared/greenfield` beside the project."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

__all__ = ["aliases", "documented_operations", "greenfield_dir", "schema_errors", "webhook_errors"]

_PROJECT = Path(__file__).resolve().parents[2]


def greenfield_dir() -> Path:
    """The schemas' folder; skips the test where there is none, fails it where `CI` is set."""
    named = os.environ.get("GLD_GREENFIELD")
    folder = Path(named) if named else _PROJECT.parent / "shared" / "greenfield"
    if folder.is_dir():
        return folder
    message = f"Greenfield's schemas not found at {folder}: set GLD_GREENFIELD to their folder"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@cache
def _load(name: str) -> Any:
    return json.loads((greenfield_dir() / name).read_text(encoding="utf-8"))


def aliases() -> dict[str, Any]:
    return dict(_load("aliases.json"))


def documented_operations() -> set[str]:
    """`METHOD /path` of all that has a published answer, with the aliases."""
    return set(_load("response-schemas.json")["responses"]) | set(aliases()["aliases"])


def schema_errors(operation: str, status: int, body: Any) -> list[str]:
    """What is wrong with a successful answer of `operation` (METHOD and the path's template).

    Errors are not compared: the document has arrays where the server it describes writes objects.
    """
    published = _load("response-schemas.json")
    responses = published["responses"].get(aliases()["aliases"].get(operation, operation), {})
    schema = responses.get(str(status), responses.get("default"))
    if schema is None:
        return []
    if operation.endswith(("/roles", "/users/me/notifications")):
        schema = {"type": "array", "items": schema}  # the document forgets that they are many
    validator = _validator(json.dumps(schema))
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(body)]


def webhook_errors(body: Any) -> list[str]:
    """What is wrong with a webhook's body; nothing for types that the document leaves out."""
    schema = _load("response-schemas.json")["webhooks"].get(body["type"])
    if schema is None:
        return []
    return [
        f"{'/'.join(map(str, e.instance_path))}: {e.message}"
        for e in _validator(json.dumps(schema)).iter_errors(body)
    ]


@cache
def _validator(schema: str) -> Any:
    return jsonschema_rs.Draft202012Validator({"$defs": _definitions(), "allOf": [json.loads(schema)]})


@cache
def _definitions() -> Any:
    """The published definitions, with two that no answer could satisfy put right."""
    definitions = json.loads(json.dumps(_load("response-schemas.json")["$defs"]))
    config = definitions["GenericPaymentMethodData"]["properties"]["config"]
    config["anyOf"] = config.pop("oneOf")  # every object is of all the kinds at once
    definitions["StoreRateConfiguration"]["properties"]["spread"]["type"] = "number"  # as the server writes it
    return definitions
