"""Pages for people: server-rendered, no script, nothing from other hosts."""

from api.pages.routes import page_routes

__all__ = ["page_routes"]
