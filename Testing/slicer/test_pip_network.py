"""Installation with the real pip, as Slicer calls it, in networks of hospitals; servers on 127.0.0.1 only."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flairseg.errors import MissingDependencyError

from Testing.harness import hospital_network
from Testing.harness.hospital_network import HOST, PACKAGE, Network, serve, write_wheel

PASSWORD = "p@ss/w#1 secret"
ENCODED = "p%40ss%2Fw%231%20secret"
BEHIND = {"PIP_INDEX_URL": f"https://{HOST}/simple"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> tuple[Path, ssl.SSLContext]:
    reason = hospital_network.why_no_certificates()
    if reason is not None:
        pytest.skip(reason)
    return hospital_network.make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def install(slicer, tmp_path, monkeypatch, capsys, caplog) -> Callable[..., Path]:
    """``install(**environment)``: the product installs the package with these settings; returns pip's target."""
    from FlairSegLib import dependencies, pip_settings

    for name in pip_settings.present():
        monkeypatch.delenv(name)
    target = tmp_path / "installed"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_TARGET", str(target))
    monkeypatch.setenv("PIP_RETRIES", "0")
    for option in ("NO_CACHE_DIR", "NO_COMPILE", "NO_WARN_CONFLICTS", "DISABLE_PIP_VERSION_CHECK"):
        monkeypatch.setenv(f"PIP_{option}", "1")
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: sys.executable if name == "PythonSlicer" else which(name))
    monkeypatch.setattr(dependencies, "_slicer_packaging", lambda: None)
    monkeypatch.setattr(
        slicer.util, "pip_install", lambda lines: slicer.util.executePythonModule("pip", ["install", *lines])
    )
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *texts, **more: True, raising=False)
    caplog.set_level(logging.DEBUG)

    def run(**environment: str) -> Path:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        before = dict(os.environ)
        try:
            dependencies.ensurePackages([PACKAGE])
        finally:
            assert dict(os.environ) == before, "the settings of our own calls must not stay"
            printed = capsys.readouterr()
            for shown in (printed.out, printed.err, caplog.text):
                assert "secret" not in shown
                assert "SECRET" not in shown
        return target

    return run


def refusal(install, **environment: str) -> tuple[str, str]:
    """Cause and advice of an installation that fails; neither contains a password."""
    with pytest.raises(MissingDependencyError) as caught:
        install(**environment)
    message, advice = caught.value.message, caught.value.advice
    assert "secret" not in (message + advice).lower()
    return message, advice


def installed(target: Path) -> bool:
    return (target / "flairseg_probe.py").is_file()


# --- a proxy that asks for a login ------------------------------------------------------------------------------------


def test_a_proxy_with_a_login_lets_pip_through(install, certificates, wheel):
    root, tls = certificates
    with serve(Network(proxy_login=f"anna:{PASSWORD}", wheels=(wheel,), tls=tls)) as network:
        target = install(**BEHIND, PIP_CERT=str(root), HTTPS_PROXY=f"http://anna:{ENCODED}@{network.place}")
        assert installed(target)
        assert network.seen[0] == f"CONNECT {HOST}:443"


def test_a_proxy_asks_for_a_login_or_does_not_accept_it(install, certificates, wheel):
    root, tls = certificates
    with serve(Network(proxy_login=f"anna:{PASSWORD}", wheels=(wheel,), tls=tls)) as network:
        environment = {**BEHIND, "PIP_CERT": str(root)}
        message, advice = refusal(install, **environment, HTTPS_PROXY=f"http://{network.place}")
        assert message == "The hospital's proxy requires a user name and a password."
        assert "http://user:password@proxy:port" in advice
        assert "@ %40" in advice
        message, advice = refusal(install, **environment, HTTPS_PROXY=f"http://anna:SECRETwrong@{network.place}")
        assert message == "The hospital's proxy did not accept the user name and the password."
        assert "Check them in HTTPS_PROXY" in advice
        assert "NTLM" in advice
        assert not any(line.startswith("GET") for line in network.seen)


def test_a_proxy_asks_for_a_login_without_tls(install, wheel):
    """Pip prints nothing of it: only its log does."""
    with serve(Network(proxy_login="anna:secret", wheels=(wheel,))) as network:
        environment = {"PIP_INDEX_URL": f"http://{HOST}/simple", "PIP_TRUSTED_HOST": HOST}
        message, _advice = refusal(install, **environment, HTTP_PROXY=f"http://{network.place}")
    assert message == "The hospital's proxy requires a user name and a password."


@pytest.mark.parametrize("password", ["SECRET#1", "SEC/RET", "SECRET?", "SEC[RET", "SECRET\\x"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "PIP_PROXY", "PIP_INDEX_URL"])
def test_a_password_that_ends_the_address_never_reaches_pip(install, slicer, monkeypatch, name, password):
    """Pip prints it: ``Failed to parse: http://anna:SECRET#1@proxy:8080``."""
    monkeypatch.setattr(slicer.util, "pip_install", lambda lines: pytest.fail("pip was called"))
    message, advice = refusal(install, **{name: f"https://anna:{password}@127.0.0.1:9/simple"})
    assert message.endswith("address is not valid." if name != "PIP_INDEX_URL" else "package index is not valid.")
    assert name in advice
    assert "# %23, / %2F" in advice


@pytest.mark.parametrize(
    "address",
    ["proxy:8080", "http://proxy", "http://u:p@ss:w%d ü@proxy:8080/", "http://[::1]:3128", "http://proxy:80/proxy.pac"],
)
def test_what_pip_can_use_is_not_refused(slicer, monkeypatch, address):
    from FlairSegLib import pip_settings

    for name in pip_settings.present():
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", address)
    monkeypatch.setenv("PIP_INDEX_URL", "https://pkgs.example.org/_packaging/feed@Local/pypi/simple/")
    assert pip_settings.malformed() is None
    monkeypatch.setenv("HTTPS_PROXY", "http://my proxy:8080")
    assert pip_settings.malformed() == "HTTPS_PROXY"
    monkeypatch.setenv("NO_PROXY", "pkgs.example.org")
    assert pip_settings.malformed() is None, "this proxy is not used"


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("http://anna:p@ss@Proxy.hospital.test:8080/", ("proxy.hospital.test", 8080)),
        ("proxy:3128", ("proxy", 3128)),
        ("http://[::1]", ("::1", None)),
        ("http://my proxy", ("", None)),
    ],
)
def test_the_place_of_a_proxy_is_read_without_its_login(slicer, monkeypatch, address, place):
    from FlairSegLib import pip_settings

    for name in pip_settings.present():
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert pip_settings.proxy_place() == place


# --- a proxy that opens TLS with the hospital's own certificates ------------------------------------------------------


@pytest.mark.parametrize("name", ["PIP_CERT", "REQUESTS_CA_BUNDLE", "pip.ini"])
def test_the_hospitals_root_certificate_is_used(install, certificates, wheel, tmp_path, name):
    root, tls = certificates
    settings = tmp_path / "pip.ini"
    with serve(Network(wheels=(wheel,), tls=tls)) as network:
        settings.write_text(f"[global]\nproxy = http://{network.place}\ncert = {root}\n")
        environment = {name: str(root), "HTTPS_PROXY": f"http://{network.place}"}
        assert installed(
            install(**BEHIND, **({"PIP_CONFIG_FILE": str(settings)} if name == "pip.ini" else environment))
        )


def test_an_unknown_root_certificate_is_named_with_the_setting_that_helps(install, certificates, wheel, tmp_path):
    root, tls = certificates
    der, other = tmp_path / "root.cer", tmp_path / "other.pem"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(root.read_text()))
    other.mkdir()
    stranger, _tls = hospital_network.make_certificates(other)
    with serve(Network(wheels=(wheel,), tls=tls)) as network:
        environment = {**BEHIND, "HTTPS_PROXY": f"http://{network.place}"}
        message, advice = refusal(install, **environment)
        assert message == f"The certificate of the package index ({HOST}) was not accepted."
        assert "PIP_CERT" in advice
        message, advice = refusal(install, **environment, PIP_CERT=str(stranger))
        assert "The file that PIP_CERT names does not contain" in advice
        message, advice = refusal(install, **environment, PIP_CERT=str(tmp_path / "nowhere.pem"))
        assert message == "The file with the hospital's root certificate was not found."
        assert "PIP_CERT" in advice
        message, advice = refusal(install, **environment, PIP_CERT=str(der))
        assert message == "The file with the hospital's root certificate is not a PEM file."
        assert "certutil" in advice


def test_a_proxy_that_cannot_be_reached_or_does_not_speak_https_is_named(install, certificates, wheel):
    root, tls = certificates
    with socket.socket() as unused, serve(Network(wheels=(wheel,), tls=tls)) as network:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        environment = {**BEHIND, "PIP_CERT": str(root)}
        message, advice = refusal(install, **environment, HTTPS_PROXY=f"http://127.0.0.1:{port}")
        assert message == "The hospital's proxy cannot be reached."
        assert "HTTPS_PROXY" in advice
        message, advice = refusal(install, **environment, HTTPS_PROXY=f"https://{network.place}")
        assert "Write http:// in front of the proxy in HTTPS_PROXY" in advice


# --- an index within the hospital -------------------------------------------------------------------------------------


def test_an_index_in_the_hospital_is_reached_past_the_proxy(install, certificates, wheel):
    root, tls = certificates
    with socket.socket() as unused, serve(Network(wheels=(wheel,), tls=tls, direct_tls=True)) as network:
        unused.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{unused.getsockname()[1]}"
        environment = {"PIP_INDEX_URL": f"https://{network.place}/simple", "PIP_CERT": str(root)}
        assert installed(install(**environment, HTTPS_PROXY=proxy, NO_PROXY="localhost,127.0.0.1"))


def test_an_index_asks_for_a_login(install, wheel):
    with serve(Network(index_login=f"anna:{PASSWORD}", wheels=(wheel,))) as network:
        message, advice = refusal(install, PIP_INDEX_URL=f"http://{network.place}/simple")
        assert message == "The package index requires a user name and a password."
        assert "PIP_INDEX_URL" in advice
        message, advice = refusal(install, PIP_INDEX_URL=f"http://anna:SECRETwrong@{network.place}/simple")
        assert message == "The package index requires a user name and a password."
        assert installed(install(PIP_INDEX_URL=f"http://anna:{ENCODED}@{network.place}/simple"))


def test_an_index_without_the_package_or_without_encryption(install, wheel):
    with serve(Network()) as network:
        message, advice = refusal(install, PIP_INDEX_URL=f"http://{network.place}/simple")
        assert message == "The package index (127.0.0.1) does not have the packages."
        assert f"add {PACKAGE}" in advice
        message, advice = refusal(install, PIP_INDEX_URL=f"http://{HOST}/simple", HTTP_PROXY=f"http://{network.place}")
        assert message.startswith(f"The package index ({HOST}) has an address without encryption")
        assert "PIP_TRUSTED_HOST" in advice


# --- a folder of packages, without a network --------------------------------------------------------------------------


def test_a_folder_of_packages_is_used_without_a_network(install, wheel):
    assert installed(install(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheel.parent), HTTPS_PROXY="http://my proxy"))


def test_a_folder_that_is_missing_or_for_another_python_is_named(install, tmp_path):
    message, advice = refusal(install, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "nowhere"))
    assert message == "The folder of packages was not found."
    write_wheel(tmp_path / "wheels", tag="cp27-cp27m-win_amd64")
    message, advice = refusal(install, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "wheels"))
    assert message == "The folder of packages does not contain what this Slicer needs."
    assert f"--python-version {sys.version_info.major}.{sys.version_info.minor}" in advice


def test_the_advice_for_a_computer_without_a_network_works(install, slicer, wheel, tmp_path):
    """A folder with spaces, and with the backslashes of Windows, which Slicer would take out of a single text."""
    from FlairSegLib import pip_failures

    folder = tmp_path / "my wheels"
    shutil.copytree(wheel.parent, folder)
    command = pip_failures.offline_advice([PACKAGE]).partition("console: ")[2].partition(". Behind")[0].rstrip(".")
    exec(command.replace("FOLDER", str(folder)), {"slicer": slicer})
    assert installed(tmp_path / "installed")


# --- what is printed of pip -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "printed",
    [
        "Failed to parse: http://anna:SECRET#1@proxy:8080",
        "Failed to parse: 'anna:SECRET' is not a valid host or port",
        "ValueError: Port could not be cast to integer value as 'SECRET'",
        "Looking in indexes: https://anna:SECRET@mirror.example.org/simple, https://pypi.org/simple",
        "the word SECRET of the settings",
    ],
)
def test_no_password_is_printed_or_logged(slicer, monkeypatch, capsys, caplog, printed):
    from FlairSegLib import dependencies, pip_settings

    for name in pip_settings.present():
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", "http://anna:SECRET@proxy:8080")

    def step() -> None:
        print(printed)
        raise OSError(printed)

    with pytest.raises(MissingDependencyError) as caught:
        dependencies.run_pip(step)
    shown = capsys.readouterr().out
    assert "****" in shown
    for text in (shown, caplog.text, str(caught.value), caught.value.advice):
        assert "SECRET" not in text


def test_diagnostics_name_the_settings_and_no_values(slicer, monkeypatch):
    from FlairSegLib import diagnostics

    for name in ("http_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_FIND_LINKS", "NO_PROXY"):
        monkeypatch.setenv(name, "http://anna:secret@host")
    lines = [line for line in diagnostics.report().splitlines() if line.startswith("network settings")]
    assert "secret" not in diagnostics.report()
    for name in ("http_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_FIND_LINKS", "NO_PROXY"):
        assert name in lines[0]
