#!/usr/bin/env bash
# A real SLURM of one node on loopback, for tests: munged, slurmctld and slurmd with all their files in one folder.
#
#   tests/services/slurm.sh FOLDER PORT    starts it, prints the path of its slurm.conf, and stays until its stdin closes
#
# Needs Debian's slurm-wlm and munge, and root (slurmd starts jobs as their owners). Nothing outside FOLDER is touched.
# SLURM_CONF=FOLDER/slurm.conf lets sbatch, squeue and scancel find it.
set -euo pipefail
folder=$1 port=$2
export PATH=$PATH:/usr/sbin
host=$(hostname -s)
mkdir -p "$folder"/{munge,state,spool}
chmod 755 "$folder" "$folder/munge"
head -c 1024 /dev/urandom >"$folder/munge/key"
chmod 600 "$folder/munge/key"

cat >"$folder/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmdParameters=config_overrides
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CryptoType=crypto/munge
SlurmUser=$(id -un)
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
KillWait=2
MailProg=/bin/true
NodeName=$host NodeAddr=127.0.0.1 CPUs=16 RealMemory=65536 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF

pids=()
stop() {
    kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
}
trap stop EXIT
export SLURM_CONF=$folder/slurm.conf
munged --foreground --force --key-file "$folder/munge/key" --socket "$folder/munge/socket" \
    --pid-file "$folder/munge/pid" --log-file "$folder/munge/log" --seed-file "$folder/munge/seed" &
pids+=($!)
for _ in $(seq 100); do [ -S "$folder/munge/socket" ] && break || sleep 0.05; done
slurmctld -D -c -f "$SLURM_CONF" >"$folder/slurmctld.out" 2>&1 &
pids+=($!)
slurmd -D -c -f "$SLURM_CONF" >"$folder/slurmd.out" 2>&1 &
pids+=($!)
for _ in $(seq 200); do
    [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && break || sleep 0.1
done
[ "$(sinfo -h -o %T)" = idle ] || { tail "$folder"/*.log "$folder"/*.out >&2; exit 1; }
echo "$SLURM_CONF"
cat >/dev/null
