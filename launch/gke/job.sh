#!/usr/bin/env bash
# Starts a manifest of this folder, filled with the settings of job.env; more in launch/README.md:
#   IMAGE=... WORKDIR=gs://... DATA_DIR=gs://... launch/gke/job.sh jobset_tpu.yaml
# --dry_run prints the manifest instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck disable=SC1091
source launch/checks.sh

dry_run='' manifest=''
for word in "$@"; do
    case $word in
    --dry_run) dry_run=true ;;
    jobset_*.yaml) manifest=launch/gke/$word ;;
    *) fail "unknown word $word; settings stand before the command" ;;
    esac
done
[[ $manifest && -e $manifest ]] ||
    fail 'give jobset_tpu.yaml, jobset_tpu_multislice.yaml or jobset_gpu.yaml'
need envsubst 'install the package gettext'
[[ $dry_run ]] || need kubectl 'https://kubernetes.io/docs/tasks/tools (--dry_run prints the manifest)'

set -a
# shellcheck disable=SC1091
source launch/gke/job.env
set +a

# A pod is called NAME-train-SLICE-HOST-xxxxx, in 63 letters.
check_form NAME "$NAME" '[a-z]([-a-z0-9]{0,38}[a-z0-9])?' \
    'at most 40 of a-z, 0-9 and -, the first a letter, the last not -'
for setting in TPU_HOSTS TPU_CHIPS_PER_HOST TPU_SLICES GPU_HOSTS GPUS_PER_HOST; do
    check_form "$setting" "${!setting}" '[1-9][0-9]*' 'a number from 1'
done
if [[ $manifest == *_tpu* ]]; then
    case $TPU in
    tpu-v5-lite-podslice | tpu-v6e-slice) sides='[1-9][0-9]*x[1-9][0-9]*' ;;
    tpu-v4-podslice | tpu-v5p-slice | tpu7x) sides='[1-9][0-9]*x[1-9][0-9]*x[1-9][0-9]*' ;;
    *) fail "TPU=$TPU: give tpu-v4-podslice, tpu-v5-lite-podslice, tpu-v5p-slice, tpu-v6e-slice or tpu7x" ;;
    esac
    check_form TPU_TOPOLOGY "$TPU_TOPOLOGY" "$sides" "a shape that $TPU is made in, such as 4x4 or 2x2x4"
    chips=$((${TPU_TOPOLOGY//x/*}))
    ((TPU_HOSTS * TPU_CHIPS_PER_HOST == chips)) ||
        fail "TPU_HOSTS=$TPU_HOSTS of TPU_CHIPS_PER_HOST=$TPU_CHIPS_PER_HOST are not the $chips chips of $TPU_TOPOLOGY"
fi

if [[ $dry_run ]]; then
    envsubst <"$manifest"
    exit
fi
check_filled "$IMAGE" "$WORKDIR" "$DATA_DIR"
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
# Beside its one sentence kubectl logs each try.
there=$(kubectl get jobset "$NAME" --ignore-not-found --output=name 2>"$errors") ||
    fail "the first look at the cluster failed: $(words_of <(grep --invert-match "^E[0-9]* " "$errors"))"
[[ -z $there ]] || fail "the cluster has $there already: \`kubectl delete jobset $NAME\` stops it, saving first"
envsubst <"$manifest" | kubectl apply --filename=-
