"""The route tables, in the order in which they are served."""

from api.handlers import (
    absent,
    activity,
    btngpay,
    invoices,
    keys,
    methods,
    misc,
    notifications,
    payment_requests,
    rates,
    reports,
    stats,
    stores,
    system,
    users,
    webhooks,
)
from api.routing import RouteTable

__all__ = ["payment_tables", "system_tables"]


def payment_tables() -> list[RouteTable]:
    """What the sites serve where the node takes payments."""
    return [
        invoices.table,  # first: a path is looked for in this order, and these are asked for most
        btngpay.table,
        keys.table,
        users.table,
        notifications.table,
        stores.table,
        methods.table,
        webhooks.table,
        activity.table,
        payment_requests.table,
        rates.table,
        reports.table,
        stats.table,
        misc.table,
        absent.table,
    ]


def system_tables(*, with_node: bool) -> list[RouteTable]:
    """Health and server information; on the default site also what only the operator may read."""
    return [system.table, system.node_table] if with_node else [system.table]
