"""Waking those who wait for a change, in this process. A hint only: whoever wakes reads the database."""

import asyncio
from collections.abc import Iterable
from weakref import WeakValueDictionary

from payments.invoice import Invoice
from payments.layout import callback_reader

__all__ = ["Bell", "topics_of"]


def topics_of(invoice: Invoice) -> tuple[str, ...]:
    """Who waits for a change of this invoice."""
    if invoice.callback_url is None:
        return invoice.id, invoice.store_id
    return invoice.id, invoice.store_id, callback_reader(invoice.store_id)


class Bell:
    """Rings for everybody who waits for a topic (a store's id, an invoice's id) at that moment."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def next_ring(self, topic: str) -> asyncio.Event:
        """Set at the topic's next ring. Take it, read, then await it: nothing between is missed."""
        event = self._events.get(topic)
        if event is None:
            event = self._events[topic] = asyncio.Event()
        return event

    def ring(self, topics: Iterable[str]) -> None:
        for topic in topics:
            event = self._events.pop(topic, None)
            if event is not None:
                event.set()

    @staticmethod
    async def wait(ring: asyncio.Event, timeout_s: float) -> bool:
        """Whether it rang in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await ring.wait()
        except TimeoutError:
            return False
        return True
