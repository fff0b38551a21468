"""What is installed, when, and what is said when it cannot be; pip is Slicer's, and never really runs here."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from flairseg.errors import DeviceError, MissingDependencyError


class Pip:
    """Installed packages, and a pip that changes them as told."""

    def __init__(self, installed: dict[str, str]) -> None:
        self.installed = dict(installed)
        self.calls: list[tuple[str, list[str]]] = []
        self.constraints: list[str] = []
        self.failures: list[Exception] = []

    def _fail(self) -> None:
        if not self.failures:
            return
        failure = self.failures.pop(0)
        if isinstance(failure, subprocess.CalledProcessError):
            # As Slicer's packaging does it: what pip says is printed, and is not in the exception.
            for line in (failure.output or "").splitlines():
                print(line)
            failure = subprocess.CalledProcessError(1, "pip install")
        raise failure

    def _add(self, lines: list[str]) -> None:
        self._fail()
        for line in lines:
            name, _, version = line.partition(">=")
            self.installed[name] = version or "9.9"

    def ensure(self, lines, constraints=None, prompt_install=True, requester=None):
        self.calls.append(("ensure" if prompt_install else "ensure unasked", list(lines)))
        self.constraints.append(Path(constraints).read_text())
        self._add(lines)

    def install(self, arguments):
        assert arguments[0] == "-c"
        self.calls.append(("install", arguments[2:]))
        self.constraints.append(Path(arguments[1]).read_text())
        self._add(arguments[2:])

    def uninstall(self, text):
        self.calls.append(("uninstall", text.split()))
        self._fail()
        for name in text.split():
            self.installed.pop(name, None)


SLICER = {"numpy": "2.4.0", "scipy": "1.17.0", "SimpleITK": "2.5.3"}
COMPLETE = {**SLICER, "onnxruntime": "1.27.0"}


@pytest.fixture
def deps(slicer):
    from FlairSegLib import dependencies

    return dependencies


@pytest.fixture
def computer(deps, slicer, monkeypatch):
    """``computer(installed, modern=True, agrees=True)``: a Slicer with these packages."""
    questions: list[str] = []

    def make(installed, modern=True, agrees=True) -> Pip:
        pip = Pip(installed)
        pip.questions = questions
        monkeypatch.setattr(deps, "installedVersion", lambda name: pip.installed.get(name))
        packaging = type("Packaging", (), {"pip_ensure": staticmethod(pip.ensure)})
        monkeypatch.setattr(deps, "_slicer_packaging", lambda: packaging if modern else None)
        monkeypatch.setattr(slicer.util, "pip_install", pip.install, raising=False)
        monkeypatch.setattr(slicer.util, "pip_uninstall", pip.uninstall, raising=False)

        def confirm(text, *arguments, **more):
            questions.append(text)
            return agrees

        monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm, raising=False)
        return pip

    return make


def test_the_list_is_slicers_requirements_file(deps):
    assert [line.split(">=")[0] for line in deps.requirements()] == list(deps.PACKAGES)


def test_nothing_happens_when_all_is_there(deps, computer):
    pip = computer(COMPLETE)
    deps.ensure("auto")
    deps.ensure("cpu")
    assert pip.calls == []
    assert pip.questions == []


def test_what_is_missing_is_asked_for_once_and_slicers_packages_stay(deps, computer):
    pip = computer(SLICER)
    deps.ensure("auto")
    assert [kind for kind, _ in pip.calls] == ["ensure"]
    assert {line.split(">=")[0] for line in pip.calls[0][1]} == {"onnxruntime"}
    for pin in ("numpy==2.4.0", "scipy==1.17.0", "SimpleITK==2.5.3"):
        assert pin in pip.constraints[0].splitlines()
    deps.ensure("auto")
    assert len(pip.calls) == 1


def test_only_what_is_missing_or_too_old_is_installed(deps, computer):
    pip = computer({**COMPLETE, "onnxruntime": "1.16.0"})
    assert deps.missing() == ["onnxruntime>=1.19"]
    deps.ensure()
    assert pip.calls == [("ensure", ["onnxruntime>=1.19"])]
    pip = computer({**COMPLETE, "scikit-image": "0.19.3"})
    deps.ensurePackages([*deps.REPORT_PACKAGES, *deps.OUTLINE_PACKAGES])
    assert pip.calls == [("ensure", ["jinja2", "scikit-image>=0.22"])]


def test_slicer_5_10_asks_and_uses_its_own_pip_install(deps, computer):
    pip = computer(SLICER, modern=False)
    deps.ensure()
    assert len(pip.questions) == 1
    assert [kind for kind, _ in pip.calls] == ["install"]
    assert "numpy==2.4.0" in pip.constraints[0]


@pytest.mark.parametrize("modern", [True, False])
def test_declining_is_said_with_what_to_do(deps, computer, modern):
    pip = computer(SLICER, modern=modern, agrees=False)
    pip.failures.append(RuntimeError("User declined package installation"))
    with pytest.raises(MissingDependencyError, match="were not installed") as caught:
        deps.ensure()
    assert "administrator" in caught.value.advice
    assert pip.installed == SLICER


def test_the_gpu_takes_the_place_of_the_other_flavour(deps, computer):
    pip = computer(COMPLETE)
    released = []
    deps.ensure("cuda", beforeChange=lambda: released.append(list(pip.calls)))
    assert released == [[]], "files must be let go before anything changes"
    assert [kind for kind, _ in pip.calls] == ["uninstall", "ensure unasked"]
    assert deps.installedFlavours() == ["onnxruntime-gpu"]
    assert len(pip.questions) == 1
    # The GPU's flavour runs on the CPU too: nothing is swapped back.
    deps.ensure("cpu")
    deps.ensure("auto")
    assert len(pip.calls) == 2


def test_a_declined_exchange_changes_nothing(deps, computer):
    pip = computer(COMPLETE, agrees=False)
    with pytest.raises(MissingDependencyError):
        deps.ensure("cuda")
    assert pip.installed == COMPLETE


def test_a_failed_exchange_puts_the_old_flavour_back(deps, computer, slicer, monkeypatch):
    pip = computer(COMPLETE)

    def uninstall(text):
        Pip.uninstall(pip, text)
        pip.failures.append(subprocess.CalledProcessError(1, ["pip"], output="Network is unreachable"))

    monkeypatch.setattr(slicer.util, "pip_uninstall", uninstall)
    with pytest.raises(MissingDependencyError, match="no connection"):
        deps.ensure("cuda")
    assert deps.installedFlavours() == ["onnxruntime"]


@pytest.mark.parametrize(("device", "left"), [("auto", "onnxruntime-gpu"), ("cuda", "onnxruntime-gpu")])
def test_two_flavours_become_one(deps, computer, device, left):
    computer({**COMPLETE, "onnxruntime-gpu": "1.27.0"})
    deps.ensure(device)
    assert deps.installedFlavours() == [left]


def test_there_is_no_gpu_flavour_for_macos(deps, computer, monkeypatch):
    pip = computer(COMPLETE)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="macOS") as caught:
        deps.ensure("cuda")
    assert "Automatic" in caught.value.advice
    assert pip.installed == COMPLETE


@pytest.mark.parametrize(
    ("output", "says", "advice"),
    [
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407'))", "proxy", "HTTPS_PROXY"),
        # What pip 24 printed against proxies that answer so.
        (
            "'ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403 Forbidden'))'",
            "does not allow",
            "files.pythonhosted.org",
        ),
        (
            "'ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 502 Bad Gateway'))'",
            "could not reach",
            "--find-links",
        ),
        # What pip 26 printed in networks of hospitals; pip 23 in test_pip_network.py.
        (
            "'OSError('Tunnel connection failed: 407 Proxy Authentication Required')': /simple/x/",
            "requires a user name",
            "http://user:password@proxy:port",
        ),
        (
            "'ProxyError('Cannot connect to proxy.', TimeoutError('timed out'))'",
            "cannot be reached",
            "address and port",
        ),
        ("OSError: Please check proxy URL. It is malformed and could be missing the host.", "not valid", "HTTPS_PROXY"),
        ("OSError: Failed to parse: Host 'my proxy' contains invalid character ' '", "not valid", "%XX"),
        (
            "Looking in indexes: https://u:****@mirror.example.org/simple\nConnectTimeoutError('Connection to"
            " mirror.example.org timed out.')",
            r"no connection to the package index \(mirror.example.org\)",
            "--find-links",
        ),
        (
            "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get"
            " local issuer certificate (_ssl.c:1006)')",
            "inspects encrypted traffic",
            "PIP_CERT",
        ),
        ("WARNING: 401 Error, Credentials not correct for https://mirror/simple/x/", "user name", "PIP_INDEX_URL"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "certificate", "PIP_CERT"),
        ("NewConnectionError: [Errno -2] Name or service not known", "no connection", "--find-links"),
        ("OSError: [Errno 28] No space left on device", "disk is full", "500 MB"),
        ("PermissionError: [WinError 5] Access is denied: 'C:\\\\Slicer'", "not writable", "Close other Slicer"),
        ("ERROR: ResolutionImpossible: conflicting dependencies", "No version", "5.12"),
        # What pip 24 printed against servers that behave so.
        ("InvalidSchema: Missing dependencies for SOCKS support.", "address is not valid", "http://proxy:port"),
        ("InvalidProxyURL: Please check proxy URL. It is malformed", "address is not valid", "http://proxy:port"),
        (
            "after connection broken by 'ProtocolError('Connection aborted.', InvalidURL(\"URL can't contain control "
            "characters. 'my proxy'\"))' (from versions: none) ERROR: No matching distribution found",
            "address is not valid",
            "without spaces",
        ),
        (
            "after connection broken by 'ProtocolError('Connection aborted.', ConnectionResetError(104, 'Connection "
            "reset by peer'))' (from versions: none) ERROR: No matching distribution found",
            "no connection",
            "HTTPS_PROXY",
        ),
        ("(from versions: none) ERROR: No matching distribution found for x", "did not offer", "PIP_INDEX_URL"),
        ("(from versions: 1.0, 1.1) ERROR: No matching distribution found for x>=9", "No version", "5.12"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "altered", "--find-links"),
        ("User for mirror: EOFError: EOF when reading a line", "user name and a password", "PIP_INDEX_URL"),
        ("something else", "could not be installed", "error log"),
    ],
)
@pytest.mark.parametrize("modern", [True, False])
def test_pips_failures_are_told_in_plain_words(deps, computer, capsys, monkeypatch, modern, output, says, advice):
    from FlairSegLib import pip_settings

    pip = computer(SLICER, modern=modern)
    for name in pip_settings.present():
        monkeypatch.delenv(name)
    pip.failures.append(subprocess.CalledProcessError(1, ["PythonSlicer", "-m", "pip"], output=output))
    with pytest.raises(MissingDependencyError, match=says) as caught:
        deps.ensure()
    assert advice in caught.value.advice
    assert pip.installed == SLICER
    shown = pip_settings.redacted(output)
    assert shown in capsys.readouterr().out, "the Python console shows pip's output as before, but for passwords"


def test_a_silent_failure_is_noticed(deps, computer):
    pip = computer(SLICER)
    pip._add = lambda lines: None
    with pytest.raises(MissingDependencyError, match="onnxruntime>=1"):
        deps.ensure()


def test_slicers_own_packaging_is_called_as_it_wants(deps, slicer, monkeypatch):
    """The stand-in of ``slicer.packaging`` refuses keywords that Slicer's does not have."""
    packaging = pytest.importorskip("slicer.packaging")
    packaging.recorder.reset()
    installed = dict(COMPLETE)
    del installed["onnxruntime"]
    packaging.recorder.missing = {"onnxruntime"}

    def version(name):
        return (COMPLETE if packaging.recorder.installed else installed).get(name)

    monkeypatch.setattr(deps, "installedVersion", version)
    deps.ensure()
    assert packaging.recorder.installed == [["onnxruntime>=1.19"]]
    assert packaging.recorder.ensured[0]["requester"] == "FLAIR Segmentation"
    packaging.recorder.reset()


def test_diagnostics_name_versions_and_no_patient(deps, slicer):
    from FlairSegLib import diagnostics

    text = diagnostics.report(
        "The volume 'Müller^Anna FLAIR' has no voxels: /data/patients/mueller/flair.nii.gz, C:\\Users\\x\\anna.nii",
        "Load it again.",
        model="flairseg2d-v1.0",
    )
    assert "Müller" not in text
    assert "mueller" not in text
    assert "anna.nii" not in text
    for word in (
        "FlairSeg",
        "3D Slicer",
        "Python",
        "numpy",
        "scikit-image",
        "model: flairseg2d-v1.0",
        "Load it again",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("'O'Brien^Anna' is a label map.", "'…' is a label map."),
        ("'Anna's FLAIR' and 'Ben' differ.", "'…' and '…' differ."),
        ("C:/Users/Anna O'Brien/Dr. Meier/a 1.nii.gz cannot be read: no header.", "<path> cannot be read: no header."),
        ("C:\\Users\\Anna Meier\\flair.nii, and more", "<path>, and more"),
        ("\\\\pacs\\Anna Meier\\study is not a folder.", "<path> is not a folder."),
        ("/data/Anna Meier/scans is a file. Choose a folder.", "<path> is a file. Choose a folder."),
        ("file:///data/Anna Meier/a.nii", "<path>"),
        ("~/Anna Meier/a.nii", "<path>"),
        (
            "Set HTTPS_PROXY (http://user:password@proxy:port) and/or see https://pypi.org/simple",
            "Set HTTPS_PROXY (http://user:password@proxy:port) and/or see https://pypi.org/simple",
        ),
        ("Use 'Accept after edits', then 12 / 3.", "Use '…', then 12 / 3."),
    ],
)
def test_names_with_apostrophes_and_folders_with_spaces_are_taken_out_whole(slicer, message, left):
    from FlairSegLib import diagnostics

    assert diagnostics.without_names(message) == left
    assert diagnostics.without_names(f"{message}\n{message}") == f"{left}\n{left}"


def test_versions_are_read_once_and_again_when_packages_change(slicer, monkeypatch, tmp_path):
    from FlairSegLib import dependencies

    def install(version: str) -> None:
        for old in tmp_path.iterdir():
            (old / "METADATA").unlink()
            old.rmdir()
        folder = tmp_path / f"some_package-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: some-package\nVersion: {version}\n")
        time.sleep(0.02)

    read = []
    version_of = dependencies.importlib.metadata.version
    monkeypatch.setattr(dependencies.importlib.metadata, "version", lambda name: read.append(name) or version_of(name))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert dependencies.installedVersion("some-package") is None
    install("1.0")
    assert [dependencies.installedVersion("some-package") for _ in range(3)] == ["1.0"] * 3
    install("2.0")
    assert [dependencies.installedVersion("some-package") for _ in range(3)] == ["2.0"] * 3
    assert len(read) == 3
