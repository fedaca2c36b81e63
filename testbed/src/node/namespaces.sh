# namespaces.sh FOLDER ADDRESS: the first process of the namespaces that a node lives in. ADDRESS is the node's, on the bridge of the pods.
set -eu
ip link set lo up
# Kubernetes and containerd keep sockets and network namespaces below /run.
mount -t tmpfs tmpfs /run
# An overlay needs another file system than one that may be an overlay itself.
mount -t tmpfs tmpfs "$1"
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
