# make demo   installs what is missing, then compiles, runs and profiles the bundled groups-8 model on a virtual Pi
# make test   installs what is missing, then runs all tests and prints the coverage
# make fuzz   tests kernels on thirty times as many random shapes, tilings and values as make test
# make test-mcu  every image of the digits test set on three emulated Cortex-M cores, against the reference
# make bench  one inference beside other engines: instructions, time (slow; writes reports/ and the README's table)
# make bench-mcu  instructions, flash and RAM of Cortex-M firmware beside CMSIS-NN (slow; writes reports/ and the README's table)
# make bench-shapes  the same of shufflec alone, for all groups, scales and a larger input (slow; writes reports/)
# make bench-models  instructions and time of every published ShuffleNet, for `models --compare` (slow; writes reports/)
# make ablation  groups and channel shuffle, trained on the digits over five seeds (a quarter of an hour; writes reports/)
# make tune-shipped  tunes the published networks for each board, into schedules/ (slow)

SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
APT_PACKAGES := qemu-user libc6-arm64-cross libstdc++6-arm64-cross qemu-system-arm
# Only for the tests: exported firmware projects are built as their users would.
test: APT_PACKAGES += cmake gcc-arm-none-eabi
DEMO_DIR := out/demo

.DEFAULT_GOAL := help
.PHONY: help install system demo test test-unit lint fuzz bench bench-shapes bench-models ablation shuffle-bench golden golden-check tune-shipped checkpoints clean bench-mcu test-mcu

help:
	@grep -E '^# make' Makefile | sed 's/^# //'

# Debian's names of what is missing; python3-venv only where this Python cannot make an environment.
system:
	@missing=""; \
	for package in $(APT_PACKAGES); do \
	    dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; \
	done; \
	command -v $(PYTHON) >/dev/null || missing="$$missing python3.11"; \
	[ -d $(VENV) ] || $(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3.11-venv"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
	    echo "missing:$$missing (no apt-get here: install them by hand; without qemu shufflec compiles but cannot verify)"; exit 0; \
	fi; \
	sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	echo "installing system packages:$$missing"; \
	$$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null \
	    || echo "could not install$$missing: run 'apt-get install$$missing' as root; without qemu shufflec compiles but cannot verify"

# torch comes first and exactly: any other version would pull in gigabytes of GPU libraries.
$(STAMP): pyproject.toml constraints.txt | system
	@echo "installing pinned Python packages into $(VENV) (a minute or two)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0 -c constraints.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

install: system $(STAMP)

demo: install
	@$(BIN)/python -m shufflec.cli.main compile --target rasp4 --groups 8 -o $(DEMO_DIR)
	@$(BIN)/python tests/images/make_digit.py out/digit.png
	@$(BIN)/python -m shufflec.cli.main device up --target rasp4 --port 9097
	@set -e; trap '$(BIN)/python -m shufflec.cli.main device down --port 9097' EXIT; \
	$(BIN)/python -m shufflec.cli.main run $(DEMO_DIR) out/digit.png --rpc 127.0.0.1:9097; \
	$(BIN)/python -m shufflec.cli.main profile $(DEMO_DIR) --rpc 127.0.0.1:9097

test: install
	@$(BIN)/python -m ruff check shufflec tests
	@$(BIN)/python -m pytest -q --cov --cov-report=term

test-unit: install
	@$(BIN)/python -m pytest -q tests/unit

test-mcu: install
	@SHUFFLEC_MCU_IMAGES=359 SHUFFLEC_MCU_CORES="cortex-m3 cortex-m4 cortex-m55" \
	    $(BIN)/python -m pytest -q tests/board/test_cortex_m_guards.py -k images

lint: install
	@$(BIN)/python -m ruff check shufflec tests

fuzz: install
	@SHUFFLEC_FUZZ_EFFORT=30 $(BIN)/python -m pytest -q tests/fuzz/test_fuzz_kernels.py

bench: install
	@$(BIN)/python -m shufflec.cli.main bench peers --readme README.md

bench-shapes: install
	@$(BIN)/python -m shufflec.cli.main bench shapes

bench-models: install
	@$(BIN)/python -m shufflec.cli.main models --compare --measure -o reports

# Single-threaded trainings; several of this command at once share them.
ablation: install
	@OMP_NUM_THREADS=1 nice $(BIN)/python -m shufflec.cli.main ablate --epochs 20 --batch-size 64 --rotate 10 --zoom 0.1

bench-mcu: install
	@$(BIN)/python -m shufflec.bench.cortex_m reports README.md

shuffle-bench: install
	@$(BIN)/python -m shufflec.cli.main bench shuffle

# The figures of the shipped checkpoints on the virtual boards: written anew after a deliberate change, or compared (minutes).
golden: install
	@$(BIN)/python tests/golden/estimates.py

golden-check: install
	@$(BIN)/python tests/golden/estimates.py --check

tune-shipped: install
	@OMP_NUM_THREADS=1 nice $(BIN)/python -m shufflec.tuning.shipped
	@OMP_NUM_THREADS=1 nice $(BIN)/python -m shufflec.tuning.shipped --family v2

clean:
	rm -rf $(VENV) out .pytest_cache .coverage
