# Needs nothing but python3: uv is taken from PATH, or installed beside the project (.uv) when it is missing.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --frozen --no-sync
BASE := $(UV) sync --frozen --quiet --extra embedded
FULL := $(UV) sync --frozen --quiet --all-extras

BENCHMARKS := harness evaluate chat tokens numeric curate retrieval tasks tune

.PHONY: demo chat serve test lint bench install

demo: | $(UV)
	$(BASE) --no-dev --inexact
	$(RUN) whet compare diamonds --train-size 2000 --test-size 100 --html reports/diamonds.html

chat: | $(UV)
	$(BASE) --no-dev --inexact
	$(RUN) whet chat

serve: | $(UV)
	$(BASE) --extra serve --no-dev --inexact
	$(RUN) whet serve

test: install
	$(RUN) pytest -n auto --maxprocesses 4 --dist loadfile

lint: install
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports

bench: | $(UV)
	$(FULL) --group bench
	@missed=; for name in $(BENCHMARKS); do \
	    echo "benchmarks/$$name.py"; $(RUN) python benchmarks/$$name.py || missed="$$missed $$name"; \
	done; test -z "$$missed" || { echo "missed what is wanted:$$missed"; exit 1; }

install: | $(UV)
	$(FULL)

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet uv
