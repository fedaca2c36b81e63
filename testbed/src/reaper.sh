# Reads which processes, cgroups and folders its parent owns, one per line: "+pid 123", "-pid 123", "+cgroup x", "-cgroup x",
# "+dir /tmp/x", "-dir /tmp/x".
# The end of its input means that the parent is gone, however it went: then what is still owned goes too.
trap '' HUP INT TERM PIPE
pids=' '
cgroups=' '
dirs='
'
while IFS= read -r line; do
  what=${line#* }
  case $line in
    '+pid '*) pids="$pids$what " ;;
    '-pid '*) case $pids in *" $what "*) pids="${pids%%" $what "*} ${pids#*" $what "}" ;; esac ;;
    '+cgroup '*) cgroups="$cgroups$what " ;;
    '-cgroup '*) case $cgroups in *" $what "*) cgroups="${cgroups%%" $what "*} ${cgroups#*" $what "}" ;; esac ;;
    '+dir '*) dirs="$dirs$what
" ;;
    '-dir '*) case $dirs in *"
$what
"*) dirs="${dirs%%"
$what
"*}
${dirs#*"
$what
"}" ;; esac ;;
  esac
done

alive() {
  for pid in $pids; do kill -0 "-$pid" 2>/dev/null && return 0; done
  return 1
}

for pid in $pids; do kill -TERM "-$pid" 2>/dev/null; done
tenths=0
while alive && [ "$tenths" -lt 20 ]; do sleep 0.1; tenths=$((tenths + 1)); done
for pid in $pids; do kill -KILL "-$pid" 2>/dev/null; done
for cgroup in $cgroups; do
  # Busy while the last of its processes are being cleared away.
  tenths=0
  while [ "$tenths" -lt 50 ]; do
    left=$(find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" 2>/dev/null)
    [ -n "$left" ] || break
    rmdir $left 2>/dev/null || sleep 0.1
    tenths=$((tenths + 1))
  done
done
printf '%s' "$dirs" | while IFS= read -r dir; do [ -n "$dir" ] && rm -rf -- "$dir"; done
