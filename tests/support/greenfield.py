"""A Greenfield client for tests: names operations as the published document does, and checks each answer by it."""

from typing import Any
from urllib.parse import quote, urlencode

from tests.support.http import Answer, Browser
from tests.support.schemas import schema_errors

__all__ = ["Greenfield"]


class Greenfield:
    """`await api.call("GET /stores/{storeId}", storeId=…)`; paths without `/api/v1`."""

    def __init__(self, browser: Browser, **defaults: str) -> None:
        self.browser = browser
        self._defaults = defaults

    def using(self, browser: Browser) -> "Greenfield":
        return Greenfield(browser, **self._defaults)

    async def answer(
        self,
        operation: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        **path: str,
    ) -> Answer:
        """Whatever comes, valid by the published schema of its status."""
        method, template = operation.split(" ", 1)
        prefix = "" if template.startswith(("/api-keys/authorize", "/misc")) else "/api/v1"
        values = {name: quote(value, safe="") for name, value in (self._defaults | path).items()}
        url = prefix + template.format(**values)
        if query:
            url += "?" + urlencode(query, doseq=True)
        answer = await self.browser.send(method, url, body, raw=raw, headers=headers)
        if answer.text and answer.headers.get("Content-Type", "").startswith("application/json"):
            if answer.status < 300:
                errors = schema_errors(f"{method} {prefix}{template}", answer.status, answer.json)
                assert errors == [], f"{operation} {answer.status}: {errors}\n{answer.text}"
            else:
                check_error(answer)
        return answer

    async def call(self, operation: str, body: Any = None, *, expect: int = 200, **options: Any) -> Any:
        """The JSON of an answer with the status `expect`; None without a body."""
        answer = await self.answer(operation, body, **options)
        assert answer.status == expect, f"{operation}: {answer.status} {answer.text}"
        return answer.json if answer.text else None


def check_error(answer: Answer) -> None:
    """Greenfield's error shapes: an array for 422, an object for the rest, never our own fault."""
    assert answer.status != 500, answer.text
    if answer.status == 422:
        assert answer.json, answer.text
        assert all(issue.keys() == {"path", "message"} for issue in answer.json), answer.text
    else:
        assert answer.json.keys() >= {"code", "message"}, answer.text
