"""Principles of the developer guide that can be checked in the code (1, 2, 6 and 7), and the sizes in git."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from flairseg.labels import CLASSES

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "FlairSegExtension"
CORE, BRIDGE = EXTENSION / "flairseg", EXTENSION / "FlairSegLib"
APPLICATION = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "PythonQt", "PySide6", "MRMLCore", "SampleData"}
NETWORK = {"socket", "ssl", "http", "urllib", "urllib3", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "pip"}
#: Formats in which weights could carry code.
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch"}
MAXIMUM_FILE_BYTES = 16 * 2**20
MAXIMUM_HISTORY_BYTES = 100 * 10**6


def sources(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(nodes) -> set[str]:
    """Top-level names that these nodes import, relative imports left out."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def at_import(tree: ast.Module):
    """Nodes that run when the module is imported: everything outside functions."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)


#: Where geometry is computed, and what still waits for it.
GEOMETRY = {
    "flairseg/image/geometry.py": {"det", "norm", "flip"},
}


def geometry_computed(path: Path) -> set[str]:
    """Which of spacing (norm), voxel volume (det) and the LPS flip a file computes by itself."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.endswith("linalg.det"):
                found.add("det")
            if called.endswith(("linalg.norm", "prod")):
                arguments = "".join(map(ast.unparse, node.args))
                if called.endswith("norm") and any(word in arguments for word in ("affine", "ijk_to_ras", "[:3,")):
                    found.add("norm")
                if called.endswith("prod") and "GetSpacing" in arguments:
                    found.add("det")
        if (
            isinstance(node, (ast.List, ast.Tuple))
            and len(node.elts) in (3, 4)
            and ast.unparse(node).strip("[]()").replace(".0", "") in ("-1, -1, 1", "-1, -1, 1, 1")
        ):
            found.add("flip")
    return found


def test_spacing_voxel_volume_and_lps_come_from_the_geometry_alone():
    files = [*sources(EXTENSION), *sources(ROOT / "training"), *sources(ROOT / "tools")]
    names = {path: str(path.relative_to(EXTENSION) if path.is_relative_to(EXTENSION) else path) for path in files}
    offenders = {name: geometry_computed(path) - GEOMETRY.get(name, set()) for path, name in names.items()}
    # Half-way axes (+-1 along R, A, S), and ITK's own numbers checked.
    offenders.pop("flairseg/longitudinal/space.py")
    offenders.pop(str(ROOT / "tools/build_atlas.py"))
    assert not {name: found for name, found in offenders.items() if found}, "use flairseg.image.geometry"


def test_law_1_the_core_knows_no_application():
    offenders = {str(path): imported(ast.walk(tree_of(path))) & APPLICATION for path in sources(CORE)}
    assert not {path: names for path, names in offenders.items() if names}


def test_law_1_the_bridge_and_the_modules_hold_no_image_processing():
    allowed = set(sys.stdlib_module_names) | APPLICATION | {"numpy", "flairseg", "FlairSegLib"}
    for path in [*sources(BRIDGE), *EXTENSION.glob("*.py")]:
        assert imported(ast.walk(tree_of(path))) <= allowed, path


def test_law_2_one_table_of_classes():
    """No class's id, name, code or colour is written down a second time in what is shipped."""
    words = {text for c in CLASSES for text in (c.id, c.name, c.code.value, c.code.meaning)}
    colours = {c.rgb for c in CLASSES}
    offenders = []
    for path in sources(EXTENSION):
        if path == CORE / "labels.py":
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Constant) and node.value in words:
                offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}")
            if isinstance(node, (ast.Tuple, ast.List)):
                values = tuple(getattr(item, "value", None) for item in node.elts)
                if values in colours:
                    offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}: {values}")
    assert not offenders


def test_no_vtk_object_is_known_by_the_number_of_its_python_side():
    """``id()`` of a VTK object's Python side is given out again once nobody holds that; ``GetAddressAsString`` is not.

    Two layers of a segmentation that got the same number were read as one. Code objects, which the harness keeps, may.
    """
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*sources(BRIDGE), *EXTENSION.glob("*.py"), *sources(ROOT / "Testing" / "harness")]
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "id"
        if (path.name, ast.unparse(node)) != ("strict.py", "id(code)")
    ]
    assert not offenders


def test_law_6_nothing_imports_the_network_or_pip_and_nothing_prints():
    for path in sources(EXTENSION):
        tree = tree_of(path)
        assert not imported(at_import(tree)) & NETWORK, path
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"print", "eval", "exec", "breakpoint"}, path


#: PyTorch's own formats and downloads; adaptation trains with it, but stores weights as ONNX and state as arrays.
TORCH_FORMATS = {"torch.save", "torch.load", "torch.jit", "torch.package", "torch.hub", "torch.serialization"}


def test_law_7_weights_are_data():
    for path in sources(EXTENSION):
        tree = tree_of(path)
        adapts = path.is_relative_to(CORE / "adapt")
        assert not imported(ast.walk(tree)) & (PICKLES - ({"torch"} if adapts else set())), path
        called = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not called & TORCH_FORMATS, path


WATCHED_IMPORT = """
import importlib, json, pkgutil, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.system", "os.exec"):
        raise RuntimeError(f"{event} at import: {arguments}")

sys.addaudithook(watch)
if "harness" in sys.argv:
    from Testing.harness.application import start
    start()
before = set(sys.modules)
for name in sys.argv[1].split(","):
    module = importlib.import_module(name)
    if "all" in sys.argv:
        for info in pkgutil.walk_packages(module.__path__, name + "."):
            if not info.name.endswith("__main__"):
                importlib.import_module(info.name)
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def import_in_new_process(*arguments: str) -> set[str]:
    """Top-level modules that an import brings along; fails if it printed, connected or started a program."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED_IMPORT, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{EXTENSION}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, "something printed at import"
    return set(json.loads(done.stdout))


def test_importing_every_module_of_the_core_neither_connects_nor_prints():
    import_in_new_process("flairseg", "all")


def test_importing_flairseg_loads_nothing_heavy():
    heavy = {"numpy", "scipy", "skimage", "SimpleITK", "onnxruntime", "PIL", "rich", "typer", "jsonschema"}
    assert not import_in_new_process("flairseg") & heavy


def test_importing_the_slicer_module_loads_nothing_that_slicer_lacks():
    """What Slicer's Python does not bring (onnxruntime, scikit-image) is imported when a volume is segmented."""
    pytest.importorskip("slicer", reason="slicer-core is not installed: pip install 'flairseg[slicer]'")
    loaded = import_in_new_process("FlairSeg", "harness")
    assert {"FlairSeg", "FlairSegLib", "flairseg"} <= loaded
    assert not loaded & {"onnxruntime", "skimage", "platformdirs", "jsonschema", "rich", "typer", "pydicom"}


def git(*arguments: str, text: str | None = None) -> str:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git working tree")
    return subprocess.run(["git", *arguments], cwd=ROOT, input=text, check=True, capture_output=True, text=True).stdout


def test_no_file_in_git_is_larger_than_a_model_may_be():
    names = [name for name in git("ls-files", "-z").split("\0") if name and (ROOT / name).exists()]
    assert names
    assert not [name for name in names if (ROOT / name).stat().st_size > MAXIMUM_FILE_BYTES]


def test_a_clone_stays_below_the_extensions_index_limit():
    objects = "\n".join(line.split()[0] for line in git("rev-list", "--objects", "--all").splitlines())
    sizes = git("cat-file", "--batch-check=%(objectsize:disk)", text=objects + "\n").split()
    assert sum(map(int, sizes)) < MAXIMUM_HISTORY_BYTES
