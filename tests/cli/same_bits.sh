#!/bin/sh
# The same bytes for 1, 2 and 3 threads, after ten kills at random moments, and after Ctrl-C.
set -u
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
now() {
    date +%s%N
}
# A run of a second or two: noise, persistent chains, averages and spectral norm are all in it.
settings="--dataset pinwheel --model mlp:dim=2,widths=64x64,activation=silu --iterations 1000
    --batch 100 --steps 5 --noise 0.05 --start persistent --average 0.99 --spectral-iterations 1
    --checkpoint-every 0"
# shellcheck disable=SC2086 # a list of options
train() {
    "$program" train $settings "$@"
}

works train --threads 1 --output one.safetensors
for threads in 2 3; do
    begin=$(now)
    works train --threads $threads --output $threads.safetensors
    [ $threads != 2 ] || took=$((($(now) - begin) / 1000000)) # milliseconds
    same one.safetensors $threads.safetensors "$threads threads"
    works "$program" sample $threads.safetensors --n 333 --noise 0.1 --threads $threads --output s$threads.npy
done
works "$program" sample one.safetensors --n 333 --noise 0.1 --threads 1 --output s1.npy
same s1.npy s2.npy "samples, 2 threads"
same s1.npy s3.npy "samples, 3 threads"

seed=$(date +%s)
echo "one run takes $took ms; random moments from seed $seed"
kills=0
attempts=0
while [ $kills -lt 10 ] && [ $attempts -lt 40 ]; do
    attempts=$((attempts + 1))
    # shellcheck disable=SC2086 # the program itself, not a function: its process is what is killed
    "$program" train $settings --threads 2 --output killed.safetensors >/dev/null 2>&1 &
    child=$!
    sleep "$(awk -v seed="$((seed + attempts))" -v ms="$took" \
        'BEGIN { srand(seed); printf "%.3f", 0.02 + rand() * ms / 10000 }')"
    if kill -9 $child 2>/dev/null; then
        kills=$((kills + 1))
    else # it came to its end: once more from the start
        rm -f killed.safetensors*
    fi
    wait $child 2>/dev/null
done
checks=$((checks + 1))
[ $kills = 10 ] || wrong "killed $kills times, expected 10"
works train --threads 2 --output killed.safetensors
grep -q 'going on after iteration' "$work/err" || echo "(the last kill came after the end)"
same one.safetensors killed.safetensors "after ten kills"

# Ctrl-C: saves, says how to go on, status 130
"$program" train --dataset pinwheel --iterations 1000000 --checkpoint-every 1000 \
    --output stopped.safetensors >/dev/null 2>"$work/err" &
child=$!
sleep 1
kill -INT $child
wait $child
status=$?
checks=$((checks + 1))
[ $status = 130 ] || wrong "status $status after SIGINT, expected 130"
grep -q 'goes on' "$work/err" || wrong "no word on how to go on"
[ -s stopped.safetensors ] || wrong "SIGINT left no checkpoint"
finish
