#!/bin/sh
# BiCycle on synthetic English: a teacher, its groups, students and rivals two at a time, one table, and figures of what
# the layers of teacher, CYCLE and BiCycle compute. Repeat the command to resume it. SEEDS="1234 1 2" trains three
# students of each kind and averages their error rates; ROWS="2_2 cycle" trains these beside the baseline alone.
set -e
cd "$(dirname "$0")"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
SEEDS="${SEEDS:-1234}"
ROWS="${ROWS:-1_1 2_2 gfd fitnets kd cycle sequence zero_token relaxed}"
teacher=results/bicycle_mini_teacher/1234
first="${SEEDS%% *}"

python train.py hparams/bicycle_mini_teacher.yaml --noprogressbar
speechbrain-recursive analyze cad "$teacher"
n_phonetic=$(sed -n 's/^ *"n_phonetic": \([0-9]*\).*/\1/p' "$teacher/cad.json" | head -n 1)
for seed in $SEEDS; do
    for row in baseline $ROWS; do
        case $row in
            baseline | relaxed) groups= ;;  # which have none
            *) groups="--n_phonetic $n_phonetic" ;;
        esac
        echo "hparams/bicycle_mini_$row.yaml --seed $seed" $groups
    done
done | xargs -P 2 -L 1 python train.py --noprogressbar

set --
for row in baseline $ROWS; do
    for seed in $SEEDS; do set -- "$@" "results/bicycle_mini_$row/$seed"; done
done
[ "$SEEDS" = "$first" ] || set -- "$@" --seeds
speechbrain-recursive table "$teacher" "$@" --baseline "results/bicycle_mini_baseline/$first" \
    --output_folder results/bicycle_mini
set -- "$teacher"
for row in cycle 2_2; do
    folder="results/bicycle_mini_$row/$first"
    [ ! -d "$folder" ] || set -- "$@" "$folder"
done
for analysis in cad probe pca; do
    speechbrain-recursive analyze "$analysis" "$@" --output_folder results/bicycle_mini
done
