# The verbs of the book. They need Python 3.11 or later, git and make; each makes the environment it uses.
#
#   make book      build the pages (about a minute the first time) and say where they are
#   make serve     serve the built pages on http://localhost:8000 (PORT=...)
#   make test      unit tests, every notebook re-run and compared, the book without warnings, its pages
#   make check     lint, types, spelling
#   make bench     time this library beside its peers (about a quarter of an hour), for chapter 14
#   make mutants   change the library in hundreds of places, one at a time: do the tests notice? (about an hour)
#   make execute   re-run the chapters whose stored outputs are stale, and store the new ones
#   make lock      resolve requirements/*.in afresh and write the pins
#   make repo URL=https://github.com/you/your-fork    say where this repository is published
#   make clean     remove everything that make made
#
# On Linux without a GPU, `PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test` installs the
# CPU build of PyTorch instead of gigabytes of GPU libraries.

PORT ?= 8000
BOOK := .venv/book/bin/python
TEST := .venv/test/bin/python
PIP := -m pip --disable-pip-version-check install --quiet

# Compiled modules are kept, whatever the machine says: the tests start Python some thirty times.
unexport PYTHONDONTWRITEBYTECODE

# Paths are relative and programs are run as modules of an interpreter, so that a clone may lie in "a folder".
NBVAL := -m pytest -p chapter_report -o addopts= --nbval --nbval-current-env --nbval-cell-timeout=180

# The first Python that is new enough; PYTHON=... overrules.
find_python = for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	done; \
	test -n "$$python" || { echo "The book needs Python 3.11 or later; none was found. Say where it is: make $@ PYTHON=/path/to/python3" >&2; exit 1; }

.PHONY: help book serve test unit notebooks alone site check bench mutants execute lock repo clean

help:
	@sed -n '/^#   make/s/^#   //p' Makefile

.venv/book/installed: requirements/book.lock
	@$(find_python); echo "Installing what the pages need with $$("$$python" --version) ..."; "$$python" -m venv .venv/book
	@$(BOOK) $(PIP) -r requirements/book.lock
	@touch $@

.venv/test/installed: requirements/test.lock pyproject.toml
	@$(find_python); echo "Installing what the tests need with $$("$$python" --version) ..."; "$$python" -m venv .venv/test
	@$(TEST) $(PIP) -r requirements/test.lock
	@$(TEST) $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

book: .venv/book/installed
	@$(BOOK) -c 'from jupyter_book.cli.main import main; main()' build . -n -W --keep-going
	@echo; echo "The book is built: open _build/html/index.html, or run make serve."

serve:
	@test -f _build/html/index.html || { echo "There are no pages yet: run make book first." >&2; exit 1; }
	@echo "The book is on http://localhost:$(PORT) (stop with Ctrl-C)."
	@$(BOOK) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

test: unit notebooks alone book site

# The second call checks the shapes that the library's annotations name, and runs what the measurement of the first
# would slow down. The first runs all lines and branches of the library without it.
SECOND := $(addprefix tests/library/test_,everywhere.py fuzz.py cache.py transformer.py)

unit: .venv/test/installed
	$(TEST) -m pytest -n 2 --dist worksteal -k "not compile" --cov=transformer_lib --cov-branch --cov-fail-under=100 \
	--cov-report=term-missing:skip-covered tests --ignore=tests/site $(addprefix --ignore=,$(SECOND))
	$(TEST) -m pytest -n 2 --dist worksteal --jaxtyping-packages=transformer_lib,beartype.beartype $(SECOND)

# Strict: what a cell prints must be what the chapter shows, whatever the number of threads.
notebooks: .venv/test/installed
	PYTHONPATH=tools BOOK_THREADS=1 $(TEST) $(NBVAL) -n 2 --dist loadscope chapters

# The same with two threads, far from the clone, with nothing but the installed package. A thread that waits
# for the other spins for a moment and then sleeps: spinning on brings a busy machine to a standstill, and
# sleeping at once makes every small step wait for the scheduler.
alone: .venv/test/installed
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT \
	&& mkdir "$$folder/source" && cp -R transformer_lib pyproject.toml README.md LICENSE "$$folder/source" \
	&& $(TEST) $(PIP) --no-deps --no-build-isolation --target "$$folder/lib" "$$folder/source" \
	&& mkdir "$$folder/chapters" && cp chapters/*.ipynb "$$folder/chapters" \
	&& PYTHONPATH="$$PWD/tools:$$folder/lib" BOOK_THREADS=2 GOMP_SPINCOUNT=20000 \
	$(TEST) $(NBVAL) "$$folder/chapters"

# Without what the other tests start from: the pages need no torch, which takes seconds to load.
site: .venv/test/installed
	$(TEST) -m pytest -n 2 --dist worksteal --confcutdir=tests/site tests/site

check: .venv/test/installed
	$(TEST) -m ruff check .
	$(TEST) -m ruff format --check --exclude "*.ipynb" .
	$(TEST) -m codespell_lib
	$(TEST) -m pyright

# Peers that only the benchmark needs; without them it compares with those that are there.
bench: .venv/test/installed
	@$(TEST) $(PIP) -r requirements/bench.txt
	$(TEST) -m benchmarks

mutants: .venv/test/installed
	$(TEST) tools/mutants.py

execute: .venv/test/installed
	$(TEST) tools/execute.py

lock:
	@$(find_python); "$$python" tools/lock.py

repo:
	@$(find_python); "$$python" tools/repo.py "$(URL)"

clean:
	rm -rf .venv/book .venv/test _build build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
