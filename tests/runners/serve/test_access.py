"""Who may read: the token, the host, the method."""

from __future__ import annotations

import pytest

from runners.serve.access import Door, is_loopback

TOKEN = "s3cret-token_of-this-start"


def ask(door=None, method="GET", path="/", host="127.0.0.1:8642", query=(), cookies=None, fetch_site=""):
    cookies = {"archsweep-8642": TOKEN} if cookies is None else cookies
    return (door or Door(TOKEN)).refusal(
        method, path, host=host, query=list(query), cookies=cookies, fetch_site=fetch_site
    )


def test_who_has_the_cookie_may_read():
    assert ask() is None
    assert ask(method="HEAD") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", ""])
def test_nothing_can_be_done_but_reading(method):
    refused = ask(method=method)
    assert (refused.status, refused.headers) == (405, {"Allow": "GET, HEAD"})


@pytest.mark.parametrize(
    "given", [{}, {"archsweep-8642": ""}, {"archsweep-8642": TOKEN[:-1]}, {"archsweep-8643": TOKEN},
              {"archsweep": TOKEN},
              {"archsweep-8642": TOKEN + "\udcff"}, {"archsweep-8642": "x" * 100_000}]
)  # fmt: skip
def test_without_the_cookie_of_this_port_nothing_is_shown(given):
    assert ask(cookies=given).status == 403


def test_the_first_visit_sets_the_cookie_and_leads_to_the_address_without_token():
    answer = ask(path="/run/0a1b", query=[("q", "vit & co"), ("token", TOKEN), ("page", "2")], cookies={})
    assert answer.status == 303
    assert answer.headers == {
        "Location": "/run/0a1b?q=vit+%26+co&page=2",
        "Set-Cookie": f"archsweep-8642={TOKEN}; Path=/; HttpOnly; SameSite=Strict",
    }


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_from_a_link_of_another_page_our_own_page_leads_on(site):
    """A redirect after a foreign link would be requested without the cookie."""
    answer = ask(query=[("token", TOKEN)], cookies={}, fetch_site=site)
    assert (answer.status, answer.headers["Refresh"]) == (200, "0; url=/")


def test_a_wrong_token_in_the_address_is_refused_with_a_valid_cookie_too():
    assert ask(query=[("token", "wrong")]).status == 403
    assert ask(query=[("token", "")]).status == 403


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "/run/../..", "/%0d%0aSet-Cookie:a=b", "/a\r\nb", "/.hidden", "/\u202e"],
)
def test_the_first_visit_leads_nowhere_else(path):
    answer = ask(path=path, query=[("token", TOKEN)], cookies={})
    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1", "127.0.0.1:1", "[::1]:8642", "127.8.8.8:8642"]
)
def test_a_tunnel_from_any_local_port_is_admitted(host):
    port = host.rpartition(":")[2] if host[-1].isdigit() and ":" in host else "80"
    assert ask(host=host, cookies={f"archsweep-{port}": TOKEN}) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8642", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0:8642",
     "192.168.1.4:8642", "localhost:8642:1", "localhost@evil.example", "local host",
     "127.0.0.1:8642\r\nX: y", "[::2]:8642"],
)  # fmt: skip
def test_another_name_of_this_machine_is_refused(host):
    """A page of another site whose name was made to lead here (DNS rebinding) sends its own name."""
    assert ask(host=host).status == 421


def test_with_remote_addresses_are_admitted_and_foreign_names_are_not():
    door = Door(TOKEN, is_remote=True)
    assert ask(door, host="192.168.1.4:8642") is None
    assert ask(door, host="evil.example:8642").status == 421


def test_loopback():
    assert [name for name in ("127.0.0.1", "::1", "localhost", "127.1.2.3") if is_loopback(name)] == [
        *("127.0.0.1", "::1", "localhost", "127.1.2.3")
    ]
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.4", "example.org", "")))
