# Targets make .venv first when the active Python has no s3prl_fusion; see tools/python.
PY = $$(./tools/python)
TEST_PY = $$(./tools/python pytest pytest-xdist hypothesis ssl-interface)
# One process a core; the models are tiny, more processes only start up.
PYTEST = -m pytest -n auto --maxprocesses 8
LINT_PY = $$(./tools/python ruff mypy)

.PHONY: test test-all fuzz matrix demo evidence validation bench lint docs wheel clean

test:  ## the default test suite, 5 to 10 minutes
	python=$(TEST_PY) && "$$python" $(PYTEST)

test-all:  ## with the slow tests
	python=$(TEST_PY) && "$$python" $(PYTEST) -m "slow or not slow"

fuzz:  ## random inputs for an hour, or FUZZ_MINUTES; the counts go into docs/reliability.md
	python=$(TEST_PY) && "$$python" tools/fuzz.py

matrix:  ## the default tests beside every supported set of versions; an hour or more, 6 GB at a time
	python=$(PY) && "$$python" tools/matrix.py

demo:  ## ./run_superb.sh --demo
	./run_superb.sh --demo

evidence:  ## runs that docs/evidence/runs.csv lacks, hours of them, then docs/evidence.md; EVIDENCE="--seeds 1" for fewer
	python=$(PY) && PYTHONPATH=benchmarks "$$python" -m evidence $(EVIDENCE)

validation:  ## how often `select` ranks as full training does: docs/select.md's table; needs docs/evidence/runs.csv
	python=$(PY) && PYTHONPATH=benchmarks "$$python" -m evidence.validation

bench:  ## benchmarks/, under 10 minutes on 2 cores
	python=$(TEST_PY) && "$$python" benchmarks/run.py

lint:  ## ruff, its format, and mypy
	python=$(LINT_PY) && "$$python" -m ruff check . && "$$python" -m ruff format --check . && "$$python" -m mypy

docs:  ## README, docs/ and the API as a site in site/; a warning is an error
	python=$(PY) && "$$python" -m pip install --quiet --disable-pip-version-check -e '.[docs]' && "$$python" -m mkdocs build --strict

wheel:
	python=$(PY) && "$$python" -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf build dist site .venv *.egg-info
