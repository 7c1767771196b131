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

fail() {
    echo "pod.sh: $1" >&2
    exit 2
}

(($#)) || fail 'give a command: up, create, install, run, logs, stop or delete'
command=$1
shift
name='' zone='' project='' type=v5litepod-16 runtime=v2-alpha-tpuv5-lite spot='' dry_run=''
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
setup='set -e
rm -rf stylegan_jax && mkdir stylegan_jax && tar -xzf source.tar.gz -C stylegan_jax
python3 -m pip install --quiet --user uv
~/.local/bin/uv venv --quiet --clear --python=3.12 venv
~/.local/bin/uv pip install --quiet --python=venv --editable "stylegan_jax[tpu,gcs]"
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

# Sets `state` to that of the pod; '' if there is none.
read_state() {
    local query=(queued-resources list "${where[@]}" "--filter=name~/$name\$"
        '--format=value(state.state)')
    if [[ $dry_run ]]; then
        cloud "${query[@]}"
        state=${dry_states[0]}
        dry_states=("${dry_states[@]:1}")
    else
        state=$(cloud "${query[@]}") || state=unknown
    fi
}

# Sets `service` to the state of the training on worker 0, with its last exit code; `off`: not started
# or stopped by hand, `boot`: about to be started.
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
        service=$(on_workers 0 "$script") || service=unknown
    fi
}

up() {
    local started='' failures=0
    while true; do
        read_state
        service=''
        case $state in
        '') create ;;
        # A pod that was taken away stays in the queue as a name without machines.
        SUSPENDED | FAILED) started='' && delete && create ;;
        ACTIVE)
            read_service
            case ${started:-new}:$service in
            *:act* | *:deact*) started=true ;;
            *:unknown | *:boot) ;;
            new:*)
                if install && run; then
                    started=true failures=0
                elif ((++failures == 5)); then
                    echo "$name: could not be installed; the pod is still yours" && return 1
                fi
                ;;
            'true:inactive 0') echo "$name: complete; the pod is still yours" && return ;;
            true:off | true:inactive*) echo "$name: stopped by hand; the pod is still yours" && return 42 ;;
            *) echo "$name: failed, see logs; the pod is still yours" && return 1 ;;
            esac
            ;;
        esac
        echo "$name: pod ${state:-asked for}${service:+, training $service}"
        [[ $dry_run ]] || sleep "${POLL_SECONDS:-60}"
    done
}

if [[ $command == up || $command == run ]] && ((${#train_flags[@]} == 0)); then
    fail 'give the flags of the training after --'
fi
case $command in
up | create | install | run | logs | stop | delete) "$command" ;;
*) fail "unknown command $command" ;;
esac
