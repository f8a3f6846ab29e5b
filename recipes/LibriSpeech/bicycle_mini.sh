#!/bin/sh
# BiCycle on synthetic English: a teacher, its groups, students and rivals two at a time, one table, and figures of what
# the layers of teacher, CYCLE and BiCycle compute. Repeat the command to resume it. SEEDS="1234 1 2" trains three
# students of each kind and averages their error rates.
set -e
cd "$(dirname "$0")"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
SEEDS="${SEEDS:-1234}"
GROUPED="1_1 2_2 gfd fitnets kd cycle sequence zero_token"   # rows that read the teacher's groups
teacher=results/bicycle_mini_teacher/1234
first="${SEEDS%% *}"

python train.py hparams/bicycle_mini_teacher.yaml --noprogressbar
speechbrain-recursive analyze cad "$teacher"
n_phonetic=$(python -c 'import json, sys; print(json.load(sys.stdin)["grouping"]["n_phonetic"])' < "$teacher/cad.json")
for seed in $SEEDS; do
    for row in baseline relaxed; do echo "hparams/bicycle_mini_$row.yaml --seed $seed"; done
    for row in $GROUPED; do echo "hparams/bicycle_mini_$row.yaml --seed $seed --n_phonetic $n_phonetic"; done
done | xargs -P 2 -L 1 python train.py --noprogressbar

set --
for row in baseline $GROUPED relaxed; do
    for seed in $SEEDS; do set -- "$@" "results/bicycle_mini_$row/$seed"; done
done
[ "$SEEDS" = "$first" ] || set -- "$@" --seeds
speechbrain-recursive table "$teacher" "$@" --baseline "results/bicycle_mini_baseline/$first" \
    --output_folder results/bicycle_mini
for analysis in cad probe pca; do
    speechbrain-recursive analyze "$analysis" "$teacher" "results/bicycle_mini_cycle/$first" "results/bicycle_mini_2_2/$first" \
        --output_folder results/bicycle_mini
done
