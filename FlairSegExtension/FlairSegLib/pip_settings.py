"""pip's settings of the network: what cannot work, what no message may show, and those that pip gets from us."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import slicer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Environment variables with an address that may contain a password, by what they name.
PROXIES = ("PIP_PROXY", "https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
#: Those with a file of certificates, in pip's order.
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OTHERS = ("no_proxy", "NO_PROXY", "PIP_NO_INDEX", "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE", "SSL_CERT_FILE")
#: For each call of pip, unless the user has set them. A question of pip would wait for ever behind Slicer's window;
#: with five retries, a proxy that does not answer would block Slicer for 100 s.
_OURS = {"PIP_NO_INPUT": "1", "PIP_RETRIES": "2"}

_DEFAULT_INDEX = "https://pypi.org/simple"
#: Scheme, user and password, host, port. A slash, question mark or number sign ends the host, wherever it was meant.
_ADDRESS = r"[a-z][a-z0-9+.-]*://(?:[^/?#\\\[\]]*@)?(?P<host>\[[0-9a-f:.]+\]|[^\s/?#\\\[\]:@]+)(?::(?P<port>\d+))?"
_BARE = r"(?P<bare>[^\s/?#\\\[\]:@]+)(?::(?P<bare_port>\d+))?"
_PROXY = re.compile(rf"(?:{_ADDRESS}|{_BARE})(?:[/?#][^\s@]*)?", re.IGNORECASE)
_INDEX = re.compile(rf"{_ADDRESS}(?:/\S*)?", re.IGNORECASE)
#: User and password in an address, and what pip says of addresses that it cannot read.
_LOGIN = re.compile(r"(?<=://)\S*(?=@)")
_UNREADABLE = re.compile(r"(?<=Failed to parse: ).*|(?<=could not be cast to integer value as ).*")
#: Shorter ones are also part of other words.
_SHORTEST = 4
_HIDDEN = "****"


def present() -> list[str]:
    """Names, never values, of the settings of the network that are set; for diagnostics."""
    return [name for name in (*PROXIES, *INDEXES, *CERTIFICATES, *_OTHERS) if os.environ.get(name)]


def proxy() -> tuple[str, str] | None:
    """Variable and address of the proxy that the environment gives pip.

    Returns
    -------
    tuple of str, or None
        None if there is none, or the index is reached without it (``NO_PROXY``, ``PIP_NO_INDEX``).
    """
    from urllib.request import proxy_bypass_environment

    if _is_on("PIP_NO_INDEX"):
        return None
    scheme, host = _scheme_and_host(os.environ.get("PIP_INDEX_URL") or _DEFAULT_INDEX)
    names: tuple[str, ...] = ("PIP_PROXY",)  # for which pip does not regard NO_PROXY
    if not proxy_bypass_environment(host):
        names = (*names, f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return next(((name, value) for name in names if (value := os.environ.get(name))), None)


def proxy_place() -> tuple[str, int | None]:
    """Host and port of :func:`proxy`; an empty host without one."""
    found = proxy()
    place = None if found is None else _PROXY.fullmatch(found[1])
    if place is None:
        return "", None
    host, port = (place["host"], place["port"]) if place["host"] else (place["bare"], place["bare_port"])
    return host.strip("[]").lower(), int(port) if port else None


def has_login(address: str) -> bool:
    """Whether an address contains a user name."""
    return bool(_LOGIN.search(address))


def malformed() -> str | None:
    """Variable whose address pip cannot read: a character of the password ends it. pip would print the password.

    Returns
    -------
    str or None
        None if there is no such variable.
    """
    if not _is_on("PIP_NO_INDEX"):
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
            values = os.environ.get(name, "").split()
            if any(re.match(r"https?://", value, re.IGNORECASE) and not _INDEX.fullmatch(value) for value in values):
                return name
    found = proxy()
    return found[0] if found is not None and not _PROXY.fullmatch(found[1]) else None


def own_index(python: str | None) -> bool:
    """Whether the user, or the hospital, has told pip which index to use, or to use none.

    Parameters
    ----------
    python : str or None
        Slicer's Python, whose pip is asked for its files of settings.
    """
    if os.environ.get("PIP_INDEX_URL") or _is_on("PIP_NO_INDEX"):
        return True
    if python is None:
        return False
    asked = slicer.util.launchConsoleProcess([python, "-m", "pip", "config", "list"], useStartupEnvironment=False)
    said = asked.communicate()[0]
    return re.search(r"^\S*\.(index-url=|no-index='(1|true|yes|on)')", said, re.MULTILINE | re.IGNORECASE) is not None


def certificate_setting() -> str | None:
    """Variable with the file of certificates that pip uses; None without one."""
    return next((name for name in CERTIFICATES if os.environ.get(name)), None)


def redacted(text: str) -> str:
    """A text, mostly of pip's, without the user names and passwords of addresses."""
    for secret in _secrets():
        text = text.replace(secret, _HIDDEN)
    return _UNREADABLE.sub(_HIDDEN, _LOGIN.sub(_HIDDEN, text))


@contextmanager
def session() -> Iterator[Callable[[], str]]:
    """A call of pip: it neither asks nor retries for minutes, and its log is kept until the end.

    Yields
    ------
    callable
        What pip says of pages that it could not fetch: only its log contains it, without it a login that is required
        and a package that is not there look the same.
    """
    with tempfile.TemporaryDirectory(prefix="flairseg-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "pip.log"
        added = {name: value for name, value in {**_OURS, "PIP_LOG": str(log)}.items() if name not in os.environ}
        os.environ.update(added)
        try:
            yield lambda: _unfetched(log)
        finally:
            for name in added:
                os.environ.pop(name, None)


def _unfetched(log: Path) -> str:
    try:
        return "\n".join(re.findall(r"Could not fetch URL .*", log.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return ""


def _secrets() -> list[str]:
    """Logins and passwords of the addresses in the environment, as written and decoded, longest first."""
    from urllib.parse import unquote

    found: set[str] = set()
    for name in (*PROXIES, *INDEXES):
        for address in re.split(r"\s+(?=\w+://)", os.environ.get(name, "")):
            login = address.rpartition("@")[0].rpartition("://")[2]
            password = login.partition(":")[2]
            found |= {password, unquote(password)} | ({login} if password else set())
    return sorted((secret for secret in found if len(secret) >= _SHORTEST), key=len, reverse=True)


def _scheme_and_host(address: str) -> tuple[str, str]:
    match = re.match(r"(\w+)://(?:[^/?#]*@)?([^\s/?#@]*)", address)
    return ("http" if match and match[1].lower() == "http" else "https", match[2] if match else "")


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on", "y", "t"}
