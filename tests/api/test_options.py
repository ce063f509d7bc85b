"""What the operator's settings mean for the sites."""

import pytest

from api.options import OptionsError, SiteOptions
from api.ratelimit import Rate, RateLimiter
from tests.support.http import StubHost


def options(**settings: str) -> SiteOptions:
    return SiteOptions.from_host(StubHost({name: [value] for name, value in settings.items()}))  # type: ignore[arg-type]


def test_the_default_site_is_loopback() -> None:
    made = options()
    assert made.binds == (("127.0.0.1", 8080),)
    assert made.optional_binds == (("::1", 8080),)
    assert made.public_binds == ()
    assert made.base_url == "http://127.0.0.1:8080"


def test_rpcbind_needs_rpcallowip() -> None:
    assert options(rpcbind="0.0.0.0").binds == (("127.0.0.1", 8080),)
    made = options(rpcbind="0.0.0.0:9000", rpcallowip="10.0.0.0/8")
    assert made.binds == (("0.0.0.0", 9000),)
    assert len(made.guard.rpc_allowed) == 3


def test_links_begin_at_the_external_url() -> None:
    made = options(externalurl="https://pay.example.com/shop/", publicbind="[::1]:8081", rpcport="9001")
    assert made.base_url == "https://pay.example.com/shop"
    assert made.guard.hosts == {"pay.example.com"}
    assert made.public_binds == (("::1", 8081),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rpcport", "http"),
        ("rpcport", "70000"),
        ("publicbind", "127.0.0.1"),
        ("publicbind", ":80"),
        ("externalurl", "pay.example.com"),
        ("externalurl", "ftp://pay.example.com"),
        ("externalurl", "https://user@pay.example.com"),
        ("allowhost", "a:b:c"),
        ("trustedproxy", "proxy"),
        ("rpcallowip", "10.0.0.0/99"),
        ("ratelimit", "fast"),
        ("ratelimit", "0"),
        ("ratelimit", "1/0"),
    ],
)
def test_settings_that_cannot_be_meant_are_told(name: str, value: str) -> None:
    with pytest.raises(OptionsError):
        options(**{name: value})


class Ticking:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> int:
        return int(self.at)

    def now_ms(self) -> int:
        return int(self.at * 1000)

    def monotonic(self) -> float:
        return self.at


def test_a_bucket_empties_and_fills_again() -> None:
    clock = Ticking()
    limiter = RateLimiter(Rate(60, 60, 3), clock)
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, 2]
    assert limiter.take("b") == 0
    clock.at = 2.0
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 2]


def test_rates_are_read() -> None:
    assert Rate.parse("100") == Rate(100, 60, 100)
    assert Rate.parse("100/900") == Rate(100, 900, 100)
