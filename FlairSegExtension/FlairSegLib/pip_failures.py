"""What pip's failures mean to the user of Slicer, and what to do."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from slicer.i18n import tr as _

from . import pip_settings, slicer_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Failure(NamedTuple):
    """What pip printed, and what was to be installed."""

    output: str
    packages: Sequence[str]

    @property
    def index(self) -> str:
        """Host of the package index that pip asked, or hosts."""
        named = re.search(r"^.*Looking in indexes: (.*)$", self.output, re.MULTILINE)
        hosts = re.findall(r"https?://(?:[^\s,/]*@)?([^\s,/:]+)", named[1]) if named else []
        return ", ".join(dict.fromkeys(hosts)) or "pypi.org"

    @property
    def offline(self) -> str:
        """How to do without a network."""
        return offline_advice(self.packages)


def _says(pattern: str) -> Callable[[_Failure], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda failure: compiled.search(failure.output) is not None


def _proxy_unreachable(failure: _Failure) -> bool:
    """Pip 23 says that it was the proxy; later ones only name the host that they could not reach."""
    if re.search(
        r"Cannot connect to proxy\.', (NewConnection|ConnectTimeout|NameResolution|TimeoutError)", failure.output
    ):
        return True
    host, port = pip_settings.proxy_place()
    place = rf"host='{re.escape(host)}', port={port or '(80|443)'}\)|Connection to {re.escape(host)} timed out"
    return bool(host) and re.search(place, failure.output) is not None


def _proxy_speaks_http(failure: _Failure) -> bool:
    found = pip_settings.proxy()
    return "WRONG_VERSION_NUMBER" in failure.output and found is not None and found[1].lower().startswith("https:")


def _only_a_folder(failure: _Failure) -> bool:
    return (
        "Looking in links:" in failure.output
        and "Looking in indexes:" not in failure.output
        and "from versions: none" in failure.output
        and "Could not fetch URL" not in failure.output
    )


def _login_refused(failure: _Failure) -> tuple[str, str]:
    found = pip_settings.proxy()
    if found is None or not pip_settings.has_login(found[1]):
        return (
            _("The hospital's proxy requires a user name and a password."),
            _("{login} {offline}").format(login=_proxy_login_advice(), offline=failure.offline),
        )
    return (
        _("The hospital's proxy did not accept the user name and the password."),
        _(
            "Check them in {name}. {characters} If the proxy accepts only Windows logins (NTLM, Kerberos), which pip"
            " does not support, ask your administrators for another way. {offline}"
        ).format(name=found[0], characters=_characters_advice(), offline=failure.offline),
    )


def _certificate_refused(failure: _Failure) -> tuple[str, str]:
    cause = _("The connection's certificate was not accepted: the network inspects encrypted traffic.")
    if failure.index != "pypi.org":
        cause = _("The certificate of the package index ({index}) was not accepted.").format(index=failure.index)
    name = pip_settings.certificate_setting()
    if name is not None:
        return cause, _(
            "The file that {name} names does not contain the certificate of its issuer. Ask for the hospital's root"
            " certificate, add it to that file (PEM), then try again."
        ).format(name=name)
    return cause, _(
        "Ask for the hospital's root certificate, set the environment variable PIP_CERT to that file (PEM) before"
        " Slicer is started, then try again."
    )


def _certificate_file(failure: _Failure) -> tuple[str, str]:
    return (
        _("The file with the hospital's root certificate was not found."),
        _("Set {name} to the path of that file before Slicer is started, then try again.").format(
            name=pip_settings.certificate_setting() or "PIP_CERT"
        ),
    )


#: Tests of pip's output, with cause and advice. The first that is true counts.
_CAUSES: tuple[tuple[Callable[[_Failure], bool], Callable[[_Failure], tuple[str, str]]], ...] = (
    (
        _says(r"InvalidProxyURL|check proxy URL|InvalidURL|SOCKS support|Unable to determine SOCKS"),
        lambda failure: (_("The proxy's address is not valid."), _proxy_login_advice()),
    ),
    (
        _says(r"Failed to parse: |Port could not be cast|Invalid IPv6 URL"),
        lambda failure: (
            _("The address of the proxy or of the package index is not valid."),
            _("Check it in pip's settings. {characters}").format(characters=_characters_advice()),
        ),
    ),
    (
        _proxy_speaks_http,
        lambda failure: (
            _("The proxy's address is not valid."),
            _("Write http:// in front of the proxy in {name}, not https://, then start Slicer again.").format(
                name=(pip_settings.proxy() or ("HTTPS_PROXY",))[0]
            ),
        ),
    ),
    (
        _says(r"Tunnel connection failed: 403"),
        lambda failure: (
            _("The hospital's proxy does not allow the package index ({index}).").format(index=failure.index),
            _("Ask your administrators to allow pypi.org and files.pythonhosted.org. {offline}").format(
                offline=failure.offline
            ),
        ),
    ),
    (
        _says(r"Tunnel connection failed: 5\d\d"),
        lambda failure: (
            _("The hospital's proxy could not reach the package index ({index}).").format(index=failure.index),
            _("Try again later. {offline}").format(offline=failure.offline),
        ),
    ),
    (_says(r"Tunnel connection failed: 407|407 (Client Error|Proxy)"), _login_refused),
    (
        _proxy_unreachable,
        lambda failure: (
            _("The hospital's proxy cannot be reached."),
            _("Check its address and port in {name}. {offline}").format(
                name=(pip_settings.proxy() or (_("pip's settings"),))[0], offline=failure.offline
            ),
        ),
    ),
    (
        _says(r"ProxyError|Cannot connect to proxy|Tunnel connection failed"),
        lambda failure: (_("The hospital's proxy refused the connection."), _proxy_login_advice()),
    ),
    (_says(r"suitable TLS CA certificate bundle"), _certificate_file),
    (
        _says(r"NO_CERTIFICATE_OR_CRL_FOUND|no certificate or crl found|PEM lib|NO_START_LINE"),
        lambda failure: (
            _("The file with the hospital's root certificate is not a PEM file."),
            _(
                "Export the certificate as Base-64 encoded X.509, or convert it (certutil -encode root.cer root.pem),"
                " set {name} to that file before Slicer is started, then try again."
            ).format(name=pip_settings.certificate_setting() or "PIP_CERT"),
        ),
    ),
    (
        _says(r"CERTIFICATE_VERIFY_FAILED|SSLError|certificate verify|SSLCertVerificationError"),
        _certificate_refused,
    ),
    (
        _says(r"No space left|Errno 28|not enough space"),
        lambda failure: (_("The disk is full."), _("Free about 500 MB on Slicer's disk, then try again.")),
    ),
    (
        _says(r"Permission denied|Access is denied|Errno 13|WinError 5\b"),
        lambda failure: (
            _("Slicer's folder is not writable, or a file in it is in use."),
            _("Close other Slicer windows, or install Slicer where you have write permission, then try again."),
        ),
    ),
    (
        _says(r"not a trusted or secure host"),
        lambda failure: (
            _("The package index ({index}) has an address without encryption, which pip does not trust.").format(
                index=failure.index
            ),
            _(
                "Use its address with https, or, if it is the hospital's own, set PIP_TRUSTED_HOST to its name before"
                " Slicer is started, then try again."
            ),
        ),
    ),
    (
        _says(
            r"getaddrinfo|Name or service not known|Temporary failure in name resolution|NewConnectionError"
            r"|Max retries exceeded|ConnectTimeout|ReadTimeout|Network is unreachable|ConnectionError"
            r"|connection broken by|IncompleteRead|RemoteDisconnected|Connection (reset|aborted)"
        ),
        lambda failure: (
            _("There is no connection to the package index ({index}).").format(index=failure.index),
            failure.offline,
        ),
    ),
    (
        _says(r"DO NOT MATCH THE HASHES"),
        lambda failure: (
            _("A package was altered while it was downloaded: by a proxy or a virus scanner, or it was cut short."),
            _(
                "Try again; if it happens again, ask your administrators to allow downloads from {index}. {offline}"
            ).format(index=failure.index, offline=failure.offline),
        ),
    ),
    (
        _says(r"EOF when reading a line|401 (Client )?Error|401 Unauthorized"),
        lambda failure: (
            _("The package index requires a user name and a password."),
            _(
                "Set PIP_INDEX_URL to https://user:password@server/path before Slicer is started, then try again."
                " {characters}"
            ).format(characters=_characters_advice()),
        ),
    ),
    (
        lambda failure: _only_a_folder(failure) and "is ignored: it is" in failure.output,
        lambda failure: (
            _("The folder of packages was not found."),
            _("Check its path in PIP_FIND_LINKS, then start Slicer again. {offline}").format(offline=failure.offline),
        ),
    ),
    (
        _only_a_folder,
        lambda failure: (
            _("The folder of packages does not contain what this Slicer needs."),
            _("Packages are made for one operating system and one version of Python. {offline}").format(
                offline=failure.offline
            ),
        ),
    ),
    (
        _says(r"404 Client Error"),
        lambda failure: (
            _("The package index ({index}) does not have the packages.").format(index=failure.index),
            _("Ask its administrators to add {packages} with what they require. {offline}").format(
                packages=_names(failure.packages), offline=failure.offline
            ),
        ),
    ),
    (
        # A blocked page, a login page and a mirror without the package look the same to pip.
        _says(r"from versions: none"),
        lambda failure: (
            _("The package index did not offer the packages."),
            _(
                "A firewall may block it, or a mirror (PIP_INDEX_URL) may not have them: ask your administrators."
                " Slicer has to be {oldest} or newer. {offline}"
            ).format(oldest=slicer_version.oldest(), offline=failure.offline),
        ),
    ),
    (
        _says(r"ResolutionImpossible|conflicting dependencies|No matching distribution"),
        lambda failure: (
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
        Cause and advice; neither repeats what pip printed, which may contain a password.
    """
    failure = _Failure(output, packages)
    for applies, words in _CAUSES:
        if applies(failure):
            return words(failure)
    return (
        _("The Python packages could not be installed."),
        _("The error log (Ctrl+0) contains pip's output. {offline}").format(offline=failure.offline),
    )


def malformed(name: str) -> tuple[str, str]:
    """Cause and advice for an address that pip cannot read, in an environment variable."""
    if name in pip_settings.PROXIES:
        return _("The proxy's address is not valid."), _proxy_login_advice(name)
    return (
        _("The address of the package index is not valid."),
        _("Set {name} to https://server/path or https://user:password@server/path. {characters}").format(
            name=name, characters=_characters_advice()
        ),
    )


def offline_advice(packages: Sequence[str]) -> str:
    """Instructions for installing packages on a computer without a network."""
    names = [package_name(line) for line in packages]
    advice = _(
        "Connect once, or fetch the packages elsewhere, on the same operating system (pip download"
        " --only-binary=:all: --python-version {python} -d wheels {packages}), copy the folder here and run in Slicer's"
        " Python console: slicer.util.pip_install(['--no-index', '--find-links', r'FOLDER', {quoted}])."
    ).format(
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        packages=" ".join(names),
        quoted=", ".join(repr(name) for name in names),
    )
    if pip_settings.proxy() is not None:
        return advice
    return _("{advice} Behind a proxy, set HTTPS_PROXY before Slicer is started.").format(advice=advice)


def package_name(line: str) -> str:
    """The name in a requirement: ``SQLAlchemy`` of ``SQLAlchemy>=2.0``."""
    return re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0]


def _names(packages: Sequence[str]) -> str:
    return ", ".join(package_name(line) for line in packages)


def _proxy_login_advice(name: str = "HTTPS_PROXY") -> str:
    return _(
        "Ask for the proxy's address, set the environment variable {name} to it (http://proxy:port or"
        " http://user:password@proxy:port, without spaces) before Slicer is started, then try again. {characters}"
    ).format(name=name, characters=_characters_advice())


def _characters_advice() -> str:
    return _("Special characters of user and password are written as %XX: @ %40, # %23, / %2F, : %3A, \\ %5C, % %25.")
