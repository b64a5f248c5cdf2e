#!/bin/sh
# Makes a base image without a registry, unless it is there: Debian's static busybox and its CA bundle, which is
# what our images need of alpine. Prints the image's name.
#
#   base.sh ENGINE
set -eu

engine=$1
image=localhost/whoop-iceberg/base:$(sha256sum < "$0" | cut -c1-12)
if "$engine" image inspect "$image" >/dev/null 2>&1; then
  echo "$image"
  exit
fi

for tool in apt-get dpkg-deb tar; do
  command -v "$tool" >/dev/null || { echo "$image is made from Debian packages and needs $tool" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
root=$work/root

mkdir "$work/packages"
(cd "$work/packages" && apt-get -q -o APT::Sandbox::User=root download busybox-static ca-certificates) >&2
for package in "$work"/packages/*.deb; do
  dpkg-deb --extract "$package" "$work/unpacked"
done

mkdir -p "$root/bin" "$root/usr/bin" "$root/etc/ssl/certs" "$root/root" "$root/tmp" "$root/var/tmp"
chmod 1777 "$root/tmp" "$root/var/tmp"
cp "$work/unpacked/bin/busybox" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
ln -s ../../bin/env "$root/usr/bin/env"
cat "$work"/unpacked/usr/share/ca-certificates/mozilla/*.crt > "$root/etc/ssl/certs/ca-certificates.crt"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"

tar -C "$root" --owner=0 --group=0 -c . |
  "$engine" import --change 'ENV PATH=/bin:/usr/bin' --change 'CMD ["/bin/sh"]' - "$image" >&2
echo "$image"
