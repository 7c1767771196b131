#!/usr/bin/env bash
# A TPU pod without Kubernetes, by gcloud's queued resources; more in launch/README.md:
#   launch/tpu_vm/pod.sh up --name=ffhq --zone=us-west4-a --type=v5litepod-16 --spot -- \
#       --config=configs/ffhq.py --workdir=gs://BUCKET/runs/ffhq
# Commands:
#   up        create, install, run; after a preemption again, until the run is complete
#   create    ask for the pod      install   copy this repository to all workers
#   run       start the training   logs      follow worker 0
#   stop      save, then stop      delete    give the pod back
# --dry_run prints every cloud command instead of running it. POLL_SECONDS (60) is how often up looks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck disable=SC1091
source launch/checks.sh

(($#)) || fail 'give a command: up, create, install, run, logs, stop or delete'
command=$1
shift
case $command in
up | create | install | run | logs | stop | delete) ;;
*) fail "unknown command $command: give up, create, install, run, logs, stop or delete" ;;
esac
name='' zone='' project='' type=v5litepod-16 runtime='' spot='' dry_run=''
while (($#)); do
    case $1 in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --runtime=*) runtime=${1#*=} ;;
    --spot) spot=true ;;
    --dry_run) dry_run=true ;;
    --) shift && break ;;
    *) fail "unknown option $1; the training's own flags come after --" ;;
    esac
    shift
done
train_flags=("$@")
[[ $name && $zone ]] || fail 'give --name=NAME and --zone=ZONE'

# What the cloud would refuse, some of it only when the pod is there and paid for.
check_form --name "$name" '[a-z]([-a-z0-9]{0,61}[a-z0-9])?' \
    'at most 63 of a-z, 0-9 and -, the first a letter, the last not -'
check_form --zone "$zone" '[a-z]+-[a-z]+[0-9]+-[a-z][a-z0-9]*' 'a zone such as us-west4-a'
[[ -z $project ]] || check_form --project "$project" \
    '([-a-z0-9.]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]|[0-9]+' 'the ID of a project, in small letters'
check_form --type "$type" '(v2|v3|v4|v5litepod|v5p|v6e|tpu7x)-[1-9][0-9]*' \
    'v4-N, v5litepod-N, v5p-N, v6e-N or tpu7x-N, such as v5litepod-16'
if [[ -z $runtime ]]; then
    case $type in
    v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
    v5p-*) runtime=v2-alpha-tpuv5 ;;
    v6e-*) runtime=v2-alpha-tpuv6e ;;
    tpu7x-*) runtime=v2-alpha-tpu7-ubuntu2404 ;;
    *) runtime=tpu-ubuntu2204-base ;;
    esac
fi
check_form --runtime "$runtime" '[a-z0-9][-a-z0-9._]*' 'a version such as v2-alpha-tpuv6e'
if [[ $command == up || $command == run ]]; then
    for flag in config workdir; do
        [[ " ${train_flags[*]-}" == *" --$flag"[=\ ]* ]] ||
            fail "give the flags of the training after --, at least --config=... and --workdir=..."
    done
fi
if [[ -z $dry_run ]]; then
    need gcloud 'https://cloud.google.com/sdk/docs/install (--dry_run prints what it would be asked)'
    check_filled "${train_flags[@]}"
fi
where=("--zone=$zone" ${project:+"--project=$project"})
# shellcheck disable=SC2016
unit='stylegan_jax@$USER'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

cloud() {
    if [[ $dry_run ]]; then
        printf 'gcloud compute tpus'
        printf ' %q' "$@"
        echo
    else
        gcloud compute tpus "$@"
    fi
}

on_workers() {
    cloud tpu-vm ssh "$name" "${where[@]}" "--worker=$1" "--command=$2"
}

copy() {
    cloud tpu-vm scp "$1" "$name:" "${where[@]}" --worker=all
}

create() {
    cloud queued-resources create "$name" "${where[@]}" "--node-id=$name" \
        "--accelerator-type=$type" "--runtime-version=$runtime" ${spot:+--spot}
}

# The images of TPU VMs have an older Python than jax needs: uv brings its own.
# shellcheck disable=SC2016
setup='set -e
rm -rf stylegan_jax && mkdir stylegan_jax && tar -xzf source.tar.gz -C stylegan_jax
lock=stylegan_jax/launch/constraints.txt
# The image of TPU v7 has a Python that wants to be told; pip of older ones does not know the word.
export PIP_BREAK_SYSTEM_PACKAGES=1
python3 -m pip install --quiet --user --constraint=$lock uv
~/.local/bin/uv venv --quiet --clear --python=3.12 venv
~/.local/bin/uv pip install --quiet --python=venv --constraint=$lock --editable "stylegan_jax[tpu,gcs]"
sudo cp "stylegan_jax/launch/tpu_vm/stylegan_jax@.service" /etc/systemd/system/
sudo systemctl daemon-reload'

install() {
    # Joined by &&, as set -e does not hold below an `if`.
    tar -czf "$tmp/source.tar.gz" --exclude=__pycache__ README.md launch setup.py stylegan_jax &&
        copy "$tmp/source.tar.gz" &&
        on_workers all "$setup"
}

run() {
    {
        echo 'cd stylegan_jax'
        printf 'exec ../venv/bin/python -m stylegan_jax.main'
        printf ' %q' "${train_flags[@]}"
        echo
    } >"$tmp/train.sh"
    [[ -z $dry_run ]] || sed 's/^/# train.sh: /' "$tmp/train.sh"
    # Enabled: it goes on by itself after a host was maintained.
    copy "$tmp/train.sh" &&
        on_workers all "sudo systemctl enable $unit
sudo systemctl reset-failed $unit
sudo systemctl restart $unit"
}

stop() {
    on_workers all "sudo systemctl disable --now $unit"
}

logs() {
    on_workers 0 "journalctl --follow --lines=100 --output=cat --unit=$unit"
}

delete() {
    cloud queued-resources delete "$name" "${where[@]}" --force --quiet
}

# What a dry run is told, one answer per look at the pod: absent, ready, complete.
dry_states=('' ACTIVE ACTIVE)
dry_services=(off 'inactive 0')

# Sets `state` to that of the pod; '' if there is none. Fails with gcloud's words in $tmp/error.
read_state() {
    local query=(queued-resources list "${where[@]}" "--filter=name~/$name\$"
        '--format=value(state.state)')
    if [[ $dry_run ]]; then
        cloud "${query[@]}"
        state=${dry_states[0]}
        dry_states=("${dry_states[@]:1}")
    else
        # A question of gcloud would wait here, unseen.
        state=$(CLOUDSDK_CORE_DISABLE_PROMPTS=1 cloud "${query[@]}" 2>"$tmp/error")
    fi
}

# Sets `service` to the state of the training on worker 0, with its last exit code; `off`: not started
# or stopped by hand, `boot`: about to be started. Fails if the worker cannot be asked.
read_service() {
    local script="show() { systemctl show --property=\$1 --value $unit; }
if ! systemctl is-enabled --quiet $unit; then echo off
elif [[ \$(show ExecMainStartTimestampMonotonic) == 0 ]]; then echo boot
else echo \$(show ActiveState) \$(show ExecMainStatus); fi"
    if [[ $dry_run ]]; then
        on_workers 0 "$script"
        service=${dry_services[0]}
        dry_services=("${dry_services[@]:1}")
    else
        service=$(on_workers 0 "$script")
    fi
}

# Ends `up` once what it has asked for failed too often in a row.
give_up() {
    echo "$name: $1; the pod, if there is one, is still yours" >&2
    exit 1
}

# A step of `up`; fails where the cloud or the worker could not be asked.
advance() {
    service=''
    if ! read_state; then
        state=unknown
        [[ $known ]] || fail "the first look at $zone failed: $(words_of "$tmp/error")"
        return 1
    fi
    known=true
    [[ -z $state ]] || asked=true
    case $state in
    '')
        if create; then
            asked=true
        else
            [[ $asked ]] || give_up 'the pod could not be asked for'
            return 1
        fi
        ;;
    # A pod that was taken away stays in the queue as a name without machines.
    SUSPENDED)
        started=''
        delete && create
        ;;
    # The cloud's own word for a request that it will not fulfil, but also for a pod that broke.
    FAILED)
        ((++broken < 5)) || give_up "the cloud has failed to make it $broken times in a row"
        started=''
        delete && create
        ;;
    ACTIVE)
        read_service || { service=unknown && return 1; }
        broken=0
        follow
        ;;
    esac
}

# What `up` does about the state of the training on a pod that is there.
follow() {
    case ${started:-new}:$service in
    *:act* | *:deact*) started=true ;;
    *:boot) ;;
    new:*)
        if install && run; then
            started=true installs=0
        elif ((++installs == 5)); then
            give_up 'could not be installed'
        fi
        ;;
    'true:inactive 0') echo "$name: complete; the pod is still yours" && exit ;;
    true:off | true:inactive*) echo "$name: stopped by hand; the pod is still yours" && exit 42 ;;
    *) echo "$name: failed, see logs; the pod is still yours" && exit 1 ;;
    esac
}

up() {
    # Whether the cloud has ever answered, a pod was asked for, the training was seen; failures in a row.
    known='' asked='' started='' broken=0 installs=0
    local missed=0
    while true; do
        if advance; then
            missed=0
        elif ((++missed == 30)); then
            give_up "$missed looks in a row have failed"
        fi
        echo "$name: pod ${state:-asked for}${service:+, training $service}"
        [[ $dry_run ]] || sleep "${POLL_SECONDS:-60}"
    done
}

"$command"
