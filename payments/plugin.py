"""The plug-in: the payments of a node, as the node finds them through the entry point `gldnode.plugins`."""

import logging
from typing import Final

from gldnode.errors import NodeError
from gldnode.ports import NodeHost
from payments.outgoing import AddressGuard, OutgoingClient
from payments.rates import MAX_AGE_S, Rates, parse_sources
from payments.rpc_state import methods as rpc_methods
from payments.service import PaymentService
from payments.vault import Vault

__all__ = ["PaymentsPlugin"]

log = logging.getLogger(__name__)
USER_AGENT: Final = "BTCPayServer/2.4.1 (gldnode)"


class PaymentsPlugin:
    """Started by the node; `service` is what HTTP and RPC use."""

    name = "payments"
    rpc_methods = rpc_methods
    """Added to the node's RPC."""

    def __init__(self) -> None:
        self._service: PaymentService | None = None

    @property
    def service(self) -> PaymentService:
        assert self._service is not None, "the payments have not started"
        return self._service

    async def start(self, host: NodeHost) -> None:
        """Open the payments and follow the chain. Raises NodeError for a wrong setting."""
        try:
            client = OutgoingClient(AddressGuard.from_host(host), USER_AGENT)
            sources = parse_sources(host.options("rate"), host.params.unit)
        except ValueError as error:
            raise NodeError(str(error)) from error
        max_age = host.option("ratemaxage")
        age_limit_s = int(max_age) if max_age and max_age.isdecimal() else MAX_AGE_S
        rates = Rates(sources, client.get_json, host.clock, host.params.unit, age_limit_s)
        self._service = PaymentService(Vault(host), rates, client)
        try:
            log.debug("quotas of a store: %s", self._service.quotas)
        except ValueError as error:
            raise NodeError(str(error)) from error
        self._service.start()
        if rates.needs_network:
            host.spawn("payments: rates", rates.keep_fresh())

    async def stop(self) -> None:
        if self._service is not None:
            await self._service.stop()
