"""Figures for Prometheus, read from the node at the moment they are asked for."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from gldnode.ports import NodeHost
from payments.service import PaymentService

__all__ = ["registry_of"]


def registry_of(host: NodeHost, service: PaymentService | None) -> CollectorRegistry:
    """A registry with this node's figures only."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_NodeCollector(host, service))
    return registry


class _NodeCollector(Collector):
    def __init__(self, host: NodeHost, service: PaymentService | None) -> None:
        self._host = host
        self._service = service

    def collect(self) -> Iterable[Metric]:
        host = self._host
        tip = host.chain.tip
        yield GaugeMetricFamily("gld_chain_height", "Height of the best block.", value=tip.height)
        yield GaugeMetricFamily("gld_chain_tip_time_seconds", "Time in the best block's header.", value=tip.time)
        yield GaugeMetricFamily(
            "gld_chain_synchronized", "1 once the node is in sync.", value=not host.chain.is_initial_block_download
        )
        yield GaugeMetricFamily(
            "gld_mempool_transactions", "Transactions in the mempool.", value=len(host.mempool.txids())
        )
        service = self._service
        if service is not None:
            yield GaugeMetricFamily(
                "gld_payments_height", "Height up to which payments are known.", value=service.tip_height
            )
            yield GaugeMetricFamily(
                "gld_payments_ready", "1 while invoices are taken.", value=service.readiness().is_ready
            )
            yield GaugeMetricFamily("gld_payments_stores", "Stores.", value=len(service.stores()))
            yield GaugeMetricFamily("gld_payments_open_invoices", "Open invoices.", value=service.open_invoices())
            yield GaugeMetricFamily(
                "gld_payments_safe_mode", "1 while settlement pauses.", value=service.safe_mode() is not None
            )
            used = GaugeMetricFamily(
                "gld_payments_storage_bytes", "Disk space of the payment records.", labels=("kind",)
            )
            for kind, size in service.storage_used().items():
                used.add_metric((kind,), size)
            yield used
