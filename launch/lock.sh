#!/usr/bin/env bash
# Writes launch/constraints.txt: the versions that every launcher installs, for the Python of its image.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck disable=SC1091
source launch/checks.sh
need uv 'pip install uv'

# 2.35 is the oldest C library of the images, that of Ubuntu 22.04. A Python of its own uv needs not.
options=(--python-version=3.12 --python-platform=x86_64-manylinux_2_35 --no-python-downloads
    --no-header --no-annotate --quiet --upgrade)
for extra in tpu cuda cuda13 gcs k8s report; do
    options+=("--extra=$extra")
done
# Written beside it first: what cannot be resolved leaves the old file.
new=$(mktemp launch/constraints.XXXXXX)
trap 'rm -f "$new"' EXIT
{
    echo '# Written by launch/lock.sh: versions for the launchers, Python 3.12 on Linux.'
    # uv itself installs on TPU VMs and with SkyPilot.
    echo uv | uv pip compile setup.py - "${options[@]}"
} >"$new"
chmod 644 "$new"
mv "$new" launch/constraints.txt
