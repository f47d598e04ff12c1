# Targets for people at work on jt1078relay; `make` lists them.
.PHONY: help check demo bench reference

help:            ## this list
	@grep -hE '^[a-z]+: .*##|^[a-z]+:  .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

check:           ## style, types and tests: what the README's test command and CI run
	bash tests/check

demo:            ## the demonstration from the installed package
	.venv/bin/twistd -n --pidfile= jt1078relay --demo

bench:           ## every benchmark, one JSON line each
	for program in bench/bench_*.py; do .venv/bin/python $$program; done
