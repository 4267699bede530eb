# Everything starts from an empty clone: each target makes what it needs in .venv.
ARGS ?=
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo up stack keys test check lint format docs bench clean
.DEFAULT_GOAL := demo

# See it work: normal traffic stays quiet, drifted traffic raises an alarm. ARGS="--exit" ends after the story.
demo: .venv/demo.stamp
	@$(BIN)/driftbell demo $(ARGS)

# Serve and monitor on port 8000.
up: .venv/demo.stamp
	@$(BIN)/driftbell up $(ARGS)

# The whole stack by Docker Compose, with a password for Grafana made first. ARGS="--profile alerts" and others.
stack:
	@docker compose version >/dev/null 2>&1 || { echo "make stack needs Docker with Compose: \`docker compose version\` must answer (Debian's package is docker-compose-v2 or docker-compose-plugin)" >&2; exit 1; }
	@deploy/secrets.sh
	@docker compose $(ARGS) up --build --detach --wait
	@echo "service http://localhost:8000  reports http://localhost:8080  Grafana http://localhost:3000 (admin, secrets/grafana_admin_password)"
	@echo "Prometheus http://localhost:9090  Loki http://localhost:3100  Is all well? GRAFANA_PASSWORD_FILE=secrets/grafana_admin_password driftbell doctor"

# API keys for the running stack. From then on its service requires one.
keys:
	@deploy/keys.sh $(ARGS)

# pytest keeps the tests compiled, since each of its processes would compile them anew.
test check: export PYTHONDONTWRITEBYTECODE =

# Every test. ARGS="tests/unit -k psi" runs some.
test: .venv/dev.stamp
	@$(BIN)/pytest $(ARGS)

# For daily work: lint, then the unit and contract tests that start no server.
check: lint
	@$(BIN)/pytest tests/unit tests/contract tests/repository src -m "not slow and not postgres and not service and not browser and not stack" $(ARGS)

# Style, types, layers, language.
lint: .venv/dev.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tests/repository/language_lint.py

# Let ruff rewrite what it can.
format: .venv/dev.stamp
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The documentation site, in site/. A warning is an error, and so is a page that loads something from another host.
docs: .venv/dev.stamp
	@$(BIN)/zensical build --clean --strict
	@! grep -rlE '<(script|img|iframe)[^>]* src="?https?:|<link[^>]* rel="?(stylesheet|preload|preconnect|icon)[^>]*https?:' --include='*.html' site \
		|| { echo "these pages load from another host" >&2; exit 1; }

# Measure. ARGS="--tiny" only proves that each benchmark runs.
bench: .venv/dev.stamp
	@for program in bench/*.py; do $(BIN)/python $$program $(ARGS) || exit 1; done

clean:
	rm -rf .venv

.venv/pip.stamp:
	@test -n "$(PYTHON)" || { echo "driftbell needs Python 3.11, 3.12 or 3.13; name one with make PYTHON=…" >&2; exit 1; }
	@echo "Making .venv with $(PYTHON) …"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/pip.stamp
	@echo "Installing driftbell with its extras into .venv; this takes a minute or two …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve,evidently,notifications,otel,certs,oidc,onnx]'
	@touch $@

.venv/dev.stamp: .venv/demo.stamp
	@echo "Installing the tools for tests into .venv …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve,evidently,notifications,otel,certs,oidc,onnx,dev]'
	@touch $@
