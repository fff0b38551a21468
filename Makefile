# FlairSeg's commands. Each sets up its own .venv on the first call and reuses it afterwards.
#   make demo     segment a digital phantom and look at the result
#   make test     the test suite
#   make help     the rest
# PYTHON=/path/to/python3.12 chooses the interpreter; PYTEST_ARGS="-k phantom" chooses tests, without coverage.
# WORKERS=0 runs the tests in one process, for a debugger; otherwise in one per core, file by file.
# BENCH_ARGS="--only follow,report" measures some steps alone and leaves the Slicer module out.
# BEFORE=COMMIT compares with that version in the same run (default: the last tag, if there is one).
# GUI_ARGS=--large makes the benchmark of the Slicer module take a volume of 200 slices as well.

VENV ?= .venv
BIN := $(VENV)/bin
SEED ?= 0
ROUNDS ?= 200
PYTEST_ARGS ?=
WORKERS ?= auto
BENCH_ARGS ?=
BEFORE ?=
GUI_ARGS ?=
# Of the whole suite alone: a part of it covers a part of the core.
COVERAGE := --cov --cov-report=term --cov-fail-under=90

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint bench docs docs-pictures readme clean
.PHONY: environment-demo environment-test environment-lint environment-docs

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

environment-demo environment-test environment-lint environment-docs: environment-%:
	@sh tools/setup_environment.sh $* $(VENV)

demo: environment-demo ## make a phantom, segment it with the default model, show how well that went
	@$(BIN)/python tools/demo.py --output demo --seed $(SEED)

test: environment-test ## run the whole suite with coverage of the core, or by PYTEST_ARGS a part without
	@sh tools/system_libraries.sh $(BIN)/python
	@sh tools/postgresql_server.sh
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(or $(PYTEST_ARGS),$(COVERAGE))

soak: environment-test ## kill -9 a few hundred writers of the store on SQLite and PostgreSQL, count what is lost (minutes)
	@sh tools/postgresql_server.sh
	@PYTHONPATH=.:FlairSegExtension $(BIN)/python -m Testing.faults.soak --rounds $(ROUNDS)

lint: environment-lint ## ruff check and format, spelling, direction of imports, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell FlairSegExtension Testing docs models tools training *.md
	@$(BIN)/lint-imports
	@$(BIN)/mypy

bench: environment-test ## speed, memory, how the Slicer module feels: reported, not asserted (bench/benchmark.json)
	@sh tools/system_libraries.sh $(BIN)/python
	@$(BIN)/python Testing/benchmarks/bench.py --output bench $(if $(BEFORE),--before $(BEFORE)) $(BENCH_ARGS)
	@$(if $(findstring --only,$(BENCH_ARGS)),true,$(BIN)/python Testing/benchmarks/gui.py --output bench $(GUI_ARGS))

docs: environment-docs ## build the documentation site into build/docs; a warning is an error
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

docs-pictures: environment-test ## make the pictures of README and docs again, from the phantom
	@sh tools/system_libraries.sh $(BIN)/python
	@mkdir -p docs/pictures
	@$(BIN)/python tools/demo.py --output demo >/dev/null
	@cp demo/phantom-0_flair_overview.png docs/pictures/overview.png
	@$(BIN)/python tools/draw_phantom.py
	@$(BIN)/python tools/stage_pictures.py
	@$(BIN)/python tools/study_pictures.py >/dev/null
	@$(BIN)/python tools/render_slicer_views.py
	@$(BIN)/python tools/tutorial_pictures.py

readme: environment-demo ## put real output and measured figures into README.md and docs
	@$(BIN)/python tools/update_readme.py $(SECTIONS)

clean: ## remove what make made: .venv, demo, bench, caches
	rm -rf $(VENV) demo bench build dist .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
