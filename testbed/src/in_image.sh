# shellcheck shell=sh
# in_image.sh ROOT USER SERVICE_ACCOUNT PROGRAM ARGS…: runs a program in an unpacked image as a pod with a read-only root
# would run it. It is the same process all the way, so that signals reach the program. The mounts end with it.
set -eu
root=$1 user=$2 service_account=$3
shift 3
mount --bind "$root" "$root"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$service_account" "$root/var/run/secrets/kubernetes.io/serviceaccount"
mount -o remount,bind,ro "$root"
# What the testbed's own processes inherit, a pod does not.
unset SSL_CERT_FILE SSL_CERT_DIR TMPDIR
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
