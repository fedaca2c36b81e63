# namespaces.sh FOLDER ADDRESS: the first process of the namespaces that a node lives in. ADDRESS is the node's, on the bridge of the pods.
set -eu
ip link set lo up
# What the parts of a node write to fixed places is for these namespaces alone: sockets below /run, and below the others logs,
# caches, plugins. There the machine's own files stay visible.
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs "$1"
for place in /etc /opt /usr/libexec /var/lib /var/log; do
  [ -d "$place" ] || continue
  mkdir -p "$1/changes$place" "$1/work$place"
  mount -t overlay -o "lowerdir=$place,upperdir=$1/changes$place,workdir=$1/work$place" overlay "$place"
done
# The kubelet sets these, which are of the whole machine: it sets copies.
for setting in kernel/keys/root_maxbytes kernel/keys/root_maxkeys kernel/panic kernel/panic_on_oops vm/overcommit_memory vm/panic_on_oom; do
  [ -f "/proc/sys/$setting" ] || continue
  mkdir -p "$1/settings/${setting%/*}"
  cat "/proc/sys/$setting" >"$1/settings/$setting"
  mount --bind "$1/settings/$setting" "/proc/sys/$setting"
done
sysctl -qw net.ipv4.ip_forward=1
ip link add cni0 type bridge
ip address add "$2" dev cni0
ip link set cni0 up
echo 'the namespaces are there'
# Whatever loses its parent here becomes ours to wait for.
while :; do
  sleep 1000 &
  wait $!
done
