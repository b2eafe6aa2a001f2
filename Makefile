# Targets make .venv first when the active Python has no s3prl_fusion; see tools/python.
PY = $$(./tools/python)
TEST_PY = $$(./tools/python pytest ssl-interface)

.PHONY: test test-all matrix demo bench lint wheel clean

test:  ## the default test suite, under 5 minutes
	python=$(TEST_PY) && "$$python" -m pytest

test-all:  ## with the slow tests
	python=$(TEST_PY) && "$$python" -m pytest -m "slow or not slow"

matrix:  ## the default tests beside every supported set of versions; an hour or more, 6 GB at a time
	python=$(PY) && "$$python" tools/matrix.py

demo:  ## ./run_superb.sh --demo
	./run_superb.sh --demo

bench:  ## benchmarks/, under 10 minutes on 2 cores
	python=$(TEST_PY) && "$$python" benchmarks/run.py

lint:
	ruff check . && ruff format --check .

wheel:
	python=$(PY) && "$$python" -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf build dist .venv *.egg-info
