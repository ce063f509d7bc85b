"""One HTTP connection: aiohttp's protocol with the limits it lacks, and without its task for every request.

A connection has one task, which answers its requests one after the other. The first step of a request is taken at
once where its last bytes arrive, and each further one where what it waits for is done, in the name of that task,
which sleeps on. It takes over, as of any coroutine, where it is cancelled or a request waits for no future.
"""

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from aiohttp.client_exceptions import ClientConnectionResetError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import _PAYLOAD_ACCESS_ERROR, ERROR, _ErrInfo

from api.guard import IPAddress, parse_peer
from api.onewrite import takes_one_write, write_at_once
from gldnode.rpc.answer import JsonAnswer

if TYPE_CHECKING:
    from api.server import LimitedServer

__all__ = ["LimitedProtocol"]

_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class LimitedProtocol(web.RequestHandler):
    """One connection."""

    __slots__ = (
        "_address",
        "_begun",
        "_has_paused",
        "_has_read",
        "_header_timer",
        "_idle",
        "_is_over",
        "_limits",
        "_reader_timer",
        "_server",
        "_wire",
    )

    def __init__(self, server: "LimitedServer", loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(server, loop=loop, **kwargs)
        self._server = server
        self._limits = server.limits
        self._address: IPAddress | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._has_read = False
        self._wire: asyncio.Transport | None = None
        """The transport until it is gone: aiohttp lets go of one that it has closed."""
        self._idle: asyncio.Future[None] | None = None
        """What the task sleeps on; `_waiter` is the same, but None while a request is under way."""
        self._begun: tuple[Coroutine[Any, Any, None], Any] | None = None
        """A request under way outside the task's own steps, and what it waits for."""
        self._is_over = False
        self._has_paused = False
        # One less than where the parser stops: it also counts a request under way whose body came late.
        self._max_msg_queue_size -= 1

    # --- begin, bytes, end ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._address = parse_peer(transport.get_extra_info("peername"))
        admitted = self._server.admit(self._address)
        super().connection_made(transport)
        self._wire = self.transport
        if admitted:
            self._start_header_timer()
        else:
            self._refuse(
                429, "Too Many Requests", "too-many-connections", "This address has too many connections."
            )

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_header_timer()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
        self._wire = None
        if self._manager is not None:
            self._server.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        idle, self._waiter = self._waiter, None  # so that aiohttp does not wake the task
        try:
            super().data_received(data)
        finally:
            self._waiter = idle
        if self._request_count != before:
            self._stop_header_timer()
            if idle is not None and not idle.done():
                self._begin(idle)
            elif self._messages and isinstance(self._messages[-1][0], _ErrInfo):
                self._spoil_body()
        elif self._header_timer is None and idle is not None and data:
            self._start_header_timer()  # the first bytes of a further request on a kept connection

    def pause_reading(self) -> None:
        self._has_paused = True
        super().pause_reading()

    def _spoil_body(self) -> None:
        """What came is no HTTP: whoever waits for the rest of a body would wait until its time is over."""
        request = self._current_request
        if request is not None and not request.content.is_eof():
            request._cancel(web.RequestPayloadError("not well-formed"))

    def resume_reading(self, resume_parser: bool = True) -> None:
        # aiohttp lets the parser run at every read of a body, also where nothing was ever held back.
        if self._has_paused:
            super().resume_reading(resume_parser)

    # --- requests ---

    def _begin(self, idle: "asyncio.Future[None]") -> None:
        """Take the first step of the request that has come."""
        task = self._task_handler
        if task is None or asyncio.current_task(self._loop) is not None:
            idle.set_result(None)
        else:
            self._step(self._answer_next(), task, idle)

    def _go_further(self, waited_for: "asyncio.Future[Any]") -> None:
        """Take the next step of the request under way, unless the task has taken it over or is about to."""
        idle, task, begun = self._idle, self._task_handler, self._begun
        if begun is None or begun[1] is not waited_for or idle is None or idle.done():
            return
        if task is None:  # the caller went away; what was begun ends all the same
            idle.set_result(None)
        else:
            self._begun = None
            self._step(begun[0], task, idle)

    def _step(
        self, work: Coroutine[Any, Any, None], task: "asyncio.Task[None]", idle: "asyncio.Future[None]"
    ) -> None:
        """Let `work` run until it waits or ends; wake the task where there is more to do for it."""
        self._waiter = None  # nobody is idle
        asyncio._enter_task(self._loop, task)
        try:
            waits_for = work.send(None)
        except StopIteration:
            more = bool(self._messages) or self._is_over
        except asyncio.CancelledError:  # as if the task had been cancelled: it closed the connection
            more = True
        else:
            self._begun = (work, waits_for)
            if isinstance(waits_for, asyncio.Future):
                waits_for._asyncio_future_blocking = False  # as a task: others may wait for it too
                waits_for.add_done_callback(self._go_further)
                return
            more = True
        finally:
            asyncio._leave_task(self._loop, task)
            if self._begun is None:
                self._waiter = idle
        if more and not idle.done():
            idle.set_result(None)

    async def start(self) -> None:
        """The connection's task: sleep until requests come, answer them in order, close at the end."""
        while not self._force_close and not self._is_over:
            if not self._messages:
                await self._sleep()
            if self._begun is not None:
                (work, waits_for), self._begun = self._begun, None
                await _go_on(work, waits_for)
            elif self._messages and not self._is_over:
                await self._answer_next()
            if self._messages:
                await asyncio.sleep(0)  # others' turn between requests that came in one piece
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()
                self._watch_reader()

    async def _sleep(self) -> None:
        self._idle = self._waiter = self._loop.create_future()
        cancelled = None
        try:
            await self._idle
        except asyncio.CancelledError as error:
            if self._begun is None:
                raise
            cancelled = error
        finally:
            self._idle = self._waiter = None
        if cancelled is not None and self._begun is not None:
            begun, self._begun = self._begun, None
            await _go_on(*begun, cancelled)

    async def _answer_next(self) -> None:
        """Answer the oldest request, and see whether the connection goes on."""
        message, payload = self._messages.popleft()
        is_whole = payload.is_eof()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        manager, factory, handler, task = (
            self._manager,
            self._request_factory,
            self._request_handler,
            self._task_handler,
        )
        self._is_over = True  # until the answer was given
        if manager is None or factory is None or handler is None or task is None:
            return  # the caller went away
        manager.requests_count += 1
        writer = StreamWriter(self, self._loop)
        if isinstance(message, _ErrInfo):
            handler, message = self._make_error_handler(message), ERROR
        request = factory(message, payload, self, writer, task)
        try:
            await self._respond(request, handler)
            if not payload.is_eof():
                await self._linger(payload)
            if not is_whole and self._parser is not None:  # the parser counted it when its body ended
                self._parser.message_consumed()
            payload.set_exception(_PAYLOAD_ACCESS_ERROR)
        except asyncio.CancelledError:
            self.force_close()
            raise
        except ConnectionError:
            return  # the caller went away
        except Exception:
            _log.exception("unhandled error answering %s", request.remote)
            self.force_close()
        finally:
            request._task = None  # type: ignore[assignment]  # breaks a cycle
        if self._keepalive and not self._close and not self._force_close:
            self._is_over = False
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = self._loop.call_at(
                    self._next_keepalive_close_time, self._process_keepalive
                )

    async def _respond(self, request: web.BaseRequest, handler: Handler) -> None:
        """Have it answered and write the answer. Raises ConnectionError where nobody reads it any more."""
        self._request_in_progress = True
        self._current_request = request
        try:
            try:
                response = await handler(request)
            except ConnectionError:
                raise
            except Exception as error:  # supervisor: what the sites' own let through is our bug
                response = self.handle_error(request, 500, error)
            finally:
                self._current_request = None
            if request.writer.output_size > 0 and not response.prepared:
                raise ConnectionError("the answer has begun already")  # an error cannot follow it on the wire
            if (
                isinstance(response, JsonAnswer)
                and response.is_plain
                and takes_one_write(request)
                and not self._upgraded
            ):
                self._keepalive = True
                write_at_once(self.transport, response)
                if self._paused:
                    await self._drain_helper()
                return
            response, lost = await self.finish_response(request, response, None)
            if lost:
                raise ClientConnectionResetError("the caller went away")
            self._keepalive = bool(response.keep_alive)
        finally:
            self._request_in_progress = False
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)

    async def _linger(self, payload: StreamReader) -> None:
        """Read what is left of a body for a while: closing at once could destroy the answer on its way."""
        end = self._loop.time() + self._lingering_time
        try:
            while not self._force_close and not payload.is_eof() and self._loop.time() < end:
                async with asyncio.timeout_at(end):
                    await payload.readany()
        except (TimeoutError, web.RequestPayloadError, HttpProcessingError):
            pass
        if not payload.is_eof() and not self._force_close:
            self.close()

    # --- limits ---

    def _start_header_timer(self) -> None:
        self._header_timer = self._loop.call_later(self._limits.header_timeout_s, self._header_timeout)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_timeout(self) -> None:
        self._header_timer = None
        self._refuse(408, "Request Timeout", "request-timeout", "The request's headers took too long.")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._has_read = True

    def force_close(self) -> None:
        super().force_close()
        self._watch_reader()

    def _watch_reader(self) -> None:
        """A connection with an answer that nobody reads would stay for ever, a closed one too."""
        if self._wire is not None and self._reader_timer is None:
            waiting = self._wire.get_write_buffer_size()
            if waiting:
                self._has_read = False
                self._reader_timer = self._loop.call_later(
                    self._limits.read_timeout_s, self._check_reader, waiting
                )

    def _check_reader(self, before: int) -> None:
        self._reader_timer = None
        if self._wire is not None and not self._has_read and self._wire.get_write_buffer_size() >= before:
            self._wire.abort()
        else:
            self._watch_reader()

    def _refuse(self, status: int, reason: str, code: str, message: str) -> None:
        """Answer without a request and close."""
        transport = self.transport
        if transport is not None:
            body = msgspec.json.encode({"code": code, "message": message})
            head = (
                f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            transport.write(head.encode() + body)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Our JSON for what aiohttp's parser refuses; no traceback, since only the caller is at fault."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, HttpProcessingError):
            status, code, text = 400, "malformed-request", "The request is not well-formed HTTP."
            _log.debug("malformed HTTP from %s: %r", request.remote, exc)
        else:
            status, code, text = 500, "internal-error", "Something went wrong here; the log has more."
            _log.error("unhandled error answering %s", request.remote, exc_info=exc)
        body = msgspec.json.encode({"code": code, "message": text})
        response = web.Response(status=status, body=body, content_type="application/json")
        response.force_close()
        return response


@types.coroutine
def _go_on(
    work: Coroutine[Any, Any, None], waits_for: Any, cancelled: asyncio.CancelledError | None = None
) -> Generator[Any, Any, None]:
    """Drive `work`, whose first step was taken elsewhere and waits for `waits_for`, to its end.

    `cancelled` reached the task before it came here (a time limit of no time): it is the work's own business, as
    where the task waits for `waits_for` itself.
    """
    thrown: BaseException | None = cancelled
    if cancelled is not None and asyncio.isfuture(waits_for) and waits_for.cancel():
        thrown = None  # it comes back through what is waited for
    while True:
        if thrown is None:
            if asyncio.isfuture(waits_for):
                waits_for._asyncio_future_blocking = True  # as where it was awaited
            try:
                yield waits_for
            except BaseException as error:
                thrown = error
        if thrown is None:
            yield from work
            return
        try:
            waits_for = work.throw(thrown)
        except StopIteration:
            return
        finally:
            thrown = None  # no cycle of frame and traceback
