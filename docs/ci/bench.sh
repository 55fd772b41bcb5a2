#!/bin/sh
# Benchmarks for any CI: bench.sh OUT [BASE]. Fails where a budget is broken or HEAD is slower than
# BASE; says so, and passes, where that cannot be told. Junit, JSON, Markdown and HTML are in OUT.
set -u
out=$1 base=${2:-}

judge() { # what, exit code
    case $2 in
    0) echo "$1: fine" ;;
    4) echo "$1: inconclusive, see above" ;;
    *) echo "$1: exit $2" >&2; exit "$2" ;;
    esac
}

tierloop bench --quick --out "$out"; judge "budgets" $?
[ -z "$base" ] && exit 0
tierloop compare "$base" HEAD --out "$out/compare.json"; judge "comparison with $base" $?
