"""Who may read the pages: those who have the token of this start, at an address that is this machine's own.

Everything is refused that a foreign web page in the same browser could bring about: another name for this machine in
`Host` (DNS rebinding), a request without the cookie (which the browser sends to this site only, SameSite=Strict), any
method that is no reading. The token is in the address that is printed; the first visit puts it into a cookie and leads
to the same page without it, so that it neither stays in the address bar nor is sent on as a referrer.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

__all__ = ["Answer", "Door", "is_loopback"]

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_NO_PORT = "80"


def is_loopback(host: str) -> bool:
    """Whether a host to bind is reached from this machine only."""
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


@dataclass(frozen=True)
class Answer:
    """What a request gets instead of a page."""

    status: int
    words: str
    headers: Mapping[str, str]


class Door:
    """Checks every request before anything else is done with it.

    Args:
        token: of this start of the server.
        is_remote: also admit requests that name this machine by an address or a name of its own in the network.
    """

    def __init__(self, token: str, *, is_remote: bool = False) -> None:
        self._token = token.encode()
        self._names = {"localhost"}
        self._is_remote = is_remote
        if is_remote:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def refusal(
        self,
        method: str,
        path: str,
        *,
        host: str,
        query: Sequence[tuple[str, str]],
        cookies: Mapping[str, str],
        fetch_site: str = "",
    ) -> Answer | None:
        """None where the request may be answered.

        Args:
            path: as decoded by the server; only led back to, never looked up here.
            fetch_site: the header `Sec-Fetch-Site`: which page brought the browser here.
        """
        if method not in ("GET", "HEAD"):
            return Answer(405, "Pages here can only be read.", {"Allow": "GET, HEAD"})
        found = _HOST.fullmatch(host)
        if found is None or not self._is_own(found[1]):
            return Answer(421, "This server answers to localhost and 127.0.0.1 only.", {})
        # Cookies do not distinguish ports: each tunnel to another server has a cookie of its own.
        cookie = f"archsweep-{found[2] or _NO_PORT}"
        given = [value for name, value in query if name == "token"]
        if given:
            if not self._is_token(given[0]):
                return Answer(403, "The token in this address is not the one that was printed.", {})
            return self._without_token(path, query, cookie, given[0], fetch_site)
        if not self._is_token(cookies.get(cookie, "")):
            return Answer(403, "Open the address that `archsweep serve` printed, with its token.", {})
        return None

    def _without_token(
        self, path: str, query: Sequence[tuple[str, str]], cookie: str, token: str, fetch_site: str
    ) -> Answer:
        rest = urlencode([pair for pair in query if pair[0] != "token"])
        # Letters that every page of ours has in its path: what else was asked for leads to the overview.
        place = path if re.fullmatch(r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+", path) else "/"
        target = f"{place}?{rest}" if rest else place
        headers = {"Set-Cookie": f"{cookie}={token}; Path=/; HttpOnly; SameSite=Strict"}
        if fetch_site in ("", "none", "same-origin"):
            return Answer(303, "", headers | {"Location": target})
        # After a link on another page the browser would not send the cookie to where it is redirected, but it does to
        # where our own page leads it.
        return Answer(200, "Opening the runs.", headers | {"Refresh": f"0; url={target}"})

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="surrogatepass"), self._token)

    def _is_own(self, host: str) -> bool:
        if host.lower() in self._names:
            return True
        address = _address(host.strip("[]"))
        # An attacker's page is reached by a name: where the host is an address, no name was rebound.
        return address is not None and (self._is_remote or address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
