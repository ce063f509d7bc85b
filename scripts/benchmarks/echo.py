"""A bare aiohttp server that echoes JSON, in a process of its own: the limit of HTTP here."""

import asyncio
import sys

import uvloop
from aiohttp import web


async def _echo(request: web.Request) -> web.Response:
    return web.json_response(await request.json())


async def main() -> None:
    """Serve for ever on a free port of 127.0.0.1, which is printed."""
    app = web.Application()
    app.router.add_post("/", _echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main()) if "uvloop" in sys.argv[1:] else asyncio.run(main())
