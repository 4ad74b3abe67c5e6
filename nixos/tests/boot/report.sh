# shellcheck shell=bash
# What an appliance is, as it sees itself: lines of report|NAME|VALUE| on the console.
tell() { echo "report|$1|$2|"; }
status() { sed -n "s/^$1:[[:space:]]*\([0-9a-f]*\).*/\1/p" "/proc/$pid/status"; }
written() { if touch "$1/written" 2>/dev/null; then echo yes; else echo no; fi; }

systemctl is-system-running --wait >/dev/null
pid=$(systemctl show -P MainPID bellows)
tell root "$(findmnt --kernel -n -o FSTYPE /)"
tell usr "$(findmnt --kernel -n -o FSTYPE,OPTIONS /usr | tr -s ' ' | cut -d, -f1)"
tell store "$(findmnt --kernel -n -o FSTYPE,OPTIONS /nix/store | tr -s ' ' | cut -d, -f1)"
tell usr-written "$(written /usr)"
tell store-written "$(written /nix/store)"
tell verity "$(findmnt --kernel -n -o SOURCE /usr)"
tell verity-status "$(dmsetup status --target verity usr | cut -d' ' -f4)"
tell listening "$(ss -Hlntu | tr -s ' ' | cut -d' ' -f5 | grep -v ':68$' | sort | tr '\n' ' ')"
tell exposure "$(systemd-analyze security --no-pager bellows.service | sed -n 's/.*Overall exposure level[^:]*: *\([0-9.]*\).*/\1/p')"
tell capabilities "$(status CapEff)"
tell no-new-privileges "$(status NoNewPrivs)"
tell seccomp "$(status Seccomp)"
tell user "$(status Uid)"
tell failed "$(systemctl list-units --failed --no-legend --plain | cut -d' ' -f1 | tr '\n' ' ')"
tell ready-us "$(systemctl show -P ActiveEnterTimestampMonotonic bellows)"
tell time "$(systemd-analyze time | head -n 1 | tr '|' ' ')"
tell blame "$(systemd-analyze blame --no-pager | grep -v '[.]device$' | head -n 6 | tr -s ' ' | tr '\n' ',')"
