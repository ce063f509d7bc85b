"""`/docs`: the OpenAPI document for people, with nothing from other hosts."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from api.pages.markup import Markup, join, page, tag

__all__ = ["docs_page"]


def docs_page(document: Mapping[str, Any], base_url: str) -> web.Response:
    """Every operation, grouped by tag."""
    by_tag: dict[str, list[Markup]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    parts = [
        tag("h1", document["info"]["title"]),
        tag("p", document["info"]["description"], cls="soft"),
        _begin(base_url),
    ]
    for name in sorted(by_tag):
        parts += [tag("h2", name), *by_tag[name]]
    parts += [tag("h2", "Schemas"), *_schemas(document["components"]["schemas"])]
    return page(document["info"]["title"], join(parts), width="wide")


def _begin(base_url: str) -> Markup:
    example = (
        f"curl {base_url}/api/btngpay/invoice \\\n"
        "  -H 'Authorization: token <key>' -H 'Content-Type: application/json' \\\n"
        '  -d \'{"merchant": "<address or store id>", "amount": 12.5, "currency": "GLD", "memo": "Order 1"}\''
    )
    link = Markup('The same as <a href="/api/docs.json">OpenAPI 3.1</a>.')
    return join([tag("p", link), tag("pre", example)])


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Markup:
    scopes = [scope for item in operation.get("security", ()) for scopes in item.values() for scope in scopes]
    needs = ", ".join(dict.fromkeys(scopes)) or ("a key" if operation.get("security") else "nobody's permission")
    rows = [
        tag("p", Markup(tag("span", method.upper(), cls="method") + tag("code", path))),
        tag("p", operation["summary"]),
        tag("p", f"Needs {needs}.", cls="soft"),
    ]
    query = [param for param in operation["parameters"] if param["in"] == "query"]
    if query:
        rows.append(tag("p", "Query: " + ", ".join(param["name"] for param in query), cls="soft"))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        rows.append(tag("p", f"Body: {_type(body)}", cls="soft"))
    answers = ", ".join(operation["responses"])
    rows.append(tag("p", f"Answers: {answers}", cls="soft"))
    return tag("section", join(rows), cls="card")


def _schemas(schemas: Mapping[str, Any]) -> list[Markup]:
    made = []
    for name, schema in sorted(schemas.items()):
        lines = [
            tag(
                "tr",
                Markup(
                    tag("td", tag("code", field)) + tag("td", _type(kind)) + tag("td", kind.get("description", ""))
                ),
            )
            for field, kind in schema.get("properties", {}).items()
        ]
        made += [tag("h3", name), tag("p", schema.get("description", ""), cls="soft"), tag("table", join(lines))]
    return made


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"])
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
