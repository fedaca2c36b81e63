# Becomes a container: makes its root folder in a mount namespace of its own, and runs its command there.
#
#   sandbox.sh ROOT PLAN ro|rw "NAMES TO UNSET" COMMAND...
#
# PLAN has a line "ro|rw <tab> SOURCE <tab> TARGET" for each mount. Nothing of this is seen outside of the namespace, and
# it goes with the last process in it. Each step execs the next, so the process keeps its number.
set -eu
root=$1 plan=$2 mode=$3 unset=$4
shift 4

# In a user namespace the options of the mount below must stay as they are.
read_only() {
  mount -o remount,bind,ro "$1" 2>/dev/null || mount -o remount,bind,ro,nosuid,nodev "$1"
}

bind() {
  if [ -d "$2" ]; then mkdir -p "$root$3"; else mkdir -p "$root${3%/*}" && : >"$root$3"; fi
  mount --bind "$2" "$root$3"
  if [ "$1" = ro ]; then read_only "$root$3"; fi
}

mount -t tmpfs -o mode=0755 container "$root"
# Stands in for the image: the machine's programs and libraries, and nothing else of it.
# Without /usr/local, where images have what is their own.
usr=$(for dir in /usr/*; do [ "$dir" = /usr/local ] || printf '%s ' "$dir"; done)
for dir in $usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc/ssl /etc/ca-certificates /etc/pki; do
  if [ -L "$dir" ]; then ln -s "$(readlink "$dir")" "$root$dir"; elif [ -d "$dir" ]; then bind ro "$dir" "$dir"; fi
done
for device in /dev/null /dev/zero /dev/random /dev/urandom; do bind rw "$device" "$device"; done
mkdir "$root/proc" && mount --rbind /proc "$root/proc"
tab=$(printf '\t')
while IFS="$tab" read -r access source target; do bind "$access" "$source" "$target"; done <"$plan"
if [ "$mode" = ro ]; then read_only "$root"; fi

for name in $unset; do unset "$name"; done
exec chroot "$root" "$@"
