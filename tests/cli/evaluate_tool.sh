#!/bin/sh
# `shortrun evaluate` as a tool of its own: conventions and intervals, every form of input, the feature networks,
# what it keeps of features, and what it refuses.
set -u
. "$(dirname "$0")/common.sh"
"$files" broken "$work" && "$files" pictures "$work" || exit 1
cd "$work" || exit 1
unset SHORTRUN_DATA SHORTRUN_FEATURES SHORTRUN_ISA
export XDG_CACHE_HOME="$work/cache"
kept=$XDG_CACHE_HOME/shortrun/features

has() {
    checks=$((checks + 1))
    grep -q -- "$1" "$work/out" || wrong "the output lacks '$1'"
}
lacks() {
    checks=$((checks + 1))
    grep -q -- "$1" "$work/out" && wrong "the output has '$1'"
}
works_on_rings() {
    works "$program" evaluate --real rings --fake rings:test --limit 200 "$@"
}

# intervals
works_on_rings --format csv
has '^metric,value,error,low,high,n_real,n_fake$'
has '^frechet,[0-9.e-]*,[0-9.e-]*,[0-9.e-]*,[0-9.e-]*,200,200$'
has '^kl_true,[0-9.e-]*,nan,nan,nan,200,200$'
cp out with.csv
works_on_rings --format csv --no-errors
has '^frechet,[0-9.e-]*,nan,nan,nan,200,200$'
cut -d, -f1,2 with.csv >with.values
cut -d, -f1,2 out >without.values
same with.values without.values "values with and without intervals"
works_on_rings
has '95% interval'
has '^real  *rings, 200 rows of 2$'
has '^memorisation_closer .* \.\. '
works_on_rings --no-errors
lacks '95% interval'
works "$program" evaluate --real eight_gaussians --fake eight_gaussians:test --limit 200 --format csv
has '^high_quality,[0-9.]*,[0-9.e-]*,[0-9.]*,[0-9.]*,200,200$'
has '^memorisation_copies,[0-9.]*,[0-9.e-]*,[0-9.e-]*,[0-9.e-]*,200,200$'
works_on_rings --format csv
# a score asked for alone is the one of the whole list
works_on_rings --format csv --metrics kid_subsets,c2st_accuracy,vendi
for name in kid_subsets c2st_accuracy vendi; do
    grep "^$name," out >one
    grep "^$name," with.csv >all
    same one all "$name alone"
done

# how long the parts took: only when asked, as no two runs are alike
works_on_rings --format json --metrics frechet
lacks '"seconds"'
works_on_rings --format json --metrics frechet --timings
has '"seconds": {"reading": [0-9.e-]*, "features": [0-9.e-]*, "scores": [0-9.e-]*}'
works_on_rings --metrics frechet --timings
has '^  reading [0-9.e-]*, features [0-9.e-]*, scores [0-9.e-]*$'

# conventions and what goes before them
works_on_rings --convention torch-fidelity --kid-subset-size 100
has 'k 3, distance <= radius'
has '100 subsets of 100 rows$'
lacks '^density\|^memorisation'
works_on_rings --convention torch-fidelity --kid-subset-size 100 --k 4 --non-strict no
has 'k 4, distance < radius'
works_on_rings --convention prdc --format csv
[ "$(cut -d, -f1 out | tr '\n' ' ')" = 'metric precision recall density coverage ' ] || wrong "prdc has other metrics"
works_on_rings --convention clean-fid --format json --kid-subsets 7
has '"convention": "clean-fid"'
has '"kid_subsets: [^"]*7 subsets of 1000 rows (or all)"'
works_on_rings --metrics frechet_infinity,sliced_w2,mmd2_rbf --frechet-sizes 5 --projection-count 16 --bandwidths 0.5,2
has '5 sizes of fake rows'
has 'sliced_w2: 16 projections'
has '^mmd2_rbf_0.5 '
has '^mmd2_rbf_2 '
refuses "expected shortrun, torch-fidelity" "$program" evaluate --real rings --fake rings --convention fid
refuses "at least the 1000" "$program" evaluate --real rings --fake rings --limit 90 --convention torch-fidelity
refuses "whole number" "$program" evaluate --real rings --fake rings --kid-subsets 0
refuses "whole number" "$program" evaluate --real rings --fake rings --k 0
refuses "yes or no" "$program" evaluate --real rings --fake rings --non-strict maybe
refuses "bandwidths.*positive" "$program" evaluate --real rings --fake rings --bandwidths 1,x
refuses "bandwidths.*more than 8" "$program" evaluate --real rings --fake rings --bandwidths 1,2,3,4,5,6,7,8,9
refuses "projection-count" "$program" evaluate --real rings --fake rings --projections good.npy --projection-count 3
refuses "unknown metric.*inception_score" "$program" evaluate --real rings --fake rings --metrics frechet,fid
refuses "need a classifier" "$program" evaluate --real rings --fake rings --metrics inception_score
refuses "fake DATA is missing" "$program" evaluate --real rings

# nearest rows
works "$program" evaluate --real good.npy --fake good.npy --metrics memorisation --nearest nearest.csv
has '^memorisation_copies '
[ "$(sed -n 1p nearest.csv)" = fake,nearest_real,distance ] && [ "$(sed -n 5p nearest.csv)" = 3,3,0 ] &&
    [ "$(wc -l <nearest.csv)" = 7 ] || wrong "nearest.csv is wrong"
works_on_rings --metrics frechet --nearest nearest.csv
[ "$(wc -l <nearest.csv)" = 201 ] || wrong "nearest.csv has not 200 rows"
refuses "cannot be written" "$program" evaluate --real good.npy --fake good.npy --nearest nowhere/n.csv
[ ! -e /dev/full ] || refuses "/dev/full" "$program" evaluate --real good.npy --fake good.npy --metrics vendi --nearest /dev/full

# forms of input, in any pair
for pair in "images.npy png" "png others.npy" "images.npy images.npy"; do
    works "$program" evaluate --real "${pair% *}" --fake "${pair#* }" --features none --metrics energy_distance
    has '40 images of 1 x 28 x 28'
done
works "$program" evaluate --real batches --fake batches:test --features none --metrics energy_distance
has '^real  *batches:train, 60 images of 3 x 32 x 32$'
has '^fake  *batches:test, 12 images of 3 x 32 x 32$'
works "$program" evaluate --real batches/data_batch_2.bin --fake batches --limit 9 --features none --metrics kid
refuses "say in which features" "$program" evaluate --real images.npy --fake png
refuses "rows of 784.*of 3072\|rows of 3072" "$program" evaluate --real images.npy --fake batches --features none

cp good.npy "$(printf 'bad\377.npy')"
works "$program" evaluate --real good.npy --fake "$(printf 'bad\377.npy')" --metrics vendi
refuses "UTF-8" "$program" evaluate --real good.npy --fake "$(printf 'bad\377.npy')" --metrics vendi --format json
[ ! -e /dev/full ] || {
    "$program" evaluate --real good.npy --fake good.npy --metrics vendi >/dev/full 2>err
    [ $? = 1 ] && grep -q '^shortrun: writing' err || wrong "evaluate >/dev/full"
}

# cells
works "$program" run good.yaml --results r --no-report
cell=$(ls r/cells | head -n 1)
for name in "r/results.db:$cell" "r/results.db:$(echo "$cell" | cut -c1-8)" r:K=2 r/results.db:steps=2,seed=1 \
    "r:eight_gaussians K=2 sigma=0 data_noise=0 seed=1"; do
    works "$program" evaluate --real eight_gaussians --fake "$name" --limit 60 --metrics sliced_w2
    has ' K=[23] sigma=0 data_noise=0 seed=1, 60 rows of 2'
done
works "$program" evaluate --real r:K=2 --fake r:K=3 --metrics sliced_w2
mv r/experiment.yaml kept.yaml
works "$program" evaluate --real eight_gaussians --fake "r:$cell" --limit 60 --metrics sliced_w2
refuses "no finished cell.*K=2" "$program" evaluate --real eight_gaussians --fake r:K=2
mv kept.yaml r/experiment.yaml
refuses "any of 2 cells" "$program" evaluate --real eight_gaussians --fake r:seed=1
refuses "no finished cell.*K=9" "$program" evaluate --real eight_gaussians --fake r:K=9
refuses "no finished cell" "$program" evaluate --real eight_gaussians --fake r:../../etc
refuses "unknown key 'colour'" "$program" evaluate --real eight_gaussians --fake r/results.db:colour=red
refuses "which cell" "$program" evaluate --real eight_gaussians --fake r/results.db:
refuses "called results.db" "$program" evaluate --real eight_gaussians --fake r/other.db:K=2
refuses "no results here" "$program" evaluate --real eight_gaussians --fake absent/results.db:K=2
mkdir old && cp results.db old/results.db
refuses "not an SQLite database" "$program" evaluate --real eight_gaussians --fake old/results.db:K=2
mv "r/cells/$cell/samples.npy" kept.npy
refuses "samples of cell.*are gone" "$program" evaluate --real eight_gaussians --fake "r:$cell"
for name in huge nan short; do
    cp $name.npy "r/cells/$cell/samples.npy"
    refuses "samples.npy" "$program" evaluate --real eight_gaussians --fake "r:$cell"
done

# a classifier's logits
pictures="--real images.npy --fake others.npy --features fashion_mnist"
# shellcheck disable=SC2086 # options, separated by blanks
{
    works "$program" evaluate $pictures --no-cache
    has '^features  *fashion_mnist classifier '
    has '^inception_score '
    has '^class_entropy '
    has '^classes of the fakes: '
    [ ! -e "$kept" ] || wrong "--no-cache left files"
    works "$program" evaluate $pictures --no-cache --format json
    has '"classes": {"count": \['
    has '"dimension": 64'
    cp out fresh.json
    refuses "resize.*inception" "$program" evaluate $pictures --resize clean-fid
    refuses "precision.*inception" "$program" evaluate $pictures --features none --precision bf16
    refuses "feature network takes" "$program" evaluate $pictures --real batches

    # what is kept
    works "$program" evaluate $pictures --format json
    same out fresh.json "features about to be kept"
    [ "$(ls "$kept" | wc -l)" = 2 ] || wrong "two sides, not two files"
    [ ! -s err ] || wrong "something was said of a cache that was empty"
    works "$program" evaluate $pictures --format json
    same out fresh.json "features that were kept"
    [ "$(grep -c 'cached features of' err)" = 2 ] || wrong "cached features of two sides were not mentioned"
    works "$program" evaluate $pictures --format json --no-cache
    [ ! -s err ] || wrong "--no-cache used the cache"

    # files that cannot be trusted: a warning, and the same values again
    for damage in "cp huge.npy" "cp good.npy" "cp nan.npy" "cp short.npy" "ln -sf /dev/zero" "flip" "mkfifo" "ln -sf absent"; do
        for file in "$kept"/*.npy; do
            case $damage in
            flip) # one byte of the values
                printf '\377' | dd of="$file" bs=1 seek=1000 conv=notrunc 2>/dev/null ;;
            mkfifo) rm -f "$file" && mkfifo "$file" ;;
            *) rm -f "$file" && $damage "$file" ;;
            esac
        done
        works timeout 60 "$program" evaluate $pictures --format json
        same out fresh.json "after '$damage'"
        [ "$(grep -c 'warning: cached features are not used' err)" = 2 ] || wrong "no two warnings after '$damage'"
        [ "$(ls "$kept" | wc -l)" = 2 ] || wrong "damaged files were left after '$damage'"
    done
    works "$program" evaluate $pictures --format json
    [ "$(grep -c 'cached features of' err)" = 2 ] || wrong "the cache did not recover"

    # the limit: what was used longest ago goes first, and nothing that is not the cache's
    zeros=00000000000000000000000000000000
    old=$kept/$zeros-$zeros.npy
    new=$kept/1${zeros#0}-$zeros.npy
    dd if=/dev/zero of="$old" bs=600000 count=1 2>/dev/null && cp "$old" "$new" && cp "$old" "$kept/notes.npy"
    touch -d '2001-01-01' "$old" "$kept/notes.npy" && touch -d '2002-01-01' "$new"
    used=$(grep -l . "$kept"/*.npy | grep -v "$zeros" | grep -v notes | head -n 1)
    unused=$(grep -l . "$kept"/*.npy | grep -v "$zeros" | grep -v notes | tail -n 1)
    touch -d '2000-01-01' "$used" && rm "$unused"
    SHORTRUN_CACHE_LIMIT=1 works "$program" evaluate $pictures --format json
    same out fresh.json "with a limit"
    [ ! -e "$old" ] || wrong "the file used longest ago was left"
    [ -e "$new" ] || wrong "more was removed than the limit asks"
    [ -e "$used" ] || wrong "a file just used was removed"
    [ -e "$unused" ] || wrong "the file just kept was removed"
    rm "$used"
    SHORTRUN_CACHE_LIMIT=none works "$program" evaluate $pictures --format json
    grep -q "warning: SHORTRUN_CACHE_LIMIT is 'none'" err || wrong "no warning of a limit that is no number"
    [ -e "$new" ] || wrong "the default limit is not 2 GB"
    rm "$used"
    SHORTRUN_CACHE_LIMIT=0 works "$program" evaluate $pictures --format json
    same out fresh.json "with a limit of 0"
    [ "$(ls "$kept")" = notes.npy ] || wrong "a limit of 0 left files of the cache, or removed another"
    rm -r "$kept" && : >"$kept"
    works "$program" evaluate $pictures --format json
    same out fresh.json "without a folder to keep features in"
    grep -q 'warning: features are not kept' err || wrong "no warning where features cannot be kept"
    rm "$kept"
}

# Inception-v3
refuses "no weights of Inception-v3.*convert_inception.py" "$program" evaluate --real png --fake png --features inception
refuses "absent.safetensors" "$program" evaluate --real png --fake png --features inception:absent.safetensors
refuses "expected pytorch-fid or clean-fid" "$program" evaluate --real png --fake png --features inception --resize pil
refuses "expected fp32 or bf16" "$program" evaluate --real png --fake png --features inception --precision bf16x3
"$files" inception inception.safetensors
case $? in
0)
    refuses "Inception takes images" "$program" evaluate --real good.npy --fake png --features inception:inception.safetensors
    weights="--features inception:inception.safetensors --limit 5 --k 2 --format json"
    # shellcheck disable=SC2086 # options, separated by blanks
    {
        works "$program" evaluate --real png --fake others.npy $weights
        has '"resize": "pytorch-fid"'
        has '"precision": "fp32"'
        has '"dimension": 2048'
        has '"class_entropy"'
        lacks '"inception_score"' # fewer images than splits
        cp out first.json
        SHORTRUN_FEATURES=inception.safetensors works "$program" evaluate --real png --fake others.npy $weights \
            --features inception --inception-splits 2
        has '"inception_score"'
        [ "$(grep -c 'cached features of' err)" = 2 ] || wrong "Inception's features were not kept"
        works "$program" evaluate --real png --fake others.npy $weights
        same out first.json "Inception's features that were kept"
        works "$program" evaluate --real png --fake others.npy $weights --convention clean-fid
        has '"resize": "clean-fid"'
        [ ! -s err ] || wrong "features of the other resizing were used"
    }
    ;;
77) echo "without oneDNN: Inception is not tested" ;;
*) wrong "no weights of Inception" ;;
esac
finish
