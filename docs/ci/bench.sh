#!/bin/sh
# Benchmarks for any CI: bench.sh OUT [BASE]. Fails where a budget is broken or HEAD is slower than
# BASE; says so, and passes, where that cannot be told. JUnit, JSON, Markdown and HTML are in OUT.
set -u
out=$1 base=${2:-} status=0

judge() { # what, exit code
    case $2 in
    0) echo "$1: fine" ;;
    4) echo "${GITHUB_ACTIONS:+::warning::}$1: inconclusive, see above" ;;
    *) echo "${GITHUB_ACTIONS:+::error::}$1: exit $2, see above"; status=$2 ;;
    esac
}

tierloop bench --quick --out "$out"; judge "budgets" $?
if [ -n "$base" ]; then
    tierloop compare "$base" HEAD --out "$out/compare.json"; judge "comparison with $base" $?
fi
exit $status
