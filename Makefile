# The verbs of the book. They need Python 3.11 or later, git and make; each makes the environment it uses.
# Without a GPU, on Linux, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu saves gigabytes of GPU libraries.

PORT ?= 8000
CHAPTERS ?= chapters/*.ipynb
TEST := .venv/test/bin/python
PIP := -m pip --disable-pip-version-check install --quiet
unexport PYTHONDONTWRITEBYTECODE

# The first Python that is new enough; PYTHON=... overrules.
find_python = set -- python3 python3.13 python3.12 python3.11; test -z "$(PYTHON)" || set -- "$(PYTHON)"; \
	for python; do "$$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; done; \
	test -n "$$python" || { echo "The book needs Python 3.11 or later. Say where it is: make $@ PYTHON=/path/to/python3" >&2; exit 1; }

# Chapters run far from the clone, in a folder that holds nothing else. A cell that takes a quarter of an hour hangs.
elsewhere = clone=$$PWD && folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT \
	&& mkdir "$$folder/chapters" && cp $(CHAPTERS) "$$folder/chapters" && cd "$$folder/chapters"
# A chapter is one worker's, and the longest come first.
WHOLE := --dist loadscope --no-loadscope-reorder
NBVAL := -m pytest -p chapter_report -o addopts= --nbval-current-env --nbval-cell-timeout=900 --nbval-kernel-startup-timeout=900

.PHONY: help book pdf serve test notebooks unit threads oldest newest colab coverage mutants check bench execute exercises course dist lock repo clean

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1: /p' Makefile

.venv/%/installed: requirements/%.lock
	@$(find_python); echo "Installing $< with $$("$$python" --version) ..."; "$$python" -m venv .venv/$*
	@.venv/$*/bin/python $(PIP) -r $< $(if $(filter test,$*),--editable .)
	@touch $@
.venv/test/installed: pyproject.toml

book: .venv/book/installed ## build the pages (about a minute the first time) and say where they are
	@.venv/book/bin/python -c 'from jupyter_book.cli.main import main; main()' build . --all -n -W --keep-going
	@echo; echo "The book is built: open _build/html/index.html, or run make serve."

# The single page needs no server. Whoever is root has to tell Chromium that it may run.
CHROMIUM ?= $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))
pdf: .venv/book/installed ## print the whole book into _build/pdf (needs Chromium), where the next make book finds and links it
	@test -n "$(CHROMIUM)" || { echo "Printing needs Chromium. Say where it is: make pdf CHROMIUM=/path/to/it" >&2; exit 1; }
	@.venv/book/bin/python -c 'from jupyter_book.cli.main import main; main()' build . --all -n -W --keep-going --builder singlehtml
	@mkdir -p _build/pdf
	"$(CHROMIUM)" --headless --disable-gpu $(if $(filter 0,$(shell id -u)),--no-sandbox) --no-pdf-header-footer \
	--generate-pdf-document-outline --virtual-time-budget=60000 --timeout=600000 \
	--print-to-pdf=_build/pdf/the-transformer-piece-by-piece.pdf "file://$(CURDIR)/_build/singlehtml/index.html"
	@command -v qpdf >/dev/null && qpdf --object-streams=generate --replace-input _build/pdf/the-transformer-piece-by-piece.pdf || true
	@echo; echo "The book is printed: open _build/pdf/the-transformer-piece-by-piece.pdf."

serve: ## serve the built pages on http://localhost:8000 (PORT=...)
	@test -f _build/html/index.html || { echo "There are no pages yet: run make book first." >&2; exit 1; }
	@echo "The book is on http://localhost:$(PORT) (stop with Ctrl-C)."
	@.venv/book/bin/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

test: book notebooks unit ## the pages without a warning, every chapter run again and compared, and all proofs

unit: .venv/test/installed
	$(TEST) -m pytest -n 3 --dist worksteal

# Strict: with the package as it is installed, and nothing else, each cell prints what the chapter shows.
notebooks: SETTINGS = BOOK_THREADS=1 BOOK_PAGE=1
notebooks: AT_ONCE = -n 3 $(WHOLE)
# A thread that waits for the other spins for a moment and then sleeps: spinning on brings a busy machine to a
# standstill, and sleeping at once makes every small step wait for the scheduler.
threads: SETTINGS = BOOK_THREADS=2 BOOK_PAGE=1 GOMP_SPINCOUNT=20000
threads: ## every chapter run again with two threads, and compared (weekly, and before a release)
notebooks threads: .venv/test/installed
	$(elsewhere) && "$$clone/$(TEST)" $(PIP) --no-deps --no-build-isolation --target "$$folder/lib" "$$clone" \
	&& $(SETTINGS) PYTHONPATH="$$clone/tools:$$folder/lib" "$$clone/$(TEST)" $(NBVAL) --nbval \
	--nbval-sanitize-with "$$clone/tools/sanitize.cfg" $(AT_ONCE) .

# Lax: with other versions a cell may print other digits. It must run, and what it asserts must hold, also the second
# time, with what the first left behind.
LAX = $(elsewhere) && for time in first second; do echo "The $$time time:"; \
	PYTHONPATH="$$clone/tools" "$(RUN)" $(NBVAL) --nbval-lax -n 2 $(WHOLE) . || exit; done
LACKS := $(PIP) --no-deps --group colab-lacks .

oldest: PACKAGES = --group colab --group run && .venv/$@/bin/python $(LACKS)
oldest: ## every chapter runs on the versions that Colab has
newest: PACKAGES = --group run . "$(or $(BUT),torch)"
newest: ## every chapter runs on the newest of everything (BUT="torch==2.6.*": but for this)
oldest newest: RUN = $$clone/.venv/$@/bin/python
oldest newest:
	@$(find_python); echo "Installing with $$("$$python" --version) ..."; "$$python" -m venv --clear .venv/$@
	.venv/$@/bin/python $(PIP) --upgrade pip && .venv/$@/bin/python $(PIP) $(PACKAGES) && .venv/$@/bin/python -m pip check
	$(LAX)

colab: RUN = python3
colab: ## every chapter runs with what is installed here: in Colab's own image
	python3 $(PIP) --upgrade pip && python3 $(PIP) --group run && python3 $(LACKS)
	$(LAX)

coverage: .venv/test/installed ## do the tests run every line and branch of the library?
	$(TEST) -m pytest -n 2 --dist worksteal --ignore=tests/site --cov=transformer_lib --cov-branch --cov-fail-under=100 \
	--cov-report=term-missing:skip-covered

mutants: .venv/test/installed ## change the library in hundreds of places, one at a time: do the tests notice? (two hours)
	@rm -rf build/mutants && mkdir -p build/mutants && cp -R transformer_lib tests tools site pyproject.toml build/mutants
	@echo "About two hours; meanwhile, in build/mutants: python -m cosmic_ray.tools.report --surviving-only found"
	cd build/mutants && export PATH="$(CURDIR)/.venv/test/bin:$$PATH" OMP_NUM_THREADS=1 \
	&& python -m cosmic_ray.cli baseline tests/mutation.toml && python -m cosmic_ray.cli init tests/mutation.toml found \
	&& python -m cosmic_ray.cli exec tests/mutation.toml found \
	&& python -m cosmic_ray.tools.report --surviving-only --show-diff found \
	&& python -m cosmic_ray.tools.survival_rate --fail-over 10 found

check: .venv/test/installed ## lint, types, spelling
	$(TEST) -m ruff check .
	$(TEST) -m ruff format --check --exclude "*.ipynb" .
	$(TEST) -m codespell_lib
	$(TEST) -m pyright

bench: .venv/test/installed ## time this library beside its peers (about a quarter of an hour), for chapter 14
	@$(TEST) $(PIP) -r requirements/bench.lock
	$(TEST) -m benchmarks

execute: .venv/test/installed ## run the chapters whose stored outputs are stale, and store the new ones
	$(TEST) tools/execute.py

exercises: .venv/test/installed ## write exercises and quizzes into the chapters, from transformer_lib/exercises
	$(TEST) tools/exercises.py

course: ## make a course of the exercises, for nbgrader, in build/course (TRY=--try: try it out in build/course-trial)
	@$(find_python); test -d .venv/course || "$$python" -m venv .venv/course
	.venv/course/bin/python $(PIP) nbgrader nbformat .
	PATH="$(CURDIR)/.venv/course/bin:$$PATH" .venv/course/bin/python tools/course.py build/course $(TRY)

dist: .venv/test/installed ## build the wheel and the source archive, and check them
	rm -rf dist && $(TEST) -m build --no-isolation . && $(TEST) -m twine check --strict dist/* && ls -l dist

# uv resolves for all systems; pip installs, and takes the build of torch that the machine wants: so what only the
# GPU build needs is not pinned.
lock: ## resolve the groups of pyproject.toml afresh and write the pins
	@$(find_python); "$$python" -m venv .venv/lock && .venv/lock/bin/python $(PIP) --upgrade uv
	$(UV) --group book -o requirements/book.lock
	$(UV) --group test pyproject.toml -c requirements/book.lock -o requirements/test.lock
	$(UV) --group bench -c requirements/test.lock -o requirements/bench.lock
	sed -E -i.all '/^(nvidia|cuda|triton)/d' requirements/*.lock && rm requirements/*.all
UV = .venv/lock/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --upgrade \
	--no-annotate --custom-compile-command "make lock"

repo: ## say where this repository is published: make repo URL=https://github.com/you/your-fork
	@$(find_python); "$$python" tools/repo.py "$(URL)"

clean: ## remove everything that make made
	rm -rf .venv _build build dist .pytest_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -prune -exec rm -rf {} +
