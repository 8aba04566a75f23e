#!/bin/sh
# make.sh ARCHIVE COMMAND...: pack files of every kind that COMMAND (a release of this program) writes.
# For example, with a release installed:  sh make.sh "$PWD/0.2.0-whole.tar.xz" pipeline
set -e
archive=$1; shift
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
mkdir "$folder/work"; cd "$folder/work"
export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
small="model.latent_dim=3 model.rank=1 model.dynamics_width=4 model.hyper_width=4 model.encoder_width=4
model.read_in.hidden=3 model.read_in.width=3 batch.trials_per_session=4 validate_every=2 checkpoint_every=2"
tiny=""; for word in $small; do tiny="$tiny --set $word"; done

"$@" simulate ../nwb --set n_subjects=2 --set n_sessions=1 --set 'n_units=[4,5]' --set n_trials=16 \
    --set waveforms=false --set silent_units=0 -q
# A file that is no recording, for the ledger.
echo nothing > ../nwb/sub-SimA/sub-SimA_ses-CO-20200109_behavior+ecephys.nwb
"$@" run ingest --path ../nwb -q || test $? = 3
"$@" run train --model mdssm --run-name both --max-steps 4 --device cpu $tiny -q
"$@" run train --model mdssm --run-name alone --session 'sub-SimA*' --max-steps 2 --device cpu $tiny -q
"$@" run align --run alone --session 'sub-SimB*' --trials 5 --device cpu --set max_steps=2 -q
"$@" run decode --run both --set 'decoders=["ridge","wiener"]' --set 'lag_scan_ms=[60,100]' --transfer \
    --set n_permutations=20 -q
"$@" run evaluate --run both --truth ../nwb --set n_resamples=20 -q
"$@" run evaluate --run both --set phase=val --set 'metrics=["velocity_r2"]' --set 'baselines=["smoothing"]' \
    --set n_resamples=20 -q
"$@" run forecast --run both -q
find . \( -name '*.png' -o -name '*.lock' -o -name tensorboard -o -name results \) -prune -exec rm -rf {} +
XZ_OPT=-9e tar -cJf "$archive" .
