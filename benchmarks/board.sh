#!/usr/bin/env bash
# Every command behind the committed leaderboard, from nothing: hours on two cores.
#
#   pip install . ./plugins/dpbench-{mixture,flow,pe,merf,augm,pategan,pixel}
#   bash benchmarks/board.sh runs/board
#   dpbench leaderboard --runs runs/board --write leaderboard
#
# What a directory has is found and not made again, so it may be cut short and started anew.
# `bash benchmarks/board.sh runs/board train` runs one part only: train, starts, accuracy, audits.
set -euf
runs=${1:-runs/board}
parts=${2:-train starts accuracy audits}

seeds="--seed 0 --seed 1 --seed 2 --seed 3 --seed 4"
private="--epsilon 10 --epsilon 1 --epsilon 0.2 --clip 1"
all="--epsilon inf $private"
few="--epsilon 10 --epsilon 1"

#: Generators in the three latent spaces: not in pixels, which are a fourth where they are installed.
in_spaces() {
  local option=$1 label
  shift
  for label in "$@"; do printf -- '%s ae-*-%s %s wgan-%s ' "$option" "$label" "$option" "$label"; done
}
learned=$(in_spaces --grid GAN VAE)
released=$(in_spaces --grid Gaussian Mixture Mixture-SGD Flow)
others="--grid ae-grad-PE --grid ae-grad-MERF --grid ae-grad-AuGM --grid ae-grad-PATEGAN"
pixels="--grid pixel-id-DPGAN"
starts="--grid priors $(in_spaces --method 'GAN+*' 'VAE+*' Mixture Gaussian)"

bench() {
  echo "== dpbench $*"
  dpbench "$@" --runs "$runs"
}

train() {
  for data in mnist fashion-mnist; do
    bench run --dataset $data $learned $released $all $seeds --quiet
  done
  bench run $others $all $seeds --quiet
  bench run $pixels $all --seed 0 --quiet
}

starts() {
  bench run $starts $few $seeds --quiet
}

accuracy() {
  for data in mnist fashion-mnist; do
    bench score --metrics downstream --dataset $data $learned $released $all $seeds
  done
  bench score --metrics downstream $others $pixels $all $seeds
  bench score --metrics downstream $starts $few $seeds
}

audits() {
  for data in mnist fashion-mnist; do
    bench audit --dataset $data $learned $released $private --kind one-run
  done
  bench audit $others $pixels $private --kind one-run
  bench audit $starts $few --clip 1 --kind one-run
}

for part in $parts; do "$part"; done
