#!/bin/sh
# Broken input of every kind gives one clear line and a non-zero status, and never a crash.
set -u
. "$(dirname "$0")/common.sh"
"$files" broken "$work" || exit 1
cd "$work" || exit 1
unset SHORTRUN_DATA SHORTRUN_FEATURES SHORTRUN_ISA

# the command line
refuses "expected a command" "$program"
refuses "did you mean train" "$program" trian
refuses "did you mean --fresh" "$program" run good.yaml --frsh
refuses "may mean" "$program" train --r 1
refuses "needs a value" "$program" train --dataset
refuses "takes no value" "$program" run --fresh=1 good.yaml
refuses "unknown option -z" "$program" info -z
refuses "expected EXPERIMENT" "$program" run
refuses "unexpected argument" "$program" info more
refuses "whole number" "$program" train --dataset rings --output m.safetensors --seed -1
refuses "whole number" "$program" train --dataset rings --output m.safetensors --seed 1x
refuses "whole number" "$program" train --dataset rings --output m.safetensors --threads 99999999999999999999
refuses "number" "$program" train --dataset rings --output m.safetensors --rate nan
refuses "expected auto" "$program" train --dataset rings --output m.safetensors --engine fast
refuses "steps" "$program" train --dataset rings --output m.safetensors --steps 0
refuses "noise" "$program" train --dataset rings --output m.safetensors --noise -0.1
refuses "expected euler, heun, rk4 or adaptive" "$program" train --dataset rings --output m.safetensors --integrator rk5
refuses "relu has no curvature" "$program" train --dataset rings --output m.safetensors --curvature-cap 0.9 \
    --model mlp:dim=2,widths=8,activation=relu
refuses "noise needs euler" "$program" train --dataset rings --output m.safetensors --integrator rk4 --noise 0.1
refuses "output" "$program" train --dataset rings
refuses "nowhere" "$program" train --dataset nowhere --output m.safetensors
refuses "" "$program" train --dataset rings --output m.safetensors --model mlp:dim=3,widths=8,activation=silu
refuses "" "$program" train --dataset rings --output m.safetensors --model mlp:dim=2,widths=8,activation=sliu
refuses "bash" "$program" completion fish

# comparisons
refuses "expected A B" "$program" compare
refuses "experiment.yaml: no such file" "$program" compare K=2 K=3
refuses "experiment.yaml: no such file" "$program" compare K=2 K=3 --results nowhere
refuses "same file" "$program" compare a.npy a.npy --real rings
refuses "absent.npy" "$program" compare absent.npy gone.npy --real rings
refuses "real is for files" "$program" compare a b --real rings --results r
refuses "need --real" "$program" compare a b --features none
refuses "expected table" "$program" compare a b --format xml
refuses "permutations" "$program" compare a b --permutations 0

# densities
works "$program" train --dataset rings --iterations 1 --batch 4 --model mlp:dim=2,widths=8,activation=leaky_relu \
    --output leaky.safetensors
works "$program" train --dataset rings --iterations 1 --batch 4 --start data --output fromdata.safetensors
refuses "expected MODEL" "$program" density
refuses "absent.safetensors" "$program" density absent.safetensors
refuses "leaky_relu has no curvature" "$program" density leaky.safetensors
refuses "data rows have no density" "$program" density fromdata.safetensors
refuses "expected auto, exact, series" "$program" density fromdata.safetensors --method lu
refuses "points" "$program" density fromdata.safetensors --points 0
refuses "takes 2 numbers" "$program" density fromdata.safetensors --start gaussian --dataset good-images-idx3-ubyte
works "$program" train --dataset good-images-idx3-ubyte --iterations 1 --batch 2 --start gaussian --output image.safetensors \
    --model convnet:channels=1,size=8,nf=2,activation=silu
refuses "a row of rings has 2" "$program" density image.safetensors --dataset rings
refuses "nowhere" "$program" density fromdata.safetensors --start gaussian --dataset nowhere
refuses "probes" "$program" density fromdata.safetensors --start gaussian --method series --probes 1

# profiles
small="--seconds 0.01 --threads 1 --model mlp:dim=2,widths=8,activation=silu"
refuses "expected MODEL" "$program" profile
refuses "absent.safetensors" "$program" profile absent.safetensors
refuses "unknown model" "$program" profile --model mpl:dim=2
refuses "1 output" "$program" profile --model classifier:channels=1,size=8,nf=2,features=4,classes=3,activation=relu
# shellcheck disable=SC2086 # options, separated by blanks
{
    refuses "engine.*fast.*expected auto" "$program" profile $small --engine onednn,fast
    refuses "precision.*fp8.*expected fp32" "$program" profile $small --precision fp8
    refuses "batch.*'0'.*whole numbers" "$program" profile $small --batch 0
    refuses "batch.*whole numbers" "$program" profile $small --batch 4,,8
    refuses "steps.*'0'.*whole numbers" "$program" profile $small --steps 0
    refuses "threads.*'-1'.*whole numbers" "$program" profile $small --threads -1
    refuses "more than 16" "$program" profile $small --batch 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17
    refuses "seconds" "$program" profile $small --seconds 0
    refuses "noise" "$program" profile $small --noise -1
    refuses "tile" "$program" profile $small --tile x
    refuses "format.*expected text" "$program" profile $small --format xml
    refuses "nothing was measured.*bf16" "$program" profile $small --engine scalar --precision bf16
    refuses "proc" "$program" profile $small --output /proc/shortrun
}

# IDX
for name in truncated magic huge empty; do
    refuses "$name-images" "$program" train --dataset "$name-images-idx3-ubyte" --output m.safetensors
done
refuses "half.gz" "$program" train --dataset half.gz --output m.safetensors

# .npy
for name in huge large object negative short nan; do
    refuses "$name.npy\|real" "$program" evaluate --real "$name.npy" --fake good.npy --k 2
done
refuses "absent.npy" "$program" evaluate --real absent.npy --fake good.npy
refuses "metric" "$program" evaluate --real good.npy --fake good.npy --metrics frechett
refuses "rows" "$program" evaluate --real good.npy --fake good.npy --k 50

# safetensors
for name in overlap beyond hugeshape header nojson short; do
    refuses "$name.safetensors" "$program" sample "$name.safetensors" --output s.npy \
        --model mlp:dim=2,widths=8,activation=silu
done
refuses "other.safetensors" "$program" sample other.safetensors --output s.npy
refuses "other.safetensors" "$program" energy other.safetensors --input good.npy \
    --model mlp:dim=2,widths=8,activation=silu
refuses "other.safetensors" "$program" evaluate --real good.npy --fake good.npy --features other.safetensors

# experiments
refuses "typo.yaml:[0-9]*:.*iterations" "$program" run typo.yaml
refuses "k0.yaml:[0-9]*:.*steps" "$program" run k0.yaml
refuses "noise.yaml:[0-9]*:.*noise" "$program" run noise.yaml
for name in syntax empty binary; do
    refuses "$name.yaml" "$program" run "$name.yaml"
done
refuses "absent.yaml" "$program" run absent.yaml
refuses "nothing.npy" "$program" run missing.yaml --results r --no-report
refuses "colour" "$program" run good.yaml --results r --cells colour=red
mkdir old && cp results.db old/results.db
refuses "results.db" "$program" run good.yaml --results old
refuses "" "$program" report .
refuses "absent" "$program" report absent

# where nothing can be written
: >file
refuses "file" "$program" run good.yaml --results file/results
refuses "file" "$program" train --dataset rings --iterations 2 --output file/m.safetensors
refuses "proc" "$program" run good.yaml --results /proc/shortrun
refuses "png\|npy" "$program" sample other.safetensors --output s.jpg
works "$program" train --dataset rings --iterations 3 --batch 16 --output m.safetensors
refuses "train.iterations\|iterations" "$program" train --dataset rings --iterations 2 --batch 16 --output m.safetensors
refuses "batch" "$program" train --dataset rings --iterations 9 --batch 32 --output m.safetensors
refuses "m.safetensors.*cannot be written" "$program" train --dataset rings --output m.safetensors/x

# a full disk
if [ -e /dev/full ]; then
    "$program" info --json >/dev/full 2>"$work/err"
    [ $? = 1 ] && grep -q '^shortrun: writing' "$work/err" || wrong "info >/dev/full"
    checks=$((checks + 1))
    refuses "/dev/full" "$program" train --dataset eight_gaussians --iterations 2 --output /dev/full
    refuses "/dev/full" "$program" energy m.safetensors --input good.npy --output /dev/full
fi
mkdir small
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=64k tmpfs small 2>/dev/null; then
    mounted=$work/small
    works "$program" sample m.safetensors --n 100 --output small/s.npy
    cp small/s.npy kept.npy
    refuses "small/s.npy" "$program" sample m.safetensors --n 20000 --output small/s.npy
    same small/s.npy kept.npy "the old file must survive a full disk"
    refuses "small/m.safetensors" "$program" train --dataset rings --iterations 2 --output small/m.safetensors
    [ ! -e small/m.safetensors ] || wrong "a part of a checkpoint was left on the full disk"
    [ "$(ls small | wc -l)" = 1 ] || wrong "temporary files were left on the full disk"
    refuses "" "$program" run good.yaml --results small/r --no-report
else
    echo "no tmpfs can be mounted here: the full disk is /dev/full only"
fi
finish
