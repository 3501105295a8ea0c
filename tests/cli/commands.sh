#!/bin/sh
# Every command once, on good input: what it writes and prints, and that a finished run is not run again.
set -u
. "$(dirname "$0")/common.sh"
"$files" broken "$work" || exit 1
cd "$work" || exit 1

works "$program" --version
works "$program" --help
for command in run train sample energy evaluate compare density report profile features info completion; do
    works "$program" $command --help
    grep -q '^Usage: shortrun '$command "$work/out" || wrong "$command --help shows no usage"
    works "$program" help $command
done
works "$program" run --keys
grep -q step_size "$work/out" || wrong "--keys does not explain step_size"
works "$program" info --json
grep -q '"isa_active"' "$work/out" || wrong "info --json lacks the ISA"
"$program" completion bash >completion.bash
if command -v bash >/dev/null; then
    works bash -c '. ./completion.bash; COMP_WORDS=(shortrun run --fr); COMP_CWORD=2; _shortrun
                   [ "${COMPREPLY[*]}" = --fresh ]'
    works bash -c '. ./completion.bash; COMP_WORDS=(shortrun train --engine s); COMP_CWORD=3; _shortrun
                   [ "${COMPREPLY[*]}" = scalar ]'
    works bash -c '. ./completion.bash; COMP_WORDS=(shortrun profile --precision bf16x); COMP_CWORD=3; _shortrun
                   [ "${COMPREPLY[*]}" = bf16x3 ]'
    works bash -c '. ./completion.bash; COMP_WORDS=(shortrun evaluate --convention clean); COMP_CWORD=3; _shortrun
                   [ "${COMPREPLY[*]}" = clean-fid ]'
    works bash -c '. ./completion.bash; COMP_WORDS=(shortrun evaluate --features incep); COMP_CWORD=3; _shortrun
                   [ "${COMPREPLY[*]}" = inception ]'
    works bash -c '. ./completion.bash; COMP_WORDS=(shortrun evaluate --metrics memo); COMP_CWORD=3; _shortrun
                   [ "${COMPREPLY[*]}" = memorisation ]'
    works bash -c '. ./completion.bash; COMP_WORDS=(shortrun compare --format j); COMP_CWORD=3; _shortrun
                   [ "${COMPREPLY[*]}" = json ]'
fi

works "$program" train --dataset rings --iterations 30 --batch 32 --curve curve.csv --output m.safetensors
[ "$(wc -l <curve.csv)" = 31 ] || wrong "the curve has not 30 lines"
works "$program" train --dataset rings --iterations 30 --batch 32 --output m.safetensors
grep -q 'done already' "$work/out" || wrong "a finished training was not noticed"
works "$program" sample m.safetensors --n 50 --output s.npy --trace trace.csv
[ "$(wc -l <trace.csv)" = 12 ] || wrong "the trace has not K + 1 = 11 lines"
works "$program" sample m.safetensors --n 50 --output s.png
works "$program" train --dataset rings --iterations 5 --batch 32 --integrator heun --output heun.safetensors
works "$program" sample heun.safetensors --n 20 --output h.npy
grep -q ' heun, K 10' "$work/out" || wrong "sample does not take the checkpoint's integrator"
works "$program" sample heun.safetensors --n 20 --integrator rk4 --output h.npy
grep -q ' rk4, K 10' "$work/out" || wrong "sample does not take the integrator that was asked for"
works "$program" sample m.safetensors --n 50 --start data --output d.npy
works "$program" density m.safetensors --points 100 --grid 40 --long-chains 20 --long-steps 200 --beyond 2 --output dens
grep -q '^ll_gain .*n 100' "$work/out" || wrong "density: no gain over exp(-E)/Z"
[ -f dens/induced.npy ] && [ -f dens/long_run.npy ] || wrong "density: files are missing"
for format in json csv; do
    works "$program" density m.safetensors --points 50 --grid 16 --long-chains 0 --beyond 1 --format $format
    grep -q kl_density_induced "$work/out" || wrong "density --format $format lacks a number"
done
python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$work/out" 2>/dev/null && wrong "csv is not json"
works "$program" energy m.safetensors --input s.npy
[ "$(wc -l <"$work/out")" = 50 ] || wrong "energy printed not 50 lines"
works "$program" energy m.safetensors --input s.npy --output e.npy --gradient g.npy
works "$program" evaluate --real rings --fake s.npy --limit 500
works "$program" train --dataset good-images-idx3-ubyte --iterations 2 --batch 2 --output i.safetensors
works "$program" sample i.safetensors --n 3 --output i.png
works "$program" evaluate --real good-images-idx3-ubyte --fake good-images-idx3-ubyte --features none --k 2

small=convnet:channels=1,size=12,nf=2,activation=silu
works "$program" profile m.safetensors --seconds 0.01 --batch 8 --steps 2 --threads 1
grep -q 'chain-steps/s' "$work/out" || wrong "profile: no chain-steps per second"
works "$program" profile --model $small --seconds 0.01 --batch 4 --steps 2 --threads 1,2 --engine scalar \
    --precision fp32,bf16 --training --format json --output p
grep -q '"skipped"' "$work/out" || wrong "profile: scalar in bf16 was not listed as skipped"
grep -q '"ms_per_training_iteration"' "$work/out" || wrong "profile: no iteration of training"
[ "$(grep -c '"ms_per_step"' "$work/out")" = 2 ] || wrong "profile: not two combinations"
same "$work/out" p/profile.json "what was printed and written"
[ -s p/profile.csv ] && [ -s p/time_step.gp ] && [ -s p/roofline_scalar_fp32_t1_b4_k2.gp ] ||
    wrong "profile: files are missing"
works "$program" profile --model $small --seconds 0.01 --batch 4 --steps 2 --threads 1 --format csv
grep -q 'conv3x3/1 1->2 @12x12,forward,' "$work/out" || wrong "profile: no first layer in the CSV"

works "$program" run good.yaml --dry-run
[ ! -e results ] || wrong "a dry run left files"
works "$program" run good.yaml --results r
grep -q '2 cells: 2 done' "$work/out" || wrong "run: no summary of two cells"
[ -s r/experiment.yaml ] && [ -s r/results.db ] && [ -s r/report/report.html ] || wrong "run: files are missing"
works "$program" run good.yaml --results r --no-report
grep -q '0 done, 0 diverged, 0 failed, 2 finished before' "$work/out" || wrong "finished cells ran again"
works "$program" run good.yaml --results r --fresh --cells K=2 --no-report
grep -q '1 cells\{0,1\}: 1 done' "$work/out" || wrong "--fresh --cells K=2 did not run one cell"
rm -r r/report
works "$program" report r
[ -s r/report/report.html ] || wrong "report: no page"
works "$program" report r --tables-only --format csv
head -n 1 "$work/out" | grep -q 'value,error,low,high,n' || wrong "report: no errors in the CSV"
[ -s r/report/tables/noise.csv ] || wrong "report: no comparisons of noise with none"
works "$program" compare K=2 K=3 --results r --permutations 99
grep -q '^kl: .*, p [=<] ' "$work/out" || wrong "compare: no statement about kl"
first=$(sed -n 's/^A: .*(\([0-9a-f]*\))$/\1/p' "$work/out")
works "$program" compare K=3 "$first" --results r --metric kl --format csv
[ "$(wc -l <"$work/out")" = 2 ] || wrong "compare: CSV of one metric has not two lines"
refuses "same cell" "$program" compare K=2 "$first" --results r
refuses "no finished cell" "$program" compare K=2 K=4 --results r
refuses "differ in more than the seed" "$program" compare seed=1 K=3 --results r
refuses "unknown key" "$program" compare K=2 sgima=0 --results r
works sh -c "cd r && '$program' compare K=2 K=3 --format json --permutations 99 --threads 1"
cp "$work/out" one.json
works "$program" compare K=2 K=3 --results r --format json --permutations 99 --threads 2
same "$work/out" one.json "compare on one thread and on two"
works "$program" compare r/cells/*/samples.npy --real eight_gaussians --limit 300 --permutations 99
grep -q 'n: 64 of A, 64 of B, 300 of the data' "$work/out" || wrong "compare: files: no n"
works "$program" compare s.npy d.npy --real s.npy --permutations 99
finish
