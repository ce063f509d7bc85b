"""HTML from templates in which every value is escaped, unless it is markup made here."""

from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from aiohttp import web

__all__ = ["Markup", "fill", "join", "page"]

_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action {forms}; "
    "frame-ancestors {frames}"
)


class Markup(str):
    """Text that is HTML already. Made by `fill` and by trusted generators only."""

    __slots__ = ()


@cache
def _template(name: str) -> Template:
    return Template((files("api.pages") / "templates" / name).read_text(encoding="utf-8"))


def fill(name: str, **values: object) -> Markup:
    """The template with `values`, escaped where they are not Markup."""
    escaped = {key: value if isinstance(value, Markup) else escape(str(value)) for key, value in values.items()}
    return Markup(_template(name).substitute(escaped))


def tag(element: str, text: object, /, **attributes: str) -> Markup:
    """One element; `cls` stands for `class`."""
    written = "".join(f' {key.replace("cls", "class")}="{escape(value)}"' for key, value in attributes.items())
    inner = text if isinstance(text, Markup) else escape(str(text))
    return Markup(f"<{element}{written}>{inner}</{element}>")


def join(parts: list[Markup]) -> Markup:
    return Markup("\n".join(parts))


def page(
    title: str,
    content: Markup,
    *,
    status: int = 200,
    refresh_s: int = 0,
    width: str = "",
    may_be_framed: bool = False,
    forms: str = "'self'",
) -> web.Response:
    """A whole page. `forms` is the CSP's form-action."""
    refresh = Markup(f'<meta http-equiv="refresh" content="{refresh_s}">\n') if refresh_s else Markup("")
    text = fill("layout.html", title=title, content=content, refresh=refresh, width=width)
    frames = "*" if may_be_framed else "'none'"
    headers = {
        "Content-Security-Policy": _CSP.format(forms=forms, frames=frames),
        "Cache-Control": "no-store",
    }
    if not may_be_framed:
        headers["X-Frame-Options"] = "DENY"
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=headers)
