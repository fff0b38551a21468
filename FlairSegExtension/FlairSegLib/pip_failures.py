"""What pip's failures mean to the user of Slicer, and what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from . import slicer_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Patterns in pip's output, with cause and advice. The first match wins.
_CAUSES: tuple[tuple[re.Pattern[str], Callable[[Sequence[str]], tuple[str, str]]], ...] = (
    (
        re.compile(r"InvalidProxyURL|InvalidURL|SOCKS support|Unable to determine SOCKS", re.I),
        lambda packages: (
            _("The proxy's address is not valid."),
            _(
                "Set the environment variable HTTPS_PROXY to http://proxy:port, without spaces, before Slicer is"
                " started, then try again."
            ),
        ),
    ),
    (
        re.compile(r"Tunnel connection failed: 403", re.I),
        lambda packages: (
            _("The hospital's proxy does not allow the package index (pypi.org)."),
            _("Ask your administrators to allow pypi.org and files.pythonhosted.org. {offline}").format(
                offline=offline_advice(packages)
            ),
        ),
    ),
    (
        re.compile(r"Tunnel connection failed: 5\d\d", re.I),
        lambda packages: (
            _("The hospital's proxy could not reach the package index (pypi.org)."),
            _("Try again later. {offline}").format(offline=offline_advice(packages)),
        ),
    ),
    (
        re.compile(r"ProxyError|Cannot connect to proxy|407 Proxy|Tunnel connection failed", re.I),
        lambda packages: (
            _("The hospital's proxy refused the connection."),
            _(
                "Ask for the proxy's address, set the environment variable HTTPS_PROXY to it"
                " (http://user:password@proxy:port) before Slicer is started, then try again."
            ),
        ),
    ),
    (
        re.compile(r"CERTIFICATE_VERIFY_FAILED|SSLError|certificate verify|SSLCertVerificationError", re.I),
        lambda packages: (
            _("The connection's certificate was not accepted: the network inspects encrypted traffic."),
            _(
                "Ask for the hospital's root certificate, set the environment variable PIP_CERT to that file before"
                " Slicer is started, then try again."
            ),
        ),
    ),
    (
        re.compile(r"No space left|Errno 28|not enough space", re.I),
        lambda packages: (_("The disk is full."), _("Free about 500 MB on Slicer's disk, then try again.")),
    ),
    (
        re.compile(r"Permission denied|Access is denied|Errno 13|WinError 5\b", re.I),
        lambda packages: (
            _("Slicer's folder is not writable, or a file in it is in use."),
            _("Close other Slicer windows, or install Slicer where you have write permission, then try again."),
        ),
    ),
    (
        re.compile(
            r"getaddrinfo|Name or service not known|Temporary failure in name resolution|NewConnectionError"
            r"|Max retries exceeded|ConnectTimeout|ReadTimeout|Network is unreachable|ConnectionError"
            r"|connection broken by|IncompleteRead|RemoteDisconnected|Connection (reset|aborted)",
            re.I,
        ),
        lambda packages: (_("There is no connection to the package index (pypi.org)."), offline_advice(packages)),
    ),
    (
        re.compile(r"DO NOT MATCH THE HASHES", re.I),
        lambda packages: (
            _("A package was altered while it was downloaded: by a proxy or a virus scanner, or it was cut short."),
            _(
                "Try again; if it happens again, ask your administrators to allow downloads from pypi.org. {offline}"
            ).format(offline=offline_advice(packages)),
        ),
    ),
    (
        re.compile(r"EOF when reading a line|401 (Client )?Error|401 Unauthorized", re.I),
        lambda packages: (
            _("The package index requires a user name and a password."),
            _("Set PIP_INDEX_URL to https://user:password@server/path before Slicer is started, then try again."),
        ),
    ),
    (
        # A blocked page, a login page and a mirror without the package look the same to pip.
        re.compile(r"from versions: none", re.I),
        lambda packages: (
            _("The package index did not offer the packages."),
            _(
                "A firewall may block it, or a mirror (PIP_INDEX_URL) may not have them: ask your administrators."
                " Slicer has to be {oldest} or newer. {offline}"
            ).format(oldest=slicer_version.oldest(), offline=offline_advice(packages)),
        ),
    ),
    (
        re.compile(r"ResolutionImpossible|conflicting dependencies|No matching distribution", re.I),
        lambda packages: (
            _("No version of the packages fits this Slicer."),
            _("Use Slicer {oldest} or newer; if that is what you have, report it with the diagnostics.").format(
                oldest=slicer_version.oldest()
            ),
        ),
    ),
)


def explain(output: str, packages: Sequence[str]) -> tuple[str, str]:
    """Cause and advice, from the output of pip.

    Parameters
    ----------
    output : str
        Output of pip and text of its exception.
    packages : sequence of str
        Packages to be installed.

    Returns
    -------
    tuple of str
        Cause and advice.
    """
    for pattern, words in _CAUSES:
        if pattern.search(output):
            return words(packages)
    return (
        _("The Python packages could not be installed."),
        _("The error log (Ctrl+0) contains pip's output. {offline}").format(offline=offline_advice(packages)),
    )


def offline_advice(packages: Sequence[str]) -> str:
    """Instructions for installing packages on a computer without a network."""
    return _(
        "Connect once, or fetch the packages elsewhere (pip download -d wheels {packages}), copy the folder here and"
        " run in Slicer's Python console: slicer.util.pip_install('--no-index --find-links FOLDER {packages}')."
        " Behind a proxy, set HTTPS_PROXY before Slicer is started."
    ).format(packages=" ".join(package_name(line) for line in packages))


def package_name(line: str) -> str:
    """The name in a requirement: ``SQLAlchemy`` of ``SQLAlchemy>=2.0``."""
    return re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0]
