#!/bin/sh
# `shortrun evaluate` against the oracle's values: metrics_*.safetensors in $SHORTRUN_ORACLE_DIR, or in $3.
set -u
. "$(dirname "$0")/common.sh"
oracle=${SHORTRUN_ORACLE_DIR:-$3}
for file in "$oracle"/metrics_*.safetensors; do
    works "$files" arrays "$file" "$work"
    works "$program" evaluate --real "$work/real.npy" --fake "$work/fake.npy" --metrics all \
        --k "$("$files" meta "$file" k)" --bandwidth "$("$files" meta "$file" sigma)" \
        --projections "$work/projections.npy" --format json
    cp "$work/out" "$work/result.json"
    works "$files" compare "$file" "$work/result.json"
    # the bandwidth in the file is the median distance, which is also the default
    works "$program" evaluate --real "$work/real.npy" --fake "$work/fake.npy" \
        --projections "$work/projections.npy" --format json --threads 1
    cp "$work/out" "$work/result.json"
    works "$files" compare "$file" "$work/result.json"
done
works "$program" evaluate --real "$work/real.npy" --fake "$work/fake.npy" --metrics kid,frechet --format csv
[ "$(wc -l <"$work/out")" = 3 ] || wrong "csv: expected a header and two metrics"
finish
