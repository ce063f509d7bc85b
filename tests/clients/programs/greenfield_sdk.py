"""PyPI btcpay-python-sdk as its README uses it. Arguments: phase, base, token, store, invoice."""

import json
import sys

import btcpay
from requests.exceptions import HTTPError

phase, base, btcpay.api_key, btcpay.store_id, invoice_id = sys.argv[1:]
btcpay.host_url = base + "/"
invoices, pulls = btcpay.Invoices, btcpay.PullPayments


def refused(work, *values):
    try:
        work(*values)
    except HTTPError as error:
        return {"status": error.response.status_code, "body": error.response.json()}
    raise AssertionError("it was not refused")


def set_up():
    made = invoices.create_invoice(amount="1.5", currency="GLD", metadata={"orderId": "sdk-1"})
    other = invoices.create_invoice(amount=2, currency="GLD", checkout={"paymentMethods": ["GLD-OnChain"]})
    out = {"invoice": made, "listed": [each["id"] for each in invoices.get_invoices()]}
    out["methods"] = invoices.get_invoice_payment_methods(made["id"])
    invoices.activate_payment_method(made["id"], "GLD-CHAIN")
    out["updated"] = invoices.update_invoice(made["id"], {"metadata": {"orderId": "sdk-2"}})
    out["marked"] = invoices.mark_invoice_status(other["id"], "invalid")
    invoices.archive_invoice(other["id"])
    out["unarchived"] = invoices.unarchive_invoice(other["id"])
    out["pulls"] = pulls.get_pull_payments()
    out["bad"] = refused(lambda: invoices.create_invoice(amount=-1))
    out["unknown"] = refused(invoices.get_invoice, "nothing")
    return out


def look_again():
    return {
        "invoice": invoices.get_invoice(invoice_id),
        "methods": invoices.get_invoice_payment_methods(invoice_id),
    }


print(json.dumps(set_up() if phase == "setup" else look_again()))
