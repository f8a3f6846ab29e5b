#!/bin/sh
# BiCycle on synthetic English: the teacher, its groups, students and rivals two at a time, and one table. Repeat the
# command to resume it; SEED=1 trains other students of the same teacher.
set -e
cd "$(dirname "$0")"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
SEED="${SEED:-1234}"
ROWS="baseline 1_1 2_2 gfd fitnets kd cycle sequence relaxed zero_token"

python train.py hparams/bicycle_mini_teacher.yaml --noprogressbar
speechbrain-recursive analyze cad results/bicycle_mini_teacher/1234
printf '%s\n' $ROWS | xargs -P 2 -I ROW \
    python train.py hparams/bicycle_mini_ROW.yaml --seed "$SEED" --noprogressbar
for row in $ROWS; do set -- "$@" "results/bicycle_mini_$row/$SEED"; done
speechbrain-recursive table results/bicycle_mini_teacher/1234 "$@" --baseline "results/bicycle_mini_baseline/$SEED" \
    --output_folder "results/bicycle_mini/$SEED"
