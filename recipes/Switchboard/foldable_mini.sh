#!/bin/sh
# Foldable on synthetic telephone conversations, two trainings at a time: models of 12, 10, 8, 6 and 4 layers, each for
# its own depth; seeds of 6 and 4 layers that unfold to 12, for as many steps and for as much time as the model of 12
# layers; and the four losses. Then WER by all paths to each depth, and which depths are significantly worse than 12
# layers. Repeat the command to resume it. SEEDS="1234 1 2" trains three models of each kind; LAYERS="12 6" trains these
# alone for their own depths, FOLDED="6" folds to six layers alone, and LOSSES="both" tries this loss alone.
set -e
cd "$(dirname "$0")"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
SEEDS="${SEEDS:-1234}"
LAYERS="${LAYERS:-12 10 8 6 4}"
FOLDED="${FOLDED:-6 4}"
LOSSES="${LOSSES-deepest seed both}"
value() {  # of a key in the report of a folder
    sed -n "s/^ *\"$1\": \"\(.*\)\",*$/\1/p; s/^ *\"$1\": \([0-9.]*\),*$/\1/p" "$2/report.json"
}
train() { xargs -P 2 -L 1 python train.py --noprogressbar; }
folded="$FOLDED $(for n in $FOLDED; do printf '%s_time ' "$n"; done)"

for seed in $SEEDS; do
    {
        for n in $LAYERS; do
            echo "hparams/transformer_mini.yaml --n_layers $n --output_folder results/transformer_mini_$n/$seed"
        done
        for n in $FOLDED; do
            echo "hparams/foldable_mini.yaml --n_layers $n --output_folder results/foldable_mini_$n/$seed"
        done
        for loss in $LOSSES; do
            case $loss in
                deepest) weights="--seed_weight 0 --kl_weight 0" ;;
                seed) weights="--depth 6" ;;
                both) weights="--kl_weight 0" ;;
            esac
            echo "hparams/foldable_mini.yaml $weights --output_folder results/foldable_mini_$loss/$seed"
        done
    } | sed "s/\$/ --seed $seed/" | train
    for n in $FOLDED; do  # steps that take as long as those of the model of 12 layers did
        plain=results/transformer_mini_12/$seed folded=results/foldable_mini_$n/$seed
        timed="results/foldable_mini_${n}_time/$seed"
        steps=$(sed -n "s/^number_of_steps: //p" "$timed/recipe.yaml" 2>/dev/null || true)  # if it was begun before
        [ -n "$steps" ] || steps=$(
            echo "$(value steps "$plain") $(value training_seconds "$plain") $(value training_seconds "$folded")" |
                awk '{printf "%.0f", $1 * $2 / $3}')
        echo "hparams/foldable_mini.yaml --n_layers $n --number_of_steps $steps" \
            "--output_folder $timed --seed $seed"
    done | train
done

first="${SEEDS%% *}"
seeds=
[ "$SEEDS" = "$first" ] || seeds=--seeds
runs() { for name in "$@"; do for seed in $SEEDS; do echo "results/$name/$seed"; done; done; }
speechbrain-recursive analyze paths \
    $(runs $(for run in $folded $LOSSES; do echo "foldable_mini_$run"; done)) \
    --beside $(runs $(for n in $LAYERS; do echo "transformer_mini_$n"; done)) \
    --depths $(for n in $FOLDED; do seq "$n" 2 12; done | sort -nu) $seeds --output_folder results/foldable_mini_study
for run in $folded; do
    for seed in $SEEDS; do
        value label "results/foldable_mini_$run/$seed" | sort -u | while read -r label; do
            speechbrain-recursive compare "results/transformer_mini_12/$seed" "results/foldable_mini_$run/$seed" \
                --decoder greedy --loops 12 "$label" --output_folder "results/foldable_mini_study/$run $label/$seed"
        done
    done
done
