#!/bin/sh
# Foldable on synthetic telephone conversations, two trainings at a time: models of 12, 10, 8, 6 and 4 layers, each for
# its own depth; seeds of 6 and 4 layers that unfold to 12, for as many steps and for as much time as the model of 12
# layers; and the four losses. Then WER by all paths to each depth, and which depths are significantly worse than 12
# layers. Repeat the command to resume it; SEED=1 trains other models.
set -e
cd "$(dirname "$0")"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
SEED="${SEED:-1234}"
train() { sed "s/\$/ --seed $SEED --noprogressbar/" | xargs -P 2 -L 1 python train.py; }

for n in 12 10 8 6 4; do
    echo "hparams/transformer_mini.yaml --n_layers $n --output_folder results/transformer_mini_$n/$SEED"
done | train
{
    for n in 6 4; do
        echo "hparams/foldable_mini.yaml --n_layers $n --output_folder results/foldable_mini_$n/$SEED"
    done
    echo "hparams/foldable_mini.yaml --seed_weight 0 --kl_weight 0 --output_folder results/foldable_mini_deepest/$SEED"
    echo "hparams/foldable_mini.yaml --depth 6 --output_folder results/foldable_mini_seed/$SEED"
    echo "hparams/foldable_mini.yaml --kl_weight 0 --output_folder results/foldable_mini_both/$SEED"
} | train
for n in 6 4; do  # steps that take as long as those of the model of 12 layers did
    steps=$(python -c '
import json, sys
plain, folded = (json.load(open(f"results/{run}/report.json")) for run in sys.argv[1:])
print(round(plain["steps"] * plain["training_seconds"] / folded["training_seconds"]))
' "transformer_mini_12/$SEED" "foldable_mini_$n/$SEED")
    echo "hparams/foldable_mini.yaml --n_layers $n --number_of_steps $steps" \
        "--output_folder results/foldable_mini_${n}_time/$SEED"
done | train

out="results/foldable_mini_study/$SEED"
set --
for run in 6 6_time 4 4_time deepest seed both; do set -- "$@" "results/foldable_mini_$run/$SEED"; done
beside=""
for n in 12 10 8 6 4; do beside="$beside results/transformer_mini_$n/$SEED"; done
speechbrain-recursive analyze paths "$@" --depths 4 6 8 10 12 --beside $beside --output_folder "$out"
for run in 6 6_time 4 4_time; do
    python -c '
import json, sys
rows = json.load(open(f"{sys.argv[1]}/report.json"))["results"]
print("\n".join(dict.fromkeys(row["label"] for row in rows)))
' "results/foldable_mini_$run/$SEED" | while read -r label; do
        speechbrain-recursive compare "results/transformer_mini_12/$SEED" "results/foldable_mini_$run/$SEED" \
            --decoder greedy --loops 12 "$label" --output_folder "$out/$run $label"
    done
done
