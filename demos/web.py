"""The open web for tools and tabs: one GET at a time, never to a private address, bounded in time and size, and obedient to Stop.

A name is resolved here and the connection goes to the address that was checked, so a name that changes its mind in between
gains nothing; every redirect is checked anew. Where the environment names a proxy, the proxy resolves: then only the name can be
judged. Knows nothing of what the pages mean.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import httpx

from models.connection import Line
from shared.engine import Cancel
from shared.errors import RemoteFailure
from shared.version import VERSION

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
MOST_BYTES = 2_000_000
MOST_REDIRECTS, MOST_ADDRESSES = 3, 4
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_INSIDE = ("localhost", "local", "internal", "lan", "intranet", "home", "corp", "arpa")  # last labels that lead to nobody outside
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebFailure(RemoteFailure):
    """A page could not be had; `str` is what the model is told."""

    def __str__(self) -> str:
        return self.one_line()


class Forbidden(WebFailure):
    """What must not be asked for: another scheme, an address inside a private network."""


class NameNotFound(WebFailure):
    """A name did not resolve: it is wrong, or this computer is offline."""


@dataclass(frozen=True, slots=True)
class Page:
    url: str
    status: int
    body: bytes
    content_type: str = ""  # as the server calls it, in small letters and without parameters

    def json(self) -> Any:
        """Raises `WebFailure` for a status that is no success and for a body that is no JSON."""
        self.expect_success()
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise WebFailure(f"{_host(self.url)} answered with something that is not JSON.", "Try again later.") from error

    def expect_success(self) -> None:
        if not 200 <= self.status < 300:
            remedy = "It asks for a pause: try again in a minute." if self.status in (429, 503) else "Try again later."
            raise WebFailure(f"{_host(self.url)} answered with status {self.status}.", remedy)


@dataclass(frozen=True, slots=True)
class Web:
    """`instead` sends an origin to another one (a mirror, a test's own server); those named there are trusted as they are.
    `most_bytes` bounds a body; the time of one that comes in drops is for `cancel` to bound."""

    instead: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    most_bytes: int = MOST_BYTES

    def get(self, url: str, params: Mapping[str, str] | None = None, *, cancel: Cancel, headers: Mapping[str, str] | None = None) -> Page:
        """The page, whatever its status. Raises `WebFailure` when it cannot be had or must not be asked for."""
        target = self._mirrored(httpx.URL(url, params=params) if params else httpx.URL(url))
        for _ in range(MOST_REDIRECTS + 1):
            response, body = self._once(target, cancel, dict(headers or {}))
            if not (response.is_redirect and response.headers.get("location")):
                return Page(str(target), response.status_code, body, _content_type(response))
            target = self._mirrored(_joined(target, response.headers["location"]))
        raise WebFailure(f"{_host(url)} redirects more than {MOST_REDIRECTS} times.", "Try another address.")

    def checked(self, url: str) -> str:
        """Where to go for `url`, for a client of its own: it resolves the name once more, and must follow no redirect by itself.

        Raises `WebFailure` for what must not be asked for."""
        try:
            target = self._mirrored(httpx.URL(url))
        except httpx.InvalidURL as error:
            raise WebFailure(f"{url[:200]!r} is no web address.", "Try another address.") from error
        _expect_plain(target)
        if self._trusted(target) or proxy_for(target) is None:
            _addresses(target, trusted=self._trusted(target))
        else:
            _refuse_inside(target.host)
        return str(target)

    def _mirrored(self, url: httpx.URL) -> httpx.URL:
        other = self.instead.get(_origin(url))
        if other is None:
            return url
        to = httpx.URL(other)
        return url.copy_with(scheme=to.scheme, host=to.host, port=to.port)

    def _trusted(self, url: httpx.URL) -> bool:
        return _origin(url) in {_origin(httpx.URL(other)) for other in self.instead.values()}

    def _once(self, url: httpx.URL, cancel: Cancel, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
        _expect_plain(url)
        proxy = None if self._trusted(url) else proxy_for(url)
        if proxy is not None:
            _refuse_inside(url.host)
            return self._asked(url, url, cancel, headers, proxy)
        addresses = _addresses(url, trusted=self._trusted(url))
        for address in addresses[:-1]:
            try:
                return self._asked(url, url.copy_with(host=address), cancel, headers, None)
            except _NotReached:
                continue  # often an IPv6 address on a machine whose network has none
        return self._asked(url, url.copy_with(host=addresses[-1]), cancel, headers, None)

    def _asked(
        self, url: httpx.URL, to: httpx.URL, cancel: Cancel, headers: dict[str, str], proxy: str | None
    ) -> tuple[httpx.Response, bytes]:
        """Ask for `url` at the checked address `to`: the certificate must still be that of the name."""
        line = Line()
        unsubscribe = cancel.subscribe(line.hang_up)
        headers = {"user-agent": f"puyu-studio/{VERSION}", "accept-encoding": "identity", **headers, "host": url.netloc.decode("ascii")}
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        try:
            with (
                httpx.Client(trust_env=False, proxy=proxy, timeout=timeout, event_hooks=line.hooks, verify=_certificates(url)) as client,
                client.stream("GET", to, headers=headers, extensions={"sni_hostname": url.host}) as response,
            ):
                return response, _body(response, url, cancel, self.most_bytes)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _NotReached(f"{url.host} cannot be reached: {error}.", "Check the network of this computer.") from error
        except (httpx.HTTPError, httpx.InvalidURL, ImportError) as error:
            cause = "was stopped" if cancel.is_set() else str(error) or type(error).__name__
            raise WebFailure(f"The request to {url.host} failed: {cause}.", "Try again later.") from error
        finally:
            unsubscribe()


class _NotReached(WebFailure):
    """Nobody answered at this address; another one of the same name may."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet; one that wraps an IPv4 address is judged by that."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = _wrapped(ip)
    return is_public(str(inner)) if inner is not None else ip.is_global and not ip.is_multicast


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy that the environment (or the system's settings) name for this address: HTTPS_PROXY, ALL_PROXY, NO_PROXY and so on."""
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def _expect_plain(url: httpx.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise Forbidden(f"{str(url)[:200]!r} is no plain web address.", "Use one that begins with http:// or https://.")


def _wrapped(ip: Address) -> ipaddress.IPv4Address | None:
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def _addresses(url: httpx.URL, *, trusted: bool) -> list[str]:
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NameNotFound(f"The name {url.host} was not found.", "Is this computer online?") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not trusted and not all(is_public(address) for address in addresses):
        raise _inside(url.host)
    return addresses[:MOST_ADDRESSES]


def _refuse_inside(host: str) -> None:
    """What can be told from a name alone: a proxy resolves it, not we."""
    try:
        public = is_public(host)
    except ValueError:
        labels = host.rstrip(".").lower().split(".")
        public = len(labels) > 1 and labels[-1] not in _INSIDE and not labels[-1][:1].isdigit()
    if not public:
        raise _inside(host)


def _inside(host: str) -> Forbidden:
    return Forbidden(f"{host} is inside a private network.", "Tools reach public addresses only.")


def _certificates(url: httpx.URL) -> Any:
    return httpx.create_ssl_context() if url.scheme == "https" else False


def _body(response: httpx.Response, url: httpx.URL, cancel: Cancel, most: int) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise WebFailure(f"{url.host} sends packed data, which was not asked for.", "Try another address.")
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > most:
            raise WebFailure(f"{url.host} sends more than {most // 10**6} MB.", "Ask for less.")
        if cancel.is_set():
            raise WebFailure(f"The request to {url.host} was stopped.")
    return bytes(body)


def _content_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _joined(base: httpx.URL, location: str) -> httpx.URL:
    try:
        return base.join(location)
    except httpx.InvalidURL as error:
        raise WebFailure(f"{base.host} redirects to an address that is none.", "Try another address.") from error


def _origin(url: httpx.URL) -> str:
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}"


def _host(url: str) -> str:
    return httpx.URL(url).host
