"""The house itself: sizes, words, rooms, public names (docs: ARCHITECTURE.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

import espalier

SOURCE = Path(espalier.__file__).parent
FILES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "__init__.py")
FORBIDDEN = {
    "case", "sample", "item", "image", "exam", "sequence", "img", "arr", "organ", "segmentation", "klass", "decoder", "aux",
    "experiment", "trial", "skipped", "failed", "dropped", "utils", "core", "base", "common", "helpers", "registry",
}  # fmt: skip
ALLOWED = {"FAILED"}
"""`errors.FAILED` is the name of exit code 1 in the design."""
PUBLIC = ["EspalierError", "Volume", "__version__", "mask_loss", "open_bundle", "open_store", "preprocess", "read_study"]
HEAVY = ["numpy", "torch", "polars", "SimpleITK", "pydicom", "matplotlib", "scipy", "sklearn", "onnxruntime", "pydantic"]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def own_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_files_are_short() -> None:
    lengths = [len(p.read_text(encoding="utf-8").splitlines()) for p in FILES]
    assert median(lengths) <= 150
    assert quantiles(lengths, n=10)[-1] <= 350
    assert max(lengths) <= 500


def test_functions_fit_on_a_screen() -> None:
    lengths = {f"{p.relative_to(SOURCE)}:{f.name}": lines_of(f) for p in FILES for f in functions(p)}
    assert {name: n for name, n in lengths.items() if n > 60} == {}
    assert median(lengths.values()) <= 12


def test_functions_take_at_most_six_arguments_besides_keyword_only_ones() -> None:
    counts = {f"{p.relative_to(SOURCE)}:{f.name}": len(f.args.posonlyargs + f.args.args) for p in FILES for f in functions(p)}
    assert {name: n for name, n in counts.items() if n > 6} == {}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_names_use_the_words_of_the_field(path: Path) -> None:
    words = {(word, name) for name in own_names(path) if name not in ALLOWED for word in name.lower().split("_")}
    words |= {(part, path.name) for part in path.stem.split("_")}
    assert sorted(name for word, name in words if word in FORBIDDEN) == []


def test_init_files_but_the_top_one_are_empty() -> None:
    inits = [p for p in SOURCE.rglob("__init__.py") if p.parent != SOURCE]
    assert len(inits) >= 12
    assert [p for p in inits if p.read_text(encoding="utf-8").strip()] == []


def test_no_base_class_has_a_single_child_of_ours() -> None:
    children: dict[str, int] = {}
    own = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                own.add(node.name)
                for parent in node.bases:
                    children[ast.unparse(parent)] = children.get(ast.unparse(parent), 0) + 1
    assert {name for name, n in children.items() if n == 1 and name in own and not name.endswith("Error")} == set()


def test_the_public_names_are_these() -> None:
    assert espalier.__all__ == PUBLIC
    assert all(getattr(espalier, name) is not None for name in PUBLIC)


def test_importing_espalier_loads_no_heavy_library() -> None:
    code = f"import sys, espalier; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_reading_a_study_loads_no_torch() -> None:
    code = "import sys, espalier.study; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_the_tests_mirror_the_rooms() -> None:
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    tested = {p.name for p in Path(__file__).parent.iterdir() if p.is_dir() and any(p.glob("test_*.py"))}
    assert rooms - tested == set()


def test_torch_is_the_pinned_one() -> None:
    import torch

    assert torch.__version__.startswith("2.14.1")
